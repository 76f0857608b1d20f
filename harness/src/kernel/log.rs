//! The kernel log as /dev/kmsg gives it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
};

use crate::kernel::Answer;

/// The longest record that /dev/kmsg hands out (`PRINTK_MESSAGE_MAX`; 8192 for extended ones up to 6.3).
const RECORD_LIMIT: usize = 8192;
/// How much one answer carries; the rest comes with the next.
const ANSWER_LIMIT: usize = 8 << 20;

/// Reads the kernel log once, from its first record on.
pub(crate) struct LogReader(File);

impl LogReader {
    pub(crate) fn open() -> io::Result<Self> {
        OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .map(Self)
    }

    /// All records since the last call. Records that were overwritten unread are counted as one loss each time that
    /// the kernel says so (EPIPE).
    pub(crate) fn read(&mut self) -> io::Result<Answer> {
        let mut records = Vec::new();
        let mut lost = 0;
        let mut size = 0;
        let mut buffer = [0; RECORD_LIMIT];
        while size < ANSWER_LIMIT {
            match self.0.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    size += length;
                    records.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => lost += 1,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Answer::Log { records, lost })
    }
}
