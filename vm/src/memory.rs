//! A guest's physical memory, read from outside: of a machine that runs, is stopped, or whose kernel is dead.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::fs::FileExt,
    },
};

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde_json::json;

use crate::qmp::{Qmp, QmpError};

/// More than this is never read at once.
const MOST_BYTES: u64 = 64 << 20;

/// Why memory could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The monitor did not hand it out.
    #[error(transparent)]
    Monitor(#[from] QmpError),
    /// What it handed out cannot be read.
    #[error("the guest's memory cannot be read")]
    Window(#[source] io::Error),
    /// It lies where no memory can lie, or is too much.
    #[error("{length} bytes at {address:#x} are no piece of a guest's memory")]
    Nowhere {
        /// The physical address.
        address: u64,
        /// How much was asked for.
        length: u64,
    },
}

/// A file without a name that QEMU inherits and writes pieces of the guest's memory to.
#[derive(Debug)]
pub(crate) struct Window(File);

impl Window {
    pub(crate) fn new() -> io::Result<Self> {
        let file: OwnedFd = memfd_create("window", MFdFlags::MFD_CLOEXEC)?;
        Ok(Self(file.into()))
    }

    /// To be inherited by QEMU, under the same number.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Reads `length` bytes from the physical `address` on.
    pub(crate) async fn read(
        &self,
        qmp: &mut Qmp,
        address: u64,
        length: u64,
    ) -> Result<Vec<u8>, MemoryError> {
        if length > MOST_BYTES || address.checked_add(length).is_none() {
            return Err(MemoryError::Nowhere { address, length });
        }
        let file = format!("/proc/self/fd/{}", self.descriptor());
        let piece = json!({ "val": address, "size": length, "filename": file });
        qmp.execute("pmemsave", piece).await?;
        let nowhere = |_| MemoryError::Nowhere { address, length };
        let mut bytes = vec![0; usize::try_from(length).map_err(nowhere)?];
        self.0
            .read_exact_at(&mut bytes, 0)
            .map_err(MemoryError::Window)?;
        Ok(bytes)
    }
}
