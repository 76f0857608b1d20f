//! The targets as the kernel holds them, over time.

use crate::{netconsole::Settings, scenario::NodeIndex, verdict::finding::Kind};

/// A target as it is from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetState {
    pub(crate) name: String,
    /// The sender that has it.
    pub(crate) on: NodeIndex,
    /// The receiver that it is aimed at.
    pub(crate) to: NodeIndex,
    pub(crate) settings: Settings,
    pub(crate) enabled: bool,
    /// Whether frames can leave its interface as far as the run knows: up, and with a carrier.
    pub(crate) carries: bool,
}

/// All states that targets were ever in.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    entries: Vec<Entry>,
    /// By the scenario's index of a target: its entry.
    current: Vec<Option<usize>>,
    /// Grows with each change, so that what was looked up before is looked up again.
    pub(crate) generation: u64,
}

/// One state of one target.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) target: usize,
    pub(crate) state: TargetState,
    /// The first marker that can only have been sent with it.
    begins_with: u64,
    /// Once it is no longer current: the first marker that can only have been sent without it.
    pub(crate) ends_before: Option<u64>,
    /// The lowest marker still to be sent whenever its interface gained or lost its carrier.
    pub(crate) breaks: Vec<u64>,
    /// Nothing is sent under it any more from the sighting with this number on: a marker came under the state that
    /// followed, or the target was quiet for long enough.
    pub(crate) over: Option<usize>,
}

impl Targets {
    /// Sets a target up or changes it. `next_marker` is the lowest number of a marker that is still to be sent.
    pub(crate) fn change(&mut self, target: usize, state: TargetState, next_marker: u64) {
        if self.current.len() <= target {
            self.current.resize(target + 1, None);
        }
        if let Some(entry) = self.current[target] {
            let entry = &mut self.entries[entry];
            if entry.state == state {
                return;
            }
            // What is known of the wire only is no change of what the kernel sends.
            if (TargetState {
                carries: state.carries,
                ..entry.state.clone()
            }) == state
            {
                entry.state = state;
                entry.breaks.push(next_marker);
                return;
            }
            entry.ends_before = Some(next_marker);
        }
        self.current[target] = Some(self.entries.len());
        self.entries.push(Entry {
            target,
            state,
            begins_with: next_marker,
            ends_before: None,
            breaks: Vec::new(),
            over: None,
        });
        self.generation += 1;
    }

    /// A marker came under `entry`, as sighting `number`: what that target was before is over.
    pub(crate) fn marker_came(&mut self, entry: usize, marker: u64, number: usize) {
        let target = self.entries[entry].target;
        self.end(number, |index, other| {
            index != entry
                && other.target == target
                && other.ends_before.is_some_and(|end| end <= marker)
        });
    }

    /// Whatever a target was before it became what it is now is over, from sighting `number` on.
    pub(crate) fn end_all_but_current(&mut self, target: usize, number: usize) {
        let current = self.current.get(target).copied().flatten();
        self.end(number, |index, other| {
            other.target == target && current != Some(index)
        });
    }

    /// A target is gone; what it has still to send comes under its last state.
    pub(crate) fn gone(&mut self, target: usize, next_marker: u64) {
        if let Some(entry) = self.current.get_mut(target).and_then(Option::take) {
            self.entries[entry].ends_before = Some(next_marker);
            self.generation += 1;
        }
    }

    /// All targets of `sender` are gone: its kernel is. Nothing is sent under any of their states from sighting `number`
    /// on.
    pub(crate) fn end_all_of(&mut self, sender: NodeIndex, number: usize, next_marker: u64) {
        for current in &mut self.current {
            if let Some(entry) = current.map(|entry| &mut self.entries[entry])
                && entry.state.on == sender
            {
                entry.ends_before = Some(next_marker);
                *current = None;
            }
        }
        self.end(number, |_, other| other.state.on == sender);
    }

    fn end(&mut self, number: usize, which: impl Fn(usize, &Entry) -> bool) {
        for (index, entry) in self.entries.iter_mut().enumerate() {
            if entry.over.is_none() && which(index, entry) {
                entry.over = Some(number);
                self.generation += 1;
            }
        }
    }

    /// What is wrong if this marker was sent under `entry`.
    pub(crate) fn outlived(&self, entry: usize, marker: u64) -> Option<(Kind, &'static str)> {
        self.outlived_when(entry, |change| change <= marker)
    }

    /// What is wrong if something was sent under `entry` that is `behind` the markers that follow a change.
    pub(crate) fn outlived_when(
        &self,
        entry: usize,
        behind: impl Fn(u64) -> bool,
    ) -> Option<(Kind, &'static str)> {
        let Entry {
            state,
            begins_with,
            ends_before,
            target,
            ..
        } = &self.entries[entry];
        let ended = ends_before.is_some_and(&behind);
        let successor = self.entries[entry + 1..]
            .iter()
            .find(|other| other.target == *target)
            .map(|other| &other.state);
        let disabled = match successor.filter(|_| ended) {
            Some(successor) => !successor.enabled,
            None => !state.enabled && behind(*begins_with),
        };
        match (disabled, ended) {
            (true, _) => Some((
                Kind::TargetDisabled,
                "it still sends, though it is disabled",
            )),
            (false, true) => Some((
                Kind::WrongSettings,
                "it still sends with the settings that were changed",
            )),
            (false, false) => None,
        }
    }

    /// All states that targets were ever in.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// A sentence about a target, with its name in front.
    pub(crate) fn named(&self, target: Option<usize>, sentence: &str) -> String {
        match target.and_then(|target| self.now(target)) {
            Some(state) => format!("{}: {sentence}", state.name),
            None => sentence.to_owned(),
        }
    }

    /// The state with this number.
    pub(crate) fn entry(&self, entry: usize) -> &Entry {
        &self.entries[entry]
    }

    /// All states that a datagram of `sender` may have been sent under, with their numbers.
    pub(crate) fn possible(&self, sender: NodeIndex) -> impl Iterator<Item = (usize, &Entry)> {
        self.entries
            .iter()
            .enumerate()
            .filter(move |(_, entry)| entry.state.on == sender && entry.over.is_none())
    }

    /// Whether `entry` is what its target is now.
    pub(crate) fn is_current(&self, entry: usize) -> bool {
        self.current[self.entries[entry].target] == Some(entry)
    }

    /// What a target is now.
    pub(crate) fn now(&self, target: usize) -> Option<&TargetState> {
        self.current
            .get(target)
            .copied()
            .flatten()
            .map(|entry| &self.entries[entry].state)
    }

    /// All targets as they are now, with their indices.
    pub(crate) fn all_now(&self) -> impl Iterator<Item = (usize, &TargetState)> {
        (0..self.current.len()).filter_map(|target| Some((target, self.now(target)?)))
    }

    /// The enabled targets that send the very same datagrams as `target` does, itself included where it is enabled.
    pub(crate) fn twins(&self, target: usize) -> Vec<usize> {
        let Some(state) = self.now(target) else {
            return Vec::new();
        };
        let same = |other: &TargetState| {
            other.enabled && other.on == state.on && sends_alike(&other.settings, &state.settings)
        };
        self.all_now()
            .filter(|(_, other)| same(other))
            .map(|(index, _)| index)
            .collect()
    }
}

/// Whether nothing but userdata tells the datagrams of both apart.
pub(crate) fn sends_alike(one: &Settings, other: &Settings) -> bool {
    let without = |settings: &Settings| Settings {
        userdata: Default::default(),
        ..settings.clone()
    };
    without(one) == without(other)
}
