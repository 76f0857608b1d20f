//! Expectations as written.

use schemars::JsonSchema;

use crate::scenario::{
    expectation::{Format, Order},
    mistake::Mistakes,
    read::{
        Either, Many, Map,
        form::{Expression, Wait},
        network::Address,
        scalar::{Count, Number, Port},
        table::{Keys, table},
        word::Word,
    },
    tree::At,
};

/// A line: a literal piece of it, or a table.
pub(crate) type OneLine = Either<String, Line>;

/// `expect` in short: a line, or lines.
pub(crate) type Short = Either<String, Vec<At<OneLine>>>;

table! {
    /// A line that must arrive.
    "a line" struct Line checked by check_line {
        /// A literal piece of it.
        "text" text: String,
        /// A regular expression over its bytes.
        "regex" regex: Expression,
        /// How often it must arrive.
        "times" times: Count,
        /// Whether each datagram is searched, in place of the message's text.
        "raw" raw: bool,
    }
}

table! {
    /// Lines that must arrive at a receiver.
    "`expect`" struct Expect checked by check_expect {
        /// The receiver; the only one without it.
        "at" at: String,
        /// Only what this target sent.
        "target" target: String,
        /// The lines.
        "lines" lines: Many<OneLine>,
        /// The only line.
        "line" line: OneLine,
        /// Whether the lines must come in the order of the file.
        "order" order: Order,
        /// Whether no other line may arrive.
        "exactly" exactly: bool,
        /// How often each line must arrive that does not say so itself.
        "times" times: Count,
        /// Whether lines that a load replays count.
        "replay" replay: bool,
        /// The file of a real receiver that is read, as the program sees it.
        "file" file: String,
        /// Whether frames are read, also at a real receiver.
        "wire" wire: bool,
        /// How long it may take; 10 s without it.
        "within" within: Wait,
        /// Whether each line is searched in each datagram, in place of the message's text.
        "raw" raw: bool,
        /// The messages' format.
        "format" format: Format,
        /// The messages' level (extended targets only).
        "level" level: Number<0, 7>,
        /// The messages' facility, 1 for what programs write (extended targets only).
        "facility" facility: Number<0, 1023>,
        /// `"contiguous"`: no record is missing between the first and the last line.
        "sequence" sequence: Sequence,
        /// In how many fragments each message is sent; 1 is a whole one (extended targets only).
        "fragments" fragments: Count,
        /// In how many datagrams each message is sent.
        "datagrams" datagrams: Count,
        /// Exactly the key-value pairs that go with each message (extended targets only).
        "userdata" userdata: Map<String>,
        /// Whether the kernel's release stands before the header, or its text (extended targets only).
        "release" release: Either<bool, String>,
        /// The UDP port that the messages come from.
        "source-port" source_port: Port,
        /// The address that the messages come from.
        "source" source: Address,
        /// The Ethernet address that the frames go to: an address, or the node whose address it is.
        "destination-mac" destination_mac: String,
    }
}

table! {
    /// Lines that were printed and must not arrive at a receiver.
    "`absent`" struct Absent checked by check_absent {
        /// The receiver; the only one without it.
        "at" at: String,
        /// Only what this target sent.
        "target" target: String,
        /// The lines.
        "lines" lines: Many<OneLine>,
        /// The only line.
        "line" line: OneLine,
        /// How long to listen where the sender's kernel is dead.
        "for" lasting: Wait,
        /// The node that saw the lines last and lost them.
        "lost" lost: String,
        /// The stable name of the cause.
        "because" because: String,
        /// Whether lines that a load replays count.
        "replay" replay: bool,
        /// The file of a real receiver that is read, as the program sees it.
        "file" file: String,
        /// Whether frames are read, also at a real receiver.
        "wire" wire: bool,
        /// How long it may take; 10 s without it.
        "within" within: Wait,
    }
}

/// What is asked of the sequence numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub(crate) enum Sequence {
    Contiguous,
}

impl Word for Sequence {
    const WHAT: &'static str = "sequence";
    const WORDS: &'static [(&'static str, Self)] = &[("contiguous", Self::Contiguous)];
}

impl Word for Order {
    const WHAT: &'static str = "order";
    const WORDS: &'static [(&'static str, Self)] = &[("given", Self::Given), ("any", Self::Any)];
}

impl Word for Format {
    const WHAT: &'static str = "format";
    const WORDS: &'static [(&'static str, Self)] =
        &[("basic", Self::Basic), ("extended", Self::Extended)];
}

fn check_line(keys: &Keys<'_, '_>, mistakes: &mut Mistakes<'_>) {
    keys.exactly_one("a line", &["text", "regex"], mistakes);
}

fn check_expect(keys: &Keys<'_, '_>, mistakes: &mut Mistakes<'_>) {
    keys.exactly_one("`expect`", &["lines", "line"], mistakes);
}

fn check_absent(keys: &Keys<'_, '_>, mistakes: &mut Mistakes<'_>) {
    keys.exactly_one("`absent`", &["lines", "line"], mistakes);
}
