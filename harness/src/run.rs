//! Runs scenarios: one case at a time ([`case`]), many side by side (here).

pub(crate) mod action;
pub(crate) mod boot;
pub(crate) mod brink;
pub(crate) mod card;
pub(crate) mod case;
pub(crate) mod collected;
mod command;
pub(crate) mod conversation;
pub(crate) mod error;
pub(crate) mod evidence;
pub(crate) mod fate;
pub(crate) mod guest;
pub(crate) mod injury;
pub(crate) mod interrupt;
pub(crate) mod kept;
pub(crate) mod link;
pub(crate) mod loss;
pub(crate) mod memory;
pub(crate) mod need;
pub(crate) mod ordeal;
mod packing;
pub(crate) mod pool;
pub(crate) mod preparation;
pub(crate) mod privilege;
pub(crate) mod receivers;
pub(crate) mod schedule;
pub(crate) mod silence;
pub(crate) mod stage;
pub(crate) mod system;
pub(crate) mod targets;
pub(crate) mod terminal;
pub(crate) mod times;
pub(crate) mod tools;
pub(crate) mod trouble;
pub(crate) mod turn;
pub(crate) mod visit;
pub(crate) mod wait;
pub(crate) mod written;

use std::{collections::BTreeMap, future::ready, num::NonZeroU32, time::Instant};

use futures_util::{StreamExt, stream};
use lastwords_vm::kernel::Kernel;

pub(crate) use error::Error;

use crate::{
    report::{Demands, Outcome, RunReport},
    run::{
        case::{Finished, Setting},
        schedule::{Job, Order},
        times::Times,
        turn::Turns,
    },
    scenario::Scenario,
};

/// How many cases run, how often, in which order, and when to stop.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    /// How many run side by side.
    pub(crate) jobs: NonZeroU32,
    /// How many guests are started before their turn.
    pub(crate) ahead: usize,
    /// How often each runs.
    pub(crate) repeat: NonZeroU32,
    /// How often a case that fails is run again, to see whether it always does.
    pub(crate) retries: u32,
    pub(crate) order: Order,
    /// How long cases took the last time.
    pub(crate) times: Times,
    /// Whether the first failure ends the run.
    pub(crate) fail_fast: bool,
    pub(crate) demands: Demands,
}

/// Who is told how a run goes on.
pub(crate) trait Audience {
    /// A case begins. With several side by side, others may not have ended.
    fn begins(&self, scenario: &Scenario, kernel: &Kernel);
    /// Some case has come to its end.
    fn ends(&self);
    /// What came of a case; told in the order of the scenarios, then of the kernels.
    fn tell(&self, finished: &Finished);
}

/// What a run is about.
#[derive(Clone, Copy)]
struct Cases<'run> {
    scenarios: &'run [Scenario],
    kernels: &'run [Kernel],
    setting: &'run Setting,
    schedule: &'run Schedule,
    turns: &'run Turns,
    audience: &'run dyn Audience,
}

/// Runs each scenario on each kernel.
///
/// A case that comes to no verdict is told like the others: it is in the report, not in an error.
pub(crate) async fn run(
    scenarios: &[Scenario],
    kernels: &[Kernel],
    setting: &Setting,
    schedule: &Schedule,
    audience: &dyn Audience,
) -> RunReport {
    let start = Instant::now();
    let jobs = schedule::jobs(scenarios.len(), kernels.len(), schedule.repeat.get());
    let last = |job: &Job| {
        let (scenario, kernel) = (&scenarios[job.scenario], &kernels[job.kernel]);
        schedule.times.of(&scenario.name, &kernel.name)
    };
    let starts = schedule::starts(&jobs, schedule.order, last);
    let turns = Turns::new(
        usize::try_from(schedule.jobs.get()).unwrap_or(1),
        setting.interrupt.clone(),
    );
    let cases = Cases {
        scenarios,
        kernels,
        setting,
        schedule,
        turns: &turns,
        audience,
    };
    let finished = cases.play(&jobs, &starts).await;
    let mut report = RunReport {
        cases: Vec::new(),
        duration: start.elapsed(),
        leftovers: Vec::new(),
        interrupted: setting.interrupt.has_come(),
        not_run: jobs.len() - finished.len(),
        demands: schedule.demands,
    };
    for finished in finished {
        report.cases.push(finished.report);
        report.leftovers.extend(finished.leftovers);
    }
    report
}

impl Cases<'_> {
    /// Plays the cases as they are to start, and tells them in their own order.
    async fn play(self, jobs: &[Job], starts: &[usize]) -> Vec<Finished> {
        let side_by_side = usize::try_from(self.schedule.jobs.get()).unwrap_or(1);
        let starts = stream::iter(starts);
        let starts = starts.take_while(|_| ready(!self.turns.is_enough()));
        let playing =
            starts.map(|place| async move { (*place, self.with_retries(jobs[*place]).await) });
        let mut playing =
            std::pin::pin!(playing.buffer_unordered(side_by_side + self.schedule.ahead));
        let mut told = Vec::new();
        // What has ended before another that is to be told first.
        let mut waiting: BTreeMap<usize, Finished> = BTreeMap::new();
        while let Some((place, finished)) = playing.next().await {
            let Some(finished) = finished else {
                continue;
            };
            self.audience.ends();
            if self.schedule.fail_fast && self.has_failed(&finished) {
                self.turns.enough();
            }
            waiting.insert(place, finished);
            while let Some(finished) = waiting.remove(&told.len()) {
                self.audience.tell(&finished);
                told.push(finished);
            }
        }
        for finished in waiting.into_values() {
            self.audience.tell(&finished);
            told.push(finished);
        }
        told
    }

    fn has_failed(&self, finished: &Finished) -> bool {
        self.schedule.demands.fails(&finished.report.outcome)
    }

    /// Runs a case, and again while it fails, so often; one that passes then is flaky. None where it never began.
    async fn with_retries(self, job: Job) -> Option<Finished> {
        let first = self.attempt(job, 0).await?;
        let Outcome::Failed { failure } = &first.report.outcome else {
            return Some(first);
        };
        for retry in 1..=self.schedule.retries {
            // Interrupted, or stopped by another's failure: what is known stands.
            let Some(mut again) = self.attempt(job, retry).await else {
                break;
            };
            if again.report.outcome == Outcome::Passed {
                again.report.outcome = Outcome::Flaky {
                    passed: 1,
                    runs: retry + 1,
                    failure: failure.clone(),
                };
                again.report.folder = first.report.folder;
                again.leftovers.extend(first.leftovers);
                return Some(again);
            }
        }
        Some(first)
    }

    async fn attempt(self, job: Job, retry: u32) -> Option<Finished> {
        let (scenario, kernel) = (&self.scenarios[job.scenario], &self.kernels[job.kernel]);
        let begins = || {
            if retry == 0 {
                self.audience.begins(scenario, kernel);
            }
        };
        let setting = Setting {
            attempt: attempt(job.repetition, retry),
            ..self.setting.clone()
        };
        let mut turn = self.turns.ask(&begins);
        let mut finished = case::run(scenario, kernel, &setting, &mut turn).await?;
        if let Order::Shuffled(seed) = self.schedule.order {
            let seeds = &mut finished.report.seeds;
            seeds.insert("shuffle".to_owned(), seed);
        }
        Some(finished)
    }
}

/// What tells the recordings of a case's runs apart: nothing for the first.
fn attempt(repetition: u32, retry: u32) -> String {
    let mut text = String::new();
    if repetition > 0 {
        text.push_str(&format!(".run{}", repetition + 1));
    }
    if retry > 0 {
        text.push_str(&format!(".retry{retry}"));
    }
    text
}
