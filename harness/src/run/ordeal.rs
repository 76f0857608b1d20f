//! What a kernel is made to go through: SysRq keys, oopses, panics, hangs, NMIs.
//!
//! Nothing is built for it: QEMU stops a processor where a harmless function of the kernel begins, and changes what it
//! finds there. A step of this kind ends well where the kernel did what was asked, whether it lives on or not.

use std::time::Duration;

use lastwords_vm::debugger::Debugger;

use crate::{
    kernel::{Answer, Refusal, Request, request::Deed},
    run::{
        Error,
        action::Done,
        fate::Hung,
        injury::{CIRCLE, INVALID, Injury, SLEEP, VICTIM, WARN},
        silence::Silence,
        stage::Stage,
        trouble::Trouble,
    },
    scenario::{
        Action, NodeIndex, Step,
        step::{Hang, Oops},
    },
};

/// Where SysRq keys are pressed.
const SYSRQ: &str = "/proc/sysrq-trigger";
/// SysRq keys that end the machine: reboot, crash, power off.
const LETHAL: [char; 3] = ['b', 'c', 'o'];

impl Stage<'_> {
    /// Does a step of this kind.
    pub(crate) async fn ordeal(&mut self, step: &Step) -> Result<Done, Trouble> {
        let (node, within) = (step.on, step.within);
        if let Action::Panic {
            timeout: Some(timeout),
        } = step.action
        {
            let request = Request::Write {
                path: "/proc/sys/kernel/panic".to_owned(),
                text: format!("{timeout}\n"),
            };
            if let Err(refusal) = self.ask(node, &request, within).await? {
                return Ok(Err(refusal));
            }
        }
        let ends = matches!(step.action, Action::SysRq('b' | 'o'));
        self.hold_at_end(node, ends, within).await?;
        match step.action {
            Action::SysRq(key) if LETHAL.contains(&key) => self.doom(node, key, within).await,
            Action::SysRq(key) => self.sysrq(node, key, within).await,
            Action::Panic { .. } => self.doom(node, 'c', within).await,
            Action::Nmi => self.nmi(node).await,
            Action::Oops(Oops::Bug) => self.oops(node, within).await,
            Action::Oops(Oops::Warn) => self.warn(node, within).await,
            Action::Hang(hang, processor) => {
                let place = format!("since the step at line {}", step.place.line);
                self.hang(node, (hang, processor), &place, within).await
            }
            _ => Ok(Ok(())),
        }
    }

    /// Presses a key that the kernel survives, as far as anybody knows.
    async fn sysrq(
        &mut self,
        node: NodeIndex,
        key: char,
        within: Duration,
    ) -> Result<Done, Trouble> {
        let deed = Deed::Write {
            path: SYSRQ.to_owned(),
            text: key.to_string(),
        };
        let done = match self.ask(node, &Request::Child(deed), within).await {
            Ok(done) => done.map(drop),
            Err(silence) => self.survived_by_nobody(node, silence)?,
        };
        // The digits set the console level, and leave it so.
        if let Some(level) = key.to_digit(10).and_then(|level| u8::try_from(level).ok()) {
            self.judge.console_level(node, level);
        }
        Ok(done)
    }

    /// Presses a key that no kernel survives, and waits until it is dead.
    async fn doom(
        &mut self,
        node: NodeIndex,
        key: char,
        within: Duration,
    ) -> Result<Done, Trouble> {
        let deadline = self.now() + within;
        let deed = Deed::Write {
            path: SYSRQ.to_owned(),
            text: key.to_string(),
        };
        if let Err(refusal) = self.ask(node, &Request::Doom(deed), within).await? {
            return Ok(Err(refusal));
        }
        while !self.fates.is_dead(node) {
            if !self.event(deadline).await? && !self.is_dead_now(node).await? {
                let doing = format!("echo {key} > {SYSRQ}");
                let reason = format!("it lives, {within:?} after it should have died");
                return Ok(Err(Refusal::ours(doing, reason)));
            }
        }
        Ok(Ok(()))
    }

    /// Presses the button of the management controller. What the kernel makes of it is seen afterwards.
    async fn nmi(&mut self, node: NodeIndex) -> Result<Done, Trouble> {
        let guest = self.guests.iter_mut().find(|guest| guest.node == node);
        let Some(guest) = guest else {
            return Err(Silence::Gone.into());
        };
        match self.lab.drive(guest.qemu.inject_nmi()).await {
            Ok(()) => Ok(Ok(())),
            Err(error) => Err(self.unanswered(node, error).await),
        }
    }

    /// Has a child run into an invalid instruction, and puts the right one back when it is dead.
    async fn oops(&mut self, node: NodeIndex, within: Duration) -> Result<Done, Trouble> {
        let victim = match self.symbols(node, &[VICTIM.1], within).await? {
            Ok(found) => found[0],
            Err(refusal) => return Ok(Err(refusal)),
        };
        let (injury, deadline) = (Injury::Code(INVALID), self.now() + within);
        let read = Request::Child(Deed::Read {
            path: VICTIM.0.to_owned(),
            processor: None,
        });
        let code = self.injure(node, (victim, injury), &read, within).await?;
        let end = match self.answer(node, (deadline, within)).await {
            Ok(end) => end,
            Err(silence) => return self.survived_by_nobody(node, silence),
        };
        let restored = async |debugger: &mut Debugger| debugger.write(victim, &code).await;
        self.debug(node, restored).await?;
        match end {
            Ok(Answer::Child { done: false }) => {}
            Ok(_) => return Ok(Err(unharmed())),
            Err(refusal) => return Ok(Err(refusal)),
        }
        self.console_level_now(node, within).await
    }

    /// Has a child run into a `WARN()`.
    async fn warn(&mut self, node: NodeIndex, within: Duration) -> Result<Done, Trouble> {
        let (victim, warn) = match self.symbols(node, &[VICTIM.1, WARN.0], within).await? {
            Ok(found) => (found[0], found[1]),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let injury = Injury::Warn(warn);
        let deadline = self.now() + within;
        let read = Request::Child(Deed::Read {
            path: VICTIM.0.to_owned(),
            processor: None,
        });
        self.injure(node, (victim, injury), &read, within).await?;
        match self.answer(node, (deadline, within)).await {
            Ok(end) => Ok(end.map(drop)),
            Err(silence) => self.survived_by_nobody(node, silence),
        }
    }

    /// Has a child hang in the kernel.
    async fn hang(
        &mut self,
        node: NodeIndex,
        (hang, processor): (Hang, u8),
        place: &str,
        within: Duration,
    ) -> Result<Done, Trouble> {
        let symbols: &[&str] = match hang {
            Hang::Task => &[VICTIM.1, SLEEP.0],
            Hang::Soft | Hang::Hard => &[VICTIM.1],
        };
        let found = match self.symbols(node, symbols, within).await? {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let injury = match hang {
            Hang::Soft => Injury::Code(CIRCLE),
            Hang::Hard => Injury::Deaf(CIRCLE),
            Hang::Task => Injury::Sleep(found[1]),
        };
        if hang != Hang::Task
            && let Err(refusal) = self.ask(node, &Request::Leave(processor), within).await?
        {
            return Ok(Err(refusal));
        }
        let read = Request::Doom(Deed::Read {
            path: VICTIM.0.to_owned(),
            processor: Some(processor),
        });
        self.injure(node, (found[0], injury), &read, within).await?;
        if hang != Hang::Task {
            let sender = self.scenario.node(node).sender();
            let wholly = sender.is_none_or(|sender| sender.cpus == 1);
            let sentence = format!("the kernel's only processor hangs {place}");
            self.fates.hangs(node, Hung { sentence, wholly });
        }
        Ok(Ok(()))
    }

    /// What a step comes to whose kernel is silent after it: where it died, that may be as it should.
    fn survived_by_nobody(&self, node: NodeIndex, silence: Silence) -> Result<Done, Trouble> {
        match silence {
            Silence::Dead(_) if self.fates.is_dead(node) => Ok(Ok(())),
            silence => Err(silence.into()),
        }
    }

    /// An oops sets the console level (`console_verbose`): what it is now.
    async fn console_level_now(
        &mut self,
        node: NodeIndex,
        within: Duration,
    ) -> Result<Done, Trouble> {
        let request = Request::Read {
            path: "/proc/sys/kernel/printk".to_owned(),
        };
        match self.ask(node, &request, within).await {
            Ok(Ok(Answer::Text(text))) => {
                let level = text.split_whitespace().next();
                match level.and_then(|level| level.parse().ok()) {
                    Some(level) => self.judge.console_level(node, level),
                    None => self.judge.console_level_is_unknown(node),
                }
                Ok(Ok(()))
            }
            Ok(Ok(other)) => Err(Error::Answer(format!("{other:?}")).into()),
            Ok(Err(refusal)) => Ok(Err(refusal)),
            Err(silence) => self.survived_by_nobody(node, silence),
        }
    }
}

/// The child came back from where it should have died.
fn unharmed() -> Refusal {
    Refusal::ours(format!("cat {}", VICTIM.0), "it did not die of it")
}
