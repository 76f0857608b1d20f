//! The steps of a scenario, in order.

use std::{num::NonZeroU32, time::Duration};

use crate::scenario::{
    Action, NodeIndex, Place, Step,
    meaning::{action, expectation, link::Net, node::Roster, settings::failure, target::Aims},
    mistake::{Mistake, Mistakes},
    read::scalar::Number,
    step::ProgramChange,
    tree::{At, Span},
    written::{self, File, node::RoleWord},
};

/// How long a step may take that says nothing.
const WITHIN: Duration = Duration::from_secs(10);
/// A daemon may have much to read before it listens.
const WITHIN_START: Duration = Duration::from_secs(30);
/// A module may probe hardware, in emulation at that.
const WITHIN_LOAD: Duration = Duration::from_secs(20);
/// A kernel that is made to suffer is taken hold of from outside, and speaks at length.
const WITHIN_ORDEAL: Duration = Duration::from_secs(30);
/// A machine goes down.
const WITHIN_DOWN: Duration = Duration::from_secs(60);

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
        let on = self.actor(step, mistakes);
        let deed = self.deed(step, on, mistakes)?;
        let beside = written.within.as_ref();
        if let (Some(beside), Some(_)) = (beside, deed.within) {
            let title = "`within` stands in the expectation already";
            mistakes.add(Mistake::at(beside.span, title));
        }
        let goes_down = written.reboot.is_some() || written.power_off.is_some();
        let default = match &deed.action {
            _ if written.load.is_some() => WITHIN_LOAD,
            _ if goes_down => WITHIN_DOWN,
            _ if program_change(written).is_some() => WITHIN_START,
            Some(action) if action.is_ordeal() => within_ordeal(action),
            Some(_) | None => WITHIN,
        };
        let within = deed.within.or(beside.map(|within| within.value.0));
        Some(Step {
            action: deed.action?,
            on: on?,
            fails: failure(written.fails.as_ref()),
            within: within.unwrap_or(default),
            place: Place::of(mistakes.text, deed.key),
        })
    }

    /// The sender that does the step; of an expectation, any node.
    fn actor(
        &self,
        step: &At<written::step::Step>,
        mistakes: &mut Mistakes<'_>,
    ) -> Option<NodeIndex> {
        let written = &step.value;
        if written.expect.is_some() || written.absent.is_some() {
            refuse_beside_expectations(written, mistakes);
            return Some(NodeIndex(0));
        }
        if let Some((name, _)) = program_change(written) {
            return self.receiver(name, written.on.as_ref(), mistakes);
        }
        if let (Some(_), Some(on)) = (&written.run, &written.on)
            && let Some(index) = self.roster.named(&on.value)
            && self.roster.has_program(index)
        {
            return Some(index);
        }
        let made = written.make.as_ref().or(written.remove.as_ref());
        match (&written.set, made, &written.on) {
            (Some(set), _, None) => self.sender_of(set, mistakes),
            (_, Some(name), None) => self.sender_of_named(name, mistakes),
            (_, _, on) => {
                self.roster
                    .choose(("on", on.as_ref()), RoleWord::Sender, step.span, mistakes)
            }
        }
    }

    /// The receiver whose program is started or stopped.
    fn receiver(
        &self,
        name: &At<String>,
        on: Option<&At<String>>,
        mistakes: &mut Mistakes<'_>,
    ) -> Option<NodeIndex> {
        if let Some(on) = on {
            mistakes.add(
                Mistake::at(on.span, "`on` is for what a sender does")
                    .help("the step names its receiver already"),
            );
        }
        let key = ("the step", Some(name));
        let index = self
            .roster
            .choose(key, RoleWord::Receiver, name.span, mistakes)?;
        if !self.roster.has_program(index) {
            let title = format!("`{}` has no program", name.value);
            mistakes.add(
                Mistake::at(name.span, title)
                    .help("give the receiver a `program`; the observer always listens"),
            );
        }
        Some(index)
    }

    fn deed(
        &mut self,
        step: &At<written::step::Step>,
        on: Option<NodeIndex>,
        mistakes: &mut Mistakes<'_>,
    ) -> Option<Deed> {
        let written = &step.value;
        let judged = |key: Span, (action, within)| {
            Some(Deed {
                key,
                action,
                within,
            })
        };
        if let Some(expect) = &written.expect {
            return judged(expect.span, expectation::expect(self, expect, mistakes));
        }
        if let Some(absent) = &written.absent {
            return judged(absent.span, expectation::absent(self, absent, mistakes));
        }
        let (key, action) = self.act(written, on, mistakes)?;
        Some(Deed {
            key,
            action,
            within: None,
        })
    }

    /// The action of a step that is no expectation, and where it stands.
    fn act(
        &mut self,
        step: &written::step::Step,
        on: Option<NodeIndex>,
        mistakes: &mut Mistakes<'_>,
    ) -> Option<(Span, Option<Action>)> {
        if let Some(level) = &step.console_level {
            return Some((level.span, Some(Action::ConsoleLevel(level.value.get()))));
        }
        if let Some(load) = &step.load {
            let action = action::load(&load.value);
            self.loads_netconsole |= action
                .as_ref()
                .is_some_and(|load| load.module() == Some("netconsole"));
            return Some((load.span, action));
        }
        if let Some(unload) = &step.unload {
            return Some((unload.span, action::unload(&unload.value)));
        }
        if let Some(kmsg) = &step.kmsg {
            return Some((kmsg.span, action::kmsg(kmsg, mistakes).map(Action::Kmsg)));
        }
        if let Some(set) = &step.set {
            return Some((set.span, self.set(set, mistakes).map(Action::Set)));
        }
        if let Some(make) = &step.make {
            let target = self.configfs_target(make, mistakes);
            return Some((make.span, target.map(|target| Action::Make { target })));
        }
        if let Some(remove) = &step.remove {
            let target = self.configfs_target(remove, mistakes);
            return Some((remove.span, target.map(|target| Action::Remove { target })));
        }
        if let Some(link) = &step.link {
            return Some((link.span, self.link(link, on, mistakes).map(Action::Link)));
        }
        if let Some(run) = &step.run {
            return Some((run.span, action::run(run, mistakes).map(Action::Run)));
        }
        if let Some(hang) = &step.hang {
            let cpus = on.map_or(u8::MAX, |on| self.roster.cpus(on));
            return Some((hang.span, action::hang(hang, cpus, mistakes)));
        }
        if let Some((key, action)) = action::ordeal(step) {
            return Some((key, Some(action)));
        }
        if let Some(write) = &step.write {
            return Some((
                write.span,
                action::write(write, mistakes).map(Action::Write),
            ));
        }
        for (key, action) in [
            (&step.reboot, Action::Reboot),
            (&step.power_off, Action::PowerOff),
        ] {
            if let Some(key) = key {
                return Some((key.span, action::only_true(key, mistakes).then_some(action)));
            }
        }
        if let Some((name, change)) = program_change(step) {
            return Some((name.span, Some(Action::Program(change))));
        }
        let carrier = step.wait_for_carrier.as_ref()?;
        Some((carrier.span, self.wait_for_carrier(carrier, on, mistakes)))
    }
}

/// A kernel that counts the seconds until it reboots may do so slowly.
fn within_ordeal(action: &Action) -> Duration {
    let seconds = match action {
        Action::Panic { timeout } => timeout.and_then(|timeout| u64::try_from(timeout).ok()),
        _ => None,
    };
    WITHIN_ORDEAL + 10 * Duration::from_secs(seconds.unwrap_or(0))
}

/// What a step does with a receiver's program, and whose.
fn program_change(step: &written::step::Step) -> Option<(&At<String>, ProgramChange)> {
    let changes = [
        (&step.start, ProgramChange::Start),
        (&step.stop, ProgramChange::Stop),
        (&step.kill, ProgramChange::Kill),
        (&step.restart, ProgramChange::Restart),
    ];
    changes
        .into_iter()
        .find_map(|(name, change)| Some((name.as_ref()?, change)))
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
