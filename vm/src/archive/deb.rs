//! Debian packages: the files of a .deb, streamed from `ar` through the decompressor and `tar`.
//!
//! Nothing is written here: where a file goes is the caller's decision, and no path of the archive is ever trusted.

use std::{
    fs::File,
    io::{self, Read, Seek},
    path::{Component, Path, PathBuf},
};

use ar::Archive;
use lzma_rust2::XzReaderMt;
use tar::EntryType;

use crate::{
    archive::compression::Compression,
    error::{Error, Result, is_full},
};

/// The most that a package may hold when unpacked.
const PACKAGE_LIMIT: u64 = 16 << 30;

/// The longest path that is read.
const PATH_LIMIT: u64 = 4096;

/// A .deb file.
#[derive(Debug)]
pub(crate) struct Deb<'a> {
    path: &'a Path,
    is_trusted: bool,
}

/// Takes one regular file of a package: its path without a leading slash, its length, its content.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(&Path, u64, &mut dyn Read) -> Result<()>;

impl<'a> Deb<'a> {
    /// A package whose content somebody vouched for: it is unpacked on all cores, which takes as much memory as its
    /// maker chose.
    pub(crate) fn trusted(path: &'a Path) -> Self {
        Self {
            path,
            is_trusted: true,
        }
    }

    /// A package from anywhere: it is unpacked on one core in bounded memory.
    pub(crate) fn untrusted(path: &'a Path) -> Self {
        Self {
            path,
            is_trusted: false,
        }
    }

    /// Hands every regular file of the package to `sink`.
    pub(crate) fn files(&self, sink: Sink) -> Result<()> {
        let file = File::open(self.path).map_err(Error::read(self.path))?;
        let mut archive = Archive::new(io::BufReader::with_capacity(1 << 16, file));
        while let Some(member) = archive.next_entry() {
            let member = member.map_err(|_| self.bad("it is no `ar` archive"))?;
            if member.header().identifier().starts_with(b"data.tar") {
                return self.members(self.data(member)?, sink);
            }
        }
        Err(self.bad("it has no data.tar"))
    }

    fn data<'r, R: Read + Seek + 'r>(&self, mut member: R) -> Result<Box<dyn Read + 'r>> {
        let mut start = [0; 6];
        let opened = member
            .read_exact(&mut start)
            .and_then(|()| member.rewind())
            .and_then(|()| match Compression::of(&start) {
                Compression::Xz if self.is_trusted => {
                    Ok(Box::new(XzReaderMt::new(member, false, cores())?) as Box<dyn Read>)
                }
                compression => compression.reader(member),
            });
        opened.map_err(self.unpack())
    }

    /// Walks the tar archive. It is read raw, since the reader would take extended names of any length into memory.
    fn members(&self, data: Box<dyn Read + '_>, sink: Sink) -> Result<()> {
        let mut archive = tar::Archive::new(data.take(PACKAGE_LIMIT));
        let entries = archive.entries().map_err(self.unpack())?.raw(true);
        let mut long_name = None;
        for entry in entries {
            let mut entry = entry.map_err(self.unpack())?;
            let size = entry.header().entry_size().map_err(self.unpack())?;
            match entry.header().entry_type() {
                EntryType::GNULongName => long_name = Some(self.long_name(&mut entry, size)?),
                EntryType::Regular | EntryType::Continuous => {
                    let name = match long_name.take() {
                        Some(name) => name,
                        None => entry.path().map_err(self.unpack())?.into_owned(),
                    };
                    sink(&self.inside(&name)?, size, &mut entry)?;
                }
                EntryType::XHeader | EntryType::XGlobalHeader => {}
                _ => long_name = None,
            }
        }
        Ok(())
    }

    fn long_name(&self, entry: &mut dyn Read, size: u64) -> Result<PathBuf> {
        if size > PATH_LIMIT {
            return Err(self.bad("a path in it is longer than any path can be"));
        }
        let mut name = String::new();
        entry.read_to_string(&mut name).map_err(self.unpack())?;
        Ok(PathBuf::from(name.trim_end_matches('\0')))
    }

    /// A path of the archive as one below its root.
    fn inside(&self, name: &Path) -> Result<PathBuf> {
        let mut inside = PathBuf::new();
        for component in name.components() {
            match component {
                Component::Normal(part) => inside.push(part),
                Component::RootDir | Component::CurDir => {}
                Component::ParentDir | Component::Prefix(_) => {
                    return Err(self.bad("a path in it leads outside"));
                }
            }
        }
        Ok(inside)
    }

    /// Its file's name.
    pub(crate) fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Says that it is not what a package should be.
    pub(crate) fn bad(&self, why: &'static str) -> Error {
        Error::BadPackage {
            path: self.path.to_owned(),
            why,
        }
    }

    /// Tells the package's own faults from a disk that fills up while reading from it.
    pub(crate) fn unpack(&self) -> impl Fn(io::Error) -> Error {
        let path = self.path.to_owned();
        move |source| {
            let path = path.clone();
            if is_full(&source) {
                Error::DiskFull { path, source }
            } else {
                Error::Unpack { path, source }
            }
        }
    }
}

fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(8) as u32)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rstest::rstest;
    use std::io::Write;

    /// Writes a package that holds these files.
    pub(crate) fn write_deb(path: &Path, files: &[(&str, &[u8])]) {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, *content).unwrap();
        }
        write_deb_of(path, &tar.into_inner().unwrap());
    }

    fn write_deb_of(path: &Path, tar: &[u8]) {
        let mut xz =
            lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(0)).unwrap();
        xz.write_all(tar).unwrap();
        let xz = xz.finish().unwrap();
        let mut deb = ar::Builder::new(File::create(path).unwrap());
        for (name, content) in [("debian-binary", &b"2.0\n"[..]), ("data.tar.xz", &xz)] {
            let header = ar::Header::new(name.as_bytes().to_vec(), content.len() as u64);
            deb.append(&header, content).unwrap();
        }
    }

    fn read(deb: &Deb) -> Result<Vec<(String, Vec<u8>)>> {
        let mut files = Vec::new();
        deb.files(&mut |path, size, content| {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes).map_err(deb.unpack())?;
            assert_eq!(bytes.len() as u64, size);
            files.push((path.to_str().unwrap().to_owned(), bytes));
            Ok(())
        })?;
        Ok(files)
    }

    #[rstest]
    #[case::trusted(true)]
    #[case::untrusted(false)]
    fn its_files_come_out(#[case] is_trusted: bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.deb");
        let long = format!("./lib/{}/x.ko", "long/".repeat(40));
        write_deb(&path, &[("./boot/vmlinuz-1", b"image"), (&long, b"module")]);
        let files = read(&Deb {
            path: &path,
            is_trusted,
        })
        .unwrap();
        assert_eq!(files[0], ("boot/vmlinuz-1".to_owned(), b"image".to_vec()));
        let expected = format!("lib/{}x.ko", "long/".repeat(40));
        assert_eq!(files[1], (expected, b"module".to_vec()));
    }

    #[test]
    fn a_path_that_leads_outside_is_refused() {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..9].copy_from_slice(b"../../etc");
        header.set_size(1);
        header.set_mode(0o644);
        header.set_cksum();
        let mut tar = tar::Builder::new(Vec::new());
        tar.append(&header, &b"x"[..]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.deb");
        write_deb_of(&path, &tar.into_inner().unwrap());
        let error = read(&Deb::untrusted(&path)).unwrap_err();
        assert!(error.to_string().contains("leads outside"), "{error}");
    }

    #[rstest]
    #[case::nothing(b"")]
    #[case::text(b"this is no package, only text, and a lot of it: more than sixty bytes in all")]
    #[case::empty_archive(b"!<arch>\n")]
    fn what_is_no_package_is_an_error(#[case] content: &[u8]) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let error = read(&Deb::untrusted(file.path())).unwrap_err();
        assert!(
            error.to_string().contains("no usable Debian package"),
            "{error}"
        );
    }

    #[rstest]
    #[case::trusted(true)]
    #[case::untrusted(false)]
    fn a_torn_package_is_an_error(#[case] is_trusted: bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.deb");
        let noise: Vec<u8> = (0..200_000u32)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        write_deb(&path, &[("./boot/vmlinuz-1", &noise)]);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(
            read(&Deb {
                path: &path,
                is_trusted
            })
            .is_err()
        );
    }
}
