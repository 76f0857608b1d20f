//! What one case came to: a scenario with one combination of its matrix, on one kernel.

use std::{path::PathBuf, time::Duration};

use serde::Serialize;

use crate::report::{FailureReport, json};

/// What one case came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CaseReport {
    /// `smoke/floppy`, `smoke/floppy[via=modprobe]`.
    pub(crate) name: String,
    pub(crate) title: String,
    /// As `--kernel` named it.
    pub(crate) kernel: String,
    pub(crate) backend: String,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
    #[serde(rename = "duration_seconds", serialize_with = "json::seconds")]
    pub(crate) duration: Duration,
    pub(crate) timings: Vec<Timing>,
    /// Where the recordings are, where they were kept.
    #[serde(serialize_with = "json::path")]
    pub(crate) folder: Option<PathBuf>,
    /// The lines that were expected and arrived, in their order.
    pub(crate) arrived: Vec<String>,
    /// The random numbers that the case was made with, by what they were used for.
    pub(crate) seeds: std::collections::BTreeMap<String, u64>,
    /// What the reader should know besides the outcome: frames that were not kept, a guest that did not read.
    pub(crate) notes: Vec<String>,
}

/// The outcome of one case.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub(crate) enum Outcome {
    Passed,
    Failed {
        failure: Box<FailureReport>,
    },
    /// It failed as its file announces.
    Known {
        failure: Box<FailureReport>,
        because: String,
        link: Option<String>,
    },
    /// It failed, but not each time that it was run.
    Flaky {
        passed: u32,
        runs: u32,
        failure: Box<FailureReport>,
    },
    /// This kernel or backend cannot have it.
    #[serde(rename = "n/a")]
    NotApplicable {
        reason: String,
    },
    /// This machine lacks what it needs.
    Missing {
        reason: String,
    },
    /// No verdict could be reached. `causes` begins with what happened, each followed by its cause.
    Error {
        causes: Vec<String>,
    },
}

/// How long a part of a case took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Timing {
    pub(crate) what: String,
    #[serde(rename = "seconds", serialize_with = "json::seconds")]
    pub(crate) took: Duration,
}

impl Outcome {
    /// The word for it, the same in every format.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed { .. } => "failed",
            Self::Known { .. } => "known",
            Self::Flaky { .. } => "flaky",
            Self::NotApplicable { .. } => "n/a",
            Self::Missing { .. } => "missing",
            Self::Error { .. } => "error",
        }
    }

    /// The failure in it, announced or not.
    pub(crate) fn failure(&self) -> Option<&FailureReport> {
        match self {
            Self::Failed { failure }
            | Self::Known { failure, .. }
            | Self::Flaky { failure, .. } => Some(failure),
            Self::Passed
            | Self::NotApplicable { .. }
            | Self::Missing { .. }
            | Self::Error { .. } => None,
        }
    }
}
