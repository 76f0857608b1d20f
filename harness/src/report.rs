//! Results as values, and the formats in which they are told.
//!
//! Nothing here runs or judges: whoever does fills in a [`CaseReport`] for each case, gives it to the formats as it
//! comes, and a [`RunReport`] at the end.

pub(crate) mod case;
pub(crate) mod diff;
pub(crate) mod exit;
pub(crate) mod failure;
pub(crate) mod human;
pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod tally;
pub(crate) mod tap;
pub(crate) mod text;

use std::{io, time::Duration};

use serde::Serialize;

pub(crate) use case::{CaseReport, Outcome, Timing};
pub(crate) use exit::Exit;
pub(crate) use failure::{Diff, FailureReport, StepPlace};
pub(crate) use progress::Progress;
pub(crate) use tally::{Demands, FlakyCases, MissingNeeds, Tally};

/// The result of one call of `lastwords run`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RunReport {
    pub(crate) cases: Vec<CaseReport>,
    #[serde(rename = "duration_seconds", serialize_with = "json::seconds")]
    pub(crate) duration: Duration,
    /// What could not be cleaned up; it changes no verdict.
    pub(crate) leftovers: Vec<String>,
    /// Whether Ctrl-C or SIGTERM ended it.
    pub(crate) interrupted: bool,
    /// How many cases did not begin: after an interrupt, or after the first failure where that ends the run.
    pub(crate) not_run: usize,
    #[serde(skip)]
    pub(crate) demands: Demands,
}

impl RunReport {
    /// How many cases came to what.
    pub(crate) fn tally(&self) -> Tally {
        Tally::of(&self.cases)
    }

    /// What the program ends with.
    pub(crate) fn exit(&self) -> Exit {
        if self.interrupted && self.not_run > 0 {
            Exit::NoVerdict
        } else {
            self.tally().exit(self.demands)
        }
    }
}

/// A way to tell results.
pub(crate) trait Format {
    /// Tells of one case, as soon as it has come to its end.
    fn case(&mut self, case: &CaseReport) -> io::Result<()>;

    /// Tells of the run, when all cases have been told.
    fn end(&mut self, run: &RunReport) -> io::Result<()>;
}

#[cfg(test)]
mod tests;
