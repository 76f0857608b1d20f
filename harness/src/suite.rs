//! Scenario files on disk: found, read, and turned into cases.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use annotate_snippets::Renderer;

use crate::scenario::{self, Mistake, Scenario};

/// How large a scenario file may be.
const MOST_BYTES: u64 = 256 << 10;
/// How many mistakes of one file are shown.
const MOST_SHOWN: usize = 100;

/// All cases of some paths, and what is wrong with some of their files.
#[derive(Debug, Default)]
pub(crate) struct Suite {
    /// In the order of the paths, files of a folder by name.
    pub(crate) scenarios: Vec<Scenario>,
    /// Rendered mistakes, file by file; of each the first few.
    pub(crate) mistakes: Vec<String>,
    /// How many mistakes there are in all.
    pub(crate) count: usize,
    /// How many files were read.
    pub(crate) files: usize,
}

/// A path that holds no scenario, or one that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SuiteError {
    #[error("`{}` cannot be read", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("`{}` cannot be searched", .path.display())]
    Search {
        path: PathBuf,
        source: ignore::Error,
    },
    #[error("there is no scenario file (*.toml) in `{}`", .0.display())]
    Empty(PathBuf),
    #[error("`{}` is neither a file nor a folder", .0.display())]
    NoFile(PathBuf),
    #[error("`{}` is larger than {} KiB, which no scenario is\n(split it up, or write `times`, `burst` or `matrix` for what repeats)", .0.display(), MOST_BYTES >> 10)]
    TooLarge(PathBuf),
}

impl Suite {
    /// Reads the scenario files named by `paths`, and all `*.toml` below those that are folders.
    pub(crate) fn read(paths: &[PathBuf], renderer: &Renderer) -> Result<Self, SuiteError> {
        let mut suite = Self::default();
        for path in paths {
            if path.is_dir() {
                let files = files_below(path)?;
                if files.is_empty() {
                    return Err(SuiteError::Empty(path.clone()));
                }
                for file in files {
                    suite.add(&file, &name(&file, path), renderer)?;
                }
            } else {
                let folder = path
                    .parent()
                    .and_then(Path::parent)
                    .unwrap_or(Path::new(""));
                suite.add(path, &name(path, folder), renderer)?;
            }
        }
        Ok(suite)
    }

    fn add(&mut self, path: &Path, name: &str, renderer: &Renderer) -> Result<(), SuiteError> {
        let bytes = read(path)?;
        self.files += 1;
        let text = String::from_utf8_lossy(&bytes);
        let parsed = match str::from_utf8(&bytes) {
            Ok(text) => scenario::parse(path, name, text),
            Err(error) => Err(vec![Mistake::of_encoding(error.valid_up_to())]),
        };
        match parsed {
            Ok(scenarios) => self.scenarios.extend(scenarios),
            Err(mistakes) => self.tell(&mistakes, path, &text, renderer),
        }
        Ok(())
    }

    /// Renders the mistakes of one file; where there are very many, the first of them.
    fn tell(&mut self, mistakes: &[Mistake], path: &Path, text: &str, renderer: &Renderer) {
        self.count += mistakes.len();
        let shown = mistakes.iter().take(MOST_SHOWN);
        self.mistakes
            .extend(shown.map(|mistake| mistake.render(path, text, renderer)));
        if let Some(more) = mistakes.len().checked_sub(MOST_SHOWN + 1) {
            let path = path.display();
            self.mistakes
                .push(format!("and {} more in {path}", more + 1));
        }
    }
}

/// The bytes of a file that can be a scenario. What is no file, like a pipe or a device, might never end.
fn read(path: &Path) -> Result<Vec<u8>, SuiteError> {
    let wrong = |source| SuiteError::Read {
        path: path.to_owned(),
        source,
    };
    if !fs::metadata(path).map_err(wrong)?.is_file() {
        return Err(SuiteError::NoFile(path.to_owned()));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(wrong)?;
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(wrong)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(SuiteError::TooLarge(path.to_owned()));
    }
    Ok(bytes)
}

/// The scenario files that [`Suite::read`] would read of `paths`, as far as they can be found.
pub(crate) fn files(paths: &[PathBuf]) -> Vec<PathBuf> {
    let found = paths.iter().map(|path| {
        if path.is_dir() {
            files_below(path).unwrap_or_default()
        } else {
            vec![path.clone()]
        }
    });
    found.flatten().collect()
}

/// The folders among `paths`, and all below them.
pub(crate) fn folders(paths: &[PathBuf]) -> Vec<PathBuf> {
    let folders = paths.iter().filter(|path| path.is_dir());
    let below = folders.flat_map(|folder| ignore::WalkBuilder::new(folder).build().flatten());
    let found = below.map(ignore::DirEntry::into_path);
    found.filter(|path| path.is_dir()).collect()
}

/// All scenario files below `folder`, by name; what `.gitignore` leaves out is left out.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>, SuiteError> {
    let wrong = |source| SuiteError::Search {
        path: folder.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in ignore::WalkBuilder::new(folder).build() {
        let path = entry.map_err(wrong)?.into_path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
            && path.is_file()
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// `smoke/floppy` for `scenarios/smoke/floppy.toml` below `scenarios`.
fn name(file: &Path, folder: &Path) -> String {
    let below = file.strip_prefix(folder).unwrap_or(file);
    below.with_extension("").display().to_string()
}
