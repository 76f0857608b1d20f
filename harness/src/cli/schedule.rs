//! What the options of `lastwords run` mean for the schedule.

use std::{
    env,
    hash::{BuildHasher, Hasher, RandomState},
    num::NonZeroU32,
};

use lastwords_vm::cache::Cache;

use crate::{
    cli::{Flaky, RunArguments},
    report::{Demands, FlakyCases, MissingNeeds, Outcome, RunReport},
    run::{
        Schedule, memory,
        schedule::{self, Order},
        times::Times,
    },
    scenario::Scenario,
};

/// Set in CI: what this machine lacks is a failure there.
const NO_SKIP: &str = "LASTWORDS_NO_SKIP";

/// When these scenarios run.
pub(super) fn schedule(arguments: &RunArguments, scenarios: &[Scenario], times: Times) -> Schedule {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let available = memory::available();
    let largest = scenarios
        .iter()
        .map(|scenario| cost(scenario, arguments.cold))
        .max()
        .unwrap_or(0);
    let jobs = arguments
        .jobs
        .unwrap_or_else(|| schedule::side_by_side(processors, available, largest));
    // A guest that is booted for real, not restored, has all the work to do when its turn comes.
    let ahead = if arguments.cold {
        0
    } else {
        schedule::ahead(jobs, available, largest)
    };
    Schedule {
        jobs,
        ahead,
        repeat: arguments.repeat,
        retries: arguments.retries,
        order: order(arguments, jobs),
        times,
        fail_fast: arguments.fail_fast,
        demands: demands(arguments),
    }
}

/// What the guests of a case cost in MiB.
pub(super) fn cost(scenario: &Scenario, cold: bool) -> u64 {
    let senders = scenario.nodes.iter().filter_map(|node| node.sender());
    senders
        .map(|sender| schedule::cost(sender.memory, cold))
        .sum()
}

fn order(arguments: &RunArguments, jobs: NonZeroU32) -> Order {
    match arguments.shuffle {
        Some(Some(seed)) => Order::Shuffled(seed),
        // A seed that is easily typed.
        Some(None) => Order::Shuffled(RandomState::new().build_hasher().finish() % 1_000_000),
        // One after the other, all take as long in any order, and results come as soon as they are there.
        None if jobs == NonZeroU32::MIN => Order::Files,
        None => Order::LongestFirst,
    }
}

fn demands(arguments: &RunArguments) -> Demands {
    let no_skip = env::var_os(NO_SKIP).is_some_and(|value| !value.is_empty() && value != "0");
    Demands {
        missing_needs: if no_skip {
            MissingNeeds::Fail
        } else {
            MissingNeeds::Skip
        },
        flaky: match arguments.flaky {
            Flaky::Fail => FlakyCases::Fail,
            Flaky::Pass => FlakyCases::Pass,
        },
    }
}

/// Remembers how long cases took, so that the next run can begin with the longest.
pub(super) fn remember(times: &mut Times, report: &RunReport, cache: &Cache) {
    times.bound();
    for case in &report.cases {
        if matches!(
            case.outcome,
            Outcome::Passed
                | Outcome::Failed { .. }
                | Outcome::Known { .. }
                | Outcome::Flaky { .. }
        ) {
            times.remember(&case.name, &case.kernel, case.duration);
        }
    }
    times.write(cache);
}
