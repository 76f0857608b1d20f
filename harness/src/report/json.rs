//! Results as one JSON document, for programs.
//!
//! `schema_version` is raised when a field changes its meaning or goes; a new field leaves it as it is. The fields are
//! those of [`RunReport`] by name, with `verdict` for a case's outcome, and `summary`, `exit_code` and `lastwords`, the
//! program's version, beside them. Times are in seconds.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use serde::{Serialize, Serializer};

use crate::report::{CaseReport, Format, RunReport, Tally};

/// See the module's documentation.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// One JSON document at the end of the run.
pub(crate) struct Json<W> {
    out: W,
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    lastwords: &'static str,
    exit_code: u8,
    summary: Tally,
    #[serde(flatten)]
    run: &'a RunReport,
}

impl<W: Write> Json<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write> Format for Json<W> {
    fn case(&mut self, _: &CaseReport) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, run: &RunReport) -> io::Result<()> {
        let document = Document {
            schema_version: SCHEMA_VERSION,
            lastwords: env!("CARGO_PKG_VERSION"),
            exit_code: run.exit().code(),
            summary: run.tally(),
            run,
        };
        serde_json::to_writer_pretty(&mut self.out, &document)?;
        writeln!(self.out)?;
        self.out.flush()
    }
}

pub(crate) fn seconds<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// A path, or none; what is no UTF-8 in it is replaced.
pub(crate) fn path<S: Serializer, P: AsPath>(path: &P, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_path()
        .map(|path| path.to_string_lossy())
        .serialize(serializer)
}

/// What [`path`] can write.
pub(crate) trait AsPath {
    fn as_path(&self) -> Option<&PathBuf>;
}

impl AsPath for PathBuf {
    fn as_path(&self) -> Option<&PathBuf> {
        Some(self)
    }
}

impl AsPath for Option<PathBuf> {
    fn as_path(&self) -> Option<&PathBuf> {
        self.as_ref()
    }
}
