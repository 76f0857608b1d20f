//! Follows expectations that read what a program wrote.

use crate::{
    scenario::{Absent, Expect, Lines, NodeIndex, expectation::Source},
    verdict::{
        judge::{Ending, Judge, Progress},
        outcome::{Failure, Passed},
        reading::{Attention, Reading},
        shortfall::{self, Desk},
        written::Written,
    },
};

/// What shows that nothing can come any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Nothing does.
    None,
    /// The marker came through the program, or the program rests with nothing left for it to take.
    Over,
}

impl Judge {
    /// A program wrote something.
    pub(crate) fn wrote(&mut self, at: NodeIndex, source: &Source, bytes: &[u8]) {
        self.written(at, source).gain(bytes);
    }

    /// A program's file is another one, or begins anew.
    pub(crate) fn begins_anew(&mut self, at: NodeIndex, source: &Source) {
        self.written(at, source).begin_anew();
    }

    fn written(&mut self, at: NodeIndex, source: &Source) -> &mut Written {
        let token = &self.scene.token;
        self.desks
            .entry((at, source.clone()))
            .or_insert_with(|| Written::new(token))
    }

    /// How far an expectation is that reads what a program wrote. `marker` is the last one that was sent for it.
    pub(crate) fn expect_written(&mut self, expect: &Expect, marker: Option<u64>) -> Progress {
        // What the wire has seen explains what is missing.
        self.expect(expect, marker);
        self.read(expect.at, &expect.source, &expect.lines, expect.replay);
        let Some(reading) = &self.reading else {
            return Progress::Waiting;
        };
        let forbidden = expect.exactly && !reading.stream.others.is_empty();
        if reading.is_exceeded() || forbidden {
            Progress::Settled
        } else if !reading.is_complete() {
            Progress::Waiting
        } else if self.came_through(expect.at, &expect.source, marker) {
            Progress::Settled
        } else {
            Progress::AwaitsMarker
        }
    }

    /// Ends an expectation that reads what a program wrote, and judges it.
    pub(crate) fn conclude_written(
        &mut self,
        expect: &Expect,
        marker: Option<u64>,
        (ending, proof): (Ending, Proof),
        attention: &Attention,
    ) -> Result<Passed, Failure> {
        self.expect_written(expect, marker);
        let reading = self.reading.take();
        let on_the_wire = self.conclude(expect, marker, ending);
        let Some(reading) = reading else {
            return Ok(Passed::default());
        };
        let came = proof == Proof::Over
            || ending == Ending::KernelDied
            || self.came_through(expect.at, &expect.source, marker);
        let desk = self.desk(&reading, (expect.at, &expect.source), attention);
        shortfall::of_expect(&desk, expect, on_the_wire.err().as_ref(), came)
    }

    /// How far an absence is at what a program wrote. `marker` is the last one that was sent for it.
    pub(crate) fn absent_written(
        &mut self,
        absent: &Absent,
        marker: Option<u64>,
        probe: Option<u64>,
    ) -> Progress {
        let progress = self.absent(absent, marker, probe);
        self.read(absent.at, &absent.source, &absent.lines, absent.replay);
        let arrived = |reading: &Reading| !reading.stream.events.is_empty();
        if self.reading.as_ref().is_some_and(arrived)
            || self.came_through(absent.at, &absent.source, marker)
        {
            return Progress::Settled;
        }
        match progress {
            Progress::Settled => Progress::AwaitsProgram,
            other => other,
        }
    }

    /// Whether a program hears any target that is aimed at it.
    pub(crate) fn is_heard(&self, at: NodeIndex, attention: &Attention) -> bool {
        let mut aimed = self.targets.all_now().filter(|(_, state)| state.to == at);
        attention.runs
            && aimed.any(|(_, state)| {
                let settings = &state.settings;
                let source = (settings.local_ip, settings.local_port);
                attention.hears(source, settings.remote_port)
            })
    }

    /// Ends an absence at what a program wrote, and judges it.
    pub(crate) fn conclude_absent_written(
        &mut self,
        absent: &Absent,
        ends: (Option<u64>, Option<u64>),
        (ending, proof): (Ending, Proof),
        attention: &Attention,
    ) -> Result<Passed, Failure> {
        self.absent_written(absent, ends.0, ends.1);
        let reading = self.reading.take();
        let (watch, end) = self.end_absent(absent, ends.0, ending);
        let (Some(reading), Some(watch)) = (reading, watch) else {
            return Ok(Passed::default());
        };
        let came = proof == Proof::Over || self.came_through(absent.at, &absent.source, ends.0);
        let desk = self.desk(&reading, (absent.at, &absent.source), attention);
        shortfall::of_absent(&desk, absent, (&watch, &end), came)
    }

    /// Whether a marker has come through a program.
    fn came_through(&self, at: NodeIndex, source: &Source, marker: Option<u64>) -> bool {
        let written = self.desks.get(&(at, source.clone()));
        written.is_some_and(|written| marker.is_some_and(|marker| written.has_marker(marker)))
    }

    fn read(&mut self, at: NodeIndex, source: &Source, lines: &Lines, replay: bool) {
        let before = self.window(at, source).marker;
        let floor = if replay {
            before
        } else {
            before.max(self.set_up)
        };
        let reading = self.reading.get_or_insert_with(|| Reading::new(lines));
        if let Some(written) = self.desks.get(&(at, source.clone())) {
            reading.advance(written, written.behind(floor));
        }
    }

    fn desk<'judge>(
        &'judge self,
        reading: &'judge Reading,
        (at, source): (NodeIndex, &'judge Source),
        attention: &'judge Attention,
    ) -> Desk<'judge> {
        Desk {
            judge: self,
            reading,
            at,
            source,
            written: self.desks.get(&(at, source.clone())),
            attention,
        }
    }
}
