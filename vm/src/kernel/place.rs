//! Where the parts of a kernel lie that the user named by path: image, vmlinux, configuration, modules.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, Result},
    modules::index::{Index, Place},
};

/// The parts of a kernel as they lie about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Parts {
    /// A bzImage.
    pub(crate) image: Option<PathBuf>,
    /// An ELF file.
    pub(crate) vmlinux: Option<PathBuf>,
    /// Where the configuration may be; the first that is there counts.
    pub(crate) configs: Vec<PathBuf>,
    /// Where modules may be; the first that is there counts.
    pub(crate) modules: Vec<Place>,
}

impl Parts {
    /// The parts of a build tree, or of a single image.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path).map_err(|source| Error::KernelMissing {
            path: path.to_owned(),
            source,
        })?;
        if metadata.is_dir() {
            return Self::of_tree(path);
        }
        let mut start = [0; 4];
        let is_elf = fs::File::open(path)
            .map_err(Error::read(path))?
            .read(&mut start)
            .map_err(Error::read(path))?
            == 4
            && start == *b"\x7fELF";
        let path = path.to_owned();
        Ok(if is_elf {
            Self {
                vmlinux: Some(path),
                ..Self::default()
            }
        } else {
            Self {
                image: Some(path),
                ..Self::default()
            }
        })
    }

    fn of_tree(tree: &Path) -> Result<Self> {
        let if_there = |path: PathBuf| path.is_file().then_some(path);
        let image = if_there(tree.join("arch/x86/boot/bzImage"));
        let vmlinux = if_there(tree.join("vmlinux"));
        if image.is_none() && vmlinux.is_none() {
            return Err(Error::TreeNotBuilt {
                path: tree.to_owned(),
            });
        }
        Ok(Self {
            image,
            vmlinux,
            configs: vec![tree.join(".config")],
            modules: vec![Place::BuildTree(tree.to_owned())],
        })
    }

    /// The running kernel's parts.
    pub(crate) fn of_host(release: &str) -> Result<Self> {
        Self::of_installed(Path::new("/"), release)
    }

    fn of_installed(root: &Path, release: &str) -> Result<Self> {
        let modules = ["lib/modules", "usr/lib/modules"].map(|part| root.join(part).join(release));
        let mut images = vec![root.join("boot").join(format!("vmlinuz-{release}"))];
        images.extend(modules.iter().map(|folder| folder.join("vmlinuz")));
        let image = images.iter().find(|path| fs::File::open(path).is_ok());
        let Some(image) = image else {
            return Err(Error::HostKernel {
                release: release.to_owned(),
                tried: images
                    .iter()
                    .map(|path| format!("`{}`", path.display()))
                    .collect(),
            });
        };
        let mut configs = vec![root.join("boot").join(format!("config-{release}"))];
        configs.extend(modules.iter().map(|folder| folder.join("config")));
        configs.push(root.join("proc/config.gz"));
        Ok(Self {
            image: Some(image.clone()),
            vmlinux: None,
            configs,
            modules: modules.map(Place::Folder).into(),
        })
    }

    /// Adds what lies around a single image in a root file system, an unpacked package or a build tree.
    pub(crate) fn look_around(&mut self, release: &str) {
        let Some(path) = self.image.as_ref().or(self.vmlinux.as_ref()) else {
            return;
        };
        let Ok(path) = fs::canonicalize(path) else {
            return;
        };
        let Some(folder) = path.parent() else {
            return;
        };
        self.configs.push(folder.join(format!("config-{release}")));
        if folder.ends_with(Path::new("lib/modules").join(release)) {
            self.configs.push(folder.join("config"));
            self.modules.push(Place::Folder(folder.to_owned()));
        }
        let tree = folder.ancestors().find(|tree| is_built_tree(tree));
        if let Some(tree) = tree {
            self.configs.push(tree.join(".config"));
            self.modules.push(Place::BuildTree(tree.to_owned()));
        }
        if folder.ends_with("boot")
            && let Some(root) = folder.parent()
        {
            for part in ["lib/modules", "usr/lib/modules"] {
                let modules = root.join(part).join(release);
                self.modules.push(Place::Folder(modules));
            }
        }
    }

    /// The first of the places for modules that is there.
    pub(crate) fn modules(&self) -> Option<Place> {
        let is_there = |place: &&Place| match place {
            Place::Folder(folder) | Place::BuildTree(folder) | Place::Cached(folder) => {
                folder.is_dir()
            }
        };
        self.modules.iter().find(is_there).cloned()
    }

    /// The first of the places for a configuration that is there.
    pub(crate) fn config(&self) -> Option<&PathBuf> {
        self.configs.iter().find(|path| path.is_file())
    }
}

/// Whether a folder is a kernel build tree that was built in.
fn is_built_tree(folder: &Path) -> bool {
    folder.join("modules.builtin").is_file() && folder.join("include/config").is_dir()
}

/// Finds the modules for a release in a folder that the user named: `/lib/modules/RELEASE` itself, what has it below,
/// a build tree, or any folder with modules.
pub(crate) fn find_modules(folder: &Path, release: &str) -> Result<Place> {
    fs::read_dir(folder).map_err(Error::read(folder))?;
    for part in ["lib/modules", "usr/lib/modules", ""] {
        let modules = folder.join(part).join(release);
        if modules.is_dir() {
            return Ok(Place::Folder(modules));
        }
    }
    let others = releases(&folder.join("lib/modules"));
    let place = if is_built_tree(folder) {
        Place::BuildTree(folder.to_owned())
    } else {
        Place::Folder(folder.to_owned())
    };
    if !others.is_empty() || Index::read(&place)?.names().next().is_none() {
        let found = if others.is_empty() {
            String::new()
        } else {
            format!("; it has those for {}", others.join(", "))
        };
        return Err(Error::ModulesFolder {
            path: folder.to_owned(),
            release: release.to_owned(),
            found,
        });
    }
    Ok(place)
}

fn releases(folder: &Path) -> Vec<String> {
    let Ok(listing) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut releases: Vec<String> = listing
        .flatten()
        .filter_map(|item| item.file_name().into_string().ok())
        .collect();
    releases.sort();
    releases
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn touch(path: PathBuf) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    #[rstest]
    #[case::itself("kernel/a.ko", "")]
    #[case::root("lib/modules/6.1/kernel/a.ko", "lib/modules/6.1")]
    #[case::merged_root("usr/lib/modules/6.1/kernel/a.ko", "usr/lib/modules/6.1")]
    #[case::parent("6.1/kernel/a.ko.xz", "6.1")]
    #[case::any_folder("a.ko.zst", "")]
    fn modules_are_found(#[case] file: &str, #[case] expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        touch(folder.path().join(file));
        let place = find_modules(folder.path(), "6.1").unwrap();
        assert_eq!(place, Place::Folder(folder.path().join(expected)));
    }

    #[rstest]
    #[case::none("readme", "holds no kernel modules for 6.1")]
    #[case::others("lib/modules/6.12/kernel/a.ko", "it has those for 6.12")]
    fn a_folder_without_them_is_an_error(#[case] file: &str, #[case] sentence: &str) {
        let folder = tempfile::tempdir().unwrap();
        touch(folder.path().join(file));
        let error = find_modules(folder.path(), "6.1").unwrap_err();
        assert!(error.to_string().contains(sentence), "{error}");
    }

    #[test]
    fn an_installed_kernel_is_found() {
        let root = tempfile::tempdir().unwrap();
        touch(root.path().join("usr/lib/modules/7.3/vmlinuz"));
        touch(root.path().join("usr/lib/modules/7.3/config"));
        let parts = Parts::of_installed(root.path(), "7.3").unwrap();
        let folder = root.path().join("usr/lib/modules/7.3");
        assert_eq!(parts.image, Some(folder.join("vmlinuz")));
        assert_eq!(parts.config(), Some(&folder.join("config")));
        assert_eq!(parts.modules(), Some(Place::Folder(folder)));
        let error = Parts::of_installed(root.path(), "7.4").unwrap_err();
        assert!(error.to_string().contains("boot/vmlinuz-7.4"), "{error}");
    }

    #[test]
    fn an_image_inside_of_a_build_tree_has_its_modules() {
        let tree = tempfile::tempdir().unwrap();
        for file in [
            "arch/x86/boot/bzImage",
            "modules.builtin",
            "include/config/kernel.release",
            ".config",
        ] {
            touch(tree.path().join(file));
        }
        let mut parts = Parts::of(&tree.path().join("arch/x86/boot/bzImage")).unwrap();
        parts.look_around("7.4.0");
        let root = fs::canonicalize(tree.path()).unwrap();
        assert_eq!(parts.modules(), Some(Place::BuildTree(root.clone())));
        assert_eq!(parts.config(), Some(&root.join(".config")));
    }

    #[test]
    fn what_lies_around_an_unpacked_image_belongs_to_it() {
        let root = tempfile::tempdir().unwrap();
        touch(root.path().join("boot/vmlinuz-6.1"));
        touch(root.path().join("boot/config-6.1"));
        touch(root.path().join("lib/modules/6.1/kernel/a.ko"));
        let mut parts = Parts::of(&root.path().join("boot/vmlinuz-6.1")).unwrap();
        parts.look_around("6.1");
        assert!(parts.config().is_some());
        assert!(parts.modules().is_some());
    }
}
