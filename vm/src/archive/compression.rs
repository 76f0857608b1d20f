//! Compressed streams, told apart by their first bytes.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use lzma_rust2::{LzmaReader, XzReader};
use ruzstd::decoding::StreamingDecoder;

/// The most that a decoder may take for its dictionary, in kilobytes.
const DICTIONARY_LIMIT: u32 = 256 * 1024;

/// The most that one block of the kernel's LZ4 format holds when unpacked.
const LZ4_BLOCK: usize = 8 << 20;

const LZ4_MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];

/// How some bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// As they are.
    None,
    Gzip,
    Xz,
    Zstd,
    /// LZ4 in the legacy frames that the kernel's build uses.
    Lz4,
    Lzma,
}

impl Compression {
    /// Looks at the first bytes; what is not known counts as not packed.
    pub(crate) fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            [0x5d, 0, 0, ..] => Compression::Lzma,
            _ if start.starts_with(&LZ4_MAGIC) => Compression::Lz4,
            _ => Compression::None,
        }
    }

    /// Its name, as people say it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Compression::None => "plain",
            Compression::Gzip => "gzip",
            Compression::Xz => "xz",
            Compression::Zstd => "zstd",
            Compression::Lz4 => "LZ4",
            Compression::Lzma => "LZMA",
        }
    }

    /// Unpacks a stream; what lies behind its end is left alone.
    pub(crate) fn reader<'a, R: Read + 'a>(self, packed: R) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Compression::None => Box::new(packed),
            Compression::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Compression::Xz => Box::new(XzReader::new_mem_limit(packed, false, DICTIONARY_LIMIT)),
            Compression::Zstd => Box::new(StreamingDecoder::new(packed).map_err(io::Error::other)?),
            Compression::Lz4 => Box::new(Lz4Reader::new(packed)?),
            Compression::Lzma => {
                Box::new(LzmaReader::new_mem_limit(packed, DICTIONARY_LIMIT, None)?)
            }
        })
    }
}

/// Unpacks bytes in memory, up to `limit` of them.
pub(crate) fn unpack(packed: &[u8], limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Compression::of(packed)
        .reader(packed)?
        .take(limit + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let what = format!("it unpacks to more than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

/// Reads LZ4's legacy frames: a magic number, then blocks with their length before them. The kernel's build puts the
/// unpacked length behind the last block, where it reads like a block's length without a block.
struct Lz4Reader<R> {
    packed: R,
    block: Vec<u8>,
    position: usize,
}

impl<R: Read> Lz4Reader<R> {
    fn new(mut packed: R) -> io::Result<Self> {
        let mut magic = [0; 4];
        packed.read_exact(&mut magic)?;
        Ok(Self {
            packed,
            block: Vec::new(),
            position: 0,
        })
    }

    /// Unpacks the next block; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        let mut length = [0; 4];
        let mut filled = 0;
        while filled < length.len() {
            match self.packed.read(&mut length[filled..])? {
                0 => return Ok(false),
                count => filled += count,
            }
        }
        if length == LZ4_MAGIC {
            return self.advance();
        }
        let length = u64::from(u32::from_le_bytes(length));
        let mut packed = Vec::new();
        let bound = lz4_flex::block::get_maximum_output_size(LZ4_BLOCK) as u64;
        (&mut self.packed)
            .take(length.min(bound))
            .read_to_end(&mut packed)?;
        if packed.is_empty() {
            return Ok(false);
        }
        if (packed.len() as u64) < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.block = lz4_flex::block::decompress(&packed, LZ4_BLOCK)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.position = 0;
        Ok(true)
    }
}

impl<R: Read> Read for Lz4Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.position == self.block.len() {
            if !self.advance()? {
                return Ok(0);
            }
        }
        let count = (&self.block[self.position..]).read(buffer)?;
        self.position += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::io::Write;

    fn text() -> Vec<u8> {
        b"last words ".repeat(100_000)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder =
            lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    fn lz4(bytes: &[u8]) -> Vec<u8> {
        let mut packed = LZ4_MAGIC.to_vec();
        for block in bytes.chunks(LZ4_BLOCK) {
            let block = lz4_flex::block::compress(block);
            packed.extend((block.len() as u32).to_le_bytes());
            packed.extend(block);
        }
        packed
    }

    #[rstest]
    #[case::plain(|bytes: &[u8]| bytes.to_vec(), "plain")]
    #[case::gzip(gzip, "gzip")]
    #[case::xz(xz, "xz")]
    #[case::zstd(zstd, "zstd")]
    #[case::lz4(lz4, "LZ4")]
    fn unpacks_what_was_packed(#[case] pack: fn(&[u8]) -> Vec<u8>, #[case] name: &str) {
        let packed = pack(&text());
        assert_eq!(Compression::of(&packed).name(), name);
        assert!(unpack(&packed, 1 << 30).unwrap() == text());
        assert!(unpack(&packed, 1_000).is_err(), "the limit holds");
    }

    #[rstest]
    #[case::xz(xz)]
    #[case::zstd(zstd)]
    #[case::lz4(lz4)]
    fn a_size_behind_the_end_is_left_alone(#[case] pack: fn(&[u8]) -> Vec<u8>) {
        let mut packed = pack(&text());
        packed.extend((text().len() as u32).to_le_bytes());
        assert!(unpack(&packed, 1 << 30).unwrap() == text());
    }

    #[rstest]
    #[case::gzip(gzip)]
    #[case::xz(xz)]
    #[case::zstd(zstd)]
    #[case::lz4(lz4)]
    fn a_torn_stream_is_an_error(#[case] pack: fn(&[u8]) -> Vec<u8>) {
        let mut packed = pack(&text());
        packed.truncate(packed.len() * 2 / 3);
        assert!(unpack(&packed, 1 << 30).is_err());
    }
}
