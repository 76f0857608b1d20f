//! The uncompressed kernel: an ELF file, and whether QEMU can boot it as it is.

use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use object::{
    LittleEndian,
    elf::{EM_X86_64, FileHeader64, PT_LOAD, PT_NOTE, ProgramHeader64},
    read::{
        ReadCache, ReadRef,
        elf::{FileHeader, ProgramHeader},
    },
};
use sha2::{Digest, Sha256};

use crate::{
    cache::digest::digest_of,
    error::{Error, Result},
};

/// The note that names the PVH entry point (XEN_ELFNOTE_PHYS32_ENTRY).
const PVH_NOTE: u32 = 18;

/// What the ELF headers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vmlinux {
    has_pvh_entry: bool,
    loaded: Vec<(u64, u64)>,
}

impl Vmlinux {
    /// Reads the headers, not the content: a kernel with debugging information can be a gigabyte.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::read(path))?;
        let length = file.metadata().map_err(Error::read(path))?.len();
        let vmlinux = Self::parse(&ReadCache::new(file)).map_err(|_| Error::NotAKernel {
            path: path.to_owned(),
            why: "its ELF headers are broken",
        })?;
        let is_whole = |&(offset, size): &(u64, u64)| {
            offset.checked_add(size).is_some_and(|end| end <= length)
        };
        match vmlinux {
            Some(vmlinux) if vmlinux.loaded.iter().all(is_whole) => Ok(vmlinux),
            Some(_) => Err(Error::ImageTorn {
                path: path.to_owned(),
            }),
            None => Err(Error::NotAKernel {
                path: path.to_owned(),
                why: "it is an ELF file for another machine",
            }),
        }
    }

    fn parse<'data>(data: impl ReadRef<'data>) -> object::read::Result<Option<Self>> {
        let header = FileHeader64::<LittleEndian>::parse(data)?;
        let endian = header.endian()?;
        if header.e_machine(endian) != EM_X86_64 {
            return Ok(None);
        }
        let mut vmlinux = Self {
            has_pvh_entry: false,
            loaded: Vec::new(),
        };
        for segment in header.program_headers(endian, data)? {
            match segment.p_type(endian) {
                PT_LOAD => vmlinux.loaded.push(segment.file_range(endian)),
                PT_NOTE => vmlinux.has_pvh_entry |= names_pvh_entry(segment, endian, data)?,
                _ => {}
            }
        }
        Ok(Some(vmlinux))
    }

    /// Whether QEMU can boot it without a bzImage around it.
    pub(crate) fn has_pvh_entry(&self) -> bool {
        self.has_pvh_entry
    }

    /// The digest of all that is loaded into the machine; debugging information is no part of it.
    pub(crate) fn digest(&self, path: &Path) -> Result<String> {
        let mut file = File::open(path).map_err(Error::read(path))?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 18];
        for &(offset, size) in &self.loaded {
            file.seek(SeekFrom::Start(offset))
                .map_err(Error::read(path))?;
            let mut segment = (&mut file).take(size);
            loop {
                match segment.read(&mut buffer).map_err(Error::read(path))? {
                    0 => break,
                    count => hasher.update(&buffer[..count]),
                }
            }
        }
        Ok(digest_of(&hasher.finalize()))
    }
}

fn names_pvh_entry<'data>(
    segment: &ProgramHeader64<LittleEndian>,
    endian: LittleEndian,
    data: impl ReadRef<'data>,
) -> object::read::Result<bool> {
    let Some(mut notes) = segment.notes(endian, data)? else {
        return Ok(false);
    };
    while let Some(note) = notes.next()? {
        if note.name() == b"Xen" && note.n_type(endian).0 == PVH_NOTE {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The release in the kernel's banner, `Linux version RELEASE (`.
pub(crate) fn find_release(path: &Path) -> Result<Option<String>> {
    const BANNER: &[u8] = b"Linux version ";
    const LONGEST: usize = 128;
    let file = File::open(path).map_err(Error::read(path))?;
    let mut file = BufReader::new(file);
    let mut window = Vec::new();
    loop {
        let read = (&mut file)
            .take(1 << 20)
            .read_to_end(&mut window)
            .map_err(Error::read(path))?;
        let found = memchr::memmem::find_iter(&window, BANNER)
            .find_map(|at| release_at(&window[at + BANNER.len()..]));
        if found.is_some() || read == 0 {
            return Ok(found);
        }
        let kept = window.len().saturating_sub(LONGEST);
        window.drain(..kept);
    }
}

/// The release at the start of some bytes; none where they end before it does.
fn release_at(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().take(100).position(|&byte| byte == b' ')?;
    let release = std::str::from_utf8(&bytes[..end]).ok()?;
    release
        .starts_with(|first: char| first.is_ascii_digit())
        .then(|| release.to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rstest::rstest;
    use std::fs;

    /// Makes a vmlinux that loads a banner, with or without the PVH entry.
    pub(crate) fn vmlinux(release: &str, has_pvh_entry: bool) -> Vec<u8> {
        let banner = format!("Linux version {release} (builder) #1\0");
        let mut note = Vec::new();
        let kind = if has_pvh_entry { PVH_NOTE } else { 1 };
        for word in [4, 8, kind] {
            note.extend(word.to_le_bytes());
        }
        note.extend(b"Xen\0");
        note.extend([0; 8]);
        let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
        elf.extend([0; 8]);
        elf.extend(64_u64.to_le_bytes());
        elf.extend([0; 8]);
        elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 64, 0, 0, 0, 0, 0]);
        let start = 64 + 2 * 56;
        let mut segment = |kind: u32, offset: usize, size: usize| {
            elf.extend(kind.to_le_bytes());
            elf.extend([0; 4]);
            elf.extend((offset as u64).to_le_bytes());
            elf.extend([0; 16]);
            elf.extend((size as u64).to_le_bytes());
            elf.extend((size as u64).to_le_bytes());
            elf.extend(4_u64.to_le_bytes());
        };
        segment(1, start, banner.len());
        segment(4, start + banner.len(), note.len());
        elf.extend(banner.as_bytes());
        elf.extend(note);
        elf
    }

    fn write(content: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        file
    }

    #[rstest]
    #[case::with_its_note(true)]
    #[case::without(false)]
    fn the_pvh_entry_is_noticed(#[case] has_pvh_entry: bool) {
        let file = write(&vmlinux("6.1.0", has_pvh_entry));
        let vmlinux = Vmlinux::open(file.path()).unwrap();
        assert_eq!(vmlinux.has_pvh_entry(), has_pvh_entry);
        let release = find_release(file.path()).unwrap();
        assert_eq!(release.as_deref(), Some("6.1.0"));
    }

    #[test]
    fn the_banner_is_found_across_windows() {
        for before in [(1 << 20) - 10, (1 << 20) - 20, (1 << 20) - 60] {
            let mut content = vec![0; before];
            content.extend(b"Linux version %s\0");
            content.extend(b"Linux version 7.3.4+deb13-amd64 (x)");
            let release = find_release(write(&content).path()).unwrap();
            assert_eq!(release.as_deref(), Some("7.3.4+deb13-amd64"));
        }
    }

    #[test]
    fn debugging_information_does_not_change_the_digest() {
        let plain = write(&vmlinux("6.1.0", true));
        let mut content = vmlinux("6.1.0", true);
        content.extend(b"debugging information");
        let larger = write(&content);
        let digest = |path: &Path| Vmlinux::open(path).unwrap().digest(path).unwrap();
        assert_eq!(digest(plain.path()), digest(larger.path()));
        let other = write(&vmlinux("6.1.1", true));
        assert_ne!(digest(plain.path()), digest(other.path()));
    }

    #[test]
    fn any_shorter_file_is_an_error() {
        let content = vmlinux("6.1.0", true);
        for length in 0..content.len() {
            let file = write(&content[..length]);
            assert!(Vmlinux::open(file.path()).is_err(), "{length}");
        }
    }
}
