//! Follows expectations until they can be judged.

use crate::{
    scenario::{Absent, Expect, NodeIndex, expectation::Source},
    verdict::{
        absence, conclusion,
        judge::Judge,
        marker::Probes,
        outcome::{Failure, Passed},
        scene::Scene,
        target::Targets,
        watch::Watch,
    },
};

/// From where on an expectation looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Window {
    /// Index into the receiver's arrivals.
    pub(super) arrivals: usize,
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
    /// The probe has come through to a real receiver's card: it is its program's turn, to pass the marker on or to rest.
    AwaitsProgram,
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
    /// How far an expectation is. `marker` is the one that was sent for it, once that was done.
    pub(crate) fn expect(&mut self, expect: &Expect, marker: Option<u64>) -> Progress {
        self.watch(
            (expect.at, &expect.source),
            marker,
            |scene, targets, window| {
                let mut watch = Watch::new(
                    expect.at,
                    expect.target,
                    expect.replay,
                    &expect.lines,
                    window.arrivals,
                );
                watch.choose_streams(scene, targets);
                watch
            },
        );
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
            Some(_) if self.has_markers(watch, marker) && logged => Progress::Settled,
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
        let window = self.window(expect.at, &expect.source);
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
        self.windows
            .insert((expect.at, expect.source.clone()), next);
        verdict
    }

    /// Whether the marker's frame was seen of every target that can send one to a receiver.
    pub(crate) fn marker_is_out(&self, marker: u64) -> bool {
        let watch = self.watch.as_ref();
        watch.is_some_and(|watch| self.is_on_the_wire(watch, marker))
    }

    /// How many targets an expectation is about.
    pub(crate) fn watched_targets(&self) -> usize {
        let streams = self.watch.iter().flat_map(|watch| &watch.streams);
        streams.map(|stream| stream.targets.len()).sum()
    }

    /// How far an absence is. `marker` and `probes` are those that were sent for it, once that was done.
    pub(crate) fn absent(
        &mut self,
        absent: &Absent,
        marker: Option<u64>,
        probes: Option<Probes>,
    ) -> Progress {
        self.watch(
            (absent.at, &absent.source),
            marker,
            |scene, targets, window| {
                let mut watch = Watch::new(
                    absent.at,
                    absent.target,
                    absent.replay,
                    &absent.lines,
                    window.arrivals,
                );
                watch.choose_streams(scene, targets);
                watch
            },
        );
        let Some(watch) = &self.watch else {
            return Progress::Waiting;
        };
        if absent.source == Source::Wire && !absence::arrived(self, watch).is_empty() {
            return Progress::Settled;
        }
        let Some(marker) = marker else {
            return Progress::AwaitsMarker;
        };
        if !self.is_logged(watch, marker) || !self.is_on_the_wire(watch, marker) {
            return Progress::AwaitsMarker;
        }
        match probes {
            Some(probes) if self.traffic.has_probes(absent.at, probes) => Progress::Settled,
            Some(_) | None => Progress::AwaitsProbe,
        }
    }

    /// Ends an absence and judges it. What arrived stays there for the next expectation.
    pub(crate) fn conclude_absent(
        &mut self,
        absent: &Absent,
        (marker, probes): (Option<u64>, Option<Probes>),
        ending: Ending,
    ) -> Result<Passed, Failure> {
        if ending != Ending::Settled {
            self.traffic.flush(&self.scene, &mut self.targets);
        }
        let progress = self.absent(absent, marker, probes);
        let (Some(watch), end) = self.end_absent(absent, marker, ending) else {
            return Ok(Passed::default());
        };
        absence::judge(self, absent, &watch, &end, progress == Progress::Settled)
    }

    /// What an absence has seen, and how it came to its end.
    pub(super) fn end_absent(
        &mut self,
        absent: &Absent,
        marker: Option<u64>,
        ending: Ending,
    ) -> (Option<Watch>, conclusion::End) {
        let end = conclusion::End {
            window: self.window(absent.at, &absent.source),
            marker,
            ending,
            in_time: None,
        };
        (self.watch.take(), end)
    }

    /// Looks at what arrived, with the watch that is there or a new one.
    fn watch(
        &mut self,
        (at, source): (NodeIndex, &Source),
        marker: Option<u64>,
        begin: impl FnOnce(&Scene, &Targets, Window) -> Watch,
    ) {
        if let Some(marker) = marker {
            self.marker_is_sent(marker);
        }
        let window = self.window(at, source);
        let watch = self
            .watch
            .get_or_insert_with(|| begin(&self.scene, &self.targets, window));
        watch.advance(&self.traffic, marker);
    }

    pub(super) fn window(&self, at: NodeIndex, source: &Source) -> Window {
        self.windows
            .get(&(at, source.clone()))
            .copied()
            .unwrap_or_default()
    }

    /// Whether the marker's record was read from the log of every sender that matters.
    fn is_logged(&self, watch: &Watch, marker: u64) -> bool {
        let in_log = |sender: &NodeIndex| {
            self.logs
                .get(sender)
                .is_some_and(|log| log.marker(marker).is_some())
        };
        let mut senders = self.senders(watch);
        senders.retain(|sender| !self.gone.contains(sender));
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
                self.targets.now(**target).is_some_and(|state| {
                    state.enabled && state.carries && !self.gone.contains(&state.on)
                })
            };
            let sending = stream.targets.iter().filter(sends).count();
            let seen: u32 = stream
                .targets
                .iter()
                .map(|target| self.marks(*target, marker))
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
}
