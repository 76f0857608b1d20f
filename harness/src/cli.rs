//! The command line: what can be asked for, and who does it.

mod check;
mod fetch;
mod param;
mod run;
mod schedule;
mod shell;
mod watch;

use std::{
    io::{self, Write},
    num::NonZeroU32,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use annotate_snippets::Renderer;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    param::document,
    report::Exit,
    scenario::schema::{self, Draft},
    suite::SuiteError,
    watch::WatchError,
};

/// Proves that a kernel's last words reach another machine.
#[derive(Debug, Parser)]
#[command(name = "lastwords", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 nothing failed, 1 a verdict failed, 2 usage or scenario file, \
    3 no verdict could be reached, 4 nothing ran";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs scenarios on real kernels and judges what arrives
    Run(RunArguments),
    /// Finds every mistake in scenario files, without running anything
    Check(CheckArguments),
    /// Prints the netconsole parameter for an address, or explains one
    Param(param::ParamArguments),
    /// Sets a scenario up and stops before its first step, with a shell in its machines
    Shell(ShellArguments),
    /// Fetches, lists and removes kernels
    #[command(subcommand)]
    Kernel(KernelCommand),
    /// Prints the JSON Schema of scenario files, or of what `param` prints
    Schema(SchemaArguments),
}

#[derive(Debug, Args)]
#[command(after_help = "Example: lastwords run scenarios --kernel debian:6.1 --kernel debian:6.12")]
pub(crate) struct RunArguments {
    /// Scenario files, or folders of them
    #[arg(required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// A kernel under test; given several times, each scenario runs on each
    ///
    /// debian:6.1 (newest of a series), debian:=6.1.0-56 (pinned), a kernel build tree, a bzImage or vmlinux, .deb
    /// files joined by commas, or host
    #[arg(long = "kernel", value_name = "KERNEL", default_value = "debian:6.1")]
    pub(crate) kernels: Vec<String>,
    /// Modules for a kernel that is an image: a folder that holds them
    #[arg(long, value_name = "DIR")]
    pub(crate) modules: Option<PathBuf>,
    /// Puts one rebuilt module in place of the kernel's own
    #[arg(long = "module", value_name = "FILE.ko")]
    pub(crate) replacements: Vec<PathBuf>,
    /// Where the sender's kernel runs
    #[arg(long, value_enum, default_value_t = Backend::Auto)]
    pub(crate) backend: Backend,
    /// Runs only the cases whose name matches this regular expression
    #[arg(long, value_name = "REGEX")]
    pub(crate) filter: Option<String>,
    /// Boots every guest for real, instead of restoring one that was booted before
    #[arg(long)]
    pub(crate) cold: bool,
    /// How long a kernel may take to come up
    #[arg(long, value_name = "TIME", default_value = "3m", value_parser = duration)]
    pub(crate) boot_within: Duration,
    /// How many cases run side by side; by default one for each processor, as far as memory goes
    ///
    /// Where memory allows, the guests of the next case are started before its turn and wait for it, stopped. With
    /// more than one job, what took longest the last time begins first; results keep the order of the files.
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroU32>,
    /// Runs each case so many times
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) repeat: NonZeroU32,
    /// Runs a case that fails so many times again; one that passes then is flaky
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) retries: u32,
    /// What a flaky case is
    #[arg(long, value_enum, default_value_t = Flaky::Fail)]
    pub(crate) flaky: Flaky,
    /// Begins cases in an order of chance: the same for the same SEED, a new one, which is told, without it
    ///
    /// Results keep the order of the files.
    #[arg(long, value_name = "SEED")]
    pub(crate) shuffle: Option<Option<u64>>,
    /// Stops after the first failure
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Runs again what changes, as soon as it does: a scenario, a file that it names, a module, a kernel image
    ///
    /// Ctrl-C ends it; the exit code is that of the last run.
    #[arg(long)]
    pub(crate) watch: bool,
    /// Leaves recordings and report.json in this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Keeps the recordings of cases that pass, too
    #[arg(long)]
    pub(crate) keep: bool,
    /// Shows the lines that arrived, also of cases that pass
    #[arg(long)]
    pub(crate) show_lines: bool,
    /// Says where the time of each case went
    #[arg(long)]
    pub(crate) timings: bool,
    /// How results are written to standard output
    #[arg(long, value_enum, default_value_t = OutputFormat::Human)]
    pub(crate) format: OutputFormat,
}

/// Where the sender's kernel runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// The first that can hold the scenario, without touching the running kernel
    Auto,
    /// A QEMU guest
    Vm,
}

/// What a case is that passes only when it is run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Flaky {
    /// A failure
    Fail,
    /// As good as passed
    Pass,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people
    Human,
    /// One JSON document, with a version of its schema
    Json,
    /// TAP 14
    Tap,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// Scenario files, or folders of them
    #[arg(required = true)]
    pub(crate) paths: Vec<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = SHELL_HELP)]
pub(crate) struct ShellArguments {
    /// The scenario file
    pub(crate) path: PathBuf,
    /// The kernel under test, as for `run`
    #[arg(long, value_name = "KERNEL", default_value = "debian:6.1")]
    pub(crate) kernel: String,
    /// Modules for a kernel that is an image: a folder that holds them
    #[arg(long, value_name = "DIR")]
    pub(crate) modules: Option<PathBuf>,
    /// Puts one rebuilt module in place of the kernel's own
    #[arg(long = "module", value_name = "FILE.ko")]
    pub(crate) replacements: Vec<PathBuf>,
    /// Which case of a file with a matrix: a regular expression that matches its name
    #[arg(long, value_name = "REGEX")]
    pub(crate) filter: Option<String>,
    /// Stops before the first step at or behind this line of the file
    #[arg(long, value_name = "LINE", conflicts_with = "at_failure")]
    pub(crate) at: Option<usize>,
    /// Stops where the scenario fails, if it does
    #[arg(long)]
    pub(crate) at_failure: bool,
    /// Boots the guests for real, instead of restoring ones that were booted before
    #[arg(long)]
    pub(crate) cold: bool,
    /// How long a kernel may take to come up
    #[arg(long, value_name = "TIME", default_value = "3m", value_parser = duration)]
    pub(crate) boot_within: Duration,
}

const SHELL_HELP: &str = "\
Commands where it has stopped:
  NODE              a shell there; leave it with `exit`, or with Ctrl-] while it goes on
  NODE COMMAND...   runs one command there
  step, go          does the next step; all of them
  lines             what has arrived
  help, quit
Example: lastwords shell scenarios/smoke/floppy.toml --at 20";

#[derive(Debug, Args)]
pub(crate) struct SchemaArguments {
    /// That of what `lastwords param --format json` prints, and not of scenario files
    #[arg(long)]
    pub(crate) param: bool,
    /// The older draft that most editors read
    #[arg(long)]
    pub(crate) draft07: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KernelCommand {
    /// Brings kernels into the cache, the newest of each series
    Fetch(FetchArguments),
    /// Lists the kernels in the cache
    List,
    /// Prints where a kernel's image is, its bzImage where it has one
    Path(PathArguments),
    /// Removes from the cache what was not used for long, and what is too much
    Prune(PruneArguments),
}

#[derive(Debug, Args)]
pub(crate) struct FetchArguments {
    /// debian:6.1, debian:6.12, debian:=6.1.0-56, …
    #[arg(required = true)]
    pub(crate) kernels: Vec<String>,
    /// Is content with what is in the cache, and asks no mirror then
    #[arg(long)]
    pub(crate) if_missing: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PathArguments {
    /// debian:6.1, debian:=6.1.0-56, …
    pub(crate) kernel: String,
}

#[derive(Debug, Args)]
pub(crate) struct PruneArguments {
    /// Removes what was not used for so many days
    #[arg(long, value_name = "DAYS", default_value = "30")]
    pub(crate) older_than: u64,
    /// Removes the least used until no more than so many MiB are left
    #[arg(long, value_name = "MIB", default_value = "8192")]
    pub(crate) max_size: u64,
    /// Removes all that is not in use
    #[arg(long)]
    pub(crate) all: bool,
}

/// A duration as a scenario file has it: `90s`, `3m`.
fn duration(text: &str) -> Result<Duration, &'static str> {
    let duration = text.parse::<jiff::SignedDuration>().ok();
    let duration = duration.and_then(|duration| Duration::try_from(duration).ok());
    duration
        .filter(|duration| !duration.is_zero())
        .ok_or("it is no duration like `90s` or `3m`")
}

/// Why a command came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Suite(#[from] SuiteError),
    #[error("`--filter` is no regular expression")]
    Filter(#[source] regex::Error),
    #[error("no case is left: none of {0} matches `--filter`")]
    NothingLeft(usize),
    #[error("it has more than one case, and one can be looked into at a time\n(choose with `--filter`: {})", .0.join(", "))]
    ManyCases(Vec<String>),
    #[error(transparent)]
    Vm(#[from] lastwords_vm::error::Error),
    #[error(transparent)]
    Qemu(#[from] lastwords_vm::qemu::QemuError),
    #[error(transparent)]
    Param(#[from] param::ParamError),
    #[error("the folder `{}` cannot be made", .path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Watch(#[from] WatchError),
    #[error("the program's runtime cannot be started")]
    Runtime(#[source] io::Error),
    #[error("results cannot be written")]
    Output(#[source] io::Error),
}

impl CommandError {
    fn exit(&self) -> Exit {
        match self {
            Self::Param(error) => error.exit(),
            Self::Suite(_)
            | Self::Filter(_)
            | Self::NothingLeft(_)
            | Self::ManyCases(_)
            | Self::Vm(lastwords_vm::error::Error::SourceSyntax { .. }) => Exit::Usage,
            Self::Vm(_)
            | Self::Qemu(_)
            | Self::Folder { .. }
            | Self::Watch(_)
            | Self::Runtime(_)
            | Self::Output(_) => Exit::NoVerdict,
        }
    }
}

/// Reads the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let exit = match cli.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::Param(arguments) => param::param(&arguments),
        Command::Shell(arguments) => shell::shell(&arguments),
        Command::Kernel(command) => fetch::kernel(&command),
        Command::Schema(arguments) => schema(&arguments),
    };
    exit.unwrap_or_else(|error| {
        tell(&error);
        error.exit()
    })
    .into()
}

fn schema(arguments: &SchemaArguments) -> Result<Exit, CommandError> {
    let draft = if arguments.draft07 {
        Draft::Draft07
    } else {
        Draft::Draft2020_12
    };
    let schema = if arguments.param {
        document::schema(draft)
    } else {
        schema::schema(draft)
    };
    write!(io::stdout(), "{schema}").map_err(CommandError::Output)?;
    Ok(Exit::Success)
}

/// The only place where errors are printed: the error, and its causes.
fn tell(error: &dyn std::error::Error) {
    let mut out = anstream::stderr().lock();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str("\n  because ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    // Where standard error is closed there is nobody left to tell.
    let _ = writeln!(out, "lastwords: {text}");
}

/// How mistakes are drawn: in colour on a terminal.
fn renderer() -> Renderer {
    let colours = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
    if colours {
        Renderer::styled()
    } else {
        Renderer::plain()
    }
}
