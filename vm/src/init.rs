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

use crate::channel::{READY, split};

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
    /// The number of the last question.
    asked: u64,
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
        asked: 0,
    })
}

impl Port {
    /// Says that the guest can be asked.
    pub fn ready(&mut self) -> io::Result<()> {
        self.writer.write_all(format!("{READY}\n").as_bytes())
    }

    /// Waits for the next question; none when the port is closed. An empty one asks for a sign of life, and gets it.
    pub fn question(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if self.reader.read_until(b'\n', &mut line)? == 0 {
                return Ok(None);
            }
            // What carries no number is none of the program's: the port may echo what a guest's console wrote.
            let Some((number, question)) = split(&line) else {
                continue;
            };
            self.asked = number;
            let question = question.trim_ascii().to_vec();
            if !question.is_empty() {
                return Ok(Some(question));
            }
            self.answer(b"null")?;
        }
    }

    /// Answers the last question, in one line.
    pub fn answer(&mut self, answer: &[u8]) -> io::Result<()> {
        let mut line = format!("{} ", self.asked).into_bytes();
        line.extend_from_slice(answer);
        line.push(b'\n');
        self.writer.write_all(&line)
    }
}
