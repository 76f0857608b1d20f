//! Waits until an expectation can be judged, and has it judged.

use std::time::Duration;

use crate::{
    kernel::Request,
    lab::probe::ProbeError,
    run::{
        Error,
        silence::Silence,
        stage::Stage,
        trouble::{Failed, Trouble},
    },
    scenario::{Absent, Expect, NodeIndex, Step},
    verdict::{
        Ending, Judge, Progress,
        marker::{self, Probes},
    },
};

/// How long a marker may take, once the kernel has printed it.
pub(crate) const MARKER_WITHIN: Duration = Duration::from_secs(5);
/// How long the rest of the evidence of a failure is waited for.
const EVIDENCE_WITHIN: Duration = Duration::from_secs(2);
/// How long a kernel may take to print a marker.
const PRINT_WITHIN: Duration = Duration::from_secs(10);

/// What was sent so far to end an expectation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sent {
    pub(crate) marker: Option<u64>,
    pub(crate) probes: Option<Probes>,
}

impl Stage<'_> {
    /// Waits for what `expect` expects and judges it.
    pub(crate) async fn expect(&mut self, step: &Step, expect: &Expect) -> Result<(), Trouble> {
        let mut sent = Sent::default();
        let mut deadline = self.now() + step.within;
        let ending = loop {
            self.drain();
            match self.judge.expect(expect, sent.marker) {
                Progress::Settled => break Ending::Settled,
                Progress::AwaitsMarker if sent.marker.is_none() => {
                    match self.send_marker(expect.at, &mut sent).await {
                        Ok(()) => deadline = deadline.max(self.now() + MARKER_WITHIN),
                        Err(silence) => break ending(silence)?,
                    }
                }
                Progress::AwaitsMarker
                | Progress::AwaitsProbe
                | Progress::AwaitsProgram
                | Progress::Waiting => {
                    if self.nothing_can_come(expect.at) {
                        break Ending::KernelDied;
                    }
                    if !self.event(deadline).await? {
                        break Ending::Deadline;
                    }
                }
            }
        };
        let ending = self.gather(expect.at, &mut sent, ending).await?;
        match self.judge.conclude(expect, sent.marker, ending) {
            Ok(passed) => {
                self.passed
                    .extend(passed.arrived.into_iter().map(|arrived| arrived.text));
                Ok(())
            }
            Err(failure) => Err(Failed::Expectation(failure).into()),
        }
    }

    /// Waits until what `absent` forbids can no longer come, and judges it.
    pub(crate) async fn absent(&mut self, step: &Step, absent: &Absent) -> Result<(), Trouble> {
        let mut sent = Sent::default();
        let ending = match absent.lasting {
            Some(lasting) => self.listen(absent, lasting).await?,
            None => {
                let ending = self.prove(step, absent, &mut sent).await?;
                self.gather(absent.at, &mut sent, ending).await?
            }
        };
        let ends = (sent.marker, sent.probes);
        let verdict = self.judge.conclude_absent(absent, ends, ending);
        verdict
            .map(drop)
            .map_err(|failure| Failed::Expectation(failure).into())
    }

    /// `for`: the sender's kernel is dead and sends no marker, so all that can be done is to listen, and to see in its log
    /// that the lines were printed.
    async fn listen(&mut self, absent: &Absent, lasting: Duration) -> Result<Ending, Trouble> {
        let deadline = self.now() + lasting;
        loop {
            self.drain();
            if self.judge.absent(absent, None, None) == Progress::Settled {
                return Ok(Ending::Settled);
            }
            if !self.event(deadline).await? {
                self.read_logs(absent.at).await?;
                return Ok(Ending::Listened);
            }
        }
    }

    /// Reads what the senders that matter to `at` have printed until now, whether they live or not.
    pub(crate) async fn read_logs(&mut self, at: NodeIndex) -> Result<(), Trouble> {
        for sender in self.senders_to(at) {
            let is_read = if self.fates.is_silent(sender) {
                self.read_memory(sender).await?
            } else {
                self.read_log(sender, PRINT_WITHIN).await?;
                true
            };
            if is_read {
                self.judge.log_is_complete(sender);
            }
        }
        Ok(())
    }

    /// Sends the marker, and the probe behind its frame, and waits until that has come through.
    async fn prove(
        &mut self,
        step: &Step,
        absent: &Absent,
        sent: &mut Sent,
    ) -> Result<Ending, Trouble> {
        let deadline = self.now() + step.within;
        loop {
            self.drain();
            match self.judge.absent(absent, sent.marker, sent.probes) {
                Progress::Settled => return Ok(Ending::Settled),
                Progress::AwaitsMarker if sent.marker.is_none() => {
                    if let Err(silence) = self.send_marker(absent.at, sent).await {
                        return ending(silence);
                    }
                    self.flush_senders(absent.at).await?;
                }
                Progress::AwaitsProbe if sent.probes.is_none() => {
                    sent.probes = Some(self.send_probes(absent.at)?);
                }
                Progress::AwaitsMarker
                | Progress::AwaitsProbe
                | Progress::AwaitsProgram
                | Progress::Waiting => {
                    if !self.event(deadline).await? {
                        return Ok(Ending::Deadline);
                    }
                }
            }
        }
    }

    /// Prints a marker on every sender that matters to `at`, and reads what its log has up to it.
    pub(crate) async fn send_marker(
        &mut self,
        at: NodeIndex,
        sent: &mut Sent,
    ) -> Result<(), Silence> {
        let (number, text) = self.next_marker();
        sent.marker = Some(number);
        let senders = self.senders_to(at);
        if senders.is_empty() {
            return Err(Silence::Gone);
        }
        for sender in senders {
            if self.last_words(sender, number).await? {
                continue;
            }
            let records = vec![text.clone()];
            let kmsg = Request::Kmsg {
                records,
                level: Some(0),
                newline: true,
            };
            let request = Request::Batch(vec![kmsg, Request::ReadLog]);
            match self.ask(sender, &request, PRINT_WITHIN).await {
                Ok(Ok(answer)) => self.log(sender, answer),
                Ok(Err(refusal)) => self.faults.push(refusal.to_string()),
                // It died over it.
                Err(Silence::Dead(_)) if self.last_words(sender, number).await? => {}
                Err(silence) => return Err(silence),
            }
        }
        Ok(())
    }

    /// Where a sender can print no marker: has its last words stand for one. False where it can, or where nothing is
    /// known of them.
    async fn last_words(&mut self, sender: NodeIndex, marker: u64) -> Result<bool, Silence> {
        self.look_for_deaths().await?;
        if !self.fates.is_silent(sender) {
            return Ok(false);
        }
        if !self.fates.is_dead(sender) && !self.read_memory(sender).await? {
            return Ok(false);
        }
        self.judge.last_words_mark(sender, marker);
        Ok(true)
    }

    /// Whether all senders that matter to `at` are dead and their last words have come, or can no longer come.
    fn nothing_can_come(&self, at: NodeIndex) -> bool {
        self.senders_to(at).iter().all(|sender| {
            let has_come = || self.judge.has_last_words(*sender, at);
            self.fates.has_ended(*sender) || (self.fates.is_dead(*sender) && has_come())
        })
    }

    /// Puts a probe on the wire of each sender that matters to `at`, behind all that it has sent.
    pub(crate) fn send_probes(&mut self, at: NodeIndex) -> Result<Probes, Trouble> {
        let senders = self.senders_to(at);
        if senders.is_empty() {
            return Err(Failed::Died("no sender is left".to_owned()).into());
        }
        let first = self.probes + 1;
        let mut nowhere = None;
        for sender in senders {
            let payload = marker::probe(&self.token, self.probes + 1);
            match self.lab.probe(sender, at, &payload) {
                Ok(_) => self.probes += 1,
                // It has nothing on its way there.
                Err(error @ ProbeError::NoWay { .. }) => nowhere = Some(error),
                Err(error) => return Err(Error::Probe(error).into()),
            }
        }
        match nowhere {
            Some(error) if self.probes < first => Err(Error::Probe(error).into()),
            _ => Ok(Probes::new(first, self.probes)),
        }
    }

    /// Before a failure is judged: the rest of the evidence, from senders that still answer.
    pub(crate) async fn gather(
        &mut self,
        at: NodeIndex,
        sent: &mut Sent,
        ending: Ending,
    ) -> Result<Ending, Trouble> {
        if sent.marker.is_some() || ending == Ending::KernelDied {
            return Ok(ending);
        }
        match self.send_marker(at, sent).await {
            Ok(()) => {
                self.flush_senders(at).await?;
                // What is still on its way would be said not to have been sent.
                let all_out = |judge: &Judge| {
                    let aimed = judge.targets.all_now().filter(|(_, state)| state.to == at);
                    let mut sending = aimed.filter(|(_, state)| state.enabled && state.carries);
                    sent.marker.is_none_or(|marker| {
                        sending.all(|(index, _)| judge.marks(index, marker) > 0)
                    })
                };
                let deadline = self.now() + EVIDENCE_WITHIN;
                self.until(deadline, all_out).await?;
                Ok(ending)
            }
            Err(silence) => self::ending(silence),
        }
    }

    pub(crate) async fn flush_senders(&mut self, at: NodeIndex) -> Result<(), Trouble> {
        for sender in self.senders_to(at) {
            self.flush(sender).await?;
        }
        Ok(())
    }

    /// The senders with a target aimed at `at`; all, where there is none.
    fn senders_to(&self, at: NodeIndex) -> Vec<NodeIndex> {
        let aims = |node: NodeIndex| {
            self.scenario
                .targets
                .iter()
                .any(|target| target.on == node && target.to == at)
        };
        let all: Vec<NodeIndex> = self.guests.iter().map(|guest| guest.node).collect();
        let aiming: Vec<NodeIndex> = all.iter().copied().filter(|node| aims(*node)).collect();
        if aiming.is_empty() { all } else { aiming }
    }
}

/// What a silent kernel means for an expectation.
pub(crate) fn ending(silence: Silence) -> Result<Ending, Trouble> {
    match silence {
        Silence::Interrupted => Err(Error::Interrupted.into()),
        Silence::Receiver(error) => Err(Error::Receiver(error).into()),
        Silence::Crashed(error) => Err(Error::Machine(error).into()),
        Silence::Unanswered(error) => Err(Error::Qmp(error).into()),
        Silence::Untouchable(error) => Err(Error::Debugger(error).into()),
        Silence::Deadline(_) | Silence::Gone | Silence::Dead(_) | Silence::Broken(_) => {
            Ok(Ending::KernelDied)
        }
    }
}
