//! The kernel log of a guest, read from outside: what a kernel that died left in its memory.
//!
//! The kernel itself says where its log is and how it is laid out, in the vmcoreinfo that it keeps for crash dumps
//! (`Documentation/admin-guide/kdump/vmcoreinfo.rst`); a kernel built without CONFIG_VMCORE_INFO (CONFIG_CRASH_CORE up to
//! 6.8) has none. A guest is hostile: every size is limited, and what does not add up is an error or no record.

mod paging;
mod record;
mod ring;
mod vmcoreinfo;

use crate::{
    memory::MemoryError,
    printk::{ring::Ring, vmcoreinfo::Vmcoreinfo},
    qemu::Qemu,
};

pub use record::LogRecord;
pub use vmcoreinfo::NotePlace;

/// Why a kernel's log could not be read from outside.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The guest's memory could not be read.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The kernel does not say how its log is laid out.
    #[error("the kernel's vmcoreinfo does not say `{0}`")]
    Unsaid(String),
    /// What is there cannot be a log.
    #[error("the kernel's log is not where its vmcoreinfo says, or is torn: {0}")]
    Torn(&'static str),
}

/// Reads the log of a guest whose processors stand still, oldest record first.
pub async fn read(qemu: &mut Qemu, note: NotePlace) -> Result<Vec<LogRecord>, LogError> {
    let note = qemu.read_memory(note.address, note.length).await?;
    let info = Vmcoreinfo::parse(&note)?;
    let ring = Ring::find(qemu, &info).await?;
    Ok(ring.records())
}
