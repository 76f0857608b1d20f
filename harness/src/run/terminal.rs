//! A shell in the room of a node that is a namespace of this machine, behind a terminal of its own.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::Shutdown,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    process::Stdio,
    thread,
};

use nix::{libc, pty::Winsize};
use tokio::{
    net::UnixStream,
    process::{Child, Command},
};

use crate::{
    lab::{namespace::NamespaceError, room::Room},
    run::tools,
};

nix::ioctl_write_int_bad!(
    /// Makes a terminal that of the session (`man 2 TIOCSCTTY`).
    set_controlling, libc::TIOCSCTTY);

/// Starts a shell in `room`, and gives the far end of its terminal: it is closed once the shell has ended.
pub(crate) fn start(
    room: &Room,
    prompt: &str,
    (rows, columns): (u16, u16),
) -> Result<(UnixStream, Child), NamespaceError> {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let ends =
        nix::pty::openpty(Some(&size), None).map_err(NamespaceError::of("open a terminal"))?;
    let child = room.spawn(shell(&ends.slave, prompt).map_err(terminal)?)?;
    drop(ends.slave);
    let far = bridge(ends.master).map_err(terminal)?;
    Ok((far, child))
}

fn terminal(error: io::Error) -> NamespaceError {
    NamespaceError::of("use a terminal")(error)
}

fn shell(end: &OwnedFd, prompt: &str) -> io::Result<Command> {
    let mut command = Command::new(tools::SHELL);
    command
        .arg("-i")
        .env("PS1", prompt)
        .stdin(Stdio::from(end.try_clone()?))
        .stdout(Stdio::from(end.try_clone()?))
        .stderr(Stdio::from(end.try_clone()?));
    // SAFETY: between fork and exec only two system calls are made, and nothing is allocated.
    unsafe {
        command.pre_exec(|| {
            nix::unistd::setsid()?;
            set_controlling(io::stdin().as_raw_fd(), 0)?;
            Ok(())
        });
    }
    Ok(command)
}

/// Copies both ways between a terminal, which a runtime cannot wait for, and a socket, which it can.
fn bridge(terminal: OwnedFd) -> io::Result<UnixStream> {
    let (near, far) = StdUnixStream::pair()?;
    near.set_nonblocking(true)?;
    let (mut screen, mut keys) = (File::from(terminal.try_clone()?), File::from(terminal));
    let (mut shown, mut typed) = (far.try_clone()?, far);
    // Each ends with the first of the two ends that closes; what cannot be copied then is for nobody.
    thread::spawn(move || {
        let _ = copy(&mut screen, &mut shown);
        let _ = shown.shutdown(Shutdown::Both);
    });
    thread::spawn(move || copy(&mut typed, &mut keys));
    UnixStream::from_std(near)
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut piece = [0; 4096];
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(()),
            count => to.write_all(&piece[..count])?,
        }
    }
}
