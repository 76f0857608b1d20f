//! Scenario files on disk: found, read, and turned into cases.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use annotate_snippets::Renderer;

use crate::scenario::{self, Scenario};

/// All cases of some paths, and what is wrong with some of their files.
#[derive(Debug, Default)]
pub(crate) struct Suite {
    /// In the order of the paths, files of a folder by name.
    pub(crate) scenarios: Vec<Scenario>,
    /// Rendered mistakes, file by file.
    pub(crate) mistakes: Vec<String>,
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
        let read = |source| SuiteError::Read {
            path: path.to_owned(),
            source,
        };
        let bytes = fs::read(path).map_err(read)?;
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                return Err(read(io::Error::new(
                    io::ErrorKind::InvalidData,
                    error.utf8_error(),
                )));
            }
        };
        self.files += 1;
        match scenario::parse(path, name, &text) {
            Ok(scenarios) => self.scenarios.extend(scenarios),
            Err(mistakes) => {
                let rendered = mistakes
                    .iter()
                    .map(|mistake| mistake.render(path, &text, renderer));
                self.mistakes.extend(rendered);
            }
        }
        Ok(())
    }
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
