//! The bzImage: its setup header, the release that it carries, the compressed kernel inside.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use crate::{
    archive::compression::Compression,
    error::{Error, Result},
};

/// The most that a kernel may take when unpacked.
const VMLINUX_LIMIT: u64 = 2 << 30;

/// A bzImage, as the x86 boot protocol describes it (Documentation/arch/x86/boot.rst).
#[derive(Debug)]
pub(crate) struct Image {
    path: PathBuf,
    file: File,
    payload: Payload,
    release: String,
}

/// Where the compressed kernel lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Payload {
    start: u64,
    length: u64,
}

/// The fields of the setup header that matter here.
struct Header([u8; 0x250]);

impl Header {
    fn half(&self, at: usize) -> u64 {
        u64::from(u16::from_le_bytes([self.0[at], self.0[at + 1]]))
    }

    fn word(&self, at: usize) -> u64 {
        self.half(at) | self.half(at + 2) << 16
    }

    fn is_bzimage(&self) -> bool {
        self.0[0x202..0x206] == *b"HdrS" && self.half(0x206) >= 0x208
    }

    fn payload(&self) -> Payload {
        let sectors = match self.0[0x1f1] {
            0 => 4,
            sectors => u64::from(sectors),
        };
        Payload {
            start: (sectors + 1) * 512 + self.word(0x248),
            length: self.word(0x24c),
        }
    }
}

impl Image {
    /// Opens a bzImage and checks that all of it is there.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(Error::read(path))?;
        let mut header = Header([0; 0x250]);
        let not = |why| Error::NotAKernel {
            path: path.to_owned(),
            why,
        };
        match file.read_exact(&mut header.0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(not("it is too short"));
            }
            result => result.map_err(Error::read(path))?,
        }
        if !header.is_bzimage() {
            return Err(not("it is neither a bzImage nor an ELF file"));
        }
        let payload = header.payload();
        let length = file.metadata().map_err(Error::read(path))?.len();
        if payload.length == 0 || payload.start + payload.length > length {
            return Err(Error::ImageTorn {
                path: path.to_owned(),
            });
        }
        let release = read_release(&mut file, header.half(0x20e)).map_err(Error::read(path))?;
        let release = release.ok_or_else(|| not("it does not say its release"))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            payload,
            release,
        })
    }

    /// What `uname -r` will say.
    pub(crate) fn release(&self) -> &str {
        &self.release
    }

    /// Writes the vmlinux inside to a new file.
    pub(crate) fn extract(mut self, vmlinux: &Path) -> Result<()> {
        let mut start = [0; 6];
        self.file
            .seek(SeekFrom::Start(self.payload.start))
            .and_then(|_| self.file.read_exact(&mut start))
            .and_then(|()| self.file.seek(SeekFrom::Start(self.payload.start)))
            .map_err(Error::read(&self.path))?;
        let compression = Compression::of(&start);
        if compression == Compression::None && !start.starts_with(b"\x7fELF") {
            return Err(Error::NotAKernel {
                path: self.path,
                why: "its payload is packed in a way that is not known",
            });
        }
        let mut output = File::create(vmlinux).map_err(Error::write(vmlinux))?;
        let packed = BufReader::with_capacity(1 << 16, (&self.file).take(self.payload.length));
        let torn = |source| Error::Payload {
            path: self.path.clone(),
            compression: compression.name(),
            source,
        };
        let mut unpacked = compression
            .reader(packed)
            .map_err(torn)?
            .take(VMLINUX_LIMIT);
        copy(&mut unpacked, &mut output, torn, Error::write(vmlinux))
    }
}

/// Copies, and keeps apart which side failed.
pub(crate) fn copy(
    input: &mut dyn Read,
    output: &mut dyn Write,
    on_read: impl FnOnce(io::Error) -> Error,
    on_write: impl FnOnce(io::Error) -> Error,
) -> Result<()> {
    let mut buffer = vec![0; 1 << 17];
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(on_read(error)),
        };
        if let Err(error) = output.write_all(&buffer[..count]) {
            return Err(on_write(error));
        }
    }
}

/// Reads the version string's first word; the header says where it lies behind the first sector.
fn read_release(file: &mut File, offset: u64) -> io::Result<Option<String>> {
    if offset == 0 {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(0x200 + offset))?;
    let mut text = Vec::new();
    file.take(256).read_to_end(&mut text)?;
    let end = text.iter().position(|&byte| byte == 0 || byte == b' ');
    let release = String::from_utf8_lossy(&text[..end.unwrap_or(text.len())]).into_owned();
    Ok(Some(release).filter(|release| release.starts_with(|first: char| first.is_ascii_digit())))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rstest::rstest;
    use std::fs;

    /// Makes a bzImage around a payload.
    pub(crate) fn bzimage(release: &str, payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 1024];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
        image[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        image[0x248..0x24c].copy_from_slice(&16_u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        let version = format!("{release} (builder@host) #1 SMP\0");
        image[0x300..0x300 + version.len()].copy_from_slice(version.as_bytes());
        image.extend([0; 16]);
        image.extend(payload);
        image
    }

    fn write(content: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        file
    }

    #[rstest]
    #[case::plain(b"\x7fELF and more".to_vec())]
    #[case::zstd_with_its_size_behind({
        let mut packed = ruzstd::encoding::compress_to_vec(&b"\x7fELF and more"[..], ruzstd::encoding::CompressionLevel::Fastest);
        packed.extend(13_u32.to_le_bytes());
        packed
    })]
    fn the_kernel_inside_comes_out(#[case] payload: Vec<u8>) {
        let file = write(&bzimage("6.1.0-56-amd64", &payload));
        let image = Image::open(file.path()).unwrap();
        assert_eq!(image.release(), "6.1.0-56-amd64");
        let folder = tempfile::tempdir().unwrap();
        let vmlinux = folder.path().join("vmlinux");
        image.extract(&vmlinux).unwrap();
        assert_eq!(fs::read(vmlinux).unwrap(), b"\x7fELF and more");
    }

    #[test]
    fn an_image_without_its_end_is_torn() {
        let mut image = bzimage("6.1.0", b"\x7fELF and more");
        image.pop();
        let file = write(&image);
        let error = Image::open(file.path()).unwrap_err();
        assert!(error.to_string().contains("ends before its payload"));
    }

    #[rstest]
    #[case::nothing(vec![])]
    #[case::text(b"#!/bin/sh\n".repeat(100))]
    #[case::zeros(vec![0; 4096])]
    fn what_is_no_image_is_an_error(#[case] content: Vec<u8>) {
        let file = write(&content);
        let error = Image::open(file.path()).unwrap_err();
        assert!(matches!(error, Error::NotAKernel { .. }), "{error}");
    }

    #[test]
    fn a_payload_of_garbage_is_an_error() {
        let file = write(&bzimage("6.1.0", b"garbage and more of it"));
        let folder = tempfile::tempdir().unwrap();
        let image = Image::open(file.path()).unwrap();
        assert!(image.extract(&folder.path().join("vmlinux")).is_err());
    }
}
