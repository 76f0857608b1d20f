//! The libraries of a program: found as the loader finds them, packed so that the guest's loader finds them, too.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, Result},
    initramfs::{
        Initramfs,
        elf::Linkage,
        host_path,
        program::{self, place},
    },
};

/// Where loaders look without being told to, on the distributions that there are.
const FOLDERS: [&str; 7] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
    "/usr/local/lib",
];

/// Packs the interpreter and all libraries of a program, not the program itself; a static one has none.
pub(crate) fn pack(initramfs: &mut Initramfs, program: &Path, bytes: &[u8]) -> Result<()> {
    let mut search = Search::new(initramfs);
    let linkage = parse(program, bytes)?;
    if let Some(interpreter) = &linkage.interpreter {
        search.take(Path::new(interpreter))?;
    }
    search.visit(program, linkage)?;
    while let Some((path, linkage)) = search.open.pop() {
        search.visit(&path, linkage)?;
    }
    search.link_strangers();
    Ok(())
}

/// Packs a library that the loader finds under this name, and all that it is linked with; false where there is none.
pub(crate) fn pack_by_name(initramfs: &mut Initramfs, name: &str) -> Result<bool> {
    let mut search = Search::new(initramfs);
    let Some(path) = search.find(name, &[], Path::new("/")) else {
        return Ok(false);
    };
    search.take(&path)?;
    while let Some((path, linkage)) = search.open.pop() {
        search.visit(&path, linkage)?;
    }
    search.link_strangers();
    Ok(true)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Linkage> {
    Linkage::parse(bytes).map_err(|why| Error::BadProgram {
        path: path.to_owned(),
        why,
    })
}

/// A search for libraries.
struct Search<'a> {
    initramfs: &'a mut Initramfs,
    configured: Vec<PathBuf>,
    seen: BTreeSet<PathBuf>,
    open: Vec<(PathBuf, Linkage)>,
    /// Libraries that only the machine's loader configuration leads to.
    strangers: Vec<PathBuf>,
    /// Where the C library is: every loader looks there.
    home: Option<PathBuf>,
}

impl<'a> Search<'a> {
    fn new(initramfs: &'a mut Initramfs) -> Self {
        Self {
            initramfs,
            configured: configured(Path::new("/etc/ld.so.conf"), 0),
            seen: BTreeSet::new(),
            open: Vec::new(),
            strangers: Vec::new(),
            home: None,
        }
    }

    /// Takes all libraries that a file is linked with.
    fn visit(&mut self, path: &Path, linkage: Linkage) -> Result<()> {
        let origin = fs::canonicalize(path).map_err(Error::read(path))?;
        let origin = origin.parent().unwrap_or(Path::new("/")).to_owned();
        for library in &linkage.needed {
            let found = self.find(library, &linkage.search, &origin);
            let found = found.ok_or_else(|| Error::LibraryMissing {
                program: path.to_owned(),
                library: library.clone(),
            })?;
            self.take(&found)?;
        }
        Ok(())
    }

    /// Finds a library of the right machine.
    fn find(&mut self, library: &str, search: &[String], origin: &Path) -> Option<PathBuf> {
        if library.contains('/') {
            return Some(PathBuf::from(library)).filter(|path| is_library(path));
        }
        let own = search.iter().filter(|folder| !folder.is_empty());
        let own = own.map(|folder| expand(folder, origin).join(library));
        let usual = FOLDERS.iter().map(|folder| Path::new(folder).join(library));
        if let Some(path) = own.chain(usual).find(|path| is_library(path)) {
            if library.starts_with("libc.so") {
                self.home = path.parent().map(Path::to_owned);
            }
            return Some(path);
        }
        let mut configured = self.configured.iter().map(|folder| folder.join(library));
        let path = configured.find(|path| is_library(path))?;
        self.strangers.push(path.clone());
        Some(path)
    }

    /// Packs a library at its place and remembers to look at what it needs itself.
    fn take(&mut self, path: &Path) -> Result<()> {
        if !self.seen.insert(path.to_owned()) {
            return Ok(());
        }
        let real = host_path::follow(self.initramfs, path)?;
        let bytes = program::read(&real)?;
        let linkage = parse(&real, &bytes)?;
        place(self.initramfs, &real, bytes)?;
        self.open.push((real, linkage));
        Ok(())
    }

    /// The guest has no loader configuration, so what only that leads to is linked to beside the C library.
    fn link_strangers(&mut self) {
        let home = self.home.clone().unwrap_or_else(|| PathBuf::from("/lib"));
        for path in &self.strangers {
            if let Some(name) = path.file_name() {
                let link = home.join(name);
                self.initramfs
                    .symlink(&link.to_string_lossy(), &path.to_string_lossy());
            }
        }
    }
}

fn is_library(path: &Path) -> bool {
    path.is_file() && fs::read(path).is_ok_and(|bytes| Linkage::parse(&bytes).is_ok())
}

/// Fills in the variables of a search folder (ld.so(8)).
fn expand(folder: &str, origin: &Path) -> PathBuf {
    let origin = origin.to_string_lossy();
    let mut folder = folder.to_owned();
    for (variable, value) in [
        ("ORIGIN", &*origin),
        ("LIB", "lib/x86_64-linux-gnu"),
        ("PLATFORM", "x86_64"),
    ] {
        folder = folder.replace(&format!("${{{variable}}}"), value);
        folder = folder.replace(&format!("${variable}"), value);
    }
    PathBuf::from(folder)
}

/// The folders of a loader configuration, with what it includes.
fn configured(path: &Path, depth: u32) -> Vec<PathBuf> {
    let Ok(text) = fs::read_to_string(path) else {
        return Vec::new();
    };
    let mut folders = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(pattern) = line.strip_prefix("include ") {
            if depth < 8 {
                let files = matching(path, pattern.trim());
                folders.extend(files.iter().flat_map(|file| configured(file, depth + 1)));
            }
        } else if line.starts_with('/') {
            folders.push(PathBuf::from(line));
        }
    }
    folders
}

/// The files that `FOLDER/*.conf` means: loader configurations use no other pattern.
fn matching(from: &Path, pattern: &str) -> Vec<PathBuf> {
    let pattern = from.parent().unwrap_or(Path::new("/")).join(pattern);
    let (Some(folder), Some(name)) = (pattern.parent(), pattern.file_name()) else {
        return Vec::new();
    };
    let name = name.to_string_lossy();
    let Some((start, end)) = name.split_once('*') else {
        return vec![pattern.clone()];
    };
    let Ok(listing) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = listing
        .flatten()
        .filter(|item| {
            let name = item.file_name();
            let name = name.to_string_lossy();
            name.starts_with(start) && name.ends_with(end)
        })
        .map(|item| item.path())
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loader_configuration_is_read_with_what_it_includes() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("ld.so.conf");
        fs::create_dir(folder.path().join("ld.so.conf.d")).unwrap();
        fs::write(&main, "include ld.so.conf.d/*.conf\n/opt/lib # mine\n").unwrap();
        fs::write(folder.path().join("ld.so.conf.d/b.conf"), "# x\n/b/lib\n").unwrap();
        fs::write(folder.path().join("ld.so.conf.d/a.conf"), "/a/lib\n").unwrap();
        fs::write(folder.path().join("ld.so.conf.d/other"), "/other\n").unwrap();
        let expected = ["/a/lib", "/b/lib", "/opt/lib"].map(PathBuf::from);
        assert_eq!(configured(&main, 0), expected);
    }

    #[test]
    fn a_configuration_that_includes_itself_ends() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("ld.so.conf");
        fs::write(&main, "include ld.so.conf\n/a\n").unwrap();
        assert!(configured(&main, 0).len() < 100);
    }

    #[test]
    fn the_origin_of_a_program_is_filled_in() {
        let expanded = expand("$ORIGIN/../lib:", Path::new("/opt/x/bin"));
        assert_eq!(expanded, Path::new("/opt/x/bin/../lib:"));
        let expanded = expand("${ORIGIN}/lib", Path::new("/opt/x"));
        assert_eq!(expanded, Path::new("/opt/x/lib"));
    }
}
