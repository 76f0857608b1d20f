//! Taking hold of a guest's processors from outside: stopping one where a function begins, and changing what it finds there.

use std::time::Duration;

use lastwords_vm::debugger::{Debugger, DebuggerError, Register};

use crate::{
    kernel::{Answer, Refusal, Request},
    run::{
        Error,
        conversation::Happening,
        guest::{Guest, Word},
        silence::Silence,
        stage::Stage,
        trouble::{Failed, Trouble},
    },
    scenario::NodeIndex,
};

/// A file of the kernel's that nobody else reads here, and the function that makes its text.
pub(crate) const VICTIM: (&str, &str) = ("/proc/version", "version_proc_show");
/// `ud2`, which is an invalid instruction for ever.
pub(crate) const INVALID: &[u8] = &[0x0f, 0x0b];
/// A jump to itself.
pub(crate) const CIRCLE: &[u8] = &[0xeb, 0xfe];
/// The flag of a processor that takes interrupts (`X86_EFLAGS_IF`).
const INTERRUPTS: u64 = 1 << 9;
/// Sleeps so many milliseconds, and no signal wakes it (`kernel/time/timer.c`, or `sleep_timeout.c`).
pub(crate) const SLEEP: (&str, u64) = ("msleep", 24 * 60 * 60 * 1000);
/// Warns of a counter that was counted below zero, and saturates it (`lib/refcount.c`, `REFCOUNT_SUB_UAF`).
pub(crate) const WARN: (&str, u64) = ("refcount_warn_saturate", 3);
/// So far below its end a stack of 16 KiB that runs a system call is neither used nor over; the counter can be there.
const UNUSED_STACK: u64 = 4096;

/// What is done to a processor that is about to run the victim.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Injury {
    /// Its code is overwritten.
    Code(&'static [u8]),
    /// Its code is overwritten, and it takes no interrupts.
    Deaf(&'static [u8]),
    /// It runs `msleep`, which is here, in its place.
    Sleep(u64),
    /// It runs `refcount_warn_saturate`, which is here, in its place.
    Warn(u64),
}

impl Injury {
    /// Does it to the processor that stopped at `victim`.
    async fn inflict(self, debugger: &mut Debugger, victim: u64) -> Result<(), DebuggerError> {
        match self {
            Self::Code(bytes) => debugger.write(victim, bytes).await,
            Self::Deaf(bytes) => {
                let flags = debugger.register(Register::Eflags).await?;
                debugger.set(Register::Eflags, flags & !INTERRUPTS).await?;
                debugger.write(victim, bytes).await
            }
            Self::Sleep(function) => {
                debugger.set(Register::Rdi, SLEEP.1).await?;
                debugger.set(Register::Rip, function).await
            }
            Self::Warn(function) => {
                let stack = debugger.register(Register::Rsp).await?;
                debugger.set(Register::Rdi, stack - UNUSED_STACK).await?;
                debugger.set(Register::Rsi, WARN.1).await?;
                debugger.set(Register::Rip, function).await
            }
        }
    }
}

impl Stage<'_> {
    pub(crate) fn guest(&mut self, node: NodeIndex) -> Result<&mut Guest, Trouble> {
        let guest = self.guests.iter_mut().find(|guest| guest.node == node);
        guest.ok_or_else(|| Silence::Gone.into())
    }

    /// Where functions of the kernel are.
    pub(crate) async fn symbols(
        &mut self,
        node: NodeIndex,
        names: &[&str],
        within: Duration,
    ) -> Result<Result<Vec<u64>, Refusal>, Trouble> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let count = names.len();
        match self.ask(node, &Request::Symbols(names), within).await? {
            Ok(Answer::Symbols(found)) if found.len() == count => Ok(Ok(found)),
            Ok(other) => Err(Error::Answer(format!("{other:?}")).into()),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Has a child read the file whose function `victim` is, and does it the injury when it comes there; the code that was
    /// there. The child's request is not waited for.
    pub(crate) async fn injure(
        &mut self,
        node: NodeIndex,
        (victim, injury): (u64, Injury),
        read: &Request,
        within: Duration,
    ) -> Result<Vec<u8>, Trouble> {
        let deadline = self.now() + within;
        let watch = async |debugger: &mut Debugger| debugger.watch(victim).await;
        self.debug(node, watch).await?;
        self.question(node, read, (deadline, within)).await?;
        self.guest(node)?.is_trapped = true;
        // The answer to the request may come before, but only that of one who is not waited for.
        let mut asked = matches!(read, Request::Doom(_)).then_some(node);
        loop {
            match self.next(asked, deadline).await? {
                Happening::Word(from, Word::Trapped)
                    if from == node && self.stopped_at(node).await? == victim =>
                {
                    break;
                }
                Happening::Word(from, Word::Answer(answer)) if from == node => {
                    self.answered(node, answer).await??;
                    asked = None;
                }
                Happening::Deadline => {
                    let sentence =
                        format!("the kernel did not read {} within {within:?}", VICTIM.0);
                    return Err(Failed::Died(sentence).into());
                }
                happening => self.take_happening(happening).await?,
            }
        }
        let guest = self.guest(node)?;
        guest.is_trapped = !guest.exits.is_empty();
        let injured = async |debugger: &mut Debugger| {
            debugger.unwatch(victim).await?;
            let code = debugger.read(victim, INVALID.len()).await?;
            injury.inflict(debugger, victim).await?;
            Ok(code)
        };
        Ok(self.debug(node, injured).await?)
    }

    /// Where a processor stopped.
    pub(crate) async fn stopped_at(&mut self, node: NodeIndex) -> Result<u64, Silence> {
        let guest = self.guests.iter_mut().find(|guest| guest.node == node);
        let debugger = guest.and_then(|guest| guest.debugger.as_mut());
        let Some(debugger) = debugger else {
            return Err(Silence::Gone);
        };
        let address = self.lab.drive(debugger.register(Register::Rip)).await;
        address.map_err(Silence::Untouchable)
    }

    /// Does something with the debugger of a guest that stands still meanwhile; it is started where that was not done yet.
    pub(crate) async fn debug<T>(
        &mut self,
        node: NodeIndex,
        work: impl AsyncFnOnce(&mut Debugger) -> Result<T, DebuggerError>,
    ) -> Result<T, Silence> {
        let guest = self.guests.iter_mut().find(|guest| guest.node == node);
        let Some(guest) = guest else {
            return Err(Silence::Gone);
        };
        let done = async {
            let debugger = match &mut guest.debugger {
                Some(debugger) => debugger,
                none => none.insert(guest.qemu.debug().await?),
            };
            guest.qemu.pause().await?;
            let done = work(debugger).await?;
            guest.qemu.resume().await?;
            Ok(done)
        };
        let done: Result<T, DebuggerError> = self.lab.drive(done).await;
        done.map_err(Silence::Untouchable)
    }
}
