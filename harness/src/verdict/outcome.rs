//! What an expectation comes to.

use serde::Serialize;

use crate::verdict::{finding::Kind, journey::Journey, nearest::Nearest};

/// An expectation that is fulfilled, and what fulfilled it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub(crate) struct Passed {
    /// The first few thousand.
    pub(crate) arrived: Vec<Arrived>,
}

/// A line that arrived as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Arrived {
    /// Index into the expectation's lines.
    pub(crate) line: usize,
    /// The scenario's index of the target.
    pub(crate) target: Option<usize>,
    /// The message's text, hostile bytes escaped.
    pub(crate) text: String,
    pub(crate) frames: Vec<u64>,
}

/// An expectation that is not fulfilled. Invariant: at least one problem; the first says most.
#[derive(Debug, Clone, PartialEq, Serialize, thiserror::Error)]
#[error("{}", .problems.first().map_or("", |problem| &problem.sentence))]
pub(crate) struct Failure {
    pub(crate) problems: Vec<Problem>,
    /// What else explains it, in sentences.
    pub(crate) facts: Vec<String>,
}

impl From<Vec<Problem>> for Failure {
    fn from(problems: Vec<Problem>) -> Self {
        let facts = Vec::new();
        Self { problems, facts }
    }
}

/// One thing that is not as expected.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Problem {
    pub(crate) kind: Kind,
    /// One sentence for the operator, hostile bytes escaped.
    pub(crate) sentence: String,
    /// Index into the expectation's lines.
    pub(crate) line: Option<usize>,
    /// The scenario's index of the target.
    pub(crate) target: Option<usize>,
    /// How often the line must come, where that is the question.
    pub(crate) expected: Option<u64>,
    pub(crate) seen: Option<u64>,
    /// The frames that show it.
    pub(crate) frames: Vec<u64>,
    /// The lines that come nearest to a missing one, the best first.
    pub(crate) nearest: Vec<Nearest>,
    /// How far a missing line came.
    pub(crate) journey: Option<Journey>,
}

impl Problem {
    /// A problem of which no more is known.
    pub(crate) fn new(kind: Kind, sentence: String) -> Self {
        let (line, target, expected, seen) = (None, None, None, None);
        Self {
            kind,
            sentence,
            line,
            target,
            expected,
            seen,
            frames: Vec::new(),
            nearest: Vec::new(),
            journey: None,
        }
    }
}
