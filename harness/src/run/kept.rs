//! What is kept of a kernel log for the recordings.

/// How much of a kernel log is kept.
const LOG_LIMIT: usize = 32 << 20;

/// A kernel log as it was read.
#[derive(Debug, Default)]
pub(crate) struct KeptLog {
    /// As /dev/kmsg prints them.
    pub(crate) records: Vec<String>,
    /// Records that were read and not kept.
    pub(crate) left_out: u64,
    /// How often the kernel said that records were overwritten before they were read.
    pub(crate) lost: u64,
    size: usize,
}

impl KeptLog {
    /// Keeps a record, or counts it where there are too many.
    pub(crate) fn keep(&mut self, record: String) {
        self.size += record.len();
        if self.size > LOG_LIMIT {
            self.left_out += 1;
        } else {
            self.records.push(record);
        }
    }
}
