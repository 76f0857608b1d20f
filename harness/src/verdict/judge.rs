//! The judge: is told what happens, in order, and says what it comes to.

pub(crate) mod desk;
mod last_words;
pub(crate) mod waiting;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    netconsole::{Record, message::Content},
    scenario::{NodeIndex, expectation::Source},
    verdict::{
        audit, complaint,
        console::ConsoleLevels,
        finding::{Finding, Findings},
        log::Log,
        marker::marker_number,
        reading::Reading,
        scene::{Frame, Scene},
        sighting::Sighting,
        target::{TargetState, Targets},
        traffic::Traffic,
        watch::Watch,
        written::Written,
    },
};

pub(crate) use desk::Proof;
pub(crate) use waiting::{Ending, Progress, Window};

/// Judges one run of one scenario.
///
/// Markers are numbered upwards over the whole run, from 1. A marker that is sent right after a change of a target
/// (and before anything else is printed) makes certain from where on only the new settings hold.
#[derive(Debug)]
pub(crate) struct Judge {
    pub(crate) scene: Scene,
    pub(crate) targets: Targets,
    pub(crate) traffic: Traffic,
    pub(crate) logs: BTreeMap<NodeIndex, Log>,
    /// Of each sender: the logs of the kernels that it ran before, the oldest first.
    earlier_logs: BTreeMap<NodeIndex, Vec<Log>>,
    /// What is wrong in what those kernels sent.
    earlier_findings: Findings,
    /// The senders whose kernel is gone: they send no marker any more.
    gone: BTreeSet<NodeIndex>,
    /// Of each sender that was booted while it was watched: the marker that its kernel printed at first.
    first_markers: BTreeMap<NodeIndex, u64>,
    /// Of each sender: the last record that was printed before it was ready.
    pub(crate) ready: BTreeMap<NodeIndex, Option<u64>>,
    pub(crate) console_levels: BTreeMap<NodeIndex, ConsoleLevels>,
    /// By receiver and what is read there.
    windows: HashMap<(NodeIndex, Source), Window>,
    watch: Option<Watch>,
    /// What programs wrote.
    desks: HashMap<(NodeIndex, Source), Written>,
    reading: Option<Reading>,
    /// The marker that ended the last set-up of targets.
    set_up: Option<u64>,
    next_marker: u64,
    /// The records that stand for markers, by sender and marker.
    last_words: BTreeMap<(NodeIndex, u64), u64>,
}

impl Judge {
    pub(crate) fn new(scene: Scene) -> Self {
        Self {
            scene,
            targets: Targets::default(),
            traffic: Traffic::default(),
            logs: BTreeMap::new(),
            earlier_logs: BTreeMap::new(),
            earlier_findings: Findings::default(),
            gone: BTreeSet::new(),
            first_markers: BTreeMap::new(),
            ready: BTreeMap::new(),
            console_levels: BTreeMap::new(),
            windows: HashMap::new(),
            watch: None,
            desks: HashMap::new(),
            reading: None,
            set_up: None,
            next_marker: 1,
            last_words: BTreeMap::new(),
        }
    }

    /// A target is about to be set up, changed, switched on or off, or its interface to gain or lose its carrier.
    ///
    /// To be told before the kernel is asked for it, since it prints while it changes; where it then fails, the old state
    /// is to be told again. Until the next marker comes, the target may send either way.
    pub(crate) fn target(&mut self, target: usize, state: TargetState) {
        self.targets.change(target, state, self.next_marker);
    }

    /// A target was removed.
    pub(crate) fn target_is_gone(&mut self, target: usize) {
        self.targets.gone(target, self.next_marker);
    }

    /// A target was quiet for long enough that whatever it sent before its last change has come.
    pub(crate) fn target_was_quiet(&mut self, target: usize) {
        self.targets
            .end_all_but_current(target, self.traffic.sightings.len());
    }

    /// A target was registered in a way that replays the log to it: up to and including this marker, what it sends is
    /// replayed. To be told before the frames come.
    pub(crate) fn replay_ends(&mut self, target: usize, marker: u64) {
        self.marker_is_sent(marker);
        self.set_up = self.set_up.max(Some(marker));
        self.traffic.replay_ends(target, marker);
    }

    /// A marker was sent or is about to be, for whatever reason.
    pub(crate) fn marker_is_sent(&mut self, marker: u64) {
        self.next_marker = self.next_marker.max(marker.saturating_add(1));
    }

    /// The console level of a sender was set.
    pub(crate) fn console_level(&mut self, sender: NodeIndex, level: u8) {
        self.level_changes(sender, Some(level));
    }

    /// Something happens on a sender that may change its console level to something that the harness does not know.
    pub(crate) fn console_level_is_unknown(&mut self, sender: NodeIndex) {
        self.level_changes(sender, None);
    }

    fn level_changes(&mut self, sender: NodeIndex, level: Option<u8>) {
        self.console_levels
            .entry(sender)
            .or_default()
            .change(level, self.next_marker);
    }

    /// A frame was put on a link. Frames come in the order in which they were put there.
    pub(crate) fn frame(&mut self, frame: &Frame) {
        self.traffic.take(frame, &self.scene, &mut self.targets);
    }

    /// A record of a sender's kernel log was read. Records come in their order; they may lag behind the frames.
    pub(crate) fn log(&mut self, sender: NodeIndex, record: Record) {
        self.logs
            .entry(sender)
            .or_default()
            .add(record, &self.scene.token);
    }

    /// Whether a record of a sender's kernel was read before.
    pub(crate) fn knows(&self, sender: NodeIndex, record: &Record) -> bool {
        let log = self.logs.get(&sender);
        let known = log.and_then(|log| log.get(record.header.sequence));
        known.is_some_and(|known| known.raw == record.raw)
    }

    /// Everything that a sender's kernel printed until now was read.
    pub(crate) fn log_is_complete(&mut self, sender: NodeIndex) {
        self.logs.entry(sender).or_default().is_complete = true;
    }

    /// The kernel of a sender is gone, and all that it sent has come.
    pub(crate) fn is_gone(&mut self, sender: NodeIndex) {
        self.gone.insert(sender);
    }

    /// The kernel of a sender is gone, all that it sent has come, and another one is about to boot: with a log of its own
    /// that begins anew, and without targets until it is told that they are there.
    pub(crate) fn boots(&mut self, sender: NodeIndex) {
        self.gone.remove(&sender);
        self.traffic.is_gone(sender, &self.scene, &mut self.targets);
        let mut findings = std::mem::take(&mut self.earlier_findings);
        audit::audit(self, sender, &mut findings);
        complaint::audit(self, sender, &mut findings);
        self.earlier_findings = findings;
        let over = self.traffic.sightings.len();
        self.targets.end_all_of(sender, over, self.next_marker);
        self.traffic.boots(sender);
        if let Some(log) = self.logs.remove(&sender) {
            self.earlier_logs.entry(sender).or_default().push(log);
        }
        self.console_levels.remove(&sender);
    }

    /// A sender has booted: its kernel printed this marker when it had come to its first program, and has had this
    /// console level since.
    pub(crate) fn booted(&mut self, sender: NodeIndex, level: Option<u8>, marker: u64) {
        self.marker_is_sent(marker);
        self.first_markers.insert(sender, marker);
        let levels = ConsoleLevels::booted(level, marker);
        self.console_levels.insert(sender, levels);
    }

    /// A sender is ready, and the log of its boot was read: up to the first marker of a kernel that was booted, else all
    /// that was read until now, is not what the scenario is about.
    pub(crate) fn is_ready(&mut self, sender: NodeIndex) {
        let log = self.logs.get(&sender);
        let first = self.first_markers.get(&sender);
        let first = first.and_then(|marker| log?.marker(*marker));
        let ready = first.or_else(|| log?.last());
        self.ready.insert(sender, ready);
    }

    /// A marker, or the first of the sender's kernel where that came later.
    pub(crate) fn since_boot(&self, sender: NodeIndex, marker: u64) -> u64 {
        let first = self.first_markers.get(&sender).copied().unwrap_or(0);
        marker.max(first)
    }

    /// The records that a sender's kernels printed behind a marker, or all, as far as they were read.
    pub(crate) fn records_since(
        &self,
        sender: NodeIndex,
        marker: Option<u64>,
    ) -> impl Iterator<Item = &Record> {
        let earlier = self.earlier_logs.get(&sender).into_iter().flatten();
        let logs: Vec<&Log> = earlier.chain(self.logs.get(&sender)).collect();
        let holds = |log: &&Log| marker.is_some_and(|marker| log.marker(marker).is_some());
        let first = logs.iter().rposition(holds);
        let logs = logs.into_iter().enumerate().skip(first.unwrap_or(0));
        logs.flat_map(move |(index, log)| {
            let start = marker.filter(|_| Some(index) == first);
            log.after(start.and_then(|marker| log.marker(marker)))
        })
    }

    /// What is wrong without having been asked about, over the whole run.
    pub(crate) fn audit(&mut self) -> Vec<Finding> {
        self.traffic.flush(&self.scene, &mut self.targets);
        let mut findings = self.traffic.findings.clone();
        findings.extend(&self.earlier_findings);
        for sender in self.logs.keys() {
            audit::audit(self, *sender, &mut findings);
            complaint::audit(self, *sender, &mut findings);
        }
        findings.list().to_vec()
    }

    /// See [`ConsoleLevels::least`].
    pub(crate) fn least_console_level(&self, sender: NodeIndex, from: u64, to: u64) -> Option<u8> {
        self.console_levels.get(&sender)?.least(from, to)
    }

    /// Whether a text is one of the run's markers.
    pub(crate) fn is_marker(&self, text: &[u8]) -> bool {
        marker_number(&self.scene.token, text).is_some()
    }

    /// The sequence numbers that a message may have: its own, or those of the records that are like it.
    /// Of a kernel that was booted anew since there are none: its numbers are no longer those of the log.
    pub(crate) fn sequences(&self, sighting: &Sighting) -> Vec<u64> {
        let sender = self.traffic.flows.flow(sighting.flow).heading.from;
        if sighting.boot != self.traffic.boot_of(sender) {
            return Vec::new();
        }
        match &sighting.message.content {
            Content::Extended(extended) => vec![extended.header.sequence],
            Content::Basic(basic) => {
                let (Some(log), Some(timestamp)) = (self.logs.get(&sender), basic.prefix.timestamp)
                else {
                    return Vec::new();
                };
                let text = &sighting.message.text;
                let mut alike: Vec<_> = log
                    .at(timestamp)
                    .filter(|record| record.text.starts_with(text))
                    .collect();
                // A message that was cut is only the start of its record.
                alike.sort_by_key(|record| record.text != *text);
                alike
                    .into_iter()
                    .map(|record| record.header.sequence)
                    .collect()
            }
        }
    }
}
