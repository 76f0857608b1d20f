//! The netconsole targets of a scenario.

use std::collections::BTreeMap;

use crate::{
    netconsole::Settings,
    scenario::{
        NodeIndex, Place, RemoteMac, Target, Via,
        meaning::{check_name, link::Net, node::Roster, value},
        mistake::{Mistake, Mistakes, unknown},
        read::{
            Either,
            form::Address,
            scalar::{OrDefault, Port},
            word::Word,
        },
        step::Failure,
        target::Setting,
        tree::{At, Span},
        written::{self, File, node::RoleWord, target::Fails},
    },
};

/// The targets of a file, each as far as it could be told.
pub(crate) struct Aims {
    aims: Vec<Aim>,
}

/// A target of the file.
pub(crate) struct Aim {
    pub(crate) name: At<String>,
    pub(crate) span: Span,
    pub(crate) on: Option<NodeIndex>,
    pub(crate) to: Option<NodeIndex>,
    pub(crate) via: Option<Via>,
    /// Whether the user wrote the whole parameter: then nobody here knows what it says.
    pub(crate) parameter: bool,
    pub(crate) extended: bool,
    target: Option<Target>,
}

impl Aims {
    /// The targets of `file`; without any, one by modprobe.
    pub(crate) fn of(
        file: &File,
        roster: &Roster<'_>,
        net: &Net,
        mistakes: &mut Mistakes<'_>,
    ) -> Self {
        let default;
        let written = match &file.targets {
            Some(targets) => targets.value.as_slice(),
            None => {
                let span = file
                    .nodes
                    .as_ref()
                    .map_or(Span::default(), |nodes| nodes.span);
                default = [At::new(written::target::Target::default(), span.range())];
                &default
            }
        };
        let mut aims: Vec<Aim> = Vec::new();
        for (index, target) in written.iter().enumerate() {
            let aim = Aim::of(
                index,
                target,
                (file.targets.is_some(), roster, net),
                mistakes,
            );
            if let Some(first) = aims.iter().find(|other| other.name.value == aim.name.value) {
                let title = format!("there are two targets `{}`", aim.name.value);
                mistakes
                    .add(Mistake::at(aim.name.span, title).context(first.name.span, "the first"));
            }
            aims.push(aim);
        }
        let aims = Self { aims };
        aims.check_together(mistakes);
        aims
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Aim> {
        self.aims.iter()
    }

    /// The index of the target called `name`, or a mistake.
    pub(crate) fn find(&self, name: &At<String>, mistakes: &mut Mistakes<'_>) -> Option<usize> {
        let found = self
            .aims
            .iter()
            .position(|aim| aim.name.value == name.value);
        if found.is_none() {
            mistakes.add(unknown(
                "target",
                name,
                self.aims.iter().map(|aim| aim.name.value.as_str()),
            ));
        }
        found
    }

    pub(crate) fn aim(&self, index: usize) -> &Aim {
        &self.aims[index]
    }

    /// The targets as meant. Only where there were no mistakes.
    pub(crate) fn targets(self) -> Vec<Target> {
        self.aims.into_iter().filter_map(|aim| aim.target).collect()
    }

    /// One modprobe loads all targets of a sender, so it fails for all of them or for none; and targets must be told apart.
    fn check_together(&self, mistakes: &mut Mistakes<'_>) {
        for (index, aim) in self.aims.iter().enumerate() {
            let Some(target) = &aim.target else { continue };
            for other in &self.aims[..index] {
                let Some(first) = other.target.as_ref().filter(|first| first.on == target.on)
                else {
                    continue;
                };
                if (first.via, target.via) == (Via::Modprobe, Via::Modprobe)
                    && first.fails != target.fails
                {
                    mistakes.add(
                        Mistake::at(
                            aim.span,
                            format!(
                                "`{}` and `{}` are loaded by one modprobe, so they fail together",
                                first.name, target.name
                            ),
                        )
                        .context(other.span, "the first")
                        .help("write the same `fails` in both, or set one up by configfs"),
                    );
                }
                if first.is_twin_of(target) {
                    mistakes.add(
                        Mistake::at(
                            aim.span,
                            format!(
                                "`{}` and `{}` cannot be told apart on the wire",
                                first.name, target.name
                            ),
                        )
                        .context(other.span, "the first")
                        .help("give one of them its own `local-port` or `remote-port`"),
                    );
                }
            }
        }
    }
}

impl Aim {
    fn of(
        index: usize,
        written: &At<written::target::Target>,
        lab: (bool, &Roster<'_>, &Net),
        mistakes: &mut Mistakes<'_>,
    ) -> Self {
        let (explicit, roster, net) = lab;
        let target = &written.value;
        let name = target
            .name
            .clone()
            .unwrap_or_else(|| written.with(format!("target{}", index + 1)));
        check_target_name(&name, mistakes);
        let on = roster.choose(
            ("on", target.on.as_ref()),
            RoleWord::Sender,
            written.span,
            mistakes,
        );
        let to = roster.choose(
            ("to", target.to.as_ref()),
            RoleWord::Receiver,
            written.span,
            mistakes,
        );
        let via = via(target, mistakes);
        let named = target.name.as_ref().map_or(written.span, |name| name.span);
        let span = if explicit { named } else { Span::default() };
        if let (Some(on), Some(to)) = (on, to) {
            check_way(
                target.to.as_ref().map_or(written.span, |to| to.span),
                (on, to),
                (roster, net),
                mistakes,
            );
        }
        check_settings(target, via, mistakes);
        let place = Place::of(mistakes.text, span);
        let extended = extended(target);
        let meant = meant(target, (on, to, via), roster, mistakes);
        let target = meant.map(|meant| Target {
            name: name.value.clone(),
            place,
            ..meant
        });
        Self {
            name,
            span,
            on,
            to,
            via,
            parameter: written.value.parameter.is_some(),
            extended,
            target,
        }
    }
}

/// How it is set up; `None` where that is not built yet.
fn via(target: &written::target::Target, mistakes: &mut Mistakes<'_>) -> Option<Via> {
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
fn extended(target: &written::target::Target) -> bool {
    let parameter = target
        .parameter
        .as_ref()
        .is_some_and(|parameter| parameter.value.starts_with('+'));
    parameter || value(target.extended.as_ref()).unwrap_or(false)
}

fn check_target_name(name: &At<String>, mistakes: &mut Mistakes<'_>) {
    check_name("target", name, mistakes);
    if name.value.starts_with("cmdline") {
        mistakes.add(
            Mistake::at(
                name.span,
                format!(
                    "`{}` is a name that the kernel gives to targets of its own",
                    name.value
                ),
            )
            .help("take a name that does not start with `cmdline`"),
        );
    }
}

fn check_way(
    span: Span,
    ends: (NodeIndex, NodeIndex),
    lab: (&Roster<'_>, &Net),
    mistakes: &mut Mistakes<'_>,
) {
    let (roster, net) = lab;
    if !net.reaches(ends.0, ends.1, roster) {
        let (from, to) = (roster.name(ends.0), roster.name(ends.1));
        mistakes.add(
            Mistake::at(span, format!("there is no way from `{from}` to `{to}`"))
                .help("they must share a link, or routers must lie between them"),
        );
    }
}

/// What contradicts the way in which the target is set up, or another key.
fn check_settings(target: &written::target::Target, via: Option<Via>, mistakes: &mut Mistakes<'_>) {
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
fn meant(
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

impl Target {
    /// Whether its datagrams look like those of `other`, as far as the file tells.
    fn is_twin_of(&self, other: &Self) -> bool {
        let enabled = self.fails.is_none() && self.parameter == other.parameter;
        let ports =
            (&self.local_port, &self.remote_port) == (&other.local_port, &other.remote_port);
        let addresses = (&self.local_ip, &self.remote_ip, &self.remote_mac)
            == (&other.local_ip, &other.remote_ip, &other.remote_mac);
        let format = (self.extended, self.release, &self.dev_name)
            == (other.extended, other.release, &other.dev_name);
        enabled && self.to == other.to && ports && addresses && format
    }

    /// The ports that it sends to from the start.
    fn remote_ports(&self) -> Vec<u16> {
        match (&self.parameter, &self.remote_port) {
            (Some(parameter), _) => parameter.split(';').map(port_of_parameter).collect(),
            (None, Some(Setting::Value(port))) => vec![*port],
            (None, Some(Setting::KernelDefault) | None) => vec![Settings::REMOTE_PORT],
        }
    }
}

/// The remote port of a module parameter: what stands between `,` and `@`, else the kernel's own.
fn port_of_parameter(parameter: &str) -> u16 {
    let remote = parameter.split_once(',').map_or("", |(_, remote)| remote);
    let port = remote
        .split_once('@')
        .and_then(|(port, _)| port.trim().parse().ok());
    port.filter(|port| *port != 0)
        .unwrap_or(Settings::REMOTE_PORT)
}

/// The ports of the targets that are aimed at `receiver`, netconsole's own where there is none.
pub(crate) fn remote_ports(receiver: NodeIndex, targets: &[Target]) -> Vec<u16> {
    let aimed = targets.iter().filter(|target| target.to == receiver);
    let mut ports: Vec<u16> = aimed.flat_map(Target::remote_ports).collect();
    ports.sort_unstable();
    ports.dedup();
    if ports.is_empty() {
        vec![Settings::REMOTE_PORT]
    } else {
        ports
    }
}
