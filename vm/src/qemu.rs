//! QEMU as a process: started, asked, ended. It never outlives the program, however that ends.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::{net::UnixStream as StdUnixStream, process::ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde_json::json;
use tokio::{
    io::AsyncReadExt,
    net::UnixStream,
    process::{Child, Command},
};

use crate::{
    channel::{Channel, ChannelError},
    machine::{Descriptors, Machine, Memory},
    qmp::{Qmp, QmpError},
};

/// QEMU's name.
const PROGRAM: &str = "qemu-system-x86_64";
/// How much of what QEMU says of itself is kept.
const STDERR_LIMIT: usize = 16 << 10;
/// The oldest QEMU that knows all the arguments.
const OLDEST: (u64, u64) = (6, 0);

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
    child: Child,
    stderr: LastWords,
    command: String,
    version: String,
    /// Its monitor.
    pub qmp: Qmp,
    /// The channel to PID 1 of the guest.
    pub channel: Channel,
}

/// What QEMU says on its standard error, its end kept.
#[derive(Debug, Clone, Default)]
struct LastWords(Arc<Mutex<VecDeque<u8>>>);

impl LastWords {
    fn listen(&self, mut pipe: tokio::process::ChildStderr) {
        let kept = Arc::clone(&self.0);
        tokio::spawn(async move {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut piece).await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(&piece[..length]);
                let excess = kept.len().saturating_sub(STDERR_LIMIT);
                kept.drain(..excess);
            }
        });
    }

    fn text(&self) -> String {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(kept.make_contiguous())
            .trim()
            .replace('\n', "; ");
        if text.is_empty() {
            "it said nothing".to_owned()
        } else {
            text
        }
    }
}

/// Where QEMU is.
pub fn program() -> Result<PathBuf, QemuError> {
    which::which(PROGRAM).map_err(|_| QemuError::Missing)
}

impl Qemu {
    /// Starts `machine` with `initramfs`; each card's frames go through the socket of the same place in `cards` (QEMU's
    /// `-netdev socket`: four bytes of length, big-endian, then the frame).
    ///
    /// Returns once the monitor answers; the guest boots meanwhile.
    pub async fn boot(
        machine: &Machine,
        initramfs: &[u8],
        cards: Vec<OwnedFd>,
    ) -> Result<Self, QemuError> {
        Self::start(machine, &Memory::Private, Some(initramfs), cards, &[]).await
    }

    pub(crate) async fn start(
        machine: &Machine,
        memory: &Memory,
        initramfs: Option<&[u8]>,
        cards: Vec<OwnedFd>,
        inherited: &[RawFd],
    ) -> Result<Self, QemuError> {
        let program = program()?;
        let (monitor, monitor_far) = pair()?;
        let (channel, channel_far) = pair()?;
        let initramfs = initramfs.map(in_memory).transpose()?;
        let descriptors = Descriptors {
            monitor: monitor_far.as_raw_fd(),
            channel: channel_far.as_raw_fd(),
            initramfs: initramfs.as_ref().map(AsRawFd::as_raw_fd),
            cards: cards.iter().map(AsRawFd::as_raw_fd).collect(),
        };
        let arguments = machine.arguments(memory, &descriptors);
        let mut kept: Vec<RawFd> = vec![descriptors.monitor, descriptors.channel];
        kept.extend(descriptors.initramfs);
        kept.extend(&descriptors.cards);
        kept.extend(inherited);
        let mut child = spawn(&program, &arguments, kept)?;
        let stderr = LastWords::default();
        if let Some(pipe) = child.stderr.take() {
            stderr.listen(pipe);
        }
        drop((monitor_far, channel_far, cards, initramfs));
        let command = pasteable(&program, &arguments);
        match Qmp::connect(monitor).await {
            Ok(qmp) => {
                let mut qemu = Self {
                    child,
                    stderr,
                    command,
                    version: String::new(),
                    qmp,
                    channel: Channel::new(channel),
                };
                qemu.version = qemu.checked_version().await?;
                Ok(qemu)
            }
            Err(QmpError::Closed | QmpError::Connection(_)) => {
                Err(ended(&mut child, &stderr, command).await)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// QEMU's own version, `7.2.22`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    async fn checked_version(&mut self) -> Result<String, QemuError> {
        let answer = self
            .qmp
            .execute("query-version", serde_json::Value::Null)
            .await?;
        let part = |name: &str| answer["qemu"][name].as_u64().unwrap_or(0);
        let version = format!("{}.{}.{}", part("major"), part("minor"), part("micro"));
        if (part("major"), part("minor")) < OLDEST {
            Err(QemuError::TooOld { version })
        } else {
            Ok(version)
        }
    }

    /// Waits until PID 1 can be asked.
    ///
    /// Fails when QEMU ends first, as it does when the kernel panics on its way (`panic=-1`).
    pub async fn ready(&mut self) -> Result<(), QemuError> {
        match self.channel.ready().await {
            Err(ChannelError::Closed | ChannelError::Connection(_)) => {
                Err(ended(&mut self.child, &self.stderr, self.command.clone()).await)
            }
            other => Ok(other?),
        }
    }

    /// Pulls the cable of card `index`, or puts it back.
    pub async fn set_carrier(&mut self, index: usize, carrier: bool) -> Result<(), QmpError> {
        let arguments = json!({ "name": format!("nic{index}"), "up": carrier });
        self.qmp.execute("set_link", arguments).await.map(drop)
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

    /// What QEMU said on its standard error, its end.
    #[must_use]
    pub fn last_words(&self) -> String {
        self.stderr.text()
    }

    /// The command that started it, as one can paste it.
    #[must_use]
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Ends the machine and waits until it is gone.
    pub async fn end(mut self) -> io::Result<()> {
        self.child.kill().await
    }
}

/// The error for a QEMU whose sockets closed: waits for its status.
async fn ended(child: &mut Child, stderr: &LastWords, command: String) -> QemuError {
    let status = child
        .wait()
        .await
        .unwrap_or_else(|_| ExitStatus::from_raw(0));
    // Its standard error closed with it; the listener needs one turn to take what is left.
    tokio::task::yield_now().await;
    QemuError::Ended {
        status,
        stderr: stderr.text(),
        command,
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

fn spawn(program: &Path, arguments: &[String], inherited: Vec<RawFd>) -> Result<Child, QemuError> {
    let parent = nix::unistd::getpid();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    // A group of its own: Ctrl-C at the terminal is for us, who then end the guest in order.
    command.process_group(0).kill_on_drop(true);
    // SAFETY: between fork and exec only system calls are made that are safe there, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
            if nix::unistd::getppid() != parent {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            for &descriptor in &inherited {
                if libc::fcntl(descriptor, libc::F_SETFD, 0) < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    command.spawn().map_err(|source| QemuError::Start {
        program: program.to_owned(),
        source,
    })
}

/// The command line for a shell: words that a shell would change are quoted.
fn pasteable(program: &Path, arguments: &[String]) -> String {
    let plain = |word: &str| {
        word.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_=,./:+@".contains(&byte))
    };
    let mut text = program.display().to_string();
    for argument in arguments {
        text.push(' ');
        if plain(argument) && !argument.is_empty() {
            text.push_str(argument);
        } else {
            text.push_str(&format!("'{}'", argument.replace('\'', r"'\''")));
        }
    }
    text
}
