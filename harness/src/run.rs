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

use std::{cell::Cell, future::ready, num::NonZeroU32, time::Instant};

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
    /// How often a case that fails is run again, to see whether it always does.
    pub(crate) retries: u32,
    /// Whether the first failure ends the run.
    pub(crate) fail_fast: bool,
    pub(crate) missing_needs: MissingNeeds,
}

/// Who is told how a run goes on.
pub(crate) trait Audience {
    /// A case begins. With several side by side, others may not have ended.
    fn begins(&self, scenario: &Scenario, kernel: &Kernel);
    /// A case has ended; told in the order of the scenarios, then of the kernels.
    fn ends(&self, finished: &Finished);
}

/// Runs each scenario on each kernel.
///
/// A case that comes to no verdict is told like the others: it is in the report, not in an error.
pub(crate) async fn run(
    scenarios: &[Scenario],
    kernels: &[Kernel],
    setting: &Setting,
    schedule: Schedule,
    audience: &dyn Audience,
) -> RunReport {
    let start = Instant::now();
    let repeat = schedule.repeat.get();
    let on_kernels = |scenario| kernels.iter().map(move |kernel| (scenario, kernel));
    let cases = scenarios.iter().flat_map(on_kernels);
    let cases = cases.flat_map(|case| (0..repeat).map(move |_| case));
    let jobs = usize::try_from(schedule.jobs.get()).unwrap_or(1);
    let total = scenarios.len() * kernels.len() * usize::try_from(repeat).unwrap_or(1);
    // Those that run already come to their end; no other begins.
    let enough = Cell::new(false);
    let cases = stream::iter(cases).take_while(|_| ready(!enough.get()));
    let running = cases.map(|(scenario, kernel)| async move {
        audience.begins(scenario, kernel);
        with_retries(scenario, kernel, setting, schedule.retries).await
    });
    let mut running = std::pin::pin!(running.buffered(jobs));
    let mut report = RunReport {
        cases: Vec::new(),
        duration: start.elapsed(),
        leftovers: Vec::new(),
        interrupted: false,
        not_run: 0,
        missing_needs: schedule.missing_needs,
    };
    while let Some(finished) = running.next().await {
        audience.ends(&finished);
        let failed = has_failed(&finished);
        report.cases.push(finished.report);
        report.leftovers.extend(finished.leftovers);
        if setting.interrupt.has_come() || (failed && schedule.fail_fast) {
            enough.set(true);
        }
    }
    report.interrupted = setting.interrupt.has_come();
    report.not_run = total - report.cases.len();
    report.duration = start.elapsed();
    report
}

fn has_failed(finished: &Finished) -> bool {
    matches!(
        finished.report.outcome,
        Outcome::Failed { .. } | Outcome::Error { .. }
    )
}

/// Runs a case, and again while it fails, so often; one that passes then is flaky.
async fn with_retries(
    scenario: &Scenario,
    kernel: &Kernel,
    setting: &Setting,
    retries: u32,
) -> Finished {
    let first = case::run(scenario, kernel, setting).await;
    let Outcome::Failed { failure } = &first.report.outcome else {
        return first;
    };
    let failure = failure.clone();
    for retry in 1..=retries {
        let mut again = case::run(scenario, kernel, setting).await;
        if again.report.outcome == Outcome::Passed {
            let runs = retry + 1;
            again.report.outcome = Outcome::Flaky {
                passed: 1,
                runs,
                failure,
            };
            again.report.folder = first.report.folder;
            again.leftovers.extend(first.leftovers);
            return again;
        }
    }
    first
}
