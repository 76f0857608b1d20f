//! A kernel's modules: found by name, read, checked against the kernel, in the order in which they load.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::{
    archive::compression,
    error::{Error, Result},
    modules::{
        index::{Index, Place},
        info::ModuleInfo,
        name::ModuleName,
    },
};

pub mod dependency;
pub(crate) mod index;
pub mod info;
pub mod name;

/// The most that a module may take when unpacked.
const MODULE_LIMIT: u64 = 512 << 20;

/// The modules of one kernel. Nothing is read before a module is asked for.
#[derive(Debug)]
pub struct ModuleTree {
    kernel: String,
    release: String,
    place: Option<Place>,
    replacements: BTreeMap<ModuleName, PathBuf>,
    index: OnceLock<Index>,
}

/// A module, unpacked.
#[derive(Debug, Clone)]
pub struct Module {
    /// Its name.
    pub name: ModuleName,
    /// The file that it was read from.
    pub path: PathBuf,
    /// Where it belongs below `/lib/modules/RELEASE`, without a compression's suffix.
    pub below: PathBuf,
    /// What it says of itself.
    pub info: ModuleInfo,
    /// The ELF object, as the kernel takes it.
    pub bytes: Vec<u8>,
}

/// How a kernel has a feature that can be a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is part of the image.
    BuiltIn,
    /// It is a module.
    Loadable,
    /// The kernel does not have it, as far as its packages say.
    Absent,
}

impl ModuleTree {
    /// The modules of the kernel that is shown as `kernel` and calls itself `release`.
    pub(crate) fn new(kernel: &str, release: &str, place: Option<Place>) -> Self {
        Self {
            kernel: kernel.to_owned(),
            release: release.to_owned(),
            place,
            replacements: BTreeMap::new(),
            index: OnceLock::new(),
        }
    }

    /// Puts a file in the place of the module of the same name: that by which the module calls itself, whatever its file
    /// is called; only modules that have no name (before 4.14) go by their file's. The kernel would refuse a module that
    /// was built for another one, so this does, too.
    pub fn replace(&mut self, path: &Path) -> Result<ModuleName> {
        let name = ModuleName::of_file(path).ok_or_else(|| Error::BadModule {
            path: path.to_owned(),
            why: "its name does not end in .ko".to_owned(),
        })?;
        let module = self.read(name.clone(), path.to_owned(), PathBuf::new())?;
        let name = module.info.name().unwrap_or(name);
        if self.presence(&name)? == Presence::Loadable && !self.replacements.contains_key(&name) {
            let original = self.module(&name)?;
            check_vermagic(&module, original.info.vermagic())?;
        }
        self.replacements.insert(name.clone(), path.to_owned());
        Ok(name)
    }

    /// The files that were put in the place of modules.
    pub fn replacements(&self) -> impl Iterator<Item = &Path> {
        self.replacements.values().map(PathBuf::as_path)
    }

    /// The release that all modules are for.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// Says how the kernel has `name`.
    pub fn presence(&self, name: &ModuleName) -> Result<Presence> {
        if self.replacements.contains_key(name) {
            return Ok(Presence::Loadable);
        }
        let Some(index) = self.index()? else {
            return Ok(Presence::Absent);
        };
        Ok(if index.file(name).is_some() {
            Presence::Loadable
        } else if index.is_builtin(name) {
            Presence::BuiltIn
        } else {
            Presence::Absent
        })
    }

    /// Reads one module.
    pub fn module(&self, name: &ModuleName) -> Result<Module> {
        let index = self.index()?;
        let file = index.and_then(|index| index.file(name));
        let below = file.map_or_else(
            || PathBuf::from(format!("updates/{name}.ko")),
            |file| file.below.clone(),
        );
        if let Some(path) = self.replacements.get(name) {
            return self.read(name.clone(), path.clone(), below);
        }
        let Some(file) = file else {
            return Err(self.missing(name));
        };
        file.check()?;
        self.read(name.clone(), file.path.clone(), below)
    }

    /// Reads modules and all that they need, in the order in which they load; what is built in is left out.
    pub fn closure<N: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Vec<Module>> {
        let mut walk = dependency::Walk::new(self);
        for name in names {
            walk.visit(&ModuleName::new(name.as_ref()))?;
        }
        Ok(walk.into_modules())
    }

    /// The names of all modules that can be loaded.
    pub fn names(&self) -> Result<BTreeSet<ModuleName>> {
        let indexed = self.index()?.into_iter().flat_map(Index::names);
        Ok(indexed.chain(self.replacements.keys()).cloned().collect())
    }

    /// The names of what would be modules if it were not part of the image.
    pub fn builtin(&self) -> Result<BTreeSet<ModuleName>> {
        let index = self.index()?;
        Ok(index
            .map(|index| index.builtin().clone())
            .unwrap_or_default())
    }

    fn missing(&self, name: &ModuleName) -> Error {
        let (kernel, module) = (self.kernel.clone(), name.to_string());
        if self.place.is_none() {
            return Error::NoModules { kernel, module };
        }
        let hint = if self.release.contains("cloud") {
            " (the cloud flavour leaves out what has no place in a cloud)"
        } else {
            ""
        };
        Error::ModuleMissing {
            kernel,
            module,
            hint,
        }
    }

    fn index(&self) -> Result<Option<&Index>> {
        let Some(place) = &self.place else {
            return Ok(None);
        };
        if let Some(index) = self.index.get() {
            return Ok(Some(index));
        }
        let index = Index::read(place)?;
        Ok(Some(self.index.get_or_init(|| index)))
    }

    fn read(&self, name: ModuleName, path: PathBuf, below: PathBuf) -> Result<Module> {
        let packed = fs::read(&path).map_err(Error::read(&path))?;
        let bytes =
            compression::unpack(&packed, MODULE_LIMIT).map_err(|error| Error::BadModule {
                path: path.clone(),
                why: format!("it does not unpack: {error}"),
            })?;
        let info = ModuleInfo::parse(&bytes).map_err(|why| Error::BadModule {
            path: path.clone(),
            why,
        })?;
        let module = Module {
            name,
            path,
            below,
            info,
            bytes,
        };
        check_release(&module, &self.release)?;
        Ok(module)
    }
}

fn check_release(module: &Module, release: &str) -> Result<()> {
    let built_for = module.info.vermagic();
    if built_for.split(' ').next() == Some(release) {
        return Ok(());
    }
    Err(foreign(module, release))
}

fn check_vermagic(module: &Module, wanted: &str) -> Result<()> {
    if module.info.vermagic() == wanted {
        return Ok(());
    }
    Err(foreign(module, wanted))
}

fn foreign(module: &Module, wanted: &str) -> Error {
    Error::ModuleForeign {
        path: module.path.clone(),
        built_for: module.info.vermagic().trim_end().to_owned(),
        wanted: wanted.trim_end().to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::modules::info::tests::elf_with_modinfo;
    use std::fs::create_dir_all;

    /// Writes a module that depends on others.
    pub(crate) fn write_module(path: &Path, depends: &str, vermagic: &str) {
        create_dir_all(path.parent().unwrap()).unwrap();
        let depends = format!("depends={depends}");
        let vermagic = format!("vermagic={vermagic}");
        fs::write(path, elf_with_modinfo(&[&depends, &vermagic])).unwrap();
    }

    const VERMAGIC: &str = "6.1.0-0-amd64 SMP preempt mod_unload ";

    fn tree(folder: &Path) -> ModuleTree {
        let place = Place::Folder(folder.to_owned());
        ModuleTree::new("debian:6.1", "6.1.0-0-amd64", Some(place))
    }

    fn write_tree(folder: &Path) {
        let net = folder.join("kernel/drivers/net");
        write_module(&net.join("virtio_net.ko"), "net_failover,virtio", VERMAGIC);
        write_module(&net.join("net-failover.ko"), "failover", VERMAGIC);
        write_module(&folder.join("kernel/net/failover.ko"), "", VERMAGIC);
        fs::write(
            folder.join("modules.builtin"),
            "kernel/drivers/virtio/virtio.ko\n",
        )
        .unwrap();
    }

    fn names(modules: &[Module]) -> Vec<String> {
        modules
            .iter()
            .map(|module| module.name.to_string())
            .collect()
    }

    #[test]
    fn what_a_module_needs_loads_first() {
        let folder = tempfile::tempdir().unwrap();
        write_tree(folder.path());
        let modules = tree(folder.path()).closure(["virtio-net"]).unwrap();
        assert_eq!(names(&modules), ["failover", "net_failover", "virtio_net"]);
        assert_eq!(modules[0].below, Path::new("kernel/net/failover.ko"));
    }

    #[test]
    fn what_is_built_in_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        write_tree(folder.path());
        let tree = tree(folder.path());
        let virtio = ModuleName::new("virtio");
        assert_eq!(tree.presence(&virtio).unwrap(), Presence::BuiltIn);
        assert!(tree.closure(["virtio"]).unwrap().is_empty());
    }

    #[test]
    fn a_missing_module_is_named_with_its_kernel() {
        let folder = tempfile::tempdir().unwrap();
        write_tree(folder.path());
        let error = tree(folder.path()).closure(["floppy"]).unwrap_err();
        assert_eq!(error.to_string(), "debian:6.1 has no module `floppy`");
    }

    #[test]
    fn a_circle_of_dependencies_ends() {
        let folder = tempfile::tempdir().unwrap();
        write_module(&folder.path().join("a.ko"), "b", VERMAGIC);
        write_module(&folder.path().join("b.ko"), "a", VERMAGIC);
        let modules = tree(folder.path()).closure(["a"]).unwrap();
        assert_eq!(names(&modules), ["b", "a"]);
    }

    #[test]
    fn a_replacement_takes_the_place_of_its_namesake() {
        let folder = tempfile::tempdir().unwrap();
        write_tree(&folder.path().join("tree"));
        let mine = folder.path().join("net_failover.ko");
        write_module(&mine, "", VERMAGIC);
        let mut tree = tree(&folder.path().join("tree"));
        tree.replace(&mine).unwrap();
        let modules = tree.closure(["virtio_net"]).unwrap();
        assert_eq!(names(&modules), ["net_failover", "virtio_net"]);
        assert_eq!(modules[0].path, mine);
        assert_eq!(
            modules[0].below,
            Path::new("kernel/drivers/net/net-failover.ko")
        );
    }

    #[test]
    fn a_replacement_goes_by_the_name_in_it() {
        let folder = tempfile::tempdir().unwrap();
        write_tree(&folder.path().join("tree"));
        let mine = folder.path().join("broken-in-some-way.ko");
        let vermagic = format!("vermagic={VERMAGIC}");
        fs::write(&mine, elf_with_modinfo(&["name=failover", &vermagic])).unwrap();
        let mut tree = tree(&folder.path().join("tree"));
        assert_eq!(tree.replace(&mine).unwrap(), ModuleName::new("failover"));
        let module = tree.module(&ModuleName::new("failover")).unwrap();
        assert_eq!(module.path, mine);
        assert_eq!(module.below, Path::new("kernel/net/failover.ko"));
    }

    #[test]
    fn a_replacement_for_another_kernel_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        write_tree(&folder.path().join("tree"));
        let mine = folder.path().join("failover.ko");
        let mut tree = tree(&folder.path().join("tree"));
        for vermagic in ["6.12.1 SMP mod_unload ", "6.1.0-0-amd64 mod_unload "] {
            write_module(&mine, "", vermagic);
            let error = tree.replace(&mine).unwrap_err();
            assert!(matches!(error, Error::ModuleForeign { .. }), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_no_module_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.ko"), b"\x7fELF and then nothing").unwrap();
        let error = tree(folder.path()).closure(["a"]).unwrap_err();
        assert!(matches!(error, Error::BadModule { .. }), "{error}");
    }

    #[test]
    fn a_kernel_without_modules_says_so() {
        let tree = ModuleTree::new("vmlinux", "6.1.0", None);
        let error = tree.closure(["floppy"]).unwrap_err();
        assert!(matches!(error, Error::NoModules { .. }), "{error}");
    }
}
