//! A guest's way from nothing to its first answer, and what its console said where it did not get there.

use std::{fs, io, os::fd::OwnedFd, sync::OnceLock, time::Duration};

use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::{
    channel::ChannelError,
    initramfs::Initramfs,
    machine::{Accelerator, Machine, Memory, Processor},
    patience::{Late, Patience},
    qemu::{Qemu, QemuError, Start},
};

/// How long a kernel that did not come up is watched, once its console can be seen.
const WATCHED_WITHIN: Duration = Duration::from_secs(60);
/// What a distribution's kernel takes of its machine's memory while it boots, generously.
const KERNEL_MIB: u32 = 96;
/// Words for a kernel whose console is to be seen, from its first line on.
const CONSOLE: &str = "earlyprintk=ttyS0 console=ttyS0 loglevel=7";

/// What suits the QEMU of this machine, once one has said its version.
static PROCESSOR: OnceLock<Processor> = OnceLock::new();

/// What a guest is booted with.
#[derive(Debug, Clone, Copy)]
pub struct Boot<'a> {
    /// The machine.
    pub machine: &'a Machine,
    /// What it finds in its memory.
    pub initramfs: &'a Initramfs,
    /// The first question, asked as soon as PID 1 can be asked.
    pub prelude: &'a Value,
    /// How long it may take up to the answer.
    pub within: Duration,
}

impl Boot<'_> {
    /// Boots, with one socket for each card, and waits for the answer to the prelude.
    pub async fn boot(&self, cards: Vec<OwnedFd>) -> Result<(Qemu, Value), QemuError> {
        self.on(&Memory::Private, cards).await
    }

    /// Boots with its memory in a place of the caller's choice.
    pub(crate) async fn on(
        &self,
        memory: &Memory,
        cards: Vec<OwnedFd>,
    ) -> Result<(Qemu, Value), QemuError> {
        let deadline = Instant::now() + self.within;
        let mut qemu = self.started(self.machine, memory, cards).await?;
        let mut patience = Patience::with(qemu.id());
        let first_answer = self.first_answer(&mut qemu);
        let why = match patience.until(deadline, first_answer).await {
            Ok(Ok(answer)) => return Ok((qemu, answer)),
            Ok(Err(ChannelError::Closed | ChannelError::Connection(_))) => {
                match qemu.failure().await {
                    Some(error) => return Err(error),
                    None => "it ended its machine, as a kernel does that panics".to_owned(),
                }
            }
            Ok(Err(error @ ChannelError::Protocol(_))) => return Err(error.into()),
            Err(Late) => format!("PID 1 did not answer within {:?}", self.within),
        };
        drop(qemu);
        let why = match self.room(self.initramfs.finish()?.len()) {
            Some(doubt) => format!("{why} {doubt}"),
            None => why,
        };
        let console = self.console().await?;
        Err(QemuError::NotUp { why, console })
    }

    /// Starts a machine that boots.
    ///
    /// How old QEMU is, it says itself once it runs: where that calls for another processor it is started again, once.
    async fn started(
        &self,
        machine: &Machine,
        memory: &Memory,
        cards: Vec<OwnedFd>,
    ) -> Result<Qemu, QemuError> {
        let initramfs = self.initramfs.finish()?;
        let start = |cards, processor| Start {
            memory,
            initramfs: Some(&initramfs),
            cards,
            state: None,
            orders: &[],
            processor,
            within: self.within,
        };
        if let Some(&processor) = PROCESSOR.get() {
            return Qemu::start(machine, start(cards, processor)).await;
        }
        let copies = duplicates(&cards).map_err(no_sockets)?;
        let qemu = Qemu::start(machine, start(copies, Processor::Whole)).await?;
        let processor = *PROCESSOR.get_or_init(|| Processor::for_version(qemu.qmp.version));
        if processor == qemu.processor || machine.accelerator == Accelerator::Kvm {
            return Ok(qemu);
        }
        drop(qemu);
        if let Memory::Shared(file) = memory {
            // What the first one left there would be in the template for good.
            fs::remove_file(file).map_err(|source| QemuError::Resource {
                what: "an empty file for the guest's memory",
                source,
            })?;
        }
        Qemu::start(machine, start(cards, processor)).await
    }

    /// What is to be doubted where the machine's memory may not hold what is packed into it: the kernel, the initramfs, its
    /// files unpacked, and a tmpfs takes no more than half of the memory.
    fn room(&self, initramfs: usize) -> Option<String> {
        let packed = u32::try_from(initramfs >> 20).unwrap_or(u32::MAX);
        let memory = self.machine.memory;
        (memory < KERNEL_MIB.saturating_add(packed.saturating_mul(2))).then(|| {
            format!(
                "(its {memory} MiB of memory may be too few for the {packed} MiB that are packed into it: give it more)"
            )
        })
    }

    async fn first_answer(&self, qemu: &mut Qemu) -> Result<Value, ChannelError> {
        qemu.channel.ready().await?;
        qemu.channel.ask(self.prelude).await?;
        qemu.channel.answer().await
    }

    /// Boots once more with the kernel's console on the guest channel, and gives its last lines.
    async fn console(&self) -> Result<String, QemuError> {
        let mut machine = self.machine.clone();
        machine.cmdline = format!("{} {CONSOLE}", machine.cmdline);
        let within = self.within.min(WATCHED_WITHIN);
        let (cards, _ends) = unplugged(&machine).map_err(no_sockets)?;
        let mut qemu = self.started(&machine, &Memory::Private, cards).await?;
        let came_up = matches!(timeout(within, qemu.channel.ready()).await, Ok(Ok(())));
        if came_up {
            return Ok(
                "(booted again with its console on a serial port it did come up: \
                 the machine may be too slow for the deadline)"
                    .to_owned(),
            );
        }
        let lines = qemu.channel.console();
        if lines.is_empty() {
            return Ok(
                "(its console says nothing: it may be no kernel for this machine)".to_owned(),
            );
        }
        Ok(format!("its console ends with\n  {}", lines.join("\n  ")))
    }
}

/// The same sockets once more, for a machine that may have to be started again.
pub(crate) fn duplicates(cards: &[OwnedFd]) -> io::Result<Vec<OwnedFd>> {
    cards.iter().map(OwnedFd::try_clone).collect()
}

fn no_sockets(source: io::Error) -> QemuError {
    QemuError::Resource {
        what: "a socket pair",
        source,
    }
}

/// Sockets for cards that nobody listens to: QEMU's ends, and ours.
pub(crate) fn unplugged(machine: &Machine) -> io::Result<(Vec<OwnedFd>, Vec<OwnedFd>)> {
    let pairs = machine
        .cards
        .iter()
        .map(|_| std::os::unix::net::UnixStream::pair());
    let pairs: Vec<_> = pairs.collect::<io::Result<_>>()?;
    Ok(pairs
        .into_iter()
        .map(|(one, other)| (OwnedFd::from(one), OwnedFd::from(other)))
        .unzip())
}
