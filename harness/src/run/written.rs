//! Waits until an expectation about what a program wrote can be judged, and has it judged.

use std::time::Duration;

use crate::{
    run::{
        silence::Silence,
        stage::Stage,
        trouble::{Failed, Trouble},
        wait::{MARKER_WITHIN, Sent, ending},
    },
    scenario::{Absent, Expect, NodeIndex, Step},
    verdict::{Ending, Progress, Proof},
};

/// How long a marker may take from the wire through a program, before it is thought that the program keeps it to itself.
const THROUGH_WITHIN: Duration = Duration::from_secs(2);

impl Stage<'_> {
    /// Waits until a program wrote what `expect` expects, and judges it.
    pub(crate) async fn expect_written(
        &mut self,
        step: &Step,
        expect: &Expect,
    ) -> Result<(), Trouble> {
        let mut sent = Sent::default();
        let (mut deadline, mut through) = (self.now() + step.within, None);
        let mut proof = Proof::None;
        let ending = loop {
            self.drain();
            match self.judge.expect_written(expect, sent.marker) {
                Progress::Settled => break Ending::Settled,
                Progress::AwaitsMarker if sent.marker.is_none() => {
                    match self.send_last_marker(expect.at, &mut sent).await {
                        Ok(()) => deadline = deadline.max(self.now() + MARKER_WITHIN),
                        Err(silence) => break ending(silence)?,
                    }
                    through = Some(self.now() + THROUGH_WITHIN);
                }
                Progress::Waiting if !self.event(deadline).await? => break Ending::Deadline,
                Progress::Waiting => {}
                Progress::AwaitsMarker | Progress::AwaitsProbe | Progress::AwaitsProgram => {
                    if self
                        .event(through.unwrap_or(deadline).min(deadline))
                        .await?
                    {
                        continue;
                    }
                    let is_out = sent
                        .marker
                        .is_some_and(|marker| self.judge.marker_is_out(marker));
                    if is_out && through.is_some() && self.rests(expect.at).await? {
                        proof = Proof::Over;
                        break Ending::Settled;
                    }
                    if self.now() >= deadline {
                        break Ending::Deadline;
                    }
                    through = None;
                }
            }
        };
        let ending = self.gather(expect.at, &mut sent, ending).await?;
        let attention = self.attention(expect.at).await?;
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

    /// Waits until a program can no longer write what `absent` forbids, and judges it.
    pub(crate) async fn absent_written(
        &mut self,
        step: &Step,
        absent: &Absent,
    ) -> Result<(), Trouble> {
        let mut sent = Sent::default();
        let (ending, proof) = match absent.lasting {
            Some(lasting) => (self.listen_written(absent, lasting).await?, Proof::None),
            None => self.prove_written(step, absent, &mut sent).await?,
        };
        let attention = self.attention(absent.at).await?;
        let verdict = self.judge.conclude_absent_written(
            absent,
            (sent.marker, sent.probe),
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
            match self.judge.absent_written(absent, sent.marker, sent.probe) {
                Progress::Settled => return Ok((Ending::Settled, Proof::None)),
                Progress::AwaitsMarker if sent.marker.is_none() => {
                    if let Err(silence) = self.send_last_marker(absent.at, sent).await {
                        return Ok((ending(silence)?, Proof::None));
                    }
                    self.flush_senders(absent.at).await?;
                }
                Progress::AwaitsProbe if sent.probe.is_none() => {
                    sent.probe = Some(self.send_probe(absent.at)?);
                }
                Progress::AwaitsProgram if !asked => {
                    asked = true;
                    let attention = self.attention(absent.at).await?;
                    let heard = self.judge.is_heard(absent.at, &attention);
                    if !heard && self.rests(absent.at).await? {
                        return Ok((Ending::Settled, Proof::Over));
                    }
                }
                Progress::AwaitsMarker
                | Progress::AwaitsProbe
                | Progress::AwaitsProgram
                | Progress::Waiting => {
                    if !self.event(deadline).await? {
                        let rests = asked && self.rests(absent.at).await?;
                        let proof = if rests { Proof::Over } else { Proof::None };
                        return Ok((Ending::Deadline, proof));
                    }
                }
            }
        }
    }

    /// Sends a marker behind all that any target has sent: where there are several, their messages meet only at the
    /// receiver, so that a first marker must be out from all before the last one is printed.
    async fn send_last_marker(&mut self, at: NodeIndex, sent: &mut Sent) -> Result<(), Silence> {
        if self.judge.watched_targets() > 1 {
            let mut first = Sent::default();
            self.send_marker(at, &mut first).await?;
            let out = |judge: &crate::verdict::Judge| {
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
