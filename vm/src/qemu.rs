//! QEMU as a process: started, asked, ended. It never outlives the program, however that ends.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::net::UnixStream as StdUnixStream,
    },
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::sys::{
    memfd::{MFdFlags, memfd_create},
    wait::{Id, WaitPidFlag, waitid},
};
use serde_json::json;
use tokio::{
    io::AsyncReadExt,
    net::UnixStream,
    process::{Child, ChildStderr, Command},
    task::JoinHandle,
    time::timeout,
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
/// How long QEMU may take to say its version, or to end once it has closed its sockets.
const MANNERS_WITHIN: Duration = Duration::from_secs(10);

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
    version: String,
    /// Its monitor.
    pub qmp: Qmp,
    /// The channel to PID 1 of the guest.
    pub channel: Channel,
}

/// What a machine is started with, besides its description.
pub(crate) struct Start<'a> {
    pub(crate) memory: &'a Memory,
    pub(crate) initramfs: Option<&'a [u8]>,
    /// One socket for each card.
    pub(crate) cards: Vec<OwnedFd>,
    /// Descriptors of ours that it inherits.
    pub(crate) inherited: &'a [RawFd],
    /// How long its monitor may take to answer.
    pub(crate) within: Duration,
}

/// QEMU's process. Killed and waited for when dropped, so that nothing of it outlives the value.
#[derive(Debug)]
struct Process {
    child: Child,
    stderr: LastWords,
}

impl Process {
    /// Waits until it has ended, and kills it where it does not although it should.
    async fn ended(&mut self) -> io::Result<ExitStatus> {
        let status = match timeout(MANNERS_WITHIN, self.child.wait()).await {
            Ok(status) => status,
            Err(_) => {
                self.child.kill().await?;
                self.child.wait().await
            }
        };
        // All that it said is in the pipe by now; a child of its own may keep the pipe open.
        let _ = timeout(MANNERS_WITHIN, &mut self.stderr.listener).await;
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) else {
            return;
        };
        if self.child.start_kill().is_ok() {
            // Left unreaped: that is the runtime's, which knows the child by its number.
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
            let _ = waitid(Id::Pid(nix::unistd::Pid::from_raw(id)), flags);
        }
    }
}

/// What QEMU says on its standard error, its end kept.
#[derive(Debug)]
struct LastWords {
    kept: Arc<Mutex<VecDeque<u8>>>,
    listener: JoinHandle<()>,
}

impl LastWords {
    fn listen(mut pipe: ChildStderr) -> Self {
        let kept = Arc::default();
        let ours: Arc<Mutex<VecDeque<u8>>> = Arc::clone(&kept);
        let listener = tokio::spawn(async move {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut piece).await {
                let mut kept = ours.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(&piece[..length]);
                let excess = kept.len().saturating_sub(STDERR_LIMIT);
                kept.drain(..excess);
            }
        });
        Self { kept, listener }
    }

    fn text(&self) -> String {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
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
    /// Starts `machine`; each card's frames go through the socket of the same place in `cards` (QEMU's
    /// `-netdev socket`: four bytes of length, big-endian, then the frame).
    ///
    /// Returns once the monitor answers; the guest boots meanwhile.
    pub(crate) async fn start(machine: &Machine, start: Start<'_>) -> Result<Self, QemuError> {
        let program = program()?;
        let (monitor, monitor_far) = pair()?;
        let (channel, channel_far) = pair()?;
        let initramfs = start.initramfs.map(in_memory).transpose()?;
        let descriptors = Descriptors {
            monitor: monitor_far.as_raw_fd(),
            channel: channel_far.as_raw_fd(),
            initramfs: initramfs.as_ref().map(AsRawFd::as_raw_fd),
            cards: start.cards.iter().map(AsRawFd::as_raw_fd).collect(),
        };
        let arguments = machine.arguments(start.memory, &descriptors);
        let mut kept: Vec<RawFd> = vec![descriptors.monitor, descriptors.channel];
        kept.extend(descriptors.initramfs);
        kept.extend(&descriptors.cards);
        kept.extend(start.inherited);
        let mut process = spawn(&program, &arguments, kept)?;
        drop((monitor_far, channel_far, start.cards, initramfs));
        let command = pasteable(&program, &arguments);
        let qmp = match timeout(start.within, Qmp::connect(monitor)).await {
            Ok(Ok(qmp)) => qmp,
            Ok(Err(QmpError::Closed | QmpError::Connection(_))) => {
                return Err(died_at_once(&program, &mut process, command).await);
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => {
                return Err(QemuError::Hung {
                    within: start.within,
                    stderr: process.stderr.text(),
                    command,
                });
            }
        };
        let mut qemu = Self {
            process,
            command,
            version: String::new(),
            qmp,
            channel: Channel::new(channel),
        };
        match qemu.checked_version().await {
            Ok(version) => qemu.version = version,
            Err(error) => return Err(qemu.explain(error).await),
        }
        Ok(qemu)
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

    /// How it ended: to be asked when one of its sockets has closed.
    ///
    /// None where it ended in order, as when the guest switched itself off.
    pub async fn failure(&mut self) -> Option<QemuError> {
        match self.process.ended().await {
            Ok(status) if status.success() => None,
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

/// What `--version` says: `QEMU emulator version 7.2.22 (Debian …)`.
async fn said_version(program: &Path) -> Option<((u64, u64), String)> {
    let mut command = Command::new(program);
    command
        .arg("--version")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(MANNERS_WITHIN, command.output()).await.ok()?.ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let text = text.split_once("version ")?.1;
    let numeric = |letter: char| letter.is_ascii_digit() || letter == '.';
    let version = text.split(|letter| !numeric(letter)).next()?;
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    Some(((numbers.next()??, numbers.next()??), version.to_owned()))
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

fn spawn(
    program: &Path,
    arguments: &[String],
    inherited: Vec<RawFd>,
) -> Result<Process, QemuError> {
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
    let not_started = |source| QemuError::Start {
        program: program.to_owned(),
        source,
    };
    let mut child = command.spawn().map_err(not_started)?;
    let pipe = child.stderr.take();
    let pipe = pipe.ok_or_else(|| not_started(io::ErrorKind::BrokenPipe.into()))?;
    let stderr = LastWords::listen(pipe);
    Ok(Process { child, stderr })
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
