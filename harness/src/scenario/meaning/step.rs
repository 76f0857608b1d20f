//! The steps of a scenario, in order.

use std::{num::NonZeroU32, time::Duration};

use crate::scenario::{
    Action, NodeIndex, Place, RemoteMac, Step, Via,
    meaning::{
        expectation,
        link::Net,
        node::Roster,
        target::{Aims, failure, mac_or_node},
        texts, value,
    },
    mistake::{Mistake, Mistakes, unknown},
    read::Either,
    step::{Kmsg, LinkChange, Run, Set},
    tree::{At, Span},
    written::{self, File, node::RoleWord, step::UpDown},
};

/// How long a step may take that says nothing.
const WITHIN: Duration = Duration::from_secs(10);
/// A module may probe hardware, in emulation at that.
const WITHIN_LOAD: Duration = Duration::from_secs(20);
/// More records than this in one step are a mistake.
const MOST_RECORDS: u64 = 100_000;

/// What the steps read so far have made of the targets.
pub(crate) struct Script<'a, 'f> {
    pub(crate) roster: &'a Roster<'f>,
    pub(crate) net: &'a Net,
    pub(crate) aims: &'a Aims,
    /// By target: whether it is extended by now.
    pub(crate) extended: Vec<bool>,
}

/// An action, with the key that names it.
struct Deed {
    key: Span,
    action: Option<Action>,
    within: Option<Duration>,
}

impl<'a, 'f> Script<'a, 'f> {
    pub(crate) fn new(roster: &'a Roster<'f>, net: &'a Net, aims: &'a Aims) -> Self {
        Self {
            roster,
            net,
            aims,
            extended: aims.iter().map(|aim| aim.extended).collect(),
        }
    }

    /// The steps of `file`.
    pub(crate) fn steps(mut self, file: &File, mistakes: &mut Mistakes<'_>) -> Vec<Step> {
        let Some(steps) = &file.steps else {
            return Vec::new();
        };
        if steps.value.is_empty() {
            mistakes.add(Mistake::at(steps.span, "a scenario has at least one step"));
        }
        steps
            .value
            .iter()
            .filter_map(|step| self.step(step, mistakes))
            .collect()
    }

    fn step(
        &mut self,
        step: &At<written::step::Step>,
        mistakes: &mut Mistakes<'_>,
    ) -> Option<Step> {
        let written = &step.value;
        let judges = written.expect.is_some() || written.absent.is_some();
        if judges {
            refuse_beside_expectations(written, mistakes);
        }
        let on = match (judges, &written.set) {
            (true, _) => Some(NodeIndex(0)),
            (false, Some(set)) if written.on.is_none() => self.sender_of(set, mistakes),
            (false, _) => self.roster.choose(
                ("on", written.on.as_ref()),
                RoleWord::Sender,
                step.span,
                mistakes,
            ),
        };
        let deed = self.deed(step, on, mistakes)?;
        let beside = written.within.as_ref();
        if let (Some(beside), Some(_)) = (beside, deed.within) {
            mistakes.add(Mistake::at(
                beside.span,
                "`within` stands in the expectation already",
            ));
        }
        let default = if written.load.is_some() {
            WITHIN_LOAD
        } else {
            WITHIN
        };
        Some(Step {
            action: deed.action?,
            on: on?,
            fails: failure(written.fails.as_ref()),
            within: deed
                .within
                .or(beside.map(|within| within.value.0))
                .unwrap_or(default),
            place: Place::of(mistakes.text, deed.key),
        })
    }

    /// The sender whose target is set.
    fn sender_of(
        &self,
        set: &At<written::step::Set>,
        mistakes: &mut Mistakes<'_>,
    ) -> Option<NodeIndex> {
        // What is wrong with the name is noted where the action is read.
        let target = self.target(set, &mut Mistakes::new(mistakes.text))?;
        self.aims.aim(target).on
    }

    fn target(&self, set: &At<written::step::Set>, mistakes: &mut Mistakes<'_>) -> Option<usize> {
        match &set.value.target {
            Some(name) => self.aims.find(name, mistakes),
            None if self.aims.iter().count() == 1 => Some(0),
            None => {
                let names = self.aims.iter().map(|aim| aim.name.value.as_str());
                mistakes.add(
                    Mistake::at(
                        set.span,
                        "`target` is missing, and there is not exactly one",
                    )
                    .did_you_mean("", names),
                );
                None
            }
        }
    }

    fn deed(
        &mut self,
        step: &At<written::step::Step>,
        on: Option<NodeIndex>,
        mistakes: &mut Mistakes<'_>,
    ) -> Option<Deed> {
        let written = &step.value;
        let deed = |key: Span, action| {
            Some(Deed {
                key,
                action,
                within: None,
            })
        };
        if let Some(level) = &written.console_level {
            return deed(level.span, Some(Action::ConsoleLevel(level.value.get())));
        }
        if let Some(load) = &written.load {
            return deed(load.span, self::load(&load.value));
        }
        if let Some(unload) = &written.unload {
            return deed(unload.span, self::unload(&unload.value));
        }
        if let Some(kmsg) = &written.kmsg {
            return deed(kmsg.span, self::kmsg(kmsg, mistakes).map(Action::Kmsg));
        }
        if let Some(set) = &written.set {
            return deed(set.span, self.set(set, mistakes).map(Action::Set));
        }
        if let Some(link) = &written.link {
            return deed(link.span, self.link(link, on, mistakes).map(Action::Link));
        }
        if let Some(run) = &written.run {
            return deed(run.span, self::run(run, mistakes).map(Action::Run));
        }
        if let Some(carrier) = &written.wait_for_carrier {
            return deed(carrier.span, self.wait_for_carrier(carrier, on, mistakes));
        }
        if let Some(expect) = &written.expect {
            let (action, within) = expectation::expect(self, expect, mistakes);
            return Some(Deed {
                key: expect.span,
                action,
                within,
            });
        }
        let absent = written.absent.as_ref()?;
        let (action, within) = expectation::absent(self, absent, mistakes);
        Some(Deed {
            key: absent.span,
            action,
            within,
        })
    }

    fn set(&mut self, set: &At<written::step::Set>, mistakes: &mut Mistakes<'_>) -> Option<Set> {
        let target = self.target(set, mistakes)?;
        let written = &set.value;
        let aim = self.aims.aim(target);
        if aim.via == Some(Via::Modprobe) {
            let span = written
                .target
                .as_ref()
                .map_or(set.span, |target| target.span);
            let mistake = Mistake::at(
                span,
                format!(
                    "`{}` is set up by modprobe, `set` works through configfs",
                    aim.name.value
                ),
            );
            mistakes.add(
                mistake
                    .context(aim.span, "set up here")
                    .help("write `via = \"configfs\"` in the target"),
            );
        }
        if let Some(extended) = &written.extended {
            self.extended[target] = extended.value;
        }
        Some(Set {
            target,
            raw: value(written.raw.as_ref()).unwrap_or(false),
            enabled: value(written.enabled.as_ref()),
            dev_name: value(written.dev_name.as_ref()),
            local_port: written.local_port.as_ref().map(|port| port.value.get()),
            remote_port: written.remote_port.as_ref().map(|port| port.value.get()),
            local_ip: written.local_ip.as_ref().map(|address| address.value.0),
            remote_ip: written.remote_ip.as_ref().map(|address| address.value.0),
            remote_mac: self.set_mac(written.remote_mac.as_ref(), mistakes),
            extended: value(written.extended.as_ref()),
            release: value(written.release.as_ref()),
            userdata: set_userdata(written, mistakes),
            attributes: map(written.attributes.as_ref()).collect(),
        })
    }

    fn set_mac(&self, mac: Option<&At<String>>, mistakes: &mut Mistakes<'_>) -> Option<RemoteMac> {
        mac_or_node(mac?, self.roster, mistakes)
    }

    fn link(
        &self,
        link: &At<Either<UpDown, written::step::LinkChange>>,
        on: Option<NodeIndex>,
        mistakes: &mut Mistakes<'_>,
    ) -> Option<LinkChange> {
        let (interface, up, carrier) = match &link.value {
            Either::One(word) => (None, Some(*word == UpDown::Up), None),
            Either::Other(change) => (
                change.interface.as_ref(),
                value(change.up.as_ref()),
                value(change.carrier.as_ref()),
            ),
        };
        Some(LinkChange {
            interface: self.interface(interface, link.span, on?, mistakes)?,
            up,
            carrier,
        })
    }

    fn wait_for_carrier(
        &self,
        carrier: &At<Either<bool, String>>,
        on: Option<NodeIndex>,
        mistakes: &mut Mistakes<'_>,
    ) -> Option<Action> {
        let name = match &carrier.value {
            Either::One(true) => None,
            Either::One(false) => {
                mistakes.add(Mistake::at(
                    carrier.span,
                    "expected `true` or an interface, found `false`",
                ));
                return None;
            }
            Either::Other(name) => Some(carrier.with(name.clone())),
        };
        let interface = self.interface(name.as_ref(), carrier.span, on?, mistakes)?;
        Some(Action::WaitForCarrier { interface })
    }

    /// The index of a node's interface called `name`; without a name, its only one.
    fn interface(
        &self,
        name: Option<&At<String>>,
        span: Span,
        on: NodeIndex,
        mistakes: &mut Mistakes<'_>,
    ) -> Option<usize> {
        let interfaces = self.net.interfaces_of(on);
        let names = interfaces.iter().map(|interface| interface.name.as_str());
        let Some(name) = name else {
            if interfaces.len() > 1 {
                let title = format!(
                    "`{}` has {} interfaces",
                    self.roster.name(on),
                    interfaces.len()
                );
                mistakes
                    .add(Mistake::at(span, title).help(
                        "say which: `eth0` is the one on the first link that names the node",
                    ));
            }
            return (interfaces.len() == 1).then_some(0);
        };
        let found = interfaces
            .iter()
            .position(|interface| interface.name == name.value);
        if found.is_none() && !interfaces.is_empty() {
            mistakes.add(unknown("interface", name, names));
        }
        found
    }
}

/// An expectation is about a receiver, and fails by itself.
fn refuse_beside_expectations(step: &written::step::Step, mistakes: &mut Mistakes<'_>) {
    if let Some(on) = &step.on {
        let mistake = Mistake::at(
            on.span,
            "`on` is for actions, an expectation is about a receiver",
        );
        mistakes.add(mistake.help("write `at` in the expectation"));
    }
    if let Some(fails) = &step.fails {
        let mistake = Mistake::at(
            fails.span,
            "`fails` is for actions, an expectation is met or not",
        );
        mistakes.add(mistake.help("what must not arrive stands in `absent`"));
    }
}

fn load(load: &Either<String, written::step::Load>) -> Option<Action> {
    let (module, parameters) = match load {
        Either::One(module) => (module.clone(), None),
        Either::Other(load) => (
            value(load.module.as_ref())?,
            value(load.parameters.as_ref()),
        ),
    };
    Some(Action::Load {
        module,
        parameters: parameters.unwrap_or_default(),
    })
}

fn unload(unload: &Either<String, written::step::Unload>) -> Option<Action> {
    let (module, if_loaded) = match unload {
        Either::One(module) => (module.clone(), None),
        Either::Other(unload) => (
            value(unload.module.as_ref())?,
            value(unload.if_loaded.as_ref()),
        ),
    };
    Some(Action::Unload {
        module,
        if_loaded: if_loaded.unwrap_or(false),
    })
}

fn kmsg(
    kmsg: &At<Either<String, written::step::Kmsg>>,
    mistakes: &mut Mistakes<'_>,
) -> Option<Kmsg> {
    let written = match &kmsg.value {
        Either::One(text) => {
            return Some(Kmsg {
                records: vec![text.clone()],
                level: None,
                newline: true,
            });
        }
        Either::Other(written) => written,
    };
    let times: u32 = written.times.as_ref().map_or(1, |times| times.value.get());
    let burst = written.burst.as_ref().map(|burst| &burst.value);
    let (text, lines) = match (&written.text, burst) {
        (Some(text), _) => (text.value.clone(), None),
        (None, Some(burst)) => (
            value(burst.text.as_ref())?,
            Some(burst.lines.as_ref()?.value.get::<u32>()),
        ),
        (None, None) => return None,
    };
    if u64::from(times) * u64::from(lines.unwrap_or(1)) > MOST_RECORDS {
        mistakes.add(Mistake::at(
            kmsg.span,
            format!("more than {MOST_RECORDS} records in one step"),
        ));
        return None;
    }
    let once: Vec<String> = match lines {
        None => vec![text],
        Some(lines) => (1..=lines)
            .map(|number| format!("{text} {number}"))
            .collect(),
    };
    let records = (0..times).flat_map(|_| once.iter().cloned()).collect();
    Some(Kmsg {
        records,
        level: written.level.as_ref().map(|level| level.value.get()),
        newline: value(written.newline.as_ref()).unwrap_or(true),
    })
}

fn set_userdata(
    set: &written::step::Set,
    mistakes: &mut Mistakes<'_>,
) -> std::collections::BTreeMap<String, Option<String>> {
    let mut userdata = std::collections::BTreeMap::new();
    for (key, text) in set.userdata.iter().flat_map(|userdata| &userdata.value.0) {
        let Some(text) = text else { continue };
        match &text.value {
            Either::One(text) => userdata.insert(key.value.clone(), Some(text.clone())),
            Either::Other(false) => userdata.insert(key.value.clone(), None),
            Either::Other(true) => {
                mistakes.add(Mistake::at(
                    text.span,
                    "expected a text, or `false` to remove the key",
                ));
                None
            }
        };
    }
    userdata
}

fn run(
    run: &At<Either<Vec<At<String>>, written::step::Run>>,
    mistakes: &mut Mistakes<'_>,
) -> Option<Run> {
    let (command, further) = match &run.value {
        Either::One(command) => (command, None),
        Either::Other(written) => (&written.command.as_ref()?.value, Some(written)),
    };
    if command.is_empty() {
        mistakes.add(
            Mistake::at(run.span, "the command is empty")
                .help("write the program and its arguments, each a text"),
        );
    }
    Some(Run {
        command: command.iter().map(|word| word.value.clone()).collect(),
        programs: texts(further.and_then(|run| run.programs.as_ref())).collect(),
        files: map(further.and_then(|run| run.files.as_ref()))
            .map(|(there, here)| (there, here.into()))
            .collect(),
        prints: further.and_then(|run| value(run.prints.as_ref())),
    })
}

fn map(
    key: Option<&At<crate::scenario::read::Map<String>>>,
) -> impl Iterator<Item = (String, String)> {
    let entries = key.into_iter().flat_map(|map| &map.value.0);
    entries.filter_map(|(key, text)| Some((key.value.clone(), text.as_ref()?.value.clone())))
}

/// A count of the file, which is never zero.
pub(crate) fn times<const MOST: u32>(
    count: crate::scenario::read::scalar::Number<1, MOST>,
) -> NonZeroU32 {
    NonZeroU32::new(count.get()).unwrap_or(NonZeroU32::MIN)
}
