//! Waits until an expectation about what a program wrote can be judged, and has it judged.

use std::time::Duration;

use crate::{
    receiver::order::Rest,
    run::{
        silence::Silence,
        stage::Stage,
        trouble::{Failed, Trouble},
        wait::{MARKER_WITHIN, Sent, ending},
    },
    scenario::{Absent, Expect, NodeIndex, Step},
    verdict::{Ending, Judge, Progress, Proof},
};

/// How long a marker may take from the wire through a program, before it is thought that the program keeps it to itself.
const THROUGH_WITHIN: Duration = Duration::from_secs(2);
/// How long it takes through one that writes at once.
const AT_ONCE: Duration = Duration::from_millis(200);

impl Stage<'_> {
    /// Waits until a program wrote what `expect` expects, and judges it.
    pub(crate) async fn expect_written(
        &mut self,
        step: &Step,
        expect: &Expect,
    ) -> Result<(), Trouble> {
        self.watch_programs();
        let mut sent = Sent::default();
        let (ending, proof) = self.await_written(step, expect, &mut sent).await?;
        // All that was written in time is looked at before the marker pushes something out.
        self.attention(expect.at).await?;
        self.judge.expect_written(expect, sent.marker);
        let ending = self.gather(expect.at, &mut sent, ending).await?;
        if ending != Ending::Settled {
            self.collect(expect.at).await?;
        }
        let attention = self.attention(expect.at).await?;
        self.dropped.insert(expect.at, attention.drops());
        let verdict = self
            .judge
            .conclude_written(expect, sent.marker, (ending, proof), &attention);
        match verdict {
            Ok(passed) => {
                self.passed
                    .extend(passed.arrived.into_iter().map(|arrived| arrived.text));
                Ok(())
            }
            Err(failure) => Err(Failed::Expectation(failure).into()),
        }
    }

    /// Waits until a program wrote all that it should, and the marker behind it, or until no marker can be awaited.
    async fn await_written(
        &mut self,
        step: &Step,
        expect: &Expect,
        sent: &mut Sent,
    ) -> Result<(Ending, Proof), Trouble> {
        let (mut deadline, mut look) = (self.now() + step.within, None);
        loop {
            self.drain();
            let progress = self.judge.expect_written(expect, sent.marker);
            match (progress, sent.marker) {
                (Progress::Settled, _) => return Ok((Ending::Settled, Proof::None)),
                (Progress::Waiting, _) => {
                    if !self.event(deadline).await? {
                        return Ok((Ending::Deadline, Proof::None));
                    }
                }
                (_, None) => {
                    if let Err(silence) = self.send_last_marker(expect.at, sent).await {
                        return Ok((ending(silence)?, Proof::None));
                    }
                    deadline = deadline.max(self.now() + MARKER_WITHIN);
                    look = Some(self.now() + THROUGH_WITHIN);
                }
                (_, Some(marker)) => {
                    let next = look.unwrap_or(deadline).min(deadline);
                    if self.event(next).await? {
                        continue;
                    }
                    let is_out = self.judge.marker_is_out(marker);
                    let rest = self.rest(expect.at, next).await?;
                    let is_over = self.now() >= deadline;
                    // One that never sleeps has had all the time that a marker has.
                    let enough = if is_over { Rest::Read } else { Rest::Asleep };
                    if is_out && rest >= enough {
                        return Ok((Ending::Settled, Proof::Over));
                    }
                    if is_over {
                        return Ok((Ending::Deadline, Proof::None));
                    }
                    look = Some(self.now() + THROUGH_WITHIN);
                }
            }
        }
    }

    /// Waits until a program can no longer write what `absent` forbids, and judges it.
    pub(crate) async fn absent_written(
        &mut self,
        step: &Step,
        absent: &Absent,
    ) -> Result<(), Trouble> {
        self.watch_programs();
        let mut sent = Sent::default();
        let (ending, proof) = match absent.lasting {
            Some(lasting) => (self.listen_written(absent, lasting).await?, Proof::None),
            None => self.prove_written(step, absent, &mut sent).await?,
        };
        if absent.because.is_some() {
            self.collect(absent.at).await?;
        }
        let attention = self.attention(absent.at).await?;
        let verdict = self.judge.conclude_absent_written(
            absent,
            (sent.marker, sent.probes),
            (ending, proof),
            &attention,
        );
        verdict
            .map(drop)
            .map_err(|failure| Failed::Expectation(failure).into())
    }

    async fn listen_written(
        &mut self,
        absent: &Absent,
        lasting: Duration,
    ) -> Result<Ending, Trouble> {
        let deadline = self.now() + lasting;
        loop {
            self.drain();
            if self.judge.absent_written(absent, None, None) == Progress::Settled {
                return Ok(Ending::Settled);
            }
            if !self.event(deadline).await? {
                self.read_logs(absent.at).await?;
                return Ok(Ending::Listened);
            }
        }
    }

    /// Sends the marker, and waits until it has come through the program, or cannot: then until the program rests.
    async fn prove_written(
        &mut self,
        step: &Step,
        absent: &Absent,
        sent: &mut Sent,
    ) -> Result<(Ending, Proof), Trouble> {
        let deadline = self.now() + step.within;
        let mut asked = false;
        loop {
            self.drain();
            match self.judge.absent_written(absent, sent.marker, sent.probes) {
                Progress::Settled => return Ok((Ending::Settled, Proof::None)),
                Progress::AwaitsMarker if sent.marker.is_none() => {
                    if let Err(silence) = self.send_last_marker(absent.at, sent).await {
                        return Ok((ending(silence)?, Proof::None));
                    }
                    self.flush_senders(absent.at).await?;
                }
                Progress::AwaitsProbe if sent.probes.is_none() => {
                    sent.probes = Some(self.send_probes(absent.at)?);
                }
                Progress::AwaitsProgram if !asked => {
                    asked = true;
                    let attention = self.attention(absent.at).await?;
                    let heard = self.judge.is_heard(absent.at, &attention);
                    if !heard && self.rests(absent.at, deadline).await? {
                        return Ok((Ending::Settled, Proof::Over));
                    }
                }
                Progress::AwaitsMarker
                | Progress::AwaitsProbe
                | Progress::AwaitsProgram
                | Progress::Waiting => {
                    if !self.event(deadline).await? {
                        let grace = self.now() + MARKER_WITHIN;
                        let rests = asked && self.rests(absent.at, grace).await?;
                        let proof = if rests { Proof::Over } else { Proof::None };
                        return Ok((Ending::Deadline, proof));
                    }
                }
            }
        }
    }

    /// Waits until what programs write of a set-up is over: until the marker behind it has come through to all that is
    /// read of a program, or the program rests. What they write from then on belongs to no set-up.
    pub(crate) async fn set_up_is_written(&mut self) -> Result<(), Trouble> {
        let nodes: Vec<NodeIndex> = self.running.iter().copied().collect();
        for node in nodes {
            self.forget_drops(node).await?;
            let sources = self.scenario.sources(node);
            let shown = |judge: &Judge| {
                let mut sources = sources.iter();
                sources.all(|source| judge.shows_set_up(node, source))
            };
            let deadline = self.now() + AT_ONCE;
            if sources.is_empty() || self.until(deadline, shown).await? {
                continue;
            }
            // Where it does not come to the card at all, there is nothing to wait for.
            let deadline = self.now() + AT_ONCE;
            self.until(deadline, |judge| judge.has_set_up(node)).await?;
            let deadline = self.now() + THROUGH_WITHIN;
            self.rests(node, deadline).await?;
            self.drain();
            self.judge.set_up_is_written(node, sources.into_iter());
        }
        Ok(())
    }

    /// Sends a marker behind all that any target has sent: where there are several, their messages meet only at the
    /// receiver, so that a first marker must be out from all before the last one is printed.
    async fn send_last_marker(&mut self, at: NodeIndex, sent: &mut Sent) -> Result<(), Silence> {
        if self.judge.watched_targets() > 1 {
            let mut first = Sent::default();
            self.send_marker(at, &mut first).await?;
            let out = |judge: &Judge| {
                first
                    .marker
                    .is_none_or(|marker| judge.marker_is_out(marker))
            };
            let deadline = self.now() + MARKER_WITHIN;
            self.until(deadline, out).await?;
        }
        self.send_marker(at, sent).await
    }
}
