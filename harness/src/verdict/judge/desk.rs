//! Follows expectations that read what a program wrote.

use std::collections::BTreeMap;

use memchr::memmem;

use crate::{
    scenario::{Absent, Expect, NodeIndex, expectation::Source},
    verdict::{
        judge::{Ending, Judge, Progress},
        marker::Probes,
        outcome::{Failure, Passed},
        reading::{Attention, Reading},
        shortfall::{self, Desk},
        sighting::Sighting,
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

    /// All that the program at `at` wrote, as far as it was read.
    pub(crate) fn written_at(&self, at: NodeIndex) -> BTreeMap<&Source, &Written> {
        let desks = self.desks.iter().filter(|((node, _), _)| *node == at);
        desks
            .map(|((_, source), written)| (source, written))
            .collect()
    }

    /// How far an expectation is that reads what a program wrote. `marker` is the last one that was sent for it.
    pub(crate) fn expect_written(&mut self, expect: &Expect, marker: Option<u64>) -> Progress {
        // What the wire has seen explains what is missing.
        self.expect(expect, marker);
        let place = (expect.at, &expect.source);
        self.read(place, expect.replay, || Reading::new(&expect.lines));
        self.leave_out_markers(place, expect.exactly);
        let Some(reading) = &self.reading else {
            return Progress::Waiting;
        };
        let forbidden = expect.exactly && !reading.stream.others.is_empty();
        if reading.is_exceeded() || forbidden {
            Progress::Settled
        } else if !reading.is_complete() {
            Progress::Waiting
        } else if self.came_through(place, marker) {
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
        let in_time = self.reading.as_ref().is_none_or(Reading::is_complete);
        self.expect_written(expect, marker);
        let reading = self.reading.take();
        let floor = self.floor((expect.at, &expect.source), expect.replay);
        let on_the_wire = self.conclude(expect, marker, ending);
        let Some(reading) = reading else {
            return Ok(Passed::default());
        };
        let place = (expect.at, &expect.source);
        let came = self.came_through(place, marker);
        let over = came || proof == Proof::Over || ending == Ending::KernelDied;
        let is_late = ending == Ending::Deadline && !in_time;
        let desk = self.desk(&reading, place, (attention, floor));
        let verdict =
            shortfall::of_expect(&desk, expect, on_the_wire.err().as_ref(), (over, is_late));
        if let Some(marker) = marker.filter(|_| !came) {
            self.written(expect.at, &expect.source).cut(marker);
        }
        verdict
    }

    /// How far an absence is at what a program wrote. `marker` is the last one that was sent for it.
    pub(crate) fn absent_written(
        &mut self,
        absent: &Absent,
        marker: Option<u64>,
        probes: Option<Probes>,
    ) -> Progress {
        let progress = self.absent(absent, marker, probes);
        let place = (absent.at, &absent.source);
        self.read(place, absent.replay, || Reading::none_of(&absent.lines));
        self.leave_out_markers(place, false);
        let arrived = |reading: &Reading| !reading.stream.events.is_empty();
        if self.reading.as_ref().is_some_and(arrived) || self.came_through(place, marker) {
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
        ends: (Option<u64>, Option<Probes>),
        (ending, proof): (Ending, Proof),
        attention: &Attention,
    ) -> Result<Passed, Failure> {
        self.absent_written(absent, ends.0, ends.1);
        let reading = self.reading.take();
        let (watch, end) = self.end_absent(absent, ends.0, ending);
        let (Some(reading), Some(watch)) = (reading, watch) else {
            return Ok(Passed::default());
        };
        let came = proof == Proof::Over || self.came_through((absent.at, &absent.source), ends.0);
        let place = (absent.at, &absent.source);
        let floor = self.floor(place, absent.replay);
        let desk = self.desk(&reading, place, (attention, floor));
        shortfall::of_absent(&desk, absent, (&watch, &end), came)
    }

    /// A set-up is over, and so are all lines of it: where its marker has not come through, what is written from now on
    /// stands behind it. `sources` are what is read of the program at `at`.
    pub(crate) fn set_up_is_written(
        &mut self,
        at: NodeIndex,
        sources: impl Iterator<Item = Source>,
    ) {
        let Some(marker) = self.set_up else {
            return;
        };
        for source in sources {
            if !self.came_through((at, &source), Some(marker)) {
                self.written(at, &source).cut(marker);
            }
        }
    }

    /// Whether the marker behind the last set-up has come through to `source`; also where there was none.
    pub(crate) fn shows_set_up(&self, at: NodeIndex, source: &Source) -> bool {
        self.set_up.is_none() || self.came_through((at, source), self.set_up)
    }

    /// Whether the marker behind the last set-up has come to a receiver's card.
    pub(crate) fn has_set_up(&self, at: NodeIndex) -> bool {
        let arrivals = self.traffic.arrivals(at).iter().rev();
        let mut markers = arrivals.filter_map(|number| self.traffic.sightings[*number].marker);
        markers.any(|marker| Some(marker) == self.set_up)
    }

    /// Whether a marker has come through a program.
    fn came_through(&self, (at, source): (NodeIndex, &Source), marker: Option<u64>) -> bool {
        let written = self.desks.get(&(at, source.clone()));
        written.is_some_and(|written| marker.is_some_and(|marker| written.has_marker(marker)))
    }

    /// The marker behind which a window begins.
    fn floor(&self, (at, source): (NodeIndex, &Source), replay: bool) -> Option<u64> {
        let before = self.window(at, source).marker;
        if replay {
            before
        } else {
            before.max(self.set_up)
        }
    }

    fn read(
        &mut self,
        (at, source): (NodeIndex, &Source),
        replay: bool,
        begin: impl FnOnce() -> Reading,
    ) {
        let floor = self.floor((at, source), replay);
        let reading = self.reading.get_or_insert_with(begin);
        if let Some(written) = self.desks.get(&(at, source.clone())) {
            reading.advance(written, written.behind(floor));
        }
    }

    /// Where a program writes no marker as it is: what it makes of one may be a line like another's. As many lines as
    /// markers came are not counted, if nothing of any message is in them.
    fn leave_out_markers(&mut self, (at, source): (NodeIndex, &Source), exactly: bool) {
        let floor = self.floor((at, source), false);
        let (desks, reading) = (&self.desks, &mut self.reading);
        let (Some(written), Some(reading)) = (desks.get(&(at, source.clone())), reading) else {
            return;
        };
        if written.has_markers() || !(exactly || reading.is_exceeded()) {
            return;
        }
        let arrivals = self.traffic.arrivals(at).iter();
        let since = arrivals.skip(
            self.windows
                .get(&(at, source.clone()))
                .map_or(0, |window| window.arrivals),
        );
        let (markers, messages): (Vec<&Sighting>, Vec<&Sighting>) = since
            .map(|number| &self.traffic.sightings[*number])
            .partition(|sighting| sighting.marker.is_some());
        let markers = markers.iter().filter(|sighting| sighting.marker > floor);
        let tells_of = |line: &[u8], sighting: &Sighting| {
            let mut texts = sighting.message.text.split(|byte| *byte == b'\n');
            texts.any(|text| !text.is_empty() && memmem::find(line, text).is_some())
        };
        reading.leave_out(markers.count(), |number| {
            let line = written.line(number);
            !messages.iter().any(|message| tells_of(line, message))
        });
    }

    fn desk<'judge>(
        &'judge self,
        reading: &'judge Reading,
        (at, source): (NodeIndex, &'judge Source),
        (attention, floor): (&'judge Attention, Option<u64>),
    ) -> Desk<'judge> {
        Desk {
            judge: self,
            reading,
            at,
            source,
            written: self.desks.get(&(at, source.clone())),
            attention,
            floor,
        }
    }
}
