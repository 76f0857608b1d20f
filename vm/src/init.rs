//! PID 1 of a guest: mounts what a kernel offers, says that it is ready, and answers questions for ever.
//!
//! What the questions mean is the caller's business.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd},
    path::Path,
};

use nix::{
    mount::{MsFlags, mount},
    sys::{
        mman::{MlockAllFlags, mlockall},
        termios::{SetArg, cfmakeraw, tcdrain, tcgetattr, tcsetattr},
    },
};

use crate::channel::{READY, split};

/// The first ISA serial port, `nodefaults` or not.
const PORT: &str = "/dev/ttyS0";
/// The second, of a machine that has a terminal.
pub const TERMINAL: &str = "/dev/ttyS1";

nix::ioctl_read_bad!(get_settings, libc::TCGETS2, libc::termios2);
nix::ioctl_write_ptr_bad!(set_settings, libc::TCSETS2, libc::termios2);

/// How much of its heap PID 1 keeps.
const HEAP: libc::c_int = 1 << 20;

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
        if kind == "tmpfs" && std::fs::read_dir(folder)?.next().is_some() {
            // Something was packed there, which a mount would hide.
            continue;
        }
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
    set_speed(&writer)?;
    stay_in_memory();
    Ok(Port {
        reader: BufReader::new(writer.try_clone()?),
        writer,
        asked: 0,
    })
}

/// Sets the port to its highest speed: what does not fill its FIFO comes out only after the time of four characters,
/// which is 4 ms at the default speed.
///
/// By the kernel's own request, since the C library's functions for speeds differ from release to release.
fn set_speed(port: &File) -> io::Result<()> {
    let mut settings = MaybeUninit::<libc::termios2>::uninit();
    // SAFETY: the request fills the structure in, and what it has filled in is read, changed and given back.
    unsafe {
        get_settings(port.as_raw_fd(), settings.as_mut_ptr())?;
        let settings = settings.assume_init_mut();
        settings.c_cflag = settings.c_cflag & !libc::CBAUD | libc::B115200;
        set_settings(port.as_raw_fd(), settings)?;
    }
    Ok(())
}

/// Has the kernel hand out memory once, before a template is saved, and not give it back: under emulation the first
/// page fault and the first `brk` of a restored guest cost a millisecond each.
fn stay_in_memory() {
    // SAFETY: each only sets a number of the allocator's.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, HEAP);
        libc::mallopt(libc::M_TOP_PAD, HEAP);
        libc::mallopt(libc::M_MMAP_THRESHOLD, HEAP);
    }
    // Grown by the padding above, and kept.
    drop(vec![1_u8; 1 << 17]);
    // Without it everything works as well, only slower.
    let _ = mlockall(MlockAllFlags::MCL_CURRENT);
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

    /// Waits until all that was answered has left the machine.
    pub fn drain(&mut self) -> io::Result<()> {
        Ok(tcdrain(&self.writer)?)
    }
}
