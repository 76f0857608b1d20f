//! Where the kernel under test comes from, as people write it.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::{
    error::{Error, Result},
    kernel::selection::Selection,
};

/// A kernel as it is named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `debian:6.1`: a kernel of Debian's archive.
    Debian(Selection),
    /// `host`: the running kernel's own image.
    Host,
    /// The packages of one kernel, joined with commas.
    Packages(Vec<PathBuf>),
    /// A kernel build tree, a bzImage or a vmlinux.
    Path(PathBuf),
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why| Error::SourceSyntax {
            text: text.to_owned(),
            why,
        };
        if text.is_empty() {
            return Err(wrong("nothing is there"));
        }
        if text == "host" {
            return Ok(Source::Host);
        }
        if let Some(selection) = text.strip_prefix("debian:") {
            return Selection::parse(selection)
                .map(Source::Debian)
                .map_err(wrong);
        }
        if text == "debian" {
            return Err(wrong("the version is missing"));
        }
        let paths: Vec<PathBuf> = text.split(',').map(PathBuf::from).collect();
        let is_package = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "deb");
        if paths.iter().all(is_package) {
            return Ok(Source::Packages(paths));
        }
        if paths.len() > 1 && paths.iter().any(is_package) {
            return Err(wrong("only .deb files can be joined with commas"));
        }
        Ok(Source::Path(PathBuf::from(text)))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Debian(selection) => selection.fmt(formatter),
            Source::Host => formatter.write_str("host"),
            Source::Packages(paths) => {
                let paths: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
                formatter.write_str(&paths.join(","))
            }
            Source::Path(path) => path.display().fmt(formatter),
        }
    }
}

impl From<&Path> for Source {
    fn from(path: &Path) -> Self {
        Source::Path(path.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::host("host", Source::Host)]
    #[case::tree("linux-7.3", Source::Path("linux-7.3".into()))]
    #[case::file_called_like_a_word("./host", Source::Path("./host".into()))]
    #[case::package("a.deb", Source::Packages(vec!["a.deb".into()]))]
    #[case::packages("a.deb,b.deb", Source::Packages(vec!["a.deb".into(), "b.deb".into()]))]
    fn a_kernel_is_named(#[case] text: &str, #[case] expected: Source) {
        let source: Source = text.parse().unwrap();
        assert_eq!(source, expected);
        assert_eq!(source.to_string(), text);
    }

    #[rstest]
    #[case::series("debian:6.1")]
    #[case::pinned("debian:=6.1.0-56")]
    #[case::flavour("debian:6.12-cloud")]
    fn a_debian_kernel_is_shown_as_it_was_named(#[case] text: &str) {
        assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
    }

    #[rstest]
    #[case::nothing("")]
    #[case::no_version("debian")]
    #[case::empty_version("debian:")]
    #[case::codename("debian:bookworm")]
    #[case::mixed("a.deb,vmlinuz")]
    fn what_names_no_kernel_is_an_error(#[case] text: &str) {
        let error = text.parse::<Source>().unwrap_err();
        assert!(error.to_string().contains("debian:6.1"), "{error}");
    }
}
