//! The record of an unpacked kernel: what was put into its folder, so that a torn one is noticed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    cache::{digest::digest_file, staging::write_whole},
    error::{Error, Result},
    modules::index,
};

/// The version of the layout that is described here; entries of another one are made again.
const LAYOUT: u32 = 1;

/// Names of what the folder holds.
const RECORD: &str = "kernel.json";
pub(crate) const IMAGE: &str = "image";
pub(crate) const CONFIG: &str = "config";
pub(crate) const VMLINUX: &str = "vmlinux";
pub(crate) const MODULES: &str = "modules";

/// Where a kernel came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Origin {
    /// Debian's archive.
    Debian {
        /// The packages' version.
        version: String,
        /// The packages' names.
        packages: Vec<String>,
    },
    /// Package files that the user named.
    Files {
        /// Their paths at that time.
        paths: Vec<PathBuf>,
    },
}

/// A file whose size and content were noted when it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Noted {
    size: u64,
    sha256: String,
}

impl Noted {
    fn of(path: &Path) -> Result<Self> {
        let size = fs::metadata(path).map_err(Error::read(path))?.len();
        let sha256 = digest_file(path)?;
        Ok(Self { size, sha256 })
    }

    fn has_the_size_of(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|metadata| metadata.len() == self.size)
    }

    /// Reads the whole file and compares it.
    fn is(&self, path: &Path) -> bool {
        digest_file(path).is_ok_and(|sha256| sha256 == self.sha256)
    }
}

/// What an unpacked kernel is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    layout: u32,
    release: String,
    origin: Origin,
    image: Noted,
    /// Missing where the image holds no vmlinux that QEMU can boot.
    vmlinux: Option<Noted>,
    has_config: bool,
    modules: usize,
}

impl Record {
    /// What `uname -r` will say.
    pub(crate) fn release(&self) -> &str {
        &self.release
    }

    /// Where the kernel came from.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The number of its modules.
    pub(crate) fn modules(&self) -> usize {
        self.modules
    }

    /// Records what a folder holds.
    pub(crate) fn write(
        folder: &Path,
        release: String,
        origin: Origin,
        modules: usize,
    ) -> Result<()> {
        let if_there = |name| Some(folder.join(name)).filter(|path| path.is_file());
        let record = Self {
            layout: LAYOUT,
            release,
            origin,
            image: Noted::of(&folder.join(IMAGE))?,
            vmlinux: if_there(VMLINUX).map(|path| Noted::of(&path)).transpose()?,
            has_config: if_there(CONFIG).is_some(),
            modules,
        };
        let text = serde_json::to_vec_pretty(&record).expect("a record is plain data");
        write_whole(&folder.join(RECORD), &text)
    }

    /// Reads the record of a folder.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(RECORD);
        let text = fs::read(&path).map_err(Error::read(&path))?;
        serde_json::from_slice(&text).map_err(|_| Error::CacheTorn {
            path,
            what: "it is no record of a kernel",
        })
    }

    /// Whether a folder holds, by name and size, what its record says.
    pub(crate) fn is_whole(folder: &Path) -> bool {
        let Ok(record) = Self::read(folder) else {
            return false;
        };
        let vmlinux = record.vmlinux.as_ref();
        record.layout == LAYOUT
            && record.image.has_the_size_of(&folder.join(IMAGE))
            && vmlinux.is_none_or(|noted| noted.has_the_size_of(&folder.join(VMLINUX)))
            && (!record.has_config || folder.join(CONFIG).is_file())
            && index::has_list(&folder.join(MODULES))
    }

    /// Whether image and vmlinux hold, byte for byte, what was written; this reads all of both.
    pub(crate) fn is_sound(&self, folder: &Path) -> bool {
        let vmlinux = self.vmlinux.as_ref();
        self.image.is(&folder.join(IMAGE))
            && vmlinux.is_none_or(|noted| noted.is(&folder.join(VMLINUX)))
    }

    pub(crate) fn identity(&self) -> &str {
        &self.image.sha256
    }

    pub(crate) fn image(folder: &Path) -> PathBuf {
        folder.join(IMAGE)
    }

    pub(crate) fn vmlinux(&self, folder: &Path) -> Option<PathBuf> {
        self.vmlinux.as_ref().map(|_| folder.join(VMLINUX))
    }

    pub(crate) fn config(&self, folder: &Path) -> Option<PathBuf> {
        self.has_config.then(|| folder.join(CONFIG))
    }

    pub(crate) fn modules_folder(folder: &Path) -> PathBuf {
        folder.join(MODULES)
    }
}
