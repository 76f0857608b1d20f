//! Runs scenarios: one case at a time ([`case`]), many side by side (here).

pub(crate) mod action;
pub(crate) mod case;
pub(crate) mod error;
pub(crate) mod evidence;
pub(crate) mod guest;
pub(crate) mod interrupt;
pub(crate) mod need;
pub(crate) mod stage;
pub(crate) mod targets;
pub(crate) mod trouble;
pub(crate) mod wait;

use std::{num::NonZeroU32, time::Instant};

use futures_util::{StreamExt, stream};
use lastwords_vm::kernel::Kernel;

pub(crate) use error::Error;

use crate::{
    report::{MissingNeeds, Outcome, RunReport},
    run::case::{Finished, Setting},
    scenario::Scenario,
};

/// How many cases run, how often, and when to stop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    /// How many run side by side.
    pub(crate) jobs: NonZeroU32,
    /// How often each runs.
    pub(crate) repeat: NonZeroU32,
    /// Whether the first failure ends the run.
    pub(crate) fail_fast: bool,
    pub(crate) missing_needs: MissingNeeds,
}

/// Runs each scenario on each kernel. Cases are told by `tell` in the order of the scenarios, then of the kernels,
/// whatever the order in which they end.
///
/// A case that comes to no verdict is told like the others: it is in the report, not in an error.
pub(crate) async fn run(
    scenarios: &[Scenario],
    kernels: &[Kernel],
    setting: &Setting,
    schedule: Schedule,
    mut tell: impl FnMut(&Finished),
) -> RunReport {
    let start = Instant::now();
    let repeat = schedule.repeat.get();
    let cases = scenarios.iter().flat_map(|scenario| kernels.iter().map(move |kernel| (scenario, kernel)));
    let cases = cases.flat_map(|case| (0..repeat).map(move |_| case));
    let jobs = usize::try_from(schedule.jobs.get()).unwrap_or(1);
    let running = stream::iter(cases).map(|(scenario, kernel)| case::run(scenario, kernel, setting));
    let mut running = std::pin::pin!(running.buffered(jobs));
    let mut report = RunReport {
        cases: Vec::new(),
        duration: start.elapsed(),
        leftovers: Vec::new(),
        missing_needs: schedule.missing_needs,
    };
    while let Some(finished) = running.next().await {
        tell(&finished);
        let failed = matches!(finished.report.outcome, Outcome::Failed { .. } | Outcome::Error { .. });
        report.cases.push(finished.report);
        report.leftovers.extend(finished.leftovers);
        if setting.interrupt.has_come() || (failed && schedule.fail_fast) {
            break;
        }
    }
    report.duration = start.elapsed();
    report
}
