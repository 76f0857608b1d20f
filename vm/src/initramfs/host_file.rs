//! A file of this machine that is known, but not read yet.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, Result},
    initramfs::elf,
};

/// How much of an ELF file its headers take: they come first.
const HEADERS: u64 = 4096;

/// A file and what tells it from another, without its content: a file that is written to anew has other times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostFile {
    pub(crate) path: PathBuf,
    pub(crate) length: u64,
    place: (u64, u64),
    modified: (i64, i64),
    changed: (i64, i64),
}

impl HostFile {
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path).map_err(Error::read(path))?;
        Ok(Self {
            path: path.to_owned(),
            length: metadata.len(),
            place: (metadata.dev(), metadata.ino()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Whether it is a program that needs no interpreter.
    pub(crate) fn is_static(&self) -> Result<bool> {
        let mut headers = Vec::new();
        let file = File::open(&self.path).map_err(Error::read(&self.path))?;
        let read = file.take(HEADERS).read_to_end(&mut headers);
        read.map_err(Error::read(&self.path))?;
        Ok(elf::is_static(&headers))
    }
}
