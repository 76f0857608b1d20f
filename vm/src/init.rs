//! PID 1 of a guest: mounts what a kernel offers, says that it is ready, and answers questions for ever.
//!
//! What the questions mean is the caller's business.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    os::fd::AsFd,
    path::Path,
};

use nix::{
    mount::{MsFlags, mount},
    sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr},
};

use crate::channel::READY;

/// The first ISA serial port, `nodefaults` or not.
const PORT: &str = "/dev/ttyS0";

/// Whether this process is PID 1 of a guest that lastwords booted.
#[must_use]
pub fn is_init() -> bool {
    std::process::id() == 1 && Path::new("/lastwords").is_dir()
}

/// The guest's end of the channel.
pub struct Port {
    reader: BufReader<File>,
    writer: File,
}

/// Mounts /dev, /proc, /sys and /run, and opens the channel.
///
/// The port must be open before a template is saved: opening it empties what was already sent.
pub fn prepare() -> io::Result<Port> {
    for (kind, folder) in [
        ("devtmpfs", "/dev"),
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("tmpfs", "/run"),
        ("tmpfs", "/tmp"),
    ] {
        std::fs::create_dir_all(folder)?;
        match mount(
            Some(kind),
            folder,
            Some(kind),
            MsFlags::empty(),
            None::<&str>,
        ) {
            // CONFIG_DEVTMPFS_MOUNT may have been first.
            Ok(()) | Err(nix::Error::EBUSY) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let writer = OpenOptions::new().read(true).write(true).open(PORT)?;
    let mut settings = tcgetattr(writer.as_fd())?;
    cfmakeraw(&mut settings);
    tcsetattr(writer.as_fd(), SetArg::TCSANOW, &settings)?;
    Ok(Port {
        reader: BufReader::new(writer.try_clone()?),
        writer,
    })
}

impl Port {
    /// Says that the guest can be asked.
    pub fn ready(&mut self) -> io::Result<()> {
        self.write_line(READY.as_bytes())
    }

    /// Waits for the next question; none when the port is closed.
    pub fn question(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let read = self.reader.read_until(b'\n', &mut line)?;
        Ok((read > 0).then_some(line))
    }

    /// Sends an answer, one line.
    pub fn write_line(&mut self, answer: &[u8]) -> io::Result<()> {
        let mut line = Vec::with_capacity(answer.len() + 1);
        line.extend_from_slice(answer);
        line.push(b'\n');
        self.writer.write_all(&line)
    }
}
