//! The first process of a room: it does nothing but live as long as we do. When it ends, the kernel kills all others.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    path::PathBuf,
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::{
        signal::{SigHandler, Signal, signal},
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, fork, pipe2},
};
use tokio::time::timeout;

use crate::lab::namespace::NamespaceError;

/// What is masked in a room: both are the machine's, not the room's.
const MASKED: [&std::ffi::CStr; 2] = [c"/proc/kmsg", c"/proc/sysrq-trigger"];

/// The first process of a room.
#[derive(Debug)]
pub(super) struct Keeper {
    process: Pid,
    descriptor: OwnedFd,
    /// It reads the other end: that ends when this is closed, by whatever closes it.
    _life: OwnedFd,
    is_ended: bool,
}

impl Keeper {
    /// Starts it from a thread whose next child is the first of a process namespace, and waits until the room is ready.
    pub(super) fn start() -> Result<Self, NamespaceError> {
        let piped = NamespaceError::of("make a pipe");
        let pipes = pipe2(OFlag::O_CLOEXEC).and_then(|life| Ok((life, pipe2(OFlag::O_CLOEXEC)?)));
        let ((life, our_life), (ready, its_ready)) = pipes.map_err(piped)?;
        // SAFETY: the child makes system calls only, and allocates nothing.
        let forked = unsafe { fork() }.map_err(NamespaceError::of("fork"))?;
        let process = match forked {
            ForkResult::Child => keep(life.as_raw_fd(), its_ready.as_raw_fd()),
            ForkResult::Parent { child } => child,
        };
        drop((life, its_ready));
        let is_ready = await_ready(ready);
        let kept = is_ready.and_then(|()| pidfd(process));
        match kept {
            Ok(descriptor) => Ok(Self {
                process,
                descriptor,
                _life: our_life,
                is_ended: false,
            }),
            Err(error) => {
                drop(our_life);
                let _ = waitpid(process, None);
                Err(NamespaceError::of("mount /proc in a room")(error))
            }
        }
    }

    /// Kills it, and all others with it, and waits until the last is gone.
    pub(super) async fn end(mut self, within: Duration) -> Result<(), NamespaceError> {
        self.kill();
        self.is_ended = true;
        let process = self.process;
        // Our own children among them are reaped by the runtime meanwhile, which the kernel waits for.
        let waiting = tokio::task::spawn_blocking(move || waitpid(process, None));
        let doing = || NamespaceError::of("end the programs of a room");
        match timeout(within, waiting).await {
            Ok(Ok(Ok(_))) => Ok(()),
            Ok(Ok(Err(errno))) => Err(doing()(io::Error::from(errno))),
            Ok(Err(error)) => Err(doing()(io::Error::other(error))),
            Err(_) => Err(doing()(io::Error::from(io::ErrorKind::TimedOut))),
        }
    }

    /// All processes of its namespace.
    pub(super) fn family(&self) -> Vec<u32> {
        let own = namespace(&self.process.to_string());
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let of_family = processes.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let id = name.parse().ok()?;
            (own.is_some() && namespace(&name) == own).then_some(id)
        });
        of_family.collect()
    }

    /// Kills it, and so all of the room.
    pub(super) fn kill(&self) {
        // One that is gone is gone.
        let _ = nix::sys::signal::kill(self.process, Signal::SIGKILL);
    }
}

impl AsFd for Keeper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if self.is_ended {
            return;
        }
        self.kill();
        // It stays until our children in the room are reaped, so nobody can wait for it here.
        let process = self.process;
        let _ = std::thread::Builder::new().spawn(move || waitpid(process, None));
    }
}

/// Which process namespace a process is in.
fn namespace(process: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{process}/ns/pid")).ok()
}

/// Nothing, or why it is not ready.
fn await_ready(ready: OwnedFd) -> io::Result<()> {
    let mut errno = [0; 4];
    File::from(ready).read_exact(&mut errno)?;
    match i32::from_ne_bytes(errno) {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// A descriptor that stands for a process, and for all its namespaces.
fn pidfd(process: Pid) -> io::Result<OwnedFd> {
    // SAFETY: plain system call.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, process.as_raw(), 0) };
    let descriptor = RawFd::try_from(descriptor).map_err(io::Error::other)?;
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was opened just now and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// What the child does: system calls only, since it is a copy of one thread of many.
fn keep(life: RawFd, ready: RawFd) -> ! {
    // Ctrl-C at the terminal is for us.
    let _ = nix::unistd::setsid();
    reset_signals();
    close_all_but(life, ready);
    let errno = own_proc().err().map_or(0, |errno| errno as i32);
    let said = errno.to_ne_bytes();
    // SAFETY: plain system calls on memory and descriptors that are there.
    unsafe {
        libc::write(ready, said.as_ptr().cast(), said.len());
        libc::close(ready);
        let mut byte = [0_u8];
        if errno == 0 {
            while libc::read(life, byte.as_mut_ptr().cast(), 1) < 0
                && Errno::last_raw() == libc::EINTR
            {}
        }
        libc::_exit(0)
    }
}

/// Its handlers are ours and would act on what is ours. Children that nobody waits for vanish by themselves.
fn reset_signals() {
    for kind in Signal::iterator() {
        let action = match kind {
            Signal::SIGCHLD => SigHandler::SigIgn,
            _ => SigHandler::SigDfl,
        };
        // SAFETY: no handler of ours is installed.
        let _ = unsafe { signal(kind, action) };
    }
}

/// Closes all descriptors but two: nobody may wait for the end of a stream that only this process holds.
fn close_all_but(one: RawFd, other: RawFd) {
    let (first, second) = (one.min(other), one.max(other));
    close_range(0, first - 1);
    close_range(first + 1, second - 1);
    close_range(second + 1, RawFd::MAX);
}

fn close_range(first: RawFd, last: RawFd) {
    if first > last {
        return;
    }
    // SAFETY: plain system calls; what is not open is not closed.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, last, 0) < 0 {
            for descriptor in first..=last.min(1 << 16) {
                libc::close(descriptor);
            }
        }
    }
}

/// /proc shows the processes of the room only.
fn own_proc() -> nix::Result<()> {
    use nix::mount::{MsFlags, mount};

    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(
        Some(c"proc"),
        c"/proc",
        Some(c"proc"),
        flags,
        None::<&std::ffi::CStr>,
    )?;
    for masked in MASKED {
        let none = None::<&std::ffi::CStr>;
        match mount(Some(c"/dev/null"), masked, none, MsFlags::MS_BIND, none) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
