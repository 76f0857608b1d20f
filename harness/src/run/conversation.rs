//! Questions to guests, and whatever happens meanwhile: frames, answers, machines that end.

use std::{future::pending, time::Duration};

use futures_util::future::select_all;
use lastwords_vm::channel::ChannelError;
use tokio::time::Instant;

use crate::{
    kernel::{Answer, Refusal, Request},
    lab::Event,
    receiver::{self, ReceiverError},
    run::{guest::Word, silence::Silence, stage::Stage},
    scenario::NodeIndex,
};

/// How long an answer may take until somebody looks whether the kernel is still alive, and again after that.
const LOOKED_AT_AFTER: Duration = Duration::from_secs(2);

/// What happens next.
pub(crate) enum Happening {
    Event(Event),
    Word(NodeIndex, Word),
    /// At a receiver with a program.
    Receiver(Result<(NodeIndex, receiver::Happening), ReceiverError>),
    Deadline,
}

impl Stage<'_> {
    /// Has the sender `node` execute `request`, with the lab alive meanwhile.
    pub(crate) async fn ask(
        &mut self,
        node: NodeIndex,
        request: &Request,
        within: Duration,
    ) -> Result<Result<Answer, Refusal>, Silence> {
        let deadline = self.now() + within;
        let its_own = request.within().map(|within| self.now() + within);
        loop {
            self.question(node, request, (deadline, within)).await?;
            let answer = self.answer(node, (deadline, within)).await?;
            // The guest's clock does not know what the machine does besides.
            let too_early = matches!(&answer, Err(refusal) if refusal.late)
                && its_own.is_some_and(|deadline| !self.patience.has_passed(deadline));
            if !too_early {
                return Ok(answer);
            }
        }
    }

    /// Waits for the answer to what was asked, unless the kernel dies over it.
    pub(crate) async fn answer(
        &mut self,
        node: NodeIndex,
        (deadline, within): (Instant, Duration),
    ) -> Result<Result<Answer, Refusal>, Silence> {
        let mut look = self.now() + LOOKED_AT_AFTER;
        loop {
            match self.next(Some(node), look.min(deadline)).await? {
                Happening::Word(from, Word::Answer(answer)) if from == node => {
                    self.drain();
                    return self.answered(node, answer).await;
                }
                Happening::Deadline if look < deadline => {
                    self.look_at_silent(node).await?;
                    look = self.now() + LOOKED_AT_AFTER;
                }
                Happening::Deadline => return Err(self.overdue(node, within).await),
                happening => self.take_happening(happening).await?,
            }
            self.must_not_be_dead(node)?;
        }
    }

    /// Sends a request to the sender `node`; its answer is still to come.
    pub(crate) async fn question(
        &mut self,
        node: NodeIndex,
        request: &Request,
        (deadline, within): (Instant, Duration),
    ) -> Result<(), Silence> {
        self.look_for_deaths().await?;
        self.must_not_be_dead(node)?;
        let Some(guest) = self.guests.iter_mut().find(|guest| guest.node == node) else {
            return Err(Silence::Gone);
        };
        let asked = guest.qemu.channel.ask(request);
        let asked = self.patience.until(deadline, asked);
        let asked = tokio::select! {
            asked = self.lab.drive(asked) => asked,
            () = self.interrupt.wait() => return Err(Silence::Interrupted),
        };
        match asked {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.gone(node).await),
            Err(_) => Err(Silence::Deadline(within)),
        }
    }

    /// What an answer comes to.
    pub(crate) async fn answered(
        &mut self,
        node: NodeIndex,
        answer: Result<Result<Answer, Refusal>, ChannelError>,
    ) -> Result<Result<Answer, Refusal>, Silence> {
        match answer {
            Ok(answer) => Ok(answer),
            Err(ChannelError::Closed | ChannelError::Connection(_)) => Err(self.gone(node).await),
            Err(error @ ChannelError::Protocol(_)) => Err(Silence::Broken(error.to_string())),
        }
    }

    fn must_not_be_dead(&self, node: NodeIndex) -> Result<(), Silence> {
        match self.fates.sentence(node) {
            Some(sentence) => Err(Silence::Dead(sentence)),
            None => Ok(()),
        }
    }

    /// Takes the next event; false when `deadline` passed first.
    pub(crate) async fn event(&mut self, deadline: Instant) -> Result<bool, Silence> {
        if self.look_for_deaths().await? {
            return Ok(true);
        }
        match self.next(None, deadline).await? {
            Happening::Deadline => Ok(false),
            happening @ Happening::Receiver(_) => {
                self.take_happening(happening).await?;
                // A program that writes without end would keep the deadline from being seen.
                Ok(!self.patience.has_passed(deadline))
            }
            happening => {
                self.take_happening(happening).await?;
                Ok(true)
            }
        }
    }

    /// Waits for what happens next; for an answer only of the guest that was `asked`.
    pub(crate) async fn next(
        &mut self,
        asked: Option<NodeIndex>,
        deadline: Instant,
    ) -> Result<Happening, Silence> {
        let fates = &self.fates;
        let guests = self.guests.iter_mut();
        let words: Vec<_> = guests
            .filter(|guest| !fates.has_ended(guest.node))
            .map(|guest| {
                let node = guest.node;
                Box::pin(async move { (node, guest.word(asked == Some(node)).await) })
            })
            .collect();
        let word = async {
            if words.is_empty() {
                return pending().await;
            }
            select_all(words).await.0
        };
        let happening = async {
            tokio::select! {
                event = self.lab.next() => Happening::Event(event),
                (node, word) = word => Happening::Word(node, word),
                happening = Self::next_happening(&mut self.receivers) => {
                    Happening::Receiver(happening)
                }
            }
        };
        tokio::select! {
            happening = self.patience.until(deadline, happening) => {
                Ok(happening.unwrap_or(Happening::Deadline))
            }
            () = self.interrupt.wait() => Err(Silence::Interrupted),
        }
    }

    pub(crate) async fn take_happening(&mut self, happening: Happening) -> Result<(), Silence> {
        match happening {
            Happening::Event(event) => {
                self.take(event);
                self.look_for_deaths().await.map(drop)
            }
            Happening::Receiver(Ok((node, happening))) => {
                self.happens(node, happening);
                Ok(())
            }
            Happening::Receiver(Err(error)) => Err(Silence::Receiver(error)),
            Happening::Word(node, Word::Ended(reason)) => self.machine_ended(node, &reason).await,
            Happening::Word(node, Word::Trapped) => self.at_the_brink(node).await,
            Happening::Word(_, Word::Answer(_)) | Happening::Deadline => Ok(()),
        }
    }
}
