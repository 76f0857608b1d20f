//! The settings of one target: what they mean, and which contradict each other.

use std::collections::BTreeMap;

use crate::scenario::{
    NodeIndex, Place, RemoteMac, Target, Via,
    meaning::{node::Roster, value},
    mistake::{Mistake, Mistakes},
    read::{
        Either,
        network::Address,
        scalar::{OrDefault, Port},
        table::Keyed,
    },
    step::Failure,
    target::Setting,
    tree::{At, Span},
    written::{self, target::Fails},
};

/// How it is set up.
pub(crate) fn via(target: &written::target::Target) -> Via {
    target
        .via
        .as_ref()
        .map_or(Via::Modprobe, |via| via.value.into())
}

/// Whether its messages have a header, by the key or by the parameter's first character.
pub(crate) fn extended(target: &written::target::Target) -> bool {
    let parameter = target
        .parameter
        .as_ref()
        .is_some_and(|parameter| parameter.value.starts_with('+'));
    parameter || value(target.extended.as_ref()).unwrap_or(false)
}

/// What a `parameter` replaces.
const REPLACED: [&str; 9] = [
    "dev-name",
    "local-port",
    "remote-port",
    "local-ip",
    "remote-ip",
    "remote-mac",
    "extended",
    "release",
    "enabled",
];

/// What contradicts the way in which the target is set up, or another key.
pub(crate) fn check_settings(
    target: &written::target::Target,
    via: Via,
    mistakes: &mut Mistakes<'_>,
) {
    if let Some(parameter) = &target.parameter {
        check_parameter(target, (parameter.span, via), mistakes);
    }
    if via.is_parameter() {
        check_in_parameter(target, via, mistakes);
    }
    if let (true, Some(fails)) = (via.is_booted(), &target.fails)
        && let Either::Other(_) = fails.value
    {
        let title = "nobody is told which error a boot met";
        mistakes.add(Mistake::at(fails.span, title).help("write `fails = true`"));
    }
    if let (Some(later), Some(fails)) = (&target.later, &target.fails)
        && later.value
    {
        let title = "a target that is made later fails in the step that makes it";
        mistakes.add(Mistake::at(fails.span, title).help("write `fails` beside `make`"));
    }
    let release = target
        .release
        .as_ref()
        .filter(|release| release.value && target.parameter.is_none());
    if let (Some(release), false, None) = (release, extended(target), &target.fails) {
        mistakes.add(
            Mistake::at(
                release.span,
                "the kernel refuses `release` where `extended` is not set (EINVAL)",
            )
            .help("write `extended = true`, or `fails = \"EINVAL\"` if that is the point"),
        );
    }
}

fn check_parameter(
    target: &written::target::Target,
    parameter: (Span, Via),
    mistakes: &mut Mistakes<'_>,
) {
    for (key, span) in REPLACED
        .iter()
        .filter_map(|key| Some((key, target.place(key)?)))
    {
        let title = format!("`parameter` is the whole parameter, so `{key}` has no place");
        mistakes.add(Mistake::at(span, title).help("leave one of them out"));
    }
    if !parameter.1.is_parameter() {
        mistakes.add(
            Mistake::at(parameter.0, "`parameter` is there for modprobe")
                .help("write `via = \"modprobe\"`, or the settings one by one"),
        );
    }
}

fn check_in_parameter(target: &written::target::Target, via: Via, mistakes: &mut Mistakes<'_>) {
    let off = target
        .enabled
        .as_ref()
        .filter(|enabled| !enabled.value)
        .map(|enabled| enabled.span);
    let userdata = target.place("userdata");
    let later = target.later.as_ref().filter(|later| later.value);
    let later = later.map(|later| later.span);
    let on = format!("a target by {} is on from the start", via.word());
    let wrong = [
        (off, on.as_str()),
        (userdata, "the module's parameter has no userdata"),
        (later, "only a target by configfs is made by a step"),
    ];
    for (span, title) in wrong
        .into_iter()
        .filter_map(|(span, title)| Some((span?, title)))
    {
        mistakes.add(Mistake::at(span, title).help("write `via = \"configfs\"`"));
    }
}

/// The target, without its name and place.
pub(crate) fn meant(
    target: &written::target::Target,
    known: (Option<NodeIndex>, Option<NodeIndex>, Via),
    roster: &Roster<'_>,
    mistakes: &mut Mistakes<'_>,
) -> Option<Target> {
    let remote_mac = remote_mac(target, roster, mistakes);
    let parameter = value(target.parameter.as_ref());
    let release = parameter
        .as_ref()
        .is_some_and(|parameter| parameter.starts_with("+r"));
    Some(Target {
        name: String::new(),
        on: known.0?,
        to: known.1?,
        via: known.2,
        dev_name: setting(target.dev_name.as_ref(), String::clone),
        local_port: setting(target.local_port.as_ref(), |port: &Port| port.get()),
        remote_port: setting(target.remote_port.as_ref(), |port: &Port| port.get()),
        local_ip: setting(target.local_ip.as_ref(), |address: &Address| address.0),
        remote_ip: setting(target.remote_ip.as_ref(), |address: &Address| address.0),
        remote_mac,
        extended: extended(target),
        release: release || value(target.release.as_ref()).unwrap_or(false),
        enabled: value(target.enabled.as_ref()).unwrap_or(true),
        userdata: userdata(target),
        later: value(target.later.as_ref()).unwrap_or(false),
        fails: failure(target.fails.as_ref()),
        parameter,
        place: Place::default(),
    })
}

fn userdata(target: &written::target::Target) -> BTreeMap<String, String> {
    let userdata = target
        .userdata
        .iter()
        .flat_map(|userdata| &userdata.value.0);
    userdata
        .filter_map(|(key, text)| Some((key.value.clone(), text.as_ref()?.value.clone())))
        .collect()
}

fn setting<W, T>(
    key: Option<&At<OrDefault<W>>>,
    meant: impl FnOnce(&W) -> T,
) -> Option<Setting<T>> {
    key.map(|key| match &key.value {
        OrDefault::Default => Setting::KernelDefault,
        OrDefault::Value(value) => Setting::Value(meant(value)),
    })
}

fn remote_mac(
    target: &written::target::Target,
    roster: &Roster<'_>,
    mistakes: &mut Mistakes<'_>,
) -> Option<Setting<RemoteMac>> {
    let key = target.remote_mac.as_ref()?;
    match &key.value {
        OrDefault::Default => Some(Setting::KernelDefault),
        OrDefault::Value(text) => {
            mac_or_node(&key.with(text.clone()), roster, mistakes).map(Setting::Value)
        }
    }
}

/// The MAC, or the node, that a text names.
pub(crate) fn mac_or_node(
    text: &At<String>,
    roster: &Roster<'_>,
    mistakes: &mut Mistakes<'_>,
) -> Option<RemoteMac> {
    if let Ok(mac) = text.value.parse() {
        return Some(RemoteMac::Address(mac));
    }
    if let Some(node) = roster.named(&text.value) {
        return Some(RemoteMac::Node(node));
    }
    let mistake = Mistake::at(
        text.span,
        format!("`{}` is no Ethernet address and no node", text.value),
    );
    mistakes.add(
        mistake.did_you_mean(
            &text.value,
            roster
                .members()
                .map(|(_, member)| member.name.value.as_str()),
        ),
    );
    None
}

/// The failure that a file asks for.
pub(crate) fn failure(fails: Option<&At<Fails>>) -> Option<Failure> {
    match &fails?.value {
        Either::One(true) => Some(Failure::Any),
        Either::One(false) => None,
        Either::Other(name) => Some(Failure::Errno(name.0.clone())),
    }
}
