//! `lastwords run`: scenarios on kernels.

use std::{
    cell::RefCell,
    fs,
    future::Future,
    io::{self, Write},
    path::PathBuf,
};

use lastwords_vm::{
    accelerator,
    cache::{Cache, Shelf, prune::Limits},
    kernel::Kernel,
    machine::Accelerator,
    qemu,
    template::Templates,
};

use crate::{
    cli::{
        CommandError, OutputFormat, RunArguments, check, fetch, renderer,
        schedule::{remember, schedule},
        watch,
    },
    report::{
        Demands, Exit, Format, Progress, RunReport,
        human::{Human, Show},
        json::Json,
        tap::Tap,
        text,
    },
    run::{
        self, Audience,
        case::{Finished, Setting},
        interrupt::Interrupt,
        pool::Pool,
        privilege::Privilege,
        schedule::Order,
        times::Times,
    },
    scenario::Scenario,
    suite::Suite,
};

/// How many runs' recordings stay in the cache, where no folder was named.
const KEPT_RUNS: usize = 20;

/// What runs need of this machine.
pub(super) struct Machine {
    pub(super) cache: Cache,
    accelerator: Accelerator,
    privilege: Privilege,
}

/// Runs what the arguments say.
pub(crate) fn run(arguments: &RunArguments) -> Result<Exit, CommandError> {
    if arguments.watch {
        return run_and_watch(arguments);
    }
    let suite = Suite::read(&arguments.paths, &renderer())?;
    if !suite.mistakes.is_empty() {
        check::tell(&suite)?;
        return Ok(Exit::Usage);
    }
    let scenarios = filtered(suite.scenarios, arguments.filter.as_deref())?;
    let cache = cache()?;
    let kernels = kernels(arguments, &cache)?;
    let machine = machine(cache, &scenarios)?;
    live(async {
        let setting = setting(arguments, &machine)?;
        let exit = execute(arguments, (&scenarios, &kernels), &setting, &machine.cache).await;
        // Kernels and templates that were used just now are the latest of all, so others go before them.
        prune(&machine.cache);
        exit
    })
}

fn run_and_watch(arguments: &RunArguments) -> Result<Exit, CommandError> {
    let cache = cache()?;
    // What cannot be read now may be right after the next change; it is told by those who watch.
    let kernels = kernels(arguments, &cache).unwrap_or_default();
    let suite = Suite::read(&arguments.paths, &renderer());
    let scenarios = suite.map(|suite| suite.scenarios).unwrap_or_default();
    let machine = machine(cache, &scenarios)?;
    live(watch::watch(arguments, &machine, kernels))
}

/// Finds QEMU and the cache: before anything is fetched, since without QEMU nothing can run.
fn cache() -> Result<Cache, CommandError> {
    qemu::program()?;
    Ok(Cache::open(None)?)
}

/// Finds what this machine can do for these scenarios.
fn machine(cache: Cache, scenarios: &[Scenario]) -> Result<Machine, CommandError> {
    // While there is no other thread, and nothing more to fetch.
    let privilege = Privilege::obtain(scenarios);
    let choice = accelerator::choose(&cache);
    if let Some(why) = &choice.why_not_kvm {
        // Where standard error is closed or full, the verdicts are the same.
        let _ = writeln!(anstream::stderr(), "lastwords: emulating the guests: {why}");
    }
    Ok(Machine {
        cache,
        accelerator: choice.accelerator,
        privilege,
    })
}

/// The kernels under test.
pub(super) fn kernels(
    arguments: &RunArguments,
    cache: &Cache,
) -> Result<Vec<Kernel>, CommandError> {
    let configure = |mut request: lastwords_vm::kernel::KernelRequest| {
        request.modules.clone_from(&arguments.modules);
        request.replacements.clone_from(&arguments.replacements);
        request
    };
    fetch::resolve(&arguments.kernels, configure, cache)
}

/// Does `work` on a runtime of its own.
fn live(work: impl Future<Output = Result<Exit, CommandError>>) -> Result<Exit, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CommandError::Runtime)?;
    let exit = runtime.block_on(work);
    // Whoever still waits, in a thread of its own, for another run's lock is not waited for.
    runtime.shutdown_background();
    exit
}

/// What all cases share. Needs a runtime.
pub(super) fn setting(
    arguments: &RunArguments,
    machine: &Machine,
) -> Result<Setting, CommandError> {
    Ok(Setting {
        accelerator: machine.accelerator,
        privilege: machine.privilege.clone(),
        boot_within: arguments.boot_within,
        templates: (!arguments.cold).then(|| Templates::new(machine.cache.clone())),
        interrupt: Interrupt::listen().map_err(CommandError::Runtime)?,
        folder: folder(arguments, &machine.cache)?,
        keep: arguments.keep || arguments.out.is_some(),
        attempt: String::new(),
        pool: Pool::default(),
        shell: false,
    })
}

/// Keeps the templates within their limits. What cannot be removed now is in nobody's way.
pub(super) fn prune(cache: &Cache) {
    let _ = cache.prune(&[Shelf::Templates], Limits::of_templates());
}

/// Runs scenarios on kernels and tells what comes of it.
pub(super) async fn execute(
    arguments: &RunArguments,
    (scenarios, kernels): (&[Scenario], &[Kernel]),
    setting: &Setting,
    cache: &Cache,
) -> Result<Exit, CommandError> {
    let mut schedule = schedule(arguments, scenarios, Times::read(cache));
    if let Order::Shuffled(seed) = schedule.order {
        let again = format!("--shuffle {seed}");
        writeln!(anstream::stderr(), "lastwords: shuffled by `{again}`")
            .map_err(CommandError::Output)?;
    }
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

/// What `--filter` asks for; without it, anything.
pub(super) fn filter(filter: Option<&str>) -> Result<regex::Regex, CommandError> {
    regex::Regex::new(filter.unwrap_or("")).map_err(CommandError::Filter)
}

pub(super) fn filtered(
    scenarios: Vec<Scenario>,
    wanted: Option<&str>,
) -> Result<Vec<Scenario>, CommandError> {
    let wanted = filter(wanted)?;
    let count = scenarios.len();
    let left: Vec<Scenario> = scenarios
        .into_iter()
        .filter(|scenario| wanted.is_match(&scenario.name))
        .collect();
    if left.is_empty() {
        Err(CommandError::NothingLeft(count))
    } else {
        Ok(left)
    }
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
    Ok(runs_folder(cache))
}

/// A folder for this run in the cache; the oldest runs go. Where it cannot be made, each case says so that has something
/// to leave there.
pub(super) fn runs_folder(cache: &Cache) -> PathBuf {
    let runs = cache
        .part("runs")
        .unwrap_or_else(|_| cache.root().join("runs"));
    forget(&runs);
    let now = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S");
    runs.join(format!("{now}-{}", std::process::id()))
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
