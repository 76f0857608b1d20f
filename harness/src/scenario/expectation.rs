//! What must arrive, and what must not.

use std::{collections::BTreeMap, net::IpAddr, num::NonZeroU32, path::PathBuf};

use crate::{netconsole::MacAddress, scenario::NodeIndex};

/// `expect`: these lines arrive at a receiver.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expect {
    /// The receiver.
    pub(crate) at: NodeIndex,
    /// Only what this target sent (index into the scenario's targets).
    pub(crate) target: Option<usize>,
    pub(crate) lines: Lines,
    pub(crate) order: Order,
    /// No other line may arrive.
    pub(crate) exactly: bool,
    /// Lines that a load replays count, too.
    pub(crate) replay: bool,
    /// Read this file of a real receiver instead of what it printed.
    pub(crate) file: Option<PathBuf>,
    /// Read frames, also at a real receiver.
    pub(crate) wire: bool,
    pub(crate) asked: Asked,
}

/// What is asked about the messages that carry the expected lines; `None` is not asked.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Asked {
    pub(crate) format: Option<Format>,
    /// 0 to 7; only an extended target carries it.
    pub(crate) level: Option<u8>,
    /// 0 (kern), 1 (user), …; only an extended target carries it.
    pub(crate) facility: Option<u8>,
    /// `sequence = "contiguous"`: no kernel log record that passes the console level is missing between the first and
    /// the last expected line.
    pub(crate) contiguous: bool,
    /// How many fragments each extended message is in; 1 is a whole one.
    pub(crate) fragments: Option<NonZeroU32>,
    /// How many datagrams each message takes.
    pub(crate) datagrams: Option<NonZeroU32>,
    /// Exactly these key-value lines after the record's own dictionary.
    pub(crate) userdata: Option<BTreeMap<String, String>>,
    /// Whether the kernel's release stands before the header: `true`, or its text.
    pub(crate) release: Option<Release>,
    pub(crate) source_port: Option<u16>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) destination_mac: Option<MacAddress>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Release {
    Running,
    Absent,
    Text(String),
}

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Format {
    Basic,
    Extended,
}

/// `absent`: these lines were printed and do not arrive.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Absent {
    pub(crate) at: NodeIndex,
    pub(crate) target: Option<usize>,
    pub(crate) lines: Lines,
    /// See [`Expect::replay`].
    pub(crate) replay: bool,
}

/// The lines of an expectation. Invariant: not empty.
pub(crate) type Lines = Vec<Line>;

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) pattern: Pattern,
    /// Matched against the datagram's bytes (for a fragmented message: each datagram), not the message's text.
    pub(crate) raw: bool,
    /// How often it must arrive per target.
    pub(crate) times: NonZeroU32,
}

/// How a line is told.
#[derive(Debug, Clone)]
pub(crate) enum Pattern {
    /// A literal piece of the text. Invariant: not empty.
    Literal(String),
    /// A regular expression over bytes. Invariant: it does not match the empty text.
    Regex(regex::bytes::Regex),
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(one), Self::Literal(two)) => one == two,
            (Self::Regex(one), Self::Regex(two)) => one.as_str() == two.as_str(),
            (Self::Literal(_), Self::Regex(_)) | (Self::Regex(_), Self::Literal(_)) => false,
        }
    }
}

impl Pattern {
    /// Whether `text` holds it.
    pub(crate) fn is_in(&self, text: &[u8]) -> bool {
        match self {
            Self::Literal(literal) => {
                literal.is_empty()
                    || text
                        .windows(literal.len())
                        .any(|piece| piece == literal.as_bytes())
            }
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

/// Whether lines are expected as written.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    serde::Deserialize,
    serde::Serialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Order {
    /// In the order of the file; others may lie between.
    #[default]
    Given,
    Any,
}
