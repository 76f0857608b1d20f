//! How many cases came to what, and which exit code follows.

use std::fmt;

use serde::Serialize;

use crate::report::{CaseReport, Exit, Outcome};

/// How many cases came to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) known: usize,
    pub(crate) flaky: usize,
    #[serde(rename = "n/a")]
    pub(crate) not_applicable: usize,
    pub(crate) missing: usize,
    pub(crate) error: usize,
}

/// What a machine that lacks something means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum MissingNeeds {
    /// The case is left out.
    #[default]
    Skip,
    /// The run has failed: `LASTWORDS_NO_SKIP` is set.
    Fail,
}

/// What a case that passed only when it was run again means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum FlakyCases {
    /// The run has failed.
    #[default]
    Fail,
    /// It passed: `--flaky pass`.
    Pass,
}

/// What the exit code is strict with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Demands {
    pub(crate) missing_needs: MissingNeeds,
    pub(crate) flaky: FlakyCases,
}

impl Demands {
    /// Whether an outcome makes the run fail.
    pub(crate) fn fails(self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Failed { .. } | Outcome::Error { .. } => true,
            Outcome::Flaky { .. } => self.flaky == FlakyCases::Fail,
            Outcome::Missing { .. } => self.missing_needs == MissingNeeds::Fail,
            Outcome::Passed | Outcome::Known { .. } | Outcome::NotApplicable { .. } => false,
        }
    }
}

impl Tally {
    pub(crate) fn of(cases: &[CaseReport]) -> Self {
        let mut tally = Self::default();
        for case in cases {
            *match case.outcome {
                Outcome::Passed => &mut tally.passed,
                Outcome::Failed { .. } => &mut tally.failed,
                Outcome::Known { .. } => &mut tally.known,
                Outcome::Flaky { .. } => &mut tally.flaky,
                Outcome::NotApplicable { .. } => &mut tally.not_applicable,
                Outcome::Missing { .. } => &mut tally.missing,
                Outcome::Error { .. } => &mut tally.error,
            } += 1;
        }
        tally
    }

    /// The exit code that follows.
    pub(crate) fn exit(&self, demands: Demands) -> Exit {
        let missing_fails = demands.missing_needs == MissingNeeds::Fail && self.missing > 0;
        let flaky_fails = demands.flaky == FlakyCases::Fail && self.flaky > 0;
        if self.error > 0 {
            Exit::NoVerdict
        } else if self.failed > 0 || flaky_fails || missing_fails {
            Exit::Failed
        } else if self.passed + self.known + self.flaky == 0 {
            Exit::NothingRan
        } else {
            Exit::Success
        }
    }
}

impl fmt::Display for Tally {
    /// `12 passed, 1 failed, 2 n/a, 0 missing`, with what is rarer between where there is any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        for (count, word) in [
            (self.known, "known"),
            (self.flaky, "flaky"),
            (self.error, "without a verdict"),
        ] {
            if count > 0 {
                write!(f, ", {count} {word}")?;
            }
        }
        write!(f, ", {} n/a, {} missing", self.not_applicable, self.missing)
    }
}
