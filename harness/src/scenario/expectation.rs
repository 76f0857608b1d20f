//! What must arrive, and what must not.

use std::{
    collections::BTreeMap, net::IpAddr, num::NonZeroU32, path::PathBuf, sync::OnceLock,
    time::Duration,
};

use crate::scenario::{NodeIndex, RemoteMac};

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
    /// What is read.
    pub(crate) source: Source,
    pub(crate) asked: Asked,
}

/// Where an expectation looks for lines.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Source {
    /// The frames that the receiver's links carry.
    Wire,
    /// What a real receiver printed.
    Printed,
    /// A file of a real receiver, by the path that its program knows.
    File(PathBuf),
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
    pub(crate) destination_mac: Option<RemoteMac>,
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
    /// See [`Expect::source`].
    pub(crate) source: Source,
    /// `for`: how long to listen where the sender's kernel is dead and sends no marker.
    pub(crate) lasting: Option<Duration>,
    /// The node that saw the lines last.
    pub(crate) lost: Option<NodeIndex>,
    /// Why they died: one of [`crate::scenario::cause::NAMES`].
    pub(crate) because: Option<String>,
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
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Pattern {
    /// A literal piece of the text. Invariant: not empty.
    Literal(String),
    /// A regular expression over bytes. Invariant: it does not match the empty text.
    Regex(Expression),
}

/// A regular expression that is compiled when it is first used: checking a file needs no more than its syntax.
#[derive(Debug, Clone)]
pub(crate) struct Expression {
    text: String,
    compiled: OnceLock<regex::bytes::Regex>,
}

impl Expression {
    /// Takes a regular expression whose syntax has been checked.
    pub(crate) fn new(text: String) -> Self {
        Self {
            text,
            compiled: OnceLock::new(),
        }
    }

    /// As written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Compiled.
    pub(crate) fn regex(&self) -> &regex::bytes::Regex {
        self.compiled.get_or_init(|| {
            regex::bytes::Regex::new(&self.text)
                .expect("the expression compiled when the file was read")
        })
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
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
