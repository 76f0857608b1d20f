//! Where a kernel's modules lie: an index by name over a folder, a build tree, or an unpacked package.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, Result},
    modules::name::{ModuleName, without_compression},
};

/// A place that holds modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A folder with modules anywhere below it, like `/lib/modules/RELEASE`.
    Folder(PathBuf),
    /// A kernel build tree, with modules beside their source.
    BuildTree(PathBuf),
    /// A folder in the cache, with a list of what was put there.
    Cached(PathBuf),
}

/// The file that lists a cached folder's modules.
const LIST: &str = "modules.files";

/// A module's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModuleFile {
    pub(crate) path: PathBuf,
    /// Its place below `/lib/modules/RELEASE`, without compression.
    pub(crate) below: PathBuf,
    /// Its size, where that was noted when it was written.
    size: Option<u64>,
}

impl ModuleFile {
    /// Notices that a file is not what was written.
    pub(crate) fn check(&self) -> Result<()> {
        let Some(size) = self.size else {
            return Ok(());
        };
        let what = match fs::metadata(&self.path) {
            Ok(metadata) if metadata.len() == size => return Ok(()),
            Ok(_) => "its size has changed",
            Err(_) => "it is gone",
        };
        let path = self.path.clone();
        Err(Error::CacheTorn { path, what })
    }
}

/// The modules of a place by name.
#[derive(Debug, Default)]
pub(crate) struct Index {
    files: BTreeMap<ModuleName, ModuleFile>,
    builtin: BTreeSet<ModuleName>,
}

impl Index {
    pub(crate) fn read(place: &Place) -> Result<Self> {
        let (root, files) = match place {
            Place::Folder(root) => (root, walk(root)?),
            Place::BuildTree(root) => (root, ordered(root)?),
            Place::Cached(root) => (root, listed(root)?),
        };
        let builtin = read_lines(&root.join("modules.builtin"))?
            .iter()
            .filter_map(|line| ModuleName::of_file(Path::new(line)))
            .collect();
        Ok(Self { files, builtin })
    }

    pub(crate) fn file(&self, name: &ModuleName) -> Option<&ModuleFile> {
        self.files.get(name)
    }

    pub(crate) fn is_builtin(&self, name: &ModuleName) -> bool {
        self.builtin.contains(name)
    }

    pub(crate) fn builtin(&self) -> &BTreeSet<ModuleName> {
        &self.builtin
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &ModuleName> {
        self.files.keys()
    }
}

/// Writes down what a cached folder holds: each file's size and its path below the folder.
pub(crate) fn write_list(folder: &Path, files: &[(u64, PathBuf)]) -> Result<()> {
    let mut list = String::new();
    for (size, path) in files {
        let _ = writeln!(list, "{size} {}", path.display());
    }
    let path = folder.join(LIST);
    fs::write(&path, list).map_err(Error::write(path))
}

/// Whether a cached folder has its list.
pub(crate) fn has_list(folder: &Path) -> bool {
    folder.join(LIST).is_file()
}

fn listed(root: &Path) -> Result<BTreeMap<ModuleName, ModuleFile>> {
    let mut files = BTreeMap::new();
    for line in read_lines(&root.join(LIST))? {
        let torn = || Error::CacheTorn {
            path: root.join(LIST),
            what: "a line of it is broken",
        };
        let (size, below) = line.split_once(' ').ok_or_else(torn)?;
        let size = size.parse().map_err(|_| torn())?;
        add(&mut files, root, Path::new(below), Some(size));
    }
    Ok(files)
}

/// The modules of a build tree, from the list that the build leaves. A kernel without modules has none, but lists what is
/// built in; where no list is at all, the tree is searched.
fn ordered(root: &Path) -> Result<BTreeMap<ModuleName, ModuleFile>> {
    let is_listed = ["modules.order", "modules.builtin"]
        .iter()
        .any(|list| root.join(list).is_file());
    if !is_listed {
        return walk(root);
    }
    let lines = read_lines(&root.join("modules.order"))?;
    let mut files = BTreeMap::new();
    for line in lines {
        // Some kernels list objects, and some put the place of installation before the path.
        let below = Path::new(line.strip_prefix("kernel/").unwrap_or(&line)).with_extension("ko");
        if let Some(name) = ModuleName::of_file(&below) {
            let file = ModuleFile {
                path: root.join(&below),
                below: Path::new("kernel").join(&below),
                size: None,
            };
            files.insert(name, file);
        }
    }
    Ok(files)
}

fn walk(root: &Path) -> Result<BTreeMap<ModuleName, ModuleFile>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        let folder = root.join(&below);
        let mut items: Vec<_> = fs::read_dir(&folder)
            .and_then(Iterator::collect)
            .map_err(Error::read(&folder))?;
        items.sort_by_key(fs::DirEntry::file_name);
        for item in items {
            let below = below.join(item.file_name());
            // A link to the source or to the headers is no place of modules.
            if item.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(below);
            } else {
                add(&mut files, root, &below, None);
            }
        }
    }
    Ok(files)
}

/// Adds a file, if it is a module. What was put into `updates` stands before what the kernel brought, as for depmod.
fn add(files: &mut BTreeMap<ModuleName, ModuleFile>, root: &Path, below: &Path, size: Option<u64>) {
    let Some(name) = ModuleName::of_file(below) else {
        return;
    };
    if files.contains_key(&name) && !below.starts_with("updates") {
        return;
    }
    let file = ModuleFile {
        path: root.join(below),
        below: without_compression(below),
        size,
    };
    files.insert(name, file);
}

/// The lines of a file, none where the file is missing.
fn read_lines(path: &Path) -> Result<Vec<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::read(path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn touch(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    #[test]
    fn an_update_stands_before_what_the_kernel_brought() {
        let folder = tempfile::tempdir().unwrap();
        touch(&folder.path().join("kernel/net/a.ko.xz"));
        touch(&folder.path().join("updates/dkms/a.ko"));
        let index = Index::read(&Place::Folder(folder.path().to_owned())).unwrap();
        let file = index.file(&ModuleName::new("a")).unwrap();
        assert_eq!(file.below, Path::new("updates/dkms/a.ko"));
    }

    #[rstest]
    #[case::old_list("kernel/drivers/net/netconsole.ko\n")]
    #[case::new_list("drivers/net/netconsole.o\n")]
    fn a_build_tree_is_read_from_its_list(#[case] order: &str) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("modules.order"), order).unwrap();
        let index = Index::read(&Place::BuildTree(folder.path().to_owned())).unwrap();
        let file = index.file(&ModuleName::new("netconsole")).unwrap();
        assert_eq!(file.path, folder.path().join("drivers/net/netconsole.ko"));
        assert_eq!(file.below, Path::new("kernel/drivers/net/netconsole.ko"));
    }

    #[test]
    fn a_kernel_without_modules_has_what_is_built_in() {
        let folder = tempfile::tempdir().unwrap();
        let list = "kernel/drivers/net/netconsole.ko\n";
        fs::write(folder.path().join("modules.builtin"), list).unwrap();
        touch(&folder.path().join("samples/a.ko"));
        let index = Index::read(&Place::BuildTree(folder.path().to_owned())).unwrap();
        assert!(index.is_builtin(&ModuleName::new("netconsole")));
        assert_eq!(index.names().count(), 0);
    }

    #[test]
    fn a_cached_module_of_another_size_is_torn() {
        let folder = tempfile::tempdir().unwrap();
        touch(&folder.path().join("kernel/a.ko"));
        write_list(folder.path(), &[(7, PathBuf::from("kernel/a.ko"))]).unwrap();
        let index = Index::read(&Place::Cached(folder.path().to_owned())).unwrap();
        let file = index.file(&ModuleName::new("a")).unwrap();
        assert!(file.check().is_err());
        fs::write(&file.path, "7 bytes").unwrap();
        file.check().unwrap();
    }
}
