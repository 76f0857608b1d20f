//! What is wrong, by stable names.

use std::{collections::HashMap, fmt};

use serde::Serialize;

use crate::netconsole::{datagram, message};

/// What kind of thing is wrong. The names are stable: reports and scenarios use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// An expected line did not arrive, or not as often as expected.
    Missing,
    /// An expected line arrived only after the deadline.
    Late,
    /// The very same datagram arrived more often than expected.
    Duplicate,
    /// More messages than expected hold the line.
    TooMany,
    OutOfOrder,
    /// A line that `exactly` forbids.
    OtherLine,
    /// A line arrived that must be absent.
    Arrived,
    /// A line that the kernel's log does not have.
    NeverPrinted,
    /// A line did not arrive, but died elsewhere or of something else than expected.
    OtherCause,
    /// Everything arrived, and the marker behind it did not: a duplicate cannot be ruled out.
    MarkerLost,
    /// The kernel's log did not come as far as the judgement needs.
    Unproven,
    WrongFormat,
    WrongLevel,
    WrongFacility,
    /// A record is missing from the sequence.
    SequenceGap,
    WrongFragments,
    WrongDatagrams,
    WrongUserdata,
    WrongRelease,
    /// An address, a port or a MAC is not the target's.
    WrongSettings,
    /// Something in the headers that netconsole never sends.
    WrongHeader,
    /// A checksum or a length is wrong, so that no receiver takes it.
    Corrupted,
    /// A message without its end.
    Truncated,
    /// Two messages in one, or a line that printk did not make.
    Glued,
    FragmentLost,
    BrokenFragments,
    /// A datagram of more than 1000 bytes, or of none.
    WrongSize,
    /// A datagram that fits no target.
    Stray,
    /// It was sent by a target that is disabled.
    TargetDisabled,
    /// A message differs from its record in the kernel's log.
    Altered,
    /// A message that is no record of the kernel's log.
    NotInLog,
    /// A record was sent more than once.
    Repeated,
    /// A record that passes the console level was not sent.
    Unsent,
    /// The kernel oopsed, met a bug, or warned of one, and no step asked for it.
    KernelComplained,
    /// More arrived than is kept.
    Overflow,
}

/// Something wrong that no expectation asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) kind: Kind,
    /// One sentence for the operator, hostile bytes escaped.
    pub(crate) sentence: String,
    /// The scenario's index of the target.
    pub(crate) target: Option<usize>,
    /// The first few frames that show it.
    pub(crate) frames: Vec<u64>,
    /// How often it was found.
    pub(crate) count: u64,
}

/// Findings, alike ones counted and not kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    by_kind: HashMap<(Kind, Option<usize>, String), usize>,
}

/// How many frames a finding names.
const MOST_FRAMES: usize = 5;
/// How many different findings are kept.
const MOST_FINDINGS: usize = 200;

impl Findings {
    /// Adds one; `sort` is what makes two of a kind alike (the field that is wrong, not its value).
    pub(crate) fn add(&mut self, sort: &str, finding: Finding) {
        let key = (finding.kind, finding.target, sort.to_owned());
        if let Some(&known) = self.by_kind.get(&key) {
            let known = &mut self.list[known];
            known.count += finding.count;
            let room = MOST_FRAMES.saturating_sub(known.frames.len());
            known.frames.extend(finding.frames.into_iter().take(room));
        } else if self.list.len() < MOST_FINDINGS {
            self.by_kind.insert(key, self.list.len());
            self.list.push(finding);
        }
    }

    /// Adds all that others are.
    pub(crate) fn extend(&mut self, others: &Self) {
        let mut sorts: Vec<(usize, &str)> = others
            .by_kind
            .iter()
            .map(|((_, _, sort), number)| (*number, sort.as_str()))
            .collect();
        sorts.sort_unstable();
        for (number, sort) in sorts {
            self.add(sort, others.list[number].clone());
        }
    }

    /// What was found, in the order of the first of each kind.
    pub(crate) fn list(&self) -> &[Finding] {
        &self.list
    }
}

impl From<&datagram::Fault> for Kind {
    fn from(fault: &datagram::Fault) -> Self {
        if fault.is_fatal() {
            Self::Corrupted
        } else {
            Self::WrongHeader
        }
    }
}

impl From<&message::Fault> for Kind {
    fn from(fault: &message::Fault) -> Self {
        match fault {
            message::Fault::Oversized { .. } | message::Fault::Empty => Self::WrongSize,
            message::Fault::NoNewline | message::Fault::TailLost => Self::Truncated,
            message::Fault::OtherPrefix { .. } => Self::Glued,
            message::Fault::FragmentLost { .. } | message::Fault::FragmentAlone { .. } => {
                Self::FragmentLost
            }
            message::Fault::FragmentOverlap { .. }
            | message::Fault::FragmentOverrun { .. }
            | message::Fault::FragmentShort { .. }
            | message::Fault::FragmentNeedless { .. }
            | message::Fault::FragmentTotal { .. } => Self::BrokenFragments,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
