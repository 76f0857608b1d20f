//! Children of PID 1 that do what may kill them, or the kernel: whatever kills PID 1 itself is always a panic.

use std::{ffi::CString, io};

use nix::{
    sched::sched_setaffinity,
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, Pid, fork},
};

use crate::kernel::{Answer, Refusal, processor, request::Deed};

/// Has a child do it, and waits for its end.
pub(crate) fn wait_for(deed: &Deed) -> Result<Answer, Refusal> {
    let refused = |error: &io::Error| Refusal::by_kernel(shown(deed), error);
    let child = begin(deed).map_err(|error| refused(&error))?;
    match waitpid(child, None).map_err(|error| refused(&error.into()))? {
        WaitStatus::Exited(_, 0) => Ok(Answer::Child { done: true }),
        WaitStatus::Exited(_, errno) => Err(refused(&io::Error::from_raw_os_error(errno))),
        _ => Ok(Answer::Child { done: false }),
    }
}

/// Starts a child that does it. Its status is the errno of what failed.
pub(crate) fn begin(deed: &Deed) -> io::Result<Pid> {
    let (path, text, at) = match deed {
        Deed::Read { path, processor } => (path, None, *processor),
        Deed::Write { path, text } => (path, Some(text.as_bytes()), None),
    };
    let one = at.map(processor::only).transpose()?;
    let path = CString::new(path.as_str())?;
    // SAFETY: PID 1 has one thread; the child only makes system calls and never returns, so it needs no lock that
    // another thread may have held and no memory.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let moved = one.map_or(Ok(()), |one| sched_setaffinity(Pid::from_raw(0), &one));
            end(&path, text, moved)
        }
    }
}

fn end(path: &CString, text: Option<&[u8]>, moved: nix::Result<()>) -> ! {
    let mut buffer = [0_u8; 64];
    // SAFETY: the path ends with a zero, the pointers are to slices that live and are as long as is said, and `_exit`
    // runs nothing of what the parent registered.
    unsafe {
        let done = match text {
            _ if moved.is_err() => false,
            Some(text) => {
                let file = libc::open(path.as_ptr(), libc::O_WRONLY);
                file >= 0 && libc::write(file, text.as_ptr().cast(), text.len()) >= 0
            }
            None => {
                let file = libc::open(path.as_ptr(), libc::O_RDONLY);
                file >= 0 && libc::read(file, buffer.as_mut_ptr().cast(), buffer.len()) >= 0
            }
        };
        libc::_exit(if done { 0 } else { *libc::__errno_location() })
    }
}

fn shown(deed: &Deed) -> String {
    match deed {
        Deed::Read {
            path,
            processor: None,
        } => format!("cat {path}"),
        Deed::Read {
            path,
            processor: Some(processor),
        } => format!("taskset -c {processor} cat {path}"),
        Deed::Write { path, text } => format!("echo {text} > {path}"),
    }
}
