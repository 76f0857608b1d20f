//! `lastwords run --watch`: what has changed runs again as soon as it has.

use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
};

use lastwords_vm::kernel::{Kernel, source::Source};

use crate::{
    cli::{
        CommandError, RunArguments, check, renderer,
        run::{self, Machine},
        schedule::cost,
        tell,
    },
    report::Exit,
    run::{case::Setting, memory, schedule},
    scenario::{Action, Scenario},
    suite::{self, Suite},
    watch::{Looks, Watcher},
};

/// Runs all, and then again and again what has changed, until Ctrl-C. The exit code is that of the last run.
pub(super) async fn watch(
    arguments: &RunArguments,
    machine: &Machine,
    kernels: Vec<Kernel>,
) -> Result<Exit, CommandError> {
    let mut session = Session {
        arguments,
        machine,
        setting: run::setting(arguments, machine)?,
        watcher: Watcher::new()?,
        looks: Looks::default(),
        kernels,
    };
    let mut exit = Exit::NothingRan;
    loop {
        let selected = session.selected()?;
        if !selected.is_empty() && !session.kernels.is_empty() {
            exit = session.run(&selected).await?;
        }
        if session.setting.interrupt.has_come() || !session.wait(selected.first()).await? {
            break;
        }
    }
    for leftover in session.setting.pool.empty().await {
        say(&leftover)?;
    }
    Ok(exit)
}

/// Runs of the same files.
struct Session<'a> {
    arguments: &'a RunArguments,
    machine: &'a Machine,
    setting: Setting,
    watcher: Watcher,
    /// What the files looked like that the last run was made of.
    looks: Looks,
    /// None as long as one of them cannot be read.
    kernels: Vec<Kernel>,
}

impl Session<'_> {
    /// The scenarios that are to run: all whose files have changed. Mistakes are shown.
    fn selected(&mut self) -> Result<Vec<Scenario>, CommandError> {
        self.watch_folders()?;
        let paths = &self.arguments.paths;
        // Looked at before they are read: what changes in between is seen the next time.
        let files = suite::files(paths).into_iter().chain(self.kernel_files());
        let files: Vec<PathBuf> = files.collect();
        let early = Looks::of(files.clone());
        let read = Suite::read(paths, &renderer());
        let scenarios = match read {
            Ok(suite) => {
                if !suite.mistakes.is_empty() {
                    check::tell(&suite)?;
                }
                suite.scenarios
            }
            Err(error) => {
                tell(&error);
                Vec::new()
            }
        };
        let looks = early.and(Looks::of(scenarios.iter().flat_map(named)));
        self.watcher.add(looks.folders())?;
        let changed = looks.changed_since(&self.looks);
        self.looks = looks;
        let of_kernels = self.kernel_files();
        let all = self.kernels.is_empty() || of_kernels.iter().any(|file| changed.contains(file));
        if all {
            self.kernels =
                run::kernels(self.arguments, &self.machine.cache).unwrap_or_else(|error| {
                    tell(&error);
                    Vec::new()
                });
        }
        let filter = run::filter(self.arguments.filter.as_deref())?;
        let is_meant = |scenario: &Scenario| filter.is_match(&scenario.name);
        let has_changed = |scenario: &Scenario| all || depends_on(scenario, &changed);
        Ok(scenarios
            .into_iter()
            .filter(|scenario| is_meant(scenario) && has_changed(scenario))
            .collect())
    }

    /// Watches the folders in which scenarios may be made, also those made just now.
    fn watch_folders(&mut self) -> Result<(), CommandError> {
        while self.watcher.add(suite::folders(&self.arguments.paths))? {}
        Ok(())
    }

    /// The files of this machine that the kernels under test are made of.
    fn kernel_files(&self) -> Vec<PathBuf> {
        let sources = self.arguments.kernels.iter();
        let sources = sources.filter_map(|name| name.parse::<Source>().ok());
        let modules = self.arguments.modules.iter();
        sources
            .flat_map(source_files)
            .chain(self.arguments.replacements.iter().cloned())
            .chain(modules.map(|folder| folder.join("modules.dep")))
            .collect()
    }

    async fn run(&self, scenarios: &[Scenario]) -> Result<Exit, CommandError> {
        let cache = &self.machine.cache;
        let cases = (scenarios, self.kernels.as_slice());
        let exit = run::execute(self.arguments, cases, &self.setting, cache).await;
        run::prune(cache);
        exit
    }

    /// Waits for a change, and has guests ready for it; false where Ctrl-C comes first. `last` is what ran last.
    async fn wait(&mut self, last: Option<&Scenario>) -> Result<bool, CommandError> {
        let files = self.looks.len();
        say(&format!("watching {files} files; Ctrl-C ends it"))?;
        let mut interrupt = self.setting.interrupt.clone();
        let getting_ready = get_ready(self.arguments, &self.kernels, &self.setting, last);
        tokio::select! {
            biased;
            () = interrupt.wait() => return Ok(false),
            changed = self.watcher.changed() => {
                changed?;
                return Ok(true);
            }
            () = getting_ready => {}
        }
        tokio::select! {
            biased;
            () = interrupt.wait() => Ok(false),
            changed = self.watcher.changed() => {
                changed?;
                Ok(true)
            }
        }
    }
}

/// Starts a guest on each kernel for the next run, where memory allows: its machine is likely that of the last.
async fn get_ready(
    arguments: &RunArguments,
    kernels: &[Kernel],
    setting: &Setting,
    last: Option<&Scenario>,
) {
    let Some(scenario) = last.filter(|_| !arguments.cold) else {
        return;
    };
    // What was made ready for another machine is of no use any more.
    setting.pool.empty().await;
    let wanted = cost(scenario, arguments.cold) * (kernels.len() as u64 + 1);
    if schedule::has_room(memory::available(), wanted) {
        for kernel in kernels {
            setting.pool.fill(scenario, kernel, setting).await;
        }
    }
}

/// Whether one of the changed files is the scenario's.
fn depends_on(scenario: &Scenario, changed: &BTreeSet<PathBuf>) -> bool {
    changed.contains(&scenario.path) || named(scenario).iter().any(|file| changed.contains(file))
}

/// The files that a scenario names.
fn named(scenario: &Scenario) -> Vec<PathBuf> {
    let folder = scenario.path.parent().unwrap_or(Path::new(""));
    let configs = scenario
        .nodes
        .iter()
        .filter_map(|node| node.program()?.config.as_ref());
    let copied = scenario.steps.iter().flat_map(|step| match &step.action {
        Action::Run(run) => run.files.values().collect(),
        _ => Vec::new(),
    });
    configs
        .chain(copied)
        .map(|file| folder.join(file))
        .collect()
}

/// The files of a kernel that change when it is built anew.
fn source_files(source: Source) -> Vec<PathBuf> {
    const OF_A_TREE: [&str; 3] = [
        "arch/x86/boot/bzImage",
        "vmlinux",
        "drivers/net/netconsole.ko",
    ];
    match source {
        Source::Debian(_) | Source::Host => Vec::new(),
        Source::Packages(files) => files,
        Source::Path(folder) if folder.is_dir() => {
            OF_A_TREE.iter().map(|file| folder.join(file)).collect()
        }
        Source::Path(file) => vec![file],
    }
}

fn say(text: &str) -> Result<(), CommandError> {
    writeln!(anstream::stderr(), "lastwords: {text}").map_err(CommandError::Output)
}
