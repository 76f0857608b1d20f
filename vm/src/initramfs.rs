//! The first root file system of a guest: files, programs with their libraries, modules, packed in memory as the kernel
//! unpacks it (Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! It is not compressed: under emulation, unpacking costs the guest more than the bytes cost the host.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
};

use cpio::newc::{Builder, ModeFileType, trailer};
use sha2::{Digest, Sha256};

use crate::{
    error::{Error, Result},
    initramfs::host_file::HostFile,
    modules::{Module, ModuleTree},
};

mod depmod;
mod elf;
mod host_file;
mod host_path;
mod layout;
mod library;
mod program;
mod trie;

/// What will be the guest's root file system.
///
/// Invariant: paths are relative, without `.`, `..` or doubled slashes; what is put twice at a path counts as put last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Initramfs {
    nodes: BTreeMap<String, Node>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    File {
        mode: u32,
        bytes: Vec<u8>,
    },
    /// A file of this machine that is read when the archive is packed.
    HostFile {
        mode: u32,
        file: HostFile,
    },
    Directory {
        mode: u32,
    },
    Symlink {
        target: String,
    },
    Device(Device),
}

/// A device file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Whether it is a block device and not a character device.
    pub kind: DeviceKind,
    /// Permissions.
    pub mode: u32,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// The kinds of device files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// A character device.
    Character,
    /// A block device.
    Block,
}

impl Initramfs {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a file.
    pub fn file(&mut self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) -> &mut Self {
        let bytes = bytes.into();
        self.put(path, Node::File { mode, bytes })
    }

    /// Puts a folder; those that lead to something are made by themselves.
    pub fn directory(&mut self, path: &str, mode: u32) -> &mut Self {
        self.put(path, Node::Directory { mode })
    }

    /// Puts a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) -> &mut Self {
        let target = target.to_owned();
        self.put(path, Node::Symlink { target })
    }

    /// Puts a device file.
    pub fn node(&mut self, path: &str, device: Device) -> &mut Self {
        self.put(path, Node::Device(device))
    }

    /// Puts a program of this machine at the same place, with its interpreter and all libraries that it is linked
    /// with; a name without a slash is searched as a shell would. Returns where the program is.
    pub fn program(&mut self, name: impl AsRef<Path>) -> Result<PathBuf> {
        program::pack(self, name.as_ref())
    }

    /// Puts a program of this machine as `/init`, with its interpreter and libraries where it has any.
    pub fn init(&mut self, program: &Path) -> Result<&mut Self> {
        let file = HostFile::new(program)?;
        if file.is_static()? {
            return Ok(self.put("init", Node::HostFile { mode: 0o755, file }));
        }
        let bytes = program::read(program)?;
        library::pack(self, program, &bytes)?;
        Ok(self.file("init", 0o755, bytes))
    }

    /// Puts modules of a tree where `modprobe` looks for them, and the lists that it reads.
    pub fn modules(&mut self, tree: &ModuleTree, modules: &[Module]) -> Result<&mut Self> {
        let folder = format!("lib/modules/{}", tree.release());
        for module in modules {
            let path = format!("{folder}/{}", module.below.display());
            self.file(&path, 0o644, module.bytes.clone());
        }
        for (name, content) in depmod::lists(tree, modules)? {
            self.file(&format!("{folder}/{name}"), 0o644, content);
        }
        Ok(self)
    }

    /// Takes away what was put at a path or below it.
    pub fn remove(&mut self, path: &str) -> &mut Self {
        let path = tidy(path);
        let below = format!("{path}/");
        self.nodes
            .retain(|place, _| *place != path && !place.starts_with(&below));
        self
    }

    /// Puts a library of this machine that a program loads by itself, with all that it is linked with; false where this
    /// machine does not have it.
    pub fn library(&mut self, name: &str) -> Result<bool> {
        library::pack_by_name(self, name)
    }

    /// Whether something was put at a path.
    pub fn holds(&self, path: &str) -> bool {
        self.nodes.contains_key(&tidy(path))
    }

    /// A digest that is another one where anything of the content is. A file that is read later counts by its identity.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for (path, node) in &self.nodes {
            // Each part with its length, so that no two contents run together alike.
            let (kind, content) = match node {
                Node::File { mode, bytes } => (format!("file {mode:o}"), bytes.as_slice()),
                Node::HostFile { mode, file } => (format!("file {mode:o} {file:?}"), &[][..]),
                Node::Directory { mode } => (format!("folder {mode:o}"), &[][..]),
                Node::Symlink { target } => ("link".to_owned(), target.as_bytes()),
                Node::Device(device) => (format!("{device:?}"), &[][..]),
            };
            let (path_length, length) = (path.len(), content.len());
            hash.update(format!("{path_length} {path} {kind} {length}\n"));
            hash.update(content);
        }
        hex(&hash.finalize())
    }

    /// Packs it. The same content always gives the same bytes.
    pub fn finish(&self) -> Result<Vec<u8>> {
        let nodes = layout::lay_out(&self.nodes)?;
        let size: usize = nodes
            .iter()
            .map(|(path, node)| path.len() + node.length() + 128)
            .sum();
        let mut archive = Vec::with_capacity(size + 512);
        for (inode, (path, node)) in nodes.iter().enumerate() {
            archive = node.write(path, inode as u32 + 1, archive)?;
        }
        trailer(archive).map_err(Error::write("initramfs"))
    }

    fn put(&mut self, path: &str, node: Node) -> &mut Self {
        let path = tidy(path);
        let is_link = matches!(self.nodes.get(&path), Some(Node::Symlink { .. }));
        // A link to a folder serves as that folder, and programs may rely on it.
        if !(is_link && matches!(node, Node::Directory { .. })) {
            self.nodes.insert(path, node);
        }
        self
    }
}

impl Node {
    fn content(&self) -> Result<Cow<'_, [u8]>> {
        Ok(match self {
            Node::File { bytes, .. } => Cow::Borrowed(bytes.as_slice()),
            Node::HostFile { file, .. } => Cow::Owned(program::read(&file.path)?),
            Node::Symlink { target } => Cow::Borrowed(target.as_bytes()),
            Node::Directory { .. } | Node::Device(_) => Cow::Borrowed(&[]),
        })
    }

    fn length(&self) -> usize {
        match self {
            Node::File { bytes, .. } => bytes.len(),
            Node::HostFile { file, .. } => usize::try_from(file.length).unwrap_or(0),
            Node::Symlink { target } => target.len(),
            Node::Directory { .. } | Node::Device(_) => 0,
        }
    }

    fn write(&self, path: &str, inode: u32, archive: Vec<u8>) -> Result<Vec<u8>> {
        let builder = Builder::new(path).ino(inode).nlink(1);
        let builder = match self {
            Node::File { mode, .. } | Node::HostFile { mode, .. } => {
                typed(builder, *mode, ModeFileType::Regular)
            }
            Node::Directory { mode } => typed(builder, *mode, ModeFileType::Directory).nlink(2),
            Node::Symlink { .. } => typed(builder, 0o777, ModeFileType::Symlink),
            Node::Device(device) => typed(builder, device.mode, device.kind.into())
                .rdev_major(device.major)
                .rdev_minor(device.minor),
        };
        let content = self.content()?;
        let length = u32::try_from(content.len()).map_err(|_| Error::InitramfsPath {
            path: path.to_owned(),
            why: "the format has no room for a file of 4 GB",
        })?;
        let mut writer = builder.write(archive, length);
        writer
            .write_all(&content)
            .and_then(|()| writer.finish())
            .map_err(Error::write("initramfs"))
    }
}

impl From<DeviceKind> for ModeFileType {
    fn from(kind: DeviceKind) -> Self {
        match kind {
            DeviceKind::Character => ModeFileType::Char,
            DeviceKind::Block => ModeFileType::Block,
        }
    }
}

fn typed(builder: Builder, mode: u32, kind: ModeFileType) -> Builder {
    builder.mode(mode).set_mode_file_type(kind)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where a program of this machine is that [`Initramfs::program`] would pack.
#[must_use]
pub fn find_program(name: impl AsRef<Path>) -> Option<PathBuf> {
    program::find(name.as_ref())
}

/// A path as it stands in the archive.
fn tidy(path: &str) -> String {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use cpio::newc::Reader;
    use std::io::Read;

    /// Reads an archive back: name, mode, content.
    fn entries(archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        let mut rest = archive;
        loop {
            let mut reader = Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                return entries;
            }
            let mut content = Vec::new();
            reader.read_to_end(&mut content).unwrap();
            let entry = reader.entry();
            entries.push((entry.name().to_owned(), entry.mode(), content));
            rest = reader.finish().unwrap();
        }
    }

    #[test]
    fn folders_come_before_what_is_in_them() {
        let mut initramfs = Initramfs::new();
        initramfs
            .file("/etc/modprobe.d/a.conf", 0o644, "options")
            .symlink("bin/sh", "/usr/bin/dash")
            .directory("tmp", 0o1777);
        let console = Device {
            kind: DeviceKind::Character,
            mode: 0o600,
            major: 5,
            minor: 1,
        };
        initramfs.node("dev/console", console);
        let entries = entries(&initramfs.finish().unwrap());
        let names: Vec<(&str, u32)> = entries
            .iter()
            .map(|(name, mode, _)| (name.as_str(), *mode))
            .collect();
        let expected = [
            ("bin", 0o040755),
            ("bin/sh", 0o120777),
            ("dev", 0o040755),
            ("dev/console", 0o020600),
            ("etc", 0o040755),
            ("etc/modprobe.d", 0o040755),
            ("etc/modprobe.d/a.conf", 0o100644),
            ("tmp", 0o041777),
        ];
        assert_eq!(names, expected);
        assert_eq!(entries[6].2, b"options");
    }

    #[test]
    fn what_is_taken_away_is_gone_with_all_below() {
        let mut initramfs = Initramfs::new();
        initramfs
            .file("/etc/modules", 0o644, "")
            .file("/etcetera", 0o644, "")
            .remove("/etc");
        assert!(!initramfs.holds("/etc/modules") && initramfs.holds("/etcetera"));
    }

    #[test]
    fn the_same_content_gives_the_same_bytes() {
        let mut one = Initramfs::new();
        one.file("a", 0o644, "a").file("b", 0o644, "b");
        let mut other = Initramfs::new();
        other.file("/b", 0o644, "b").file("./a", 0o644, "a");
        assert_eq!(one.finish().unwrap(), other.finish().unwrap());
        assert_eq!(one.fingerprint(), other.fingerprint());
    }

    #[test]
    fn other_content_has_another_fingerprint() {
        let with = |path: &str, mode, bytes: &str| {
            let mut initramfs = Initramfs::new();
            initramfs.file(path, mode, bytes);
            initramfs.fingerprint()
        };
        let one = with("a", 0o644, "a");
        for other in [
            with("b", 0o644, "a"),
            with("a", 0o755, "a"),
            with("a", 0o644, "b"),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn an_init_that_has_changed_has_another_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("init");
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let fingerprint = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let mut initramfs = Initramfs::new();
            initramfs.init(&path).unwrap();
            let packed = initramfs.finish().unwrap();
            assert!(packed.len() > bytes.len());
            initramfs.fingerprint()
        };
        let one = fingerprint(&program);
        assert_ne!(one, fingerprint(&[program, vec![0]].concat()));
    }
}
