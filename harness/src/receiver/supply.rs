//! What a receiver needs of the machine: its program, and its configuration.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    receiver::order::Plan,
    scenario::{Node, Program, ProgramName},
};

/// Where daemons are, which is not on a user's PATH.
const DAEMONS: &str = "/usr/local/sbin:/usr/sbin:/sbin";
/// How many files a folder of configuration may hold, and how deep.
const MOST_FILES: usize = 1000;
const DEEPEST: u32 = 6;

/// A configuration that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the configuration `{}` cannot be read", .path.display())]
pub(crate) struct SupplyError {
    path: PathBuf,
    source: io::Error,
}

/// The machine's PATH, and behind it where daemons are.
pub(crate) fn search_path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    if !path.is_empty() {
        path.push(":");
    }
    path.push(DAEMONS);
    path
}

/// Where a program of this name is.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    which::which_in(program, Some(search_path()), "/").ok()
}

/// Whether the machine can tell why the program cannot be started; none where it is there.
pub(crate) fn missing(program: &Program) -> Option<String> {
    let name = match &program.command {
        None => program.name.executable(),
        // A line for the shell names its programs itself.
        Some(_) => return None,
    };
    find(name).is_none().then(|| {
        format!(
            "needs `{name}`, which is not on the PATH ({})",
            program.name.remedy()
        )
    })
}

/// What the keeper of `node` is to make; `folder` is the scenario's.
pub(crate) fn plan(node: &Node, program: &Program, folder: &Path) -> Result<Plan, SupplyError> {
    let configuration = program.name.configuration().map(PathBuf::from);
    let mut files = Vec::new();
    if let (Some(config), Some(there)) = (&program.config, &configuration) {
        let here = folder.join(config);
        let read = |source| SupplyError {
            path: here.clone(),
            source,
        };
        if here.is_dir() {
            let root = there.parent().unwrap_or(there);
            files = folder_of(&here, root, DEEPEST).map_err(read)?;
        } else {
            files.push((there.clone(), fs::read(&here).map_err(read)?));
        }
    }
    Ok(Plan {
        hostname: node.name.clone(),
        prefix: find(program.name.executable()).and_then(|path| prefix(&path, program.name)),
        files,
        append: configuration.zip(program.append.clone()),
        path: search_path().to_string_lossy().into_owned(),
    })
}

/// The files of a folder, by the paths that they have below `root`.
fn folder_of(from: &Path, root: &Path, depth: u32) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, there) = (entry.path(), root.join(entry.file_name()));
        if path.is_dir() && depth > 0 {
            files.extend(folder_of(&path, &there, depth - 1)?);
        } else if path.is_file() {
            files.push((there, fs::read(&path)?));
        }
        if files.len() > MOST_FILES {
            return Err(io::Error::other(format!(
                "there are more than {MOST_FILES} files in it"
            )));
        }
    }
    Ok(files)
}

/// Where a package was unpacked whose program is `path`: `/opt/it` for `/opt/it/usr/sbin/rsyslogd`. None of a program that is
/// installed.
fn prefix(path: &Path, name: ProgramName) -> Option<PathBuf> {
    let path = fs::canonicalize(path).ok()?;
    let prefix = ["usr/sbin", "usr/bin"].iter().find_map(|folder| {
        let inside = Path::new(folder).join(name.executable());
        let prefix = path.to_str()?.strip_suffix(inside.to_str()?)?;
        Some(PathBuf::from(prefix))
    });
    prefix.filter(|prefix| prefix != Path::new("/"))
}
