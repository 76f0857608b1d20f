//! A module's name: the kernel takes `-` and `_` for the same.

use std::{fmt, path::Path};

/// A module's name, as the kernel writes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleName(String);

impl ModuleName {
    /// A name as people write it.
    pub fn new(name: &str) -> Self {
        Self(name.replace('-', "_"))
    }

    /// The name of the module in a file, which is none where the file is not called `*.ko`, compressed or not.
    pub fn of_file(path: &Path) -> Option<Self> {
        let file = path.file_name()?.to_str()?;
        stem(file).map(Self::new)
    }
}

/// The suffixes that a module file may carry behind `.ko`.
const SUFFIXES: [&str; 4] = ["", ".xz", ".zst", ".gz"];

/// What stands before `.ko`, `.ko.xz` and the like.
fn stem(file: &str) -> Option<&str> {
    SUFFIXES
        .iter()
        .find_map(|suffix| file.strip_suffix(suffix)?.strip_suffix(".ko"))
}

/// A module's path without the suffix of its compression.
pub(crate) fn without_compression(path: &Path) -> std::path::PathBuf {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz" | "zst" | "gz") => path.with_extension(""),
        _ => path.to_owned(),
    }
}

impl AsRef<str> for ModuleName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::plain("a/virtio_net.ko", Some("virtio_net"))]
    #[case::dashed("libblake2s-x86_64.ko", Some("libblake2s_x86_64"))]
    #[case::xz("e1000.ko.xz", Some("e1000"))]
    #[case::zstd("e1000.ko.zst", Some("e1000"))]
    #[case::gzip("8139cp.ko.gz", Some("8139cp"))]
    #[case::source("e1000.c", None)]
    #[case::other("e1000.ko.bak", None)]
    fn a_file_names_its_module(#[case] file: &str, #[case] name: Option<&str>) {
        assert_eq!(
            ModuleName::of_file(Path::new(file)),
            name.map(ModuleName::new)
        );
    }
}
