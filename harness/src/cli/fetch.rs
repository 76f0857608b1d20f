//! `lastwords kernel`: what the cache holds of kernels.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, SystemTime},
};

use lastwords_vm::{
    cache::{Cache, Shelf, prune::Limits},
    kernel::{Kernel, KernelRequest, progress::Progress, source::Source},
};

use crate::{
    cli::{CommandError, FetchArguments, KernelCommand, PathArguments, PruneArguments},
    report::Exit,
};

/// Does what a `kernel` command says.
pub(crate) fn kernel(command: &KernelCommand) -> Result<Exit, CommandError> {
    match command {
        KernelCommand::Fetch(arguments) => fetch(arguments),
        KernelCommand::List => list(),
        KernelCommand::Path(arguments) => path(arguments),
        KernelCommand::Prune(arguments) => prune(arguments),
    }
}

fn fetch(arguments: &FetchArguments) -> Result<Exit, CommandError> {
    let cache = Cache::open(None)?;
    for name in &arguments.kernels {
        let request = KernelRequest::new(name.parse::<Source>()?);
        let kernel = if arguments.if_missing {
            request.resolve(&cache, &tell)?
        } else {
            request.fetch(&cache, &tell)?
        };
        writeln!(io::stdout(), "{}  {}", kernel.name, kernel.release)
            .map_err(CommandError::Output)?;
    }
    Ok(Exit::Success)
}

/// Finds the kernels that a run names, fetching those of the archive that are not there.
pub(crate) fn resolve(
    names: &[String],
    configure: impl Fn(KernelRequest) -> KernelRequest,
    cache: &Cache,
) -> Result<Vec<Kernel>, CommandError> {
    let resolve = |name: &String| {
        let request = configure(KernelRequest::new(name.parse::<Source>()?));
        Ok(request.resolve(cache, &tell)?)
    };
    names.iter().map(resolve).collect()
}

/// Says on standard error what takes so long; downloads in one line that is written over on a terminal.
fn tell(progress: Progress) {
    let mut out = anstream::stderr().lock();
    let text = match progress {
        Progress::Listing { mirror } => format!("reading the package lists of {mirror}"),
        Progress::Downloading {
            package,
            done,
            total,
        } => {
            if !io::stderr().is_terminal() {
                if done > 0 {
                    return;
                }
                format!("downloading {package}, {} MB", total / 1_000_000)
            } else {
                let end = if done < total { "\r" } else { "\n" };
                // A progress line that cannot be written is not worth a failure.
                let _ = write!(
                    out,
                    "downloading {package}, {} of {} MB{end}",
                    done / 1_000_000,
                    total / 1_000_000
                );
                return;
            }
        }
        Progress::Unpacking { package } => format!("unpacking {package}"),
        Progress::Extracting { release } => format!("extracting the kernel {release}"),
        Progress::Waiting { what } => format!("waiting for another run that is at {what}"),
        Progress::Torn { release } => {
            format!("the cached kernel {release} is torn: it is fetched again")
        }
        _ => return,
    };
    let _ = writeln!(out, "lastwords: {text}");
}

fn list() -> Result<Exit, CommandError> {
    let cache = Cache::open(None)?;
    let mut out = io::stdout().lock();
    for kernel in cache.kernels()? {
        let megabytes = kernel.listed.bytes / 1_000_000;
        writeln!(
            out,
            "{}  {}  {}  {} modules  {megabytes} MB  {}",
            kernel.name,
            kernel.release,
            kernel.origin,
            kernel.modules,
            ago(kernel.listed.used)
        )
        .map_err(CommandError::Output)?;
    }
    Ok(Exit::Success)
}

fn path(arguments: &PathArguments) -> Result<Exit, CommandError> {
    let request = KernelRequest::new(arguments.kernel.parse::<Source>()?);
    let kernel = request.resolve(&Cache::open(None)?, &tell)?;
    writeln!(io::stdout(), "{}", kernel.image.display()).map_err(CommandError::Output)?;
    Ok(Exit::Success)
}

fn ago(time: SystemTime) -> String {
    const DAY: u64 = 24 * 60 * 60;
    let elapsed = time.elapsed().unwrap_or_default().as_secs();
    match elapsed / DAY {
        0 => "used today".to_owned(),
        1 => "used yesterday".to_owned(),
        days => format!("used {days} days ago"),
    }
}

fn prune(arguments: &PruneArguments) -> Result<Exit, CommandError> {
    let cache = Cache::open(None)?;
    let limits = if arguments.all {
        Limits {
            age: Some(Duration::ZERO),
            bytes: Some(0),
        }
    } else {
        Limits {
            age: Some(Duration::from_secs(arguments.older_than * 24 * 60 * 60)),
            bytes: Some(arguments.max_size << 20),
        }
    };
    let pruned = cache.prune(&Shelf::ALL, limits)?;
    let mut out = io::stdout().lock();
    for listed in &pruned.removed {
        writeln!(out, "removed  {}/{}", listed.shelf.name(), listed.key)
            .map_err(CommandError::Output)?;
    }
    for listed in &pruned.in_use {
        writeln!(out, "in use   {}/{}", listed.shelf.name(), listed.key)
            .map_err(CommandError::Output)?;
    }
    writeln!(out, "{} MB freed", pruned.bytes() / 1_000_000).map_err(CommandError::Output)?;
    Ok(Exit::Success)
}
