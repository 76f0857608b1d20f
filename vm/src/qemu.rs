//! QEMU as a process: started, asked, ended. It never outlives the program, however that ends.

mod process;
mod version;

use std::{
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::net::UnixStream as StdUnixStream,
    },
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde_json::json;
use tokio::{net::UnixStream, time::timeout};

use crate::{
    channel::{Channel, ChannelError},
    debugger::{Debugger, DebuggerError},
    machine::{Accelerator, Descriptors, Machine, Memory, Processor},
    memory::{MemoryError, Window},
    patience::{Late, Patience},
    qemu::{
        process::{MANNERS_WITHIN, Process, pasteable, spawn},
        version::{OLDEST, said_version},
    },
    qmp::{Order, Qmp, QmpError},
    tsc,
};

/// QEMU's name.
const PROGRAM: &str = "qemu-system-x86_64";

/// Why there is no running machine.
#[derive(Debug, thiserror::Error)]
pub enum QemuError {
    /// It is not installed.
    #[error("`{PROGRAM}` is not on the PATH\n(install it: `apt-get install qemu-system-x86`)")]
    Missing,
    /// The program could not be executed.
    #[error("`{}` cannot be started", .program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It ended by itself before it was ready.
    #[error("QEMU ended ({status}): {stderr}\n(the command was: {command})")]
    Ended {
        /// How.
        status: ExitStatus,
        /// Its last words.
        stderr: String,
        /// The command as one can paste it (its inherited descriptors aside).
        command: String,
    },
    /// It is older than what we ask of it.
    #[error("QEMU {version} is too old\n(install QEMU {}.{} or later)", OLDEST.0, OLDEST.1)]
    TooOld {
        /// Its version.
        version: String,
    },
    /// It was started, and its monitor stayed silent.
    #[error(
        "QEMU's monitor did not answer within {within:?}: {stderr}\n(the command was: {command})"
    )]
    Hung {
        /// How long it was waited for.
        within: Duration,
        /// Its last words.
        stderr: String,
        /// The command as one can paste it.
        command: String,
    },
    /// The kernel never came to its first answer.
    #[error("the kernel did not come up: {why}\n{console}")]
    NotUp {
        /// What happened instead.
        why: String,
        /// What its console said last, or why that is not known.
        console: String,
    },
    /// What it is to find in its memory could not be packed.
    #[error(transparent)]
    Initramfs(#[from] crate::error::Error),
    /// Its monitor failed.
    #[error(transparent)]
    Monitor(#[from] QmpError),
    /// The guest did not get as far as it should.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// A socket, a pipe or memory could not be had.
    #[error("{what} cannot be had")]
    Resource {
        /// What was wanted.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// A running machine.
#[derive(Debug)]
pub struct Qemu {
    process: Process,
    command: String,
    window: Window,
    /// The processor that it emulates, where it does.
    pub(crate) processor: Processor,
    /// Its monitor.
    pub qmp: Qmp,
    /// The channel to PID 1 of the guest.
    pub channel: Channel,
    /// The far end of the guest's [`crate::init::TERMINAL`], where the machine has one.
    pub terminal: Option<UnixStream>,
}

/// What a machine is started with, besides its description.
pub(crate) struct Start<'a> {
    pub(crate) memory: &'a Memory,
    pub(crate) initramfs: Option<&'a [u8]>,
    /// One socket for each card.
    pub(crate) cards: Vec<OwnedFd>,
    /// The devices' state that it goes on from, where it is restored.
    pub(crate) state: Option<&'a File>,
    /// What its monitor is told at once.
    pub(crate) orders: &'a [Order],
    /// What it is given where it is emulated.
    pub(crate) processor: Processor,
    /// How long its monitor may take to answer.
    pub(crate) within: Duration,
}

/// Where QEMU is.
pub fn program() -> Result<PathBuf, QemuError> {
    which::which(PROGRAM).map_err(|_| QemuError::Missing)
}

impl Qemu {
    /// Starts `machine`; each card's frames go through the socket of the same place in `cards` (QEMU's
    /// `-netdev socket`: four bytes of length, big-endian, then the frame).
    ///
    /// Returns once the monitor answers; the guest boots meanwhile.
    pub(crate) async fn start(machine: &Machine, start: Start<'_>) -> Result<Self, QemuError> {
        let program = program()?;
        let (monitor, monitor_far) = pair()?;
        let (channel, channel_far) = pair()?;
        let (terminal, terminal_far) = machine.terminal.then(pair).transpose()?.unzip();
        let window = Window::new().map_err(resource("a window to the guest's memory"))?;
        let initramfs = start.initramfs.map(in_memory).transpose()?;
        let boots = initramfs.is_some();
        let descriptors = Descriptors {
            monitor: monitor_far.as_raw_fd(),
            channel: channel_far.as_raw_fd(),
            terminal: terminal_far.as_ref().map(AsRawFd::as_raw_fd),
            initramfs: initramfs.as_ref().map(AsRawFd::as_raw_fd),
            tsc_khz: (boots && machine.accelerator == Accelerator::Tcg).then(tsc::khz),
            cards: start.cards.iter().map(AsRawFd::as_raw_fd).collect(),
            processor: start.processor,
        };
        let arguments = machine.arguments(start.memory, &descriptors);
        let mut kept: Vec<RawFd> = vec![
            descriptors.monitor,
            descriptors.channel,
            window.descriptor(),
        ];
        kept.extend(descriptors.terminal);
        kept.extend(descriptors.initramfs);
        kept.extend(&descriptors.cards);
        kept.extend(start.state.map(AsRawFd::as_raw_fd));
        let mut process = spawn(&program, &arguments, kept)?;
        drop((
            monitor_far,
            channel_far,
            terminal_far,
            start.cards,
            initramfs,
        ));
        let command = pasteable(&program, &arguments);
        let mut patience = Patience::with(process.child.id());
        let qmp = match patience
            .within(start.within, Qmp::connect(monitor, start.orders))
            .await
        {
            Ok(Ok(mut qmp)) => {
                qmp.process = process.child.id();
                qmp
            }
            Ok(Err(QmpError::Closed | QmpError::Connection(_))) => {
                return Err(died_at_once(&program, &mut process, command).await);
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(Late) => {
                return Err(QemuError::Hung {
                    within: start.within,
                    stderr: process.stderr.text(),
                    command,
                });
            }
        };
        let qemu = Self {
            process,
            command,
            window,
            processor: start.processor,
            qmp,
            channel: Channel::new(channel),
            terminal,
        };
        let (major, minor, micro) = qemu.qmp.version;
        if (major, minor) < OLDEST {
            let version = format!("{major}.{minor}.{micro}");
            return Err(QemuError::TooOld { version });
        }
        Ok(qemu)
    }

    /// Why it ended: to be asked when one of its sockets has closed.
    ///
    /// None where the guest ended it: switched itself off, or started itself anew.
    pub async fn failure(&mut self) -> Option<QemuError> {
        let ended = timeout(MANNERS_WITHIN, self.qmp.guests_end()).await;
        if matches!(ended, Ok(Ok(_))) {
            return None;
        }
        match self.process.ended().await {
            Ok(status) => Some(QemuError::Ended {
                status,
                stderr: self.process.stderr.text(),
                command: self.command.clone(),
            }),
            Err(source) => Some(QemuError::Resource {
                what: "the status of QEMU",
                source,
            }),
        }
    }

    /// What is behind an error: a monitor that closed is QEMU's end, which has its own reason.
    pub(crate) async fn explain(&mut self, error: QemuError) -> QemuError {
        match error {
            QemuError::Monitor(QmpError::Closed | QmpError::Connection(_))
            | QemuError::Channel(ChannelError::Closed | ChannelError::Connection(_)) => {
                self.failure().await.unwrap_or(error)
            }
            other => other,
        }
    }

    /// Pulls the cable of card `index`, or puts it back.
    pub async fn set_carrier(&mut self, index: usize, carrier: bool) -> Result<(), QmpError> {
        let arguments = json!({ "name": format!("nic{index}"), "up": carrier });
        self.qmp.execute("set_link", arguments).await.map(drop)
    }

    /// Stops the guest, and its clocks with it.
    pub async fn pause(&mut self) -> Result<(), QmpError> {
        let stopped = self.qmp.execute("stop", serde_json::Value::Null);
        stopped.await.map(drop)
    }

    /// Lets a guest go on that was stopped.
    pub async fn resume(&mut self) -> Result<(), QmpError> {
        let resumed = self.qmp.execute("cont", serde_json::Value::Null);
        resumed.await.map(drop)
    }

    /// Waits until all that the guest has given its cards has been written to their sockets.
    ///
    /// A card's transmission is a callback of QEMU's main loop, and so is a monitor command: two of them, one after the
    /// other, leave no earlier callback pending.
    pub async fn flush(&mut self) -> Result<(), QmpError> {
        for _ in 0..2 {
            self.qmp
                .execute("query-status", serde_json::Value::Null)
                .await?;
        }
        Ok(())
    }

    /// Its process; none where that has ended and was waited for.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.child.id()
    }

    /// Reads `length` bytes of the guest's memory, from the physical `address` on.
    pub async fn read_memory(&mut self, address: u64, length: u64) -> Result<Vec<u8>, MemoryError> {
        self.window.read(&mut self.qmp, address, length).await
    }

    /// Stops the machine and takes hold of it as a debugger does.
    pub async fn debug(&mut self) -> Result<Debugger, DebuggerError> {
        Debugger::attach(&mut self.qmp).await
    }

    /// Presses the button of a management controller: a non-maskable interrupt for every processor.
    pub async fn inject_nmi(&mut self) -> Result<(), QmpError> {
        let nothing = serde_json::Value::Null;
        self.qmp.execute("inject-nmi", nothing).await.map(drop)
    }

    /// Has QEMU hold a machine that ends itself, so that its memory can still be read: told by the event `SHUTDOWN`.
    pub async fn hold_at_end(&mut self) -> Result<(), QmpError> {
        let action = json!({ "shutdown": "pause" });
        self.qmp.execute("set-action", action).await.map(drop)
    }

    /// What QEMU said on its standard error, its end.
    #[must_use]
    pub fn last_words(&self) -> String {
        self.process.stderr.text()
    }

    /// The command that started it, as one can paste it.
    #[must_use]
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Ends the machine and waits until it is gone.
    pub async fn end(mut self) -> io::Result<()> {
        self.process.child.kill().await
    }
}

/// The error for a QEMU that ended before its monitor answered: it may be too old for its arguments.
async fn died_at_once(program: &Path, process: &mut Process, command: String) -> QemuError {
    let status = process.ended().await;
    if let Some((numbers, version)) = said_version(program).await
        && numbers < OLDEST
    {
        return QemuError::TooOld { version };
    }
    match status {
        Ok(status) => QemuError::Ended {
            status,
            stderr: process.stderr.text(),
            command,
        },
        Err(source) => QemuError::Resource {
            what: "the status of QEMU",
            source,
        },
    }
}

fn resource(what: &'static str) -> impl FnOnce(io::Error) -> QemuError {
    move |source| QemuError::Resource { what, source }
}

/// A connected pair: our end for tokio, the far end for QEMU.
fn pair() -> Result<(UnixStream, StdUnixStream), QemuError> {
    let (near, far) = StdUnixStream::pair().map_err(resource("a socket pair"))?;
    near.set_nonblocking(true)
        .map_err(resource("a socket that does not block"))?;
    Ok((
        UnixStream::from_std(near).map_err(resource("a socket for the runtime"))?,
        far,
    ))
}

/// A file without a name that holds `bytes`: gone when the last descriptor closes.
fn in_memory(bytes: &[u8]) -> Result<OwnedFd, QemuError> {
    let wrong = resource("memory for the initramfs");
    let file = memfd_create("initramfs", MFdFlags::MFD_CLOEXEC).map_err(io::Error::from);
    let write = |file: OwnedFd| {
        let mut file = File::from(file);
        file.write_all(bytes)?;
        Ok(OwnedFd::from(file))
    };
    file.and_then(write).map_err(wrong)
}
