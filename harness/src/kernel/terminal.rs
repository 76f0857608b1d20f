//! A shell on the second serial port of a guest: somebody looks inside.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::fd::AsRawFd,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    thread,
};

use lastwords_vm::init::TERMINAL;
use nix::libc;

use crate::kernel::{Refusal, command::PATH, request::Shell};

nix::ioctl_write_int_bad!(
    /// Makes a terminal that of the session (`man 2 TIOCSCTTY`).
    set_controlling, libc::TIOCSCTTY);
nix::ioctl_write_ptr_bad!(
    /// Tells a terminal its size (`man 2 TIOCSWINSZ`).
    set_size, libc::TIOCSWINSZ, libc::winsize);

/// Starts a shell there and says `farewell` on the port once it has ended.
pub(crate) fn start(shell: &Shell) -> Result<(), Refusal> {
    let doing = || format!("starting {} on {TERMINAL}", shell.program);
    try_start(shell).map_err(|error| Refusal::by_kernel(doing(), &error))
}

/// Tells the port how large the window is that somebody looks through.
pub(crate) fn resize(rows: u16, columns: u16) -> Result<(), Refusal> {
    try_resize(rows, columns)
        .map_err(|error| Refusal::by_kernel(format!("stty on {TERMINAL}"), &error))
}

fn try_start(shell: &Shell) -> io::Result<()> {
    let port = open()?;
    let mut command = Command::new(&shell.program);
    command
        .args(&shell.arguments)
        .env("PATH", PATH)
        .env("HOME", "/root")
        .env("TERM", &shell.term)
        .env("PS1", &shell.prompt)
        .stdin(Stdio::from(port.try_clone()?))
        .stdout(Stdio::from(port.try_clone()?))
        .stderr(Stdio::from(port.try_clone()?));
    let descriptor = port.as_raw_fd();
    // SAFETY: between fork and exec only two system calls are made, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            nix::unistd::setsid()?;
            set_controlling(descriptor, 0)?;
            Ok(())
        });
    }
    let mut child = command.spawn()?;
    let farewell = shell.farewell.clone();
    thread::spawn(move || {
        // Ended in whatever way, it is gone. With the leader of its session the kernel hangs the terminal up, for
        // whoever has it open (drivers/tty/tty_jobctrl.c, `disassociate_ctty`).
        let _ = child.wait();
        let _ = open().and_then(|mut port| port.write_all(farewell.as_bytes()));
    });
    Ok(())
}

fn try_resize(rows: u16, columns: u16) -> io::Result<()> {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the port is open, and the kernel reads one `winsize`.
    unsafe { set_size(open()?.as_raw_fd(), &raw const size) }?;
    Ok(())
}

/// Not as the terminal of PID 1 itself.
fn open() -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY)
        .open(TERMINAL)
}
