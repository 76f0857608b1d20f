//! What `lastwords param --format json` prints.
//!
//! One document. `schema_version` is raised when a field changes its meaning or goes; a new field leaves it as it is.
//! `exit_code`, `kernel` and `lastwords`, the program's version, are always there; beside them stand `proposal` for
//! `--to`, `explanation` for `--explain`, or `error`, why there is neither. The fields of the two are those of
//! [`Proposal`] and of [`Explanation`] by name.

use std::io::{self, Write};

use serde::Serialize;

use crate::param::{
    Explanation, Proposal,
    explain::{Located, Target},
    machine::Kernel,
};

/// See the module's documentation.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// What there is to say.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Content<'a> {
    Proposal(&'a Proposal),
    Explanation(Explained<'a>),
    /// Why there is neither.
    Error(String),
}

/// An explanation as it is written.
#[derive(Serialize)]
pub(crate) struct Explained<'a> {
    /// The value that was found in what was given.
    parameter: &'a str,
    targets: &'a [Target],
    findings: &'a [Located],
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    lastwords: &'static str,
    exit_code: u8,
    kernel: Option<&'a Kernel>,
    #[serde(flatten)]
    content: Content<'a>,
}

impl<'a> From<&'a Explanation> for Explained<'a> {
    fn from(explanation: &'a Explanation) -> Self {
        Self {
            parameter: &explanation.text[explanation.value.clone()],
            targets: &explanation.targets,
            findings: &explanation.findings,
        }
    }
}

/// Writes the document.
pub(crate) fn write(
    mut out: impl Write,
    exit_code: u8,
    kernel: Option<&Kernel>,
    content: Content<'_>,
) -> io::Result<()> {
    let document = Document {
        schema_version: SCHEMA_VERSION,
        lastwords: env!("CARGO_PKG_VERSION"),
        exit_code,
        kernel,
        content,
    };
    serde_json::to_writer_pretty(&mut out, &document)?;
    writeln!(out)
}
