//! The judge: is told what happens, in order, and says what it comes to.

use std::collections::{BTreeMap, HashMap};

use crate::{
    netconsole::{Record, message::Content},
    scenario::{Absent, Expect, NodeIndex},
    verdict::{
        absence, audit, conclusion,
        finding::Finding,
        log::Log,
        marker::marker_number,
        outcome::{Failure, Passed},
        scene::{Frame, Scene},
        sighting::Sighting,
        target::{TargetState, Targets},
        traffic::Traffic,
        watch::Watch,
    },
};

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
    pub(crate) console_levels: BTreeMap<NodeIndex, Vec<Level>>,
    windows: HashMap<NodeIndex, Window>,
    watch: Option<Watch>,
    next_marker: u64,
}

/// A console level, and the first marker that can only have been sent at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) begins_with: u64,
    /// None where something may have changed it that the harness does not know.
    pub(crate) level: Option<u8>,
}

/// From where on an expectation looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Window {
    /// Index into the receiver's arrivals.
    arrivals: usize,
    /// Index into all sightings.
    pub(crate) sightings: usize,
    /// The marker that ended the expectation before; none at the start.
    pub(crate) marker: Option<u64>,
}

/// How far an expectation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Something has still to come.
    Waiting,
    /// All lines are there, or none is awaited: it is the marker's turn. It is to be sent, if that was not done yet,
    /// and then awaited.
    AwaitsMarker,
    /// The marker's frame has passed: the probe is to be put on the wire behind it, and then awaited.
    AwaitsProbe,
    /// Nothing that comes could change the verdict.
    Settled,
}

/// What ended the waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The expectation was settled.
    Settled,
    Deadline,
    KernelDied,
    /// An absence's `for` has passed: the sender's kernel is dead and sends no marker.
    Listened,
}

impl Judge {
    pub(crate) fn new(scene: Scene) -> Self {
        Self {
            scene,
            targets: Targets::default(),
            traffic: Traffic::default(),
            logs: BTreeMap::new(),
            console_levels: BTreeMap::new(),
            windows: HashMap::new(),
            watch: None,
            next_marker: 1,
        }
    }

    /// A target is about to be set up, changed, switched on or off, or its interface to gain or lose its carrier.
    ///
    /// To be told before the kernel is asked for it, since it prints while it changes; where it then fails, the old state
    /// is to be told again. Until the next marker comes, the target may send either way.
    pub(crate) fn target(&mut self, target: usize, state: TargetState) {
        self.targets.change(target, state, self.next_marker);
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
        self.console_levels.entry(sender).or_default().push(Level {
            begins_with: self.next_marker,
            level,
        });
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

    /// Everything that a sender's kernel printed until now was read.
    pub(crate) fn log_is_complete(&mut self, sender: NodeIndex) {
        self.logs.entry(sender).or_default().is_complete = true;
    }

    /// How far an expectation is. `marker` is the one that was sent for it, once that was done.
    pub(crate) fn expect(&mut self, expect: &Expect, marker: Option<u64>) -> Progress {
        self.watch(expect.at, marker, |scene, targets, window| {
            let mut watch = Watch::new(
                expect.at,
                expect.target,
                expect.replay,
                &expect.lines,
                window.arrivals,
            );
            watch.choose_streams(scene, targets);
            watch
        });
        let Some(watch) = &self.watch else {
            return Progress::Waiting;
        };
        let forbidden = expect.exactly
            && (!watch.strangers.is_empty()
                || watch.streams.iter().any(|stream| !stream.others.is_empty()));
        if watch.is_exceeded() || forbidden {
            return Progress::Settled;
        }
        if !watch.is_complete() {
            return Progress::Waiting;
        }
        let logged =
            !expect.asked.contiguous || marker.is_some_and(|marker| self.is_logged(watch, marker));
        match marker {
            Some(_) if watch.has_markers() && logged => Progress::Settled,
            Some(_) | None => Progress::AwaitsMarker,
        }
    }

    /// Ends an expectation and judges it; the next one at that receiver begins behind what was looked at.
    pub(crate) fn conclude(
        &mut self,
        expect: &Expect,
        marker: Option<u64>,
        ending: Ending,
    ) -> Result<Passed, Failure> {
        // What comes only behind the evidence of a failure comes too late: perhaps the marker pushed it out.
        let in_time = self
            .watch
            .as_ref()
            .filter(|_| ending == Ending::Deadline)
            .map(Watch::all_counts);
        if ending != Ending::Settled {
            self.traffic.flush(&self.scene, &mut self.targets);
        }
        self.expect(expect, marker);
        let window = self.window(expect.at);
        let Some(watch) = self.watch.take() else {
            return Ok(Passed::default());
        };
        let next = Window {
            arrivals: watch.seen(),
            sightings: self.traffic.sightings.len(),
            marker: marker.or(window.marker),
        };
        let verdict = conclusion::judge(
            self,
            expect,
            &watch,
            &conclusion::End {
                window,
                marker,
                ending,
                in_time,
            },
        );
        self.windows.insert(expect.at, next);
        verdict
    }

    /// How far an absence is. `marker` and `probe` are those that were sent for it, once that was done.
    pub(crate) fn absent(
        &mut self,
        absent: &Absent,
        marker: Option<u64>,
        probe: Option<u64>,
    ) -> Progress {
        self.watch(absent.at, marker, |scene, targets, window| {
            let mut watch = Watch::new(
                absent.at,
                absent.target,
                absent.replay,
                &absent.lines,
                window.arrivals,
            );
            watch.choose_streams(scene, targets);
            watch
        });
        let Some(watch) = &self.watch else {
            return Progress::Waiting;
        };
        if !absence::arrived(self, watch).is_empty() {
            return Progress::Settled;
        }
        let Some(marker) = marker else {
            return Progress::AwaitsMarker;
        };
        if !self.is_logged(watch, marker) || !self.is_on_the_wire(watch, marker) {
            return Progress::AwaitsMarker;
        }
        match probe {
            Some(probe) if self.traffic.has_probe(absent.at, probe) => Progress::Settled,
            Some(_) | None => Progress::AwaitsProbe,
        }
    }

    /// Ends an absence and judges it. What arrived stays there for the next expectation.
    pub(crate) fn conclude_absent(
        &mut self,
        absent: &Absent,
        (marker, probe): (Option<u64>, Option<u64>),
        ending: Ending,
    ) -> Result<Passed, Failure> {
        if ending != Ending::Settled {
            self.traffic.flush(&self.scene, &mut self.targets);
        }
        let progress = self.absent(absent, marker, probe);
        let window = self.window(absent.at);
        let Some(watch) = self.watch.take() else {
            return Ok(Passed::default());
        };
        absence::judge(
            self,
            absent,
            &watch,
            &conclusion::End {
                window,
                marker,
                ending,
                in_time: None,
            },
            progress == Progress::Settled,
        )
    }

    /// What is wrong without having been asked about, over the whole run.
    pub(crate) fn audit(&mut self) -> Vec<Finding> {
        self.traffic.flush(&self.scene, &mut self.targets);
        let mut findings = self.traffic.findings.clone();
        for sender in self.logs.keys() {
            audit::audit(self, *sender, &mut findings);
        }
        findings.list().to_vec()
    }

    /// Looks at what arrived, with the watch that is there or a new one.
    fn watch(
        &mut self,
        at: NodeIndex,
        marker: Option<u64>,
        begin: impl FnOnce(&Scene, &Targets, Window) -> Watch,
    ) {
        if let Some(marker) = marker {
            self.marker_is_sent(marker);
        }
        let window = self.window(at);
        let watch = self
            .watch
            .get_or_insert_with(|| begin(&self.scene, &self.targets, window));
        watch.advance(&self.traffic, marker);
    }

    fn window(&self, at: NodeIndex) -> Window {
        self.windows.get(&at).copied().unwrap_or_default()
    }

    /// Whether the marker's record was read from the log of every sender that matters.
    fn is_logged(&self, watch: &Watch, marker: u64) -> bool {
        let in_log = |sender: &NodeIndex| {
            self.logs
                .get(sender)
                .is_some_and(|log| log.marker(marker).is_some())
        };
        let senders = self.senders(watch);
        // Without a target nobody knows which sender is meant.
        if watch.streams.is_empty() {
            senders.iter().any(in_log)
        } else {
            senders.iter().all(in_log)
        }
    }

    /// Whether the marker's frame was seen of every target that can send one.
    fn is_on_the_wire(&self, watch: &Watch, marker: u64) -> bool {
        watch.streams.iter().all(|stream| {
            let sends = |target: &&usize| {
                self.targets
                    .now(**target)
                    .is_some_and(|state| state.enabled && state.carries)
            };
            let sending = stream.targets.iter().filter(sends).count();
            let seen: u32 = stream
                .targets
                .iter()
                .map(|target| self.traffic.markers(*target, marker))
                .sum();
            seen as usize >= sending
        })
    }

    /// The senders whose lines an expectation is about.
    pub(crate) fn senders(&self, watch: &Watch) -> Vec<NodeIndex> {
        let targets = watch.streams.iter().flat_map(|stream| &stream.targets);
        let mut senders: Vec<_> = targets
            .filter_map(|target| self.targets.now(*target))
            .map(|state| state.on)
            .collect();
        senders.sort();
        senders.dedup();
        if senders.is_empty() {
            senders = (0..self.scene.nodes.len())
                .map(NodeIndex)
                .filter(|node| self.scene.is_sender(*node))
                .collect();
        }
        senders
    }

    /// The least console level of a sender between two markers, both included in what they end and begin; none where
    /// it is not known for all that time.
    pub(crate) fn least_console_level(&self, sender: NodeIndex, from: u64, to: u64) -> Option<u8> {
        let levels = self.console_levels.get(&sender)?;
        let known = levels.iter().rposition(|level| level.begins_with <= from);
        let first = known.or((from == 0).then_some(0))?;
        let relevant = levels[first..]
            .iter()
            .take_while(|level| level.begins_with <= to);
        relevant
            .map(|level| level.level)
            .try_fold(u8::MAX, |least, level| Some(least.min(level?)))
    }

    /// Whether a text is one of the run's markers.
    pub(crate) fn is_marker(&self, text: &[u8]) -> bool {
        marker_number(&self.scene.token, text).is_some()
    }

    /// The sequence number of a message: its own, or that of its record.
    pub(crate) fn sequence(&self, sighting: &Sighting) -> Option<u64> {
        match &sighting.message.content {
            Content::Extended(extended) => Some(extended.header.sequence),
            Content::Basic(basic) => {
                let sender = self.traffic.flows.flow(sighting.flow).heading.from;
                let candidates = self.logs.get(&sender)?.at(basic.prefix.timestamp?);
                candidates
                    .filter(|record| record.text.starts_with(&sighting.message.text))
                    .map(|record| record.header.sequence)
                    .next()
            }
        }
    }
}
