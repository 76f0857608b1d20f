//! The steps of a scenario, in order.

use std::{num::NonZeroU32, time::Duration};

use crate::scenario::{
    Action, NodeIndex, Place, Step,
    meaning::{action, expectation, link::Net, node::Roster, settings::failure, target::Aims},
    mistake::{Mistake, Mistakes},
    read::scalar::Number,
    tree::{At, Span},
    written::{self, File, node::RoleWord},
};

/// How long a step may take that says nothing.
const WITHIN: Duration = Duration::from_secs(10);
/// A module may probe hardware, in emulation at that.
const WITHIN_LOAD: Duration = Duration::from_secs(20);

/// What the steps read so far have made of the targets.
pub(crate) struct Script<'a, 'f> {
    pub(crate) roster: &'a Roster<'f>,
    pub(crate) net: &'a Net,
    pub(crate) aims: &'a Aims,
    /// By target: whether it is extended by now.
    pub(crate) extended: Vec<bool>,
    /// Whether a step has loaded netconsole by hand.
    pub(crate) loads_netconsole: bool,
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
            loads_netconsole: false,
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
            let load = load.with(action::load(&load.value)?);
            self.loads_netconsole |= load.value.module() == Some("netconsole");
            return deed(load.span, Some(load.value));
        }
        if let Some(unload) = &written.unload {
            return deed(unload.span, action::unload(&unload.value));
        }
        if let Some(kmsg) = &written.kmsg {
            return deed(kmsg.span, action::kmsg(kmsg, mistakes).map(Action::Kmsg));
        }
        if let Some(set) = &written.set {
            return deed(set.span, self.set(set, mistakes).map(Action::Set));
        }
        if let Some(link) = &written.link {
            return deed(link.span, self.link(link, on, mistakes).map(Action::Link));
        }
        if let Some(run) = &written.run {
            return deed(run.span, action::run(run, mistakes).map(Action::Run));
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

/// A count of the file, which is never zero.
pub(crate) fn times<const MOST: u32>(count: Number<1, MOST>) -> NonZeroU32 {
    NonZeroU32::new(count.get()).unwrap_or(NonZeroU32::MIN)
}
