//! QEMU's process: how it is started, what it says, how it ends.

use std::{
    collections::VecDeque,
    io,
    os::fd::RawFd,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use tokio::{
    io::AsyncReadExt,
    process::{Child, ChildStderr, Command},
    task::JoinHandle,
    time::timeout,
};

use crate::qemu::QemuError;

/// How much of what QEMU says of itself is kept.
const STDERR_LIMIT: usize = 16 << 10;
/// How long QEMU may take to say its version, or to end once it has closed its sockets.
pub(super) const MANNERS_WITHIN: Duration = Duration::from_secs(30);

/// QEMU's process. Killed and waited for when dropped, so that nothing of it outlives the value.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) child: Child,
    pub(super) stderr: LastWords,
}

impl Process {
    /// Waits until it has ended, and kills it where it does not although it should.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
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
pub(super) struct LastWords {
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

    pub(super) fn text(&self) -> String {
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

/// Starts QEMU with the descriptors of ours that it inherits.
pub(super) fn spawn(
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
pub(super) fn pasteable(program: &Path, arguments: &[String]) -> String {
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
