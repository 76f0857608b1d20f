//! What `lastwords param --format json` prints.
//!
//! One document. `schema_version` is raised when a field changes its meaning or goes; a new field leaves it as it is.
//! `exit_code`, `kernel` and `lastwords`, the program's version, are always there; beside them stand `proposal` for
//! `--to`, `explanation` for `--explain`, or `error`, why there is neither. The fields of the two are those of
//! [`Proposal`] and of [`Explanation`] by name.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    param::{
        Explanation, Proposal,
        explain::{Located, Target},
        machine::Kernel,
    },
    scenario::schema::{self, Draft},
};

/// See the module's documentation. What it allows is in `scenarios/param/schema.json`.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// What there is to say.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Content<'a> {
    /// For `--to`.
    Proposal(&'a Proposal),
    /// For `--explain`.
    Explanation(Explained<'a>),
    /// Why there is neither.
    Error(String),
}

/// An explanation as it is written.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Explained<'a> {
    /// The value that was found in what was given.
    parameter: &'a str,
    targets: &'a [Target],
    findings: &'a [Located],
}

/// What `lastwords param --format json` prints.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Document<'a> {
    /// Raised when a field changes its meaning or goes; a new field leaves it as it is.
    schema_version: u32,
    /// The program's version.
    lastwords: &'static str,
    /// 0 fine, 1 an error is among the findings, 2 usage, 3 no answer could be found.
    exit_code: u8,
    /// The running kernel; null where the machine could not be read.
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

/// The schema of the document, as a JSON text.
pub(crate) fn schema(draft: Draft) -> String {
    schema::printed::<Document<'_>>(draft, "What `lastwords param --format json` prints")
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
