//! One record of the kernel's log, as /dev/kmsg gives it to a reader.

use crate::netconsole::{
    escape::{is_escaped, unescape},
    header::{Header, InvalidHeader},
};

/// A record of the kernel's log. A multi-line record is one: its newlines stand in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Invariant: without release and fragment, which only the wire has.
    pub(crate) header: Header,
    /// Unescaped.
    pub(crate) text: Vec<u8>,
    /// As read(2) returned it.
    pub(crate) raw: Vec<u8>,
    /// Where in `raw` the body begins.
    body: usize,
    /// Where in `raw` the dictionary begins.
    dictionary: usize,
}

/// How a panic begins to speak (`kernel/panic.c`). From then on everything passes the console level (`console_verbose`).
const PANIC: &str = "Kernel panic - not syncing";
/// The kernel's own facility: what /dev/kmsg is given has another (`devkmsg_write`).
const KERNEL: u8 = 0;

/// What is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidRecord {
    #[error(transparent)]
    Header(#[from] InvalidHeader),
    #[error("a release or a fragment stands in a record of the log")]
    FromTheWire,
    #[error("the text is not escaped")]
    NotEscaped,
    #[error("a line of the dictionary begins without a space")]
    Dictionary,
}

impl Record {
    /// Parses what one read(2) of /dev/kmsg returned.
    pub(crate) fn parse(raw: &[u8]) -> Result<Self, InvalidRecord> {
        let (header, body) = Header::parse(raw)?;
        if header.release.is_some() || header.fragment.is_some() {
            return Err(InvalidRecord::FromTheWire);
        }
        let (text, dictionary) = split_text(&raw[body..]);
        // Without newline the kernel's buffer was full, perhaps within an escape.
        let whole = text.len() < raw.len() - body;
        if whole && !is_escaped(text) {
            return Err(InvalidRecord::NotEscaped);
        }
        let record = Self {
            header,
            text: unescape(text),
            raw: raw.to_vec(),
            body,
            dictionary: body + dictionary,
        };
        if record
            .dictionary_lines()
            .any(|line| !line.starts_with(b" "))
        {
            return Err(InvalidRecord::Dictionary);
        }
        Ok(record)
    }

    /// Whether the kernel itself said it, and begins so.
    pub(crate) fn is_kernels(&self, start: &str) -> bool {
        self.header.facility == KERNEL && self.text.starts_with(start.as_bytes())
    }

    /// Whether it is the first line of a panic.
    pub(crate) fn is_panic(&self) -> bool {
        self.is_kernels(PANIC)
    }

    /// The header as it stands, without its `;`.
    pub(crate) fn raw_header(&self) -> &[u8] {
        &self.raw[..self.body - 1]
    }

    /// What follows the header: the escaped text, a newline, the dictionary.
    pub(crate) fn raw_body(&self) -> &[u8] {
        &self.raw[self.body..]
    }

    /// The lines of the dictionary, each with the space before it, without its newline.
    pub(crate) fn dictionary_lines(&self) -> impl Iterator<Item = &[u8]> {
        lines(&self.raw[self.dictionary..])
    }
}

/// Parts a body: the escaped text without its newline, and where what follows begins.
pub(crate) fn split_text(body: &[u8]) -> (&[u8], usize) {
    match body.iter().position(|byte| *byte == b'\n') {
        Some(newline) => (&body[..newline], newline + 1),
        None => (body, body.len()),
    }
}

/// The lines of `bytes` without their newlines; a last newline begins no line.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ended = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let empty = bytes.is_empty();
    ended.split(|byte| *byte == b'\n').filter(move |_| !empty)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::proptest;
    use rstest::rstest;

    use super::*;

    #[test]
    fn parses_a_device_message() {
        let raw = b"6,390,6305599,-;e1000 0000:00:03.0 eth0: (PCI:33MHz:32-bit) 52:54:00:12:34:56\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:03.0\n";
        let record = Record::parse(raw).unwrap();
        assert_eq!(
            (
                record.header.facility,
                record.header.level,
                record.header.sequence
            ),
            (0, 6, 390)
        );
        assert_eq!(record.header.timestamp, Duration::from_micros(6_305_599));
        assert_eq!(
            record.text,
            b"e1000 0000:00:03.0 eth0: (PCI:33MHz:32-bit) 52:54:00:12:34:56"
        );
        let dictionary: Vec<_> = record.dictionary_lines().collect();
        assert_eq!(
            dictionary,
            [b" SUBSYSTEM=pci".as_slice(), b" DEVICE=+pci:0000:00:03.0"]
        );
        assert_eq!(record.raw_header(), b"6,390,6305599,-");
        assert!(record.raw_body().starts_with(b"e1000"));
    }

    #[rstest]
    #[case::lines(br"13,530,1,-;L1\x0aL2\x0aL3", b"L1\nL2\nL3")]
    #[case::backslash(
        br"6,389,5932851,-;ACPI: \x5c_SB_.LNKC: Enabled",
        br"ACPI: \_SB_.LNKC: Enabled"
    )]
    #[case::empty(b"6,389,5932851,-;", b"")]
    fn unescapes_the_text(#[case] raw: &[u8], #[case] text: &[u8]) {
        let raw = [raw, b"\n"].concat();
        assert_eq!(Record::parse(&raw).unwrap().text, text);
        assert_eq!(Record::parse(&raw).unwrap().dictionary_lines().count(), 0);
    }

    #[test]
    fn takes_a_record_that_the_kernels_buffer_cut_within_an_escape() {
        assert_eq!(
            Record::parse(br"6,1,2,-;\x01\x0").unwrap().text,
            b"\x01\\x0"
        );
    }

    #[rstest]
    #[case::release(b"6.1,6,1,2,-;a\n", InvalidRecord::FromTheWire)]
    #[case::fragment(b"6,1,2,-,ncfrag=0/1;a\n", InvalidRecord::FromTheWire)]
    #[case::bytes(b"6,1,2,-;\x01\n", InvalidRecord::NotEscaped)]
    #[case::dictionary(b"6,1,2,-;a\nKEY=b\n", InvalidRecord::Dictionary)]
    fn refuses(#[case] raw: &[u8], #[case] error: InvalidRecord) {
        assert_eq!(Record::parse(raw), Err(error));
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = Record::parse(&bytes);
            let _ = Record::parse(&[b"6,1,2,-;".as_slice(), &bytes].concat());
        }
    }
}
