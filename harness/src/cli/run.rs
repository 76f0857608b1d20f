//! `lastwords run`: scenarios on kernels.

use std::{
    cell::RefCell,
    env, fs,
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, Write},
    num::NonZeroU32,
    path::PathBuf,
};

use lastwords_vm::{accelerator, cache::Cache, kernel::Kernel, qemu, template::Templates};

use crate::{
    cli::{CommandError, Flaky, OutputFormat, RunArguments, check, fetch, renderer},
    report::{
        Demands, Exit, FlakyCases, Format, MissingNeeds, Outcome, Progress, RunReport,
        human::{Human, Show},
        json::Json,
        tap::Tap,
        text,
    },
    run::{
        self, Audience, Schedule,
        case::{Finished, Setting},
        interrupt::Interrupt,
        memory,
        privilege::Privilege,
        schedule::{self, Order},
        times::Times,
    },
    scenario::Scenario,
    suite::Suite,
};

/// Set in CI: what this machine lacks is a failure there.
const NO_SKIP: &str = "LASTWORDS_NO_SKIP";
/// How many runs' recordings stay in the cache, where no folder was named.
const KEPT_RUNS: usize = 20;

/// Runs what the arguments say.
pub(crate) fn run(arguments: &RunArguments) -> Result<Exit, CommandError> {
    let suite = Suite::read(&arguments.paths, &renderer())?;
    if !suite.mistakes.is_empty() {
        check::tell(&suite)?;
        return Ok(Exit::Usage);
    }
    let scenarios = filtered(suite.scenarios, arguments.filter.as_deref())?;
    // Found before anything is fetched: without QEMU nothing can run.
    qemu::program()?;
    let cache = Cache::open(None)?;
    let configure = |mut request: lastwords_vm::kernel::KernelRequest| {
        request.modules.clone_from(&arguments.modules);
        request.replacements.clone_from(&arguments.replacements);
        request
    };
    let kernels = fetch::resolve(&arguments.kernels, configure, &cache)?;
    // While there is no other thread, and nothing more to fetch.
    let privilege = Privilege::obtain(&scenarios);
    let accelerator = accelerator::choose();
    if let Some(why) = &accelerator.why_not_kvm {
        writeln!(anstream::stderr(), "lastwords: emulating the guests: {why}")
            .map_err(CommandError::Output)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CommandError::Runtime)?;
    let exit = runtime.block_on(async {
        let setting = Setting {
            accelerator: accelerator.accelerator,
            boot_within: arguments.boot_within,
            templates: (!arguments.cold).then(|| Templates::new(cache.clone())),
            privilege,
            interrupt: Interrupt::listen().map_err(CommandError::Runtime)?,
            folder: folder(arguments, &cache)?,
            keep: arguments.keep || arguments.out.is_some(),
            attempt: String::new(),
        };
        let schedule = schedule(arguments, &scenarios, Times::read(&cache));
        if let Order::Shuffled(seed) = schedule.order {
            writeln!(
                anstream::stderr(),
                "lastwords: shuffled by `--shuffle {seed}`"
            )
            .map_err(CommandError::Output)?;
        }
        execute(
            arguments,
            (&scenarios, &kernels),
            &setting,
            (schedule, &cache),
        )
        .await
    });
    // Whoever still waits, in a thread of its own, for another run's lock is not waited for.
    runtime.shutdown_background();
    exit
}

async fn execute(
    arguments: &RunArguments,
    (scenarios, kernels): (&[Scenario], &[Kernel]),
    setting: &Setting,
    (mut schedule, cache): (Schedule, &Cache),
) -> Result<Exit, CommandError> {
    let repeat = usize::try_from(schedule.repeat.get()).unwrap_or(1);
    let audience = Terminal {
        progress: RefCell::new(Progress::new(scenarios.len() * kernels.len() * repeat)),
        format: RefCell::new(format(arguments, schedule.demands)),
        failed: RefCell::new(None),
        timings: arguments.timings,
    };
    let report = run::run(scenarios, kernels, setting, &schedule, &audience).await;
    remember(&mut schedule.times, &report, cache);
    drop(audience.progress);
    let mut format = audience.format.into_inner();
    format.end(&report).map_err(CommandError::Output)?;
    if let Some(error) = audience.failed.into_inner() {
        return Err(CommandError::Output(error));
    }
    leave(arguments, &report)?;
    Ok(report.exit())
}

/// Whoever sits before the terminal, or reads the pipe behind it.
struct Terminal {
    progress: RefCell<Progress>,
    format: RefCell<Box<dyn Format>>,
    /// The first result that could not be written.
    failed: RefCell<Option<io::Error>>,
    timings: bool,
}

impl Audience for Terminal {
    fn begins(&self, scenario: &Scenario, kernel: &Kernel) {
        self.progress
            .borrow_mut()
            .begin(&scenario.name, &kernel.name);
    }

    fn ends(&self) {
        self.progress.borrow().end();
    }

    fn tell(&self, finished: &Finished) {
        let progress = self.progress.borrow();
        let told = progress.suspend(|| self.format.borrow_mut().case(&finished.report));
        if let Err(error) = told {
            self.failed.borrow_mut().get_or_insert(error);
        }
        if self.timings {
            progress.suspend(|| tell_timings(finished));
        }
    }
}

/// Where the time of a case went, on standard error.
fn tell_timings(finished: &Finished) {
    let mut out = anstream::stderr().lock();
    for timing in &finished.report.timings {
        let took = text::duration(timing.took);
        // Where standard error is closed there is nobody to tell.
        let _ = writeln!(out, "    {took:>8}  {}", timing.what);
    }
}

fn filtered(scenarios: Vec<Scenario>, filter: Option<&str>) -> Result<Vec<Scenario>, CommandError> {
    let Some(filter) = filter else {
        return Ok(scenarios);
    };
    let filter = regex::Regex::new(filter).map_err(CommandError::Filter)?;
    let count = scenarios.len();
    let left: Vec<Scenario> = scenarios
        .into_iter()
        .filter(|scenario| filter.is_match(&scenario.name))
        .collect();
    if left.is_empty() {
        Err(CommandError::NothingLeft(count))
    } else {
        Ok(left)
    }
}

fn schedule(arguments: &RunArguments, scenarios: &[Scenario], times: Times) -> Schedule {
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
fn cost(scenario: &Scenario, cold: bool) -> u64 {
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
fn remember(times: &mut Times, report: &RunReport, cache: &Cache) {
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

fn format(arguments: &RunArguments, demands: Demands) -> Box<dyn Format> {
    let show = if arguments.show_lines {
        Show::Lines
    } else {
        Show::Verdicts
    };
    match arguments.format {
        OutputFormat::Human => Box::new(Human::new(anstream::stdout(), show)),
        OutputFormat::Json => Box::new(Json::new(io::stdout())),
        OutputFormat::Tap => Box::new(Tap::new(io::stdout(), demands)),
    }
}

/// Where recordings go: `--out`, else a folder of the run's own in the cache, of which the last few stay.
fn folder(arguments: &RunArguments, cache: &Cache) -> Result<PathBuf, CommandError> {
    if let Some(out) = &arguments.out {
        fs::create_dir_all(out).map_err(|source| CommandError::Folder {
            path: out.clone(),
            source,
        })?;
        return Ok(out.clone());
    }
    let runs = cache.root().join("runs");
    forget(&runs);
    let now = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S");
    Ok(runs.join(format!("{now}-{}", std::process::id())))
}

/// Removes the oldest runs; their names begin with their time. One that cannot be removed is in nobody's way.
fn forget(runs: &std::path::Path) {
    let entries = fs::read_dir(runs).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    folders.sort();
    let excess = folders.len().saturating_sub(KEPT_RUNS - 1);
    for folder in &folders[..excess] {
        let _ = fs::remove_dir_all(folder);
    }
}

/// Leaves the report beside the recordings.
fn leave(arguments: &RunArguments, report: &RunReport) -> Result<(), CommandError> {
    let Some(out) = &arguments.out else {
        return Ok(());
    };
    let path = out.join("report.json");
    let file = fs::File::create(&path).map_err(|source| CommandError::Folder { path, source })?;
    let mut json = Json::new(file);
    report
        .cases
        .iter()
        .try_for_each(|case| json.case(case))
        .map_err(CommandError::Output)?;
    json.end(report).map_err(CommandError::Output)
}
