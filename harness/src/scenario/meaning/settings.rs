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
        word::Word,
    },
    step::Failure,
    target::Setting,
    tree::{At, Span},
    written::{self, target::Fails},
};

/// How it is set up; `None` where that is not built yet.
pub(crate) fn via(target: &written::target::Target, mistakes: &mut Mistakes<'_>) -> Option<Via> {
    let Some(via) = &target.via else {
        return Some(Via::Modprobe);
    };
    if via.value.built().is_none() {
        let word = via.value.name();
        mistakes.add(Mistake::at(
            via.span,
            format!("`via = \"{word}\"` is not built yet"),
        ));
    }
    via.value.built()
}

/// Whether its messages have a header, by the key or by the parameter's first character.
pub(crate) fn extended(target: &written::target::Target) -> bool {
    let parameter = target
        .parameter
        .as_ref()
        .is_some_and(|parameter| parameter.value.starts_with('+'));
    parameter || value(target.extended.as_ref()).unwrap_or(false)
}

/// What contradicts the way in which the target is set up, or another key.
pub(crate) fn check_settings(
    target: &written::target::Target,
    via: Option<Via>,
    mistakes: &mut Mistakes<'_>,
) {
    let mut wrong = |key: Option<Span>, title: &str, help: &str| {
        if let Some(span) = key {
            mistakes.add(Mistake::at(span, title).help(help));
        }
    };
    let settings = settings(target);
    if let Some(parameter) = &target.parameter {
        for (key, span) in settings {
            wrong(
                span,
                &format!("`parameter` is the whole parameter, so `{key}` has no place"),
                "leave one of them out",
            );
        }
        let configfs = (via == Some(Via::Configfs)).then_some(parameter.span);
        wrong(
            configfs,
            "`parameter` is there for modprobe",
            "write `via = \"modprobe\"`, or the settings one by one",
        );
    }
    if via == Some(Via::Modprobe) {
        let enabled = target
            .enabled
            .as_ref()
            .filter(|enabled| !enabled.value)
            .map(|enabled| enabled.span);
        wrong(
            enabled,
            "a target by modprobe is on from the start",
            "write `via = \"configfs\"`",
        );
        let userdata = target.userdata.as_ref().map(|userdata| userdata.span);
        wrong(
            userdata,
            "the module's parameter has no userdata",
            "write `via = \"configfs\"`",
        );
    }
    let release = target
        .release
        .as_ref()
        .filter(|release| release.value && target.parameter.is_none());
    if let (Some(release), false, None) = (release, extended(target), &target.fails) {
        wrong(
            Some(release.span),
            "the kernel refuses `release` where `extended` is not set (EINVAL)",
            "write `extended = true`, or `fails = \"EINVAL\"` if that is the point",
        );
    }
}

/// The settings of a target that `parameter` replaces, and where they stand.
fn settings(target: &written::target::Target) -> [(&'static str, Option<Span>); 9] {
    [
        ("dev-name", target.dev_name.as_ref().map(|key| key.span)),
        ("local-port", target.local_port.as_ref().map(|key| key.span)),
        (
            "remote-port",
            target.remote_port.as_ref().map(|key| key.span),
        ),
        ("local-ip", target.local_ip.as_ref().map(|key| key.span)),
        ("remote-ip", target.remote_ip.as_ref().map(|key| key.span)),
        ("remote-mac", target.remote_mac.as_ref().map(|key| key.span)),
        ("extended", target.extended.as_ref().map(|key| key.span)),
        ("release", target.release.as_ref().map(|key| key.span)),
        ("enabled", target.enabled.as_ref().map(|key| key.span)),
    ]
}

/// The target, without its name and place.
pub(crate) fn meant(
    target: &written::target::Target,
    known: (Option<NodeIndex>, Option<NodeIndex>, Option<Via>),
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
        via: known.2?,
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
