//! Whose turn it is: so many cases are played side by side, and the next one's guests are started ahead of its turn.

use std::{
    cell::Cell,
    future::Future,
    pin::{Pin, pin},
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::run::{interrupt::Interrupt, stage::Stage, trouble::Trouble};

/// The turns of a run: given in the order in which they were asked for.
pub(crate) struct Turns {
    free: Semaphore,
    /// Those that are being played come to their end; no other begins.
    enough: Cell<bool>,
    interrupt: Interrupt,
}

/// The turn of one case, which may be yet to come.
pub(crate) struct Turn<'turns> {
    turns: &'turns Turns,
    coming: Pin<Box<dyn Future<Output = Option<SemaphorePermit<'turns>>> + 'turns>>,
    permit: Option<SemaphorePermit<'turns>>,
    begins: &'turns dyn Fn(),
    /// How long its guests were ready before.
    pub(crate) waited: Duration,
}

impl Turns {
    /// So many at once.
    pub(crate) fn new(jobs: usize, interrupt: Interrupt) -> Self {
        Self {
            free: Semaphore::new(jobs),
            enough: Cell::new(false),
            interrupt,
        }
    }

    /// No more cases are to begin.
    pub(crate) fn enough(&self) {
        self.enough.set(true);
    }

    pub(crate) fn is_enough(&self) -> bool {
        self.enough.get() || self.interrupt.has_come()
    }

    /// Asks for a turn; `begins` is called when it comes.
    pub(crate) fn ask<'turns>(&'turns self, begins: &'turns dyn Fn()) -> Turn<'turns> {
        Turn {
            turns: self,
            coming: Box::pin(async { self.free.acquire().await.ok() }),
            permit: None,
            begins,
            waited: Duration::ZERO,
        }
    }
}

impl Turn<'_> {
    /// Whether it has come.
    pub(crate) fn has_come(&self) -> bool {
        self.permit.is_some()
    }

    /// Waits for it; false where no more cases are to begin, and then it is not to be waited for again. Cancel safe.
    async fn come(&mut self) -> bool {
        if self.permit.is_none() {
            let permit = self.coming.as_mut().await;
            if self.turns.is_enough() {
                return false;
            }
            self.permit = permit;
            (self.begins)();
        }
        true
    }

    /// Does `work`, and takes the turn meanwhile if it comes.
    pub(crate) async fn beside<F: Future>(&mut self, work: F) -> F::Output {
        let mut work = pin!(work);
        if !self.has_come() {
            // The turn first: those that ask later come later, however long their work takes.
            tokio::select! {
                biased;
                _ = self.come() => {}
                output = &mut work => return output,
            }
        }
        work.await
    }

    /// Waits for it with the guests of `stage` stopped, so that their clocks stand still; false where it will not come.
    pub(crate) async fn wait(&mut self, stage: &mut Stage<'_>) -> Result<bool, Trouble> {
        if self.has_come() {
            return Ok(true);
        }
        if self.turns.is_enough() {
            return Ok(false);
        }
        let ready = Instant::now();
        stage.pause().await?;
        let mut interrupt = stage.interrupt.clone();
        let comes = tokio::select! {
            comes = stage.lab.drive(self.come()) => comes,
            () = interrupt.wait() => false,
        };
        self.waited = ready.elapsed();
        if comes {
            stage.resume().await?;
        }
        Ok(comes)
    }
}

impl Stage<'_> {
    /// Stops the guests, and their clocks with them, until they are resumed.
    pub(crate) async fn pause(&mut self) -> Result<(), Trouble> {
        for index in 0..self.guests.len() {
            let guest = &mut self.guests[index];
            let (node, paused) = (guest.node, self.lab.drive(guest.qemu.pause()).await);
            if let Err(error) = paused {
                return Err(self.unanswered(node, error).await);
            }
        }
        Ok(())
    }

    /// Lets the guests go on that were stopped.
    pub(crate) async fn resume(&mut self) -> Result<(), Trouble> {
        for index in 0..self.guests.len() {
            let guest = &mut self.guests[index];
            // A machine that has ended stands still for good.
            if self.fates.has_ended(guest.node) {
                continue;
            }
            let (node, resumed) = (guest.node, self.lab.drive(guest.qemu.resume()).await);
            if let Err(error) = resumed {
                return Err(self.unanswered(node, error).await);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test(flavor = "current_thread")]
    async fn turns_come_in_the_order_in_which_they_were_asked_for() {
        let turns = Turns::new(1, Interrupt::never());
        let begun = Cell::new(0);
        let begins = || begun.set(begun.get() + 1);
        let mut first = turns.ask(&begins);
        assert!(first.come().await);
        let (mut second, mut third) = (turns.ask(&begins), turns.ask(&begins));
        let mut slow = pin!(second.beside(std::future::pending::<()>()));
        assert!(slow.as_mut().now_or_never().is_none());
        assert!(third.come().now_or_never().is_none());
        drop(first);
        assert!(
            third.come().now_or_never().is_none(),
            "the second is before"
        );
        assert!(slow.as_mut().now_or_never().is_none());
        assert_eq!(begun.get(), 2);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn nobody_begins_after_enough() {
        let turns = Turns::new(1, Interrupt::never());
        let begins = || panic!("begun");
        turns.enough();
        let mut turn = turns.ask(&begins);
        assert!(!turn.come().await);
    }
}
