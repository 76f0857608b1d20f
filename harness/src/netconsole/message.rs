//! One printk message as netconsole sent it: what its datagrams say once they are put together.

use std::fmt;

use crate::netconsole::{
    escape::unescape,
    header::Header,
    prefix::Prefix,
    record::{lines, split_text},
};

/// The most bytes of one datagram (`netconsole.c`, `MAX_PRINT_CHUNK`).
pub(crate) const MOST_BYTES: usize = 1000;

/// A message, of one datagram or of several.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) content: Content,
    /// Without printk's prefixes and the extended header, unescaped.
    pub(crate) text: Vec<u8>,
    /// Its datagrams' payloads. Invariant: not empty.
    pub(crate) payloads: Vec<Vec<u8>>,
    /// The numbers of their frames, one each.
    pub(crate) frames: Vec<u64>,
    pub(crate) faults: Vec<Fault>,
}

/// What a message holds beside its text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    Basic(Basic),
    Extended(Extended),
}

/// The format that a console's user reads.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Basic {
    /// The prefix of its first line; each line has the same.
    pub(crate) prefix: Prefix,
    /// How many records the kernel says that it dropped before this one.
    pub(crate) dropped: u64,
    /// How many bytes stand before the first prefix to say so.
    pub(crate) notices: usize,
}

/// The format that is made for programs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Extended {
    /// Of a message of several fragments: the first one's.
    pub(crate) header: Header,
    /// The escaped text, a newline, the record's dictionary, the target's userdata.
    pub(crate) body: Vec<u8>,
}

/// What is wrong with a message by itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    /// A datagram of more than 1000 bytes.
    Oversized {
        bytes: usize,
    },
    Empty,
    /// It ends without newline, and not because it was cut at 1000 bytes.
    NoNewline,
    /// It was cut at 1000 bytes, and the rest did not follow.
    TailLost,
    /// One of its lines has another prefix than the first: two messages in one, or a line that printk did not make.
    OtherPrefix {
        line: usize,
    },
    /// Fragments are missing at this offset.
    FragmentLost {
        offset: usize,
        total: usize,
    },
    /// A fragment without the ones before it.
    FragmentAlone {
        offset: usize,
        total: usize,
    },
    /// A fragment begins before the end of the one before it.
    FragmentOverlap {
        offset: usize,
        end: usize,
    },
    /// More bytes than the total says.
    FragmentOverrun {
        end: usize,
        total: usize,
    },
    /// A fragment that is not the last and yet not full.
    FragmentShort {
        offset: usize,
        bytes: usize,
    },
    /// Fragments of a message that fits into one datagram.
    FragmentNeedless {
        bytes: usize,
    },
    /// Fragments disagree about the total.
    FragmentTotal {
        first: usize,
        later: usize,
    },
}

impl Fault {
    /// What is wrong, without the numbers.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Oversized { .. } => "oversized",
            Self::Empty => "empty",
            Self::NoNewline => "no newline",
            Self::TailLost => "tail lost",
            Self::OtherPrefix { .. } => "other prefix",
            Self::FragmentLost { .. } => "fragment lost",
            Self::FragmentAlone { .. } => "fragment alone",
            Self::FragmentOverlap { .. } => "fragment overlap",
            Self::FragmentOverrun { .. } => "fragment overrun",
            Self::FragmentShort { .. } => "fragment short",
            Self::FragmentNeedless { .. } => "fragment needless",
            Self::FragmentTotal { .. } => "fragment total",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oversized { bytes } => write!(
                f,
                "a datagram of {bytes} bytes, netconsole sends {MOST_BYTES} at most"
            ),
            Self::Empty => f.write_str("an empty datagram"),
            Self::NoNewline => f.write_str("it ends without newline"),
            Self::TailLost => write!(
                f,
                "it was cut at {MOST_BYTES} bytes and the rest did not follow"
            ),
            Self::OtherPrefix { line } => {
                write!(f, "its line {line} has another prefix than its first")
            }
            Self::FragmentLost { offset, total } => write!(
                f,
                "its fragment at {offset} of {total} bytes did not follow"
            ),
            Self::FragmentAlone { offset, total } => write!(
                f,
                "a fragment at {offset} of {total} bytes came without the ones before it"
            ),
            Self::FragmentOverlap { offset, end } => write!(
                f,
                "a fragment begins at {offset}, the one before it ends at {end}"
            ),
            Self::FragmentOverrun { end, total } => {
                write!(f, "its fragments end at {end}, the total is {total}")
            }
            Self::FragmentShort { offset, bytes } => write!(
                f,
                "its fragment at {offset} has {bytes} bytes, all but the last have {MOST_BYTES}"
            ),
            Self::FragmentNeedless { bytes } => write!(
                f,
                "it is in fragments, though its {bytes} bytes fit into one datagram"
            ),
            Self::FragmentTotal { first, later } => write!(
                f,
                "its fragments disagree about the total: {first} and {later}"
            ),
        }
    }
}

impl Message {
    /// A basic message from its bytes.
    pub(crate) fn basic(payloads: Vec<Vec<u8>>, frames: Vec<u64>, mut faults: Vec<Fault>) -> Self {
        let bytes = payloads.concat();
        let (dropped, rest) = strip_notices(&bytes);
        let (prefix, _) = Prefix::parse(rest);
        let notices = bytes.len() - rest.len();
        if bytes.is_empty() {
            faults.push(Fault::Empty);
        } else if !bytes.ends_with(b"\n") && !faults.contains(&Fault::TailLost) {
            faults.push(Fault::NoNewline);
        }
        let (text, other) = strip_prefixes(rest, &prefix);
        faults.extend(other.map(|line| Fault::OtherPrefix { line }));
        Self {
            content: Content::Basic(Basic {
                prefix,
                dropped,
                notices,
            }),
            text,
            payloads,
            frames,
            faults,
        }
    }

    /// An extended message from its header and its whole body.
    pub(crate) fn extended(
        header: Header,
        body: Vec<u8>,
        payloads: Vec<Vec<u8>>,
        frames: Vec<u64>,
        faults: Vec<Fault>,
    ) -> Self {
        let text = unescape(split_text(&body).0);
        Self {
            content: Content::Extended(Extended { header, body }),
            text,
            payloads,
            frames,
            faults,
        }
    }

    /// The header of an extended one.
    pub(crate) fn header(&self) -> Option<&Header> {
        match &self.content {
            Content::Extended(extended) => Some(&extended.header),
            Content::Basic(_) => None,
        }
    }

    /// Whether it is no record, but only the kernel's word that it dropped some: 6.1 sends that by itself.
    pub(crate) fn is_notice(&self) -> bool {
        match &self.content {
            Content::Basic(basic) => {
                basic.notices > 0
                    && self.payloads.iter().map(Vec::len).sum::<usize>() == basic.notices
            }
            Content::Extended(_) => false,
        }
    }

    /// How much memory it takes, about.
    pub(crate) fn size(&self) -> usize {
        let body = match &self.content {
            Content::Basic(_) => 0,
            Content::Extended(extended) => extended.body.len(),
        };
        size_of::<Self>()
            + self.text.len()
            + body
            + self
                .payloads
                .iter()
                .map(|payload| payload.len() + 32)
                .sum::<usize>()
    }
}

impl Extended {
    /// The lines behind the text: the record's dictionary, then the userdata; without the space before each.
    pub(crate) fn dictionary_lines(&self) -> impl Iterator<Item = &[u8]> {
        lines(&self.body[split_text(&self.body).1..])
            .map(|line| line.strip_prefix(b" ").unwrap_or(line))
    }
}

/// Takes off what printk puts in front where it had to drop records or begins again (`printk.c`,
/// `console_prepend_dropped`, `console_prepend_replay`); says how many it dropped.
fn strip_notices(bytes: &[u8]) -> (u64, &[u8]) {
    let mut dropped = 0;
    let mut rest = bytes;
    while let Some((notice, tail)) = rest
        .strip_prefix(b"** ")
        .and_then(|rest| split_once(rest, b" **\n"))
    {
        let count = notice
            .strip_suffix(b" printk messages dropped")
            .and_then(|count| std::str::from_utf8(count).ok()?.parse::<u64>().ok());
        if count.is_none() && notice != b"replaying previous printk message" {
            break;
        }
        dropped += count.unwrap_or(0);
        rest = tail;
    }
    (dropped, rest)
}

fn split_once<'bytes>(
    bytes: &'bytes [u8],
    separator: &[u8],
) -> Option<(&'bytes [u8], &'bytes [u8])> {
    let at = bytes
        .windows(separator.len())
        .take(64)
        .position(|window| window == separator)?;
    Some((&bytes[..at], &bytes[at + separator.len()..]))
}

/// The lines without their prefixes; and the first line (from 1) whose prefix is another.
fn strip_prefixes(bytes: &[u8], prefix: &Prefix) -> (Vec<u8>, Option<usize>) {
    let expected = prefix.to_bytes();
    let mut other = None;
    let mut text = Vec::with_capacity(bytes.len());
    for (index, line) in bytes
        .strip_suffix(b"\n")
        .unwrap_or(bytes)
        .split(|byte| *byte == b'\n')
        .enumerate()
    {
        if index > 0 {
            text.push(b'\n');
        }
        match line.strip_prefix(expected.as_slice()) {
            Some(line) => text.extend_from_slice(line),
            None => {
                other = other.or(Some(index + 1));
                text.extend_from_slice(line);
            }
        }
    }
    (text, other)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::proptest;
    use rstest::rstest;

    use super::*;

    fn basic(bytes: &[u8]) -> Message {
        Message::basic(vec![bytes.to_vec()], vec![1], Vec::new())
    }

    #[rstest]
    #[case::one_line(b"[   12.882688] lvl0\n", b"lvl0", &[])]
    #[case::lines(b"[   23.559694] L1\n[   23.559694] L2\n[   23.559694] L3\n", b"L1\nL2\nL3", &[])]
    #[case::no_prefix(b"Floppy drive(s): fd0 is 1.44M\n", b"Floppy drive(s): fd0 is 1.44M", &[])]
    #[case::syslog(b"<6>[   12.882688] a\n<6>[   12.882688] b\n", b"a\nb", &[])]
    #[case::empty_line(b"[   12.882688] a\n[   12.882688] \n", b"a\n", &[])]
    #[case::dropped(b"** 17 printk messages dropped **\n[   12.882688] a\n", b"a", &[])]
    #[case::no_newline(b"[   12.882688] a", b"a", &[Fault::NoNewline])]
    #[case::empty(b"", b"", &[Fault::Empty])]
    #[case::glued(b"[   12.882688] a\n[   12.882689] b\n", b"a\n[   12.882689] b", &[Fault::OtherPrefix { line: 2 }])]
    #[case::no_second_prefix(b"[   12.882688] a\nb\n", b"a\nb", &[Fault::OtherPrefix { line: 2 }])]
    #[case::two_newlines(b"[   12.882688] a\n\n", b"a\n", &[Fault::OtherPrefix { line: 2 }])]
    fn reads_basic_messages(#[case] bytes: &[u8], #[case] text: &[u8], #[case] faults: &[Fault]) {
        let message = basic(bytes);
        assert_eq!(
            (message.text.as_slice(), message.faults.as_slice()),
            (text, faults)
        );
    }

    #[test]
    fn keeps_the_timestamp_and_what_was_dropped() {
        let message = basic(b"** 17 printk messages dropped **\n** replaying previous printk message **\n[   12.882688] a\n");
        let Content::Basic(Basic {
            prefix, dropped, ..
        }) = message.content
        else {
            panic!("it is basic")
        };
        assert_eq!(
            (prefix.timestamp, dropped),
            (Some(Duration::from_micros(12_882_688)), 17)
        );
    }

    #[test]
    fn parts_text_and_dictionary_of_an_extended_message() {
        let payload = b"13,426,32668031,-;a\\x0ab\n SUBSYSTEM=pci\n key=value\n";
        let (header, body) = Header::parse(payload).unwrap();
        let message = Message::extended(
            header,
            payload[body..].to_vec(),
            vec![payload.to_vec()],
            vec![1],
            Vec::new(),
        );
        let Content::Extended(extended) = &message.content else {
            panic!("it is extended")
        };
        assert_eq!(message.text, b"a\nb");
        assert_eq!(
            extended.dictionary_lines().collect::<Vec<_>>(),
            [b"SUBSYSTEM=pci".as_slice(), b"key=value"]
        );
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = basic(&bytes);
            let _ = basic(&[b"** ".as_slice(), &bytes, b" **\n"].concat());
        }
    }
}
