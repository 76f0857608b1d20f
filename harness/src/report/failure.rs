//! A failure as a reader needs it: where, what, and what came closest.

use std::path::PathBuf;

use serde::Serialize;

use crate::report::json;

/// A verdict `failed` with its reasons. Bytes of the wire stand in it as [`crate::netconsole::escape::show`]
/// writes them.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct FailureReport {
    /// The step that failed.
    pub(crate) place: Option<StepPlace>,
    /// What happened, in one sentence; the journey's where there is one.
    pub(crate) sentence: String,
    /// What was expected, a line for each.
    pub(crate) expected: Vec<String>,
    /// What arrived and comes nearest to it, the closest first.
    pub(crate) nearest: Vec<String>,
    /// The expected line that came closest, and what arrived instead.
    pub(crate) diff: Option<Diff>,
    /// What else is known of it, in sentences.
    pub(crate) facts: Vec<String>,
    /// Runs just this case again, as it can be pasted.
    pub(crate) command: String,
}

/// The place of a step in its file.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct StepPlace {
    #[serde(serialize_with = "json::path")]
    pub(crate) file: PathBuf,
    /// From 1.
    pub(crate) line: usize,
    /// From 1, in characters.
    pub(crate) column: usize,
    /// That line of the file.
    pub(crate) source: String,
}

/// An expected line beside what arrived.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct Diff {
    pub(crate) expected: String,
    pub(crate) arrived: String,
}
