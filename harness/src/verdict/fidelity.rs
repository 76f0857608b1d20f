//! Holds a message against its record in the kernel's log, byte by byte.
//!
//! Only what is certain is said: where the log was not read as far, or has a gap, nothing is.

use std::collections::HashMap;

use crate::{
    netconsole::{
        Record,
        escape::show_start,
        message::{Basic, Content, Extended, MOST_BYTES},
        prefix::Style,
        print::{buffers, print},
        record::lines,
    },
    verdict::{finding::Kind, log::Log, sighting::Sighting},
};

/// What a message turns out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Likeness {
    /// This record, and behind it these lines of userdata.
    Record {
        sequence: u64,
        userdata: Vec<Vec<u8>>,
    },
    /// The first part of this basic record, which is cut at 1000 bytes right behind a newline; the rest must follow.
    Start { sequence: u64, rest: Vec<u8> },
    /// It is not what the log says.
    Wrong {
        kind: Kind,
        sequence: Option<u64>,
        sentence: String,
    },
    /// The log does not say.
    Unknown,
}

/// Finds records by their text, where messages have no timestamp.
#[derive(Debug, Default)]
pub(crate) struct Texts<'log> {
    by_text: HashMap<&'log [u8], Vec<&'log Record>>,
}

impl<'log> Texts<'log> {
    pub(crate) fn new(log: &'log Log) -> Self {
        let mut texts = Self::default();
        for record in log.after(None) {
            texts.by_text.entry(&record.text).or_default().push(record);
        }
        texts
    }

    fn with(&self, text: &[u8]) -> &[&'log Record] {
        self.by_text.get(text).map_or(&[], Vec::as_slice)
    }
}

/// What a message is compared with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'log> {
    pub(crate) log: &'log Log,
    pub(crate) texts: &'log Texts<'log>,
    /// The sequence number of the message before it in its flow.
    pub(crate) after: Option<u64>,
    /// The kernel's release.
    pub(crate) release: Option<&'log str>,
    /// A marker came behind it that the log has: if it is a record, it was read.
    pub(crate) settled: bool,
}

/// Compares a message with the log.
pub(crate) fn compare(sighting: &Sighting, context: Context) -> Likeness {
    match &sighting.message.content {
        Content::Extended(extended) => compare_extended(sighting, extended, context),
        Content::Basic(basic) => compare_basic(sighting, basic, context),
    }
}

fn compare_extended(
    sighting: &Sighting,
    extended: &Extended,
    Context { log, settled, .. }: Context,
) -> Likeness {
    let sequence = extended.header.sequence;
    let Some(record) = log.get(sequence) else {
        let beyond = settled && log.last().is_some_and(|last| sequence > last);
        let sentence = format!("its sequence number {sequence} is beyond the kernel log's last");
        return if beyond {
            wrong(Kind::NotInLog, None, sentence)
        } else {
            Likeness::Unknown
        };
    };
    let header = plain_header(&sighting.message.payloads[0], extended);
    if header != record.raw_header() {
        let sentence = format!(
            "its header is `{}`, the kernel log has `{}`",
            show_start(&header, 100),
            show_start(record.raw_header(), 100)
        );
        return wrong(Kind::Altered, Some(sequence), sentence);
    }
    match extended.body.strip_prefix(record.raw_body()) {
        Some(userdata) => Likeness::Record {
            sequence,
            userdata: lines(userdata).map(<[u8]>::to_vec).collect(),
        },
        None => {
            let (is, must) = difference(&extended.body, record.raw_body());
            wrong(
                Kind::Altered,
                Some(sequence),
                format!("it says `{is}` where the kernel log has `{must}`"),
            )
        }
    }
}

/// The header as the record has it: without release and fragment.
fn plain_header(payload: &[u8], extended: &Extended) -> Vec<u8> {
    let end = payload
        .iter()
        .position(|byte| *byte == b';')
        .unwrap_or(payload.len());
    let mut header = &payload[..end];
    if let Some(release) = &extended.header.release {
        header = &header[(release.len() + 1).min(header.len())..];
    }
    if let Some(fragment) = extended.header.fragment {
        let field = format!(",ncfrag={}/{}", fragment.offset, fragment.total);
        header = header.strip_suffix(field.as_bytes()).unwrap_or(header);
    }
    header.to_vec()
}

fn compare_basic(sighting: &Sighting, basic: &Basic, context: Context) -> Likeness {
    let bytes = &sighting.message.payloads.concat()[basic.notices..];
    let how = (basic.prefix.style(), buffers(context.release));
    let candidates = candidates(sighting, basic, context);
    for record in &candidates {
        let sequence = record.header.sequence;
        if is_printed(record, how, bytes) {
            return Likeness::Record {
                sequence,
                userdata: Vec::new(),
            };
        }
        if let Some(rest) = rest_of(record, how, bytes) {
            return Likeness::Start { sequence, rest };
        }
    }
    let known = |reaches: bool| context.settled && reaches;
    match (candidates.first(), basic.prefix.timestamp) {
        (Some(record), _) => {
            let (is, must) = difference(bytes, &print(record, how.0, how.1[0]));
            let sentence = format!("it says `{is}` where the kernel log has `{must}`");
            wrong(Kind::Altered, Some(record.header.sequence), sentence)
        }
        (None, Some(timestamp)) if known(context.log.reaches_back_to(timestamp)) => {
            let sentence = format!(
                "`{}` is not in the kernel log with this timestamp",
                show_start(bytes, 100)
            );
            wrong(Kind::NotInLog, None, sentence)
        }
        (None, None) if known(context.log.is_whole()) => wrong(
            Kind::NotInLog,
            None,
            format!("`{}` is not in the kernel log", show_start(bytes, 100)),
        ),
        (None, _) => Likeness::Unknown,
    }
}

/// The records that a basic message may be, the likeliest first: where several would do, it is the next one.
fn candidates<'log>(
    sighting: &Sighting,
    basic: &Basic,
    context: Context<'log>,
) -> Vec<&'log Record> {
    let mut candidates: Vec<&Record> = match basic.prefix.timestamp {
        Some(timestamp) => context.log.at(timestamp).collect(),
        None => context.texts.with(&sighting.message.text).to_vec(),
    };
    let is_past = |sequence| context.after.is_some_and(|after| sequence <= after);
    candidates.sort_by_key(|record| (is_past(record.header.sequence), record.header.sequence));
    candidates
}

fn is_printed(record: &Record, (style, buffers): (Style, &[usize]), bytes: &[u8]) -> bool {
    buffers
        .iter()
        .any(|buffer| print(record, style, *buffer) == bytes)
}

/// What must follow a message that is the start of a longer one, cut where a line ends.
fn rest_of(record: &Record, (style, buffers): (Style, &[usize]), bytes: &[u8]) -> Option<Vec<u8>> {
    let cut = bytes.len().is_multiple_of(MOST_BYTES) && bytes.ends_with(b"\n");
    buffers.iter().filter(|_| cut).find_map(|buffer| {
        print(record, style, *buffer)
            .strip_prefix(bytes)
            .map(<[u8]>::to_vec)
    })
}

/// Where two texts begin to differ: what is, and what must be; with a little of what stands before.
fn difference(is: &[u8], must: &[u8]) -> (String, String) {
    let common = is
        .iter()
        .zip(must)
        .take_while(|(one, other)| one == other)
        .count();
    let start = common.saturating_sub(20);
    (show_start(&is[start..], 60), show_start(&must[start..], 60))
}

fn wrong(kind: Kind, sequence: Option<u64>, sentence: String) -> Likeness {
    Likeness::Wrong {
        kind,
        sequence,
        sentence,
    }
}
