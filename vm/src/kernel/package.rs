//! The unpacking of a kernel's Debian packages into a folder of the cache.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    path::{Component, Path, PathBuf},
};

use crate::{
    archive::deb::Deb,
    error::{Error, Result},
    kernel::{
        image::{Image, copy},
        progress::{Observer, Progress},
        record::{CONFIG, IMAGE, MODULES, Origin, Record, VMLINUX},
        vmlinux::Vmlinux,
    },
    modules::{index, name::ModuleName},
};

/// The most that one file of a package may take.
const FILE_LIMIT: u64 = 1 << 30;

/// Unpacks the packages of one kernel into an empty folder, extracts its vmlinux, and records all of it.
pub(crate) fn unpack(
    debs: &[Deb],
    folder: &Path,
    origin: Origin,
    observer: Observer,
) -> Result<()> {
    let mut unpacking = Unpacking::new(folder);
    for deb in debs {
        observer(Progress::Unpacking {
            package: deb.name(),
        });
        deb.files(&mut |path, size, content| unpacking.file(deb, (path, size), content))?;
    }
    let image = folder.join(IMAGE);
    let lacks = |what| Error::PackageIncomplete {
        packages: names(debs),
        what,
    };
    if !image.is_file() {
        return Err(lacks("kernel image"));
    }
    let modules = unpacking.count_modules();
    if modules == 0 && matches!(origin, Origin::Debian { .. }) {
        return Err(lacks("modules"));
    }
    let opened = Image::open(&image)?;
    let release = opened.release().to_owned();
    observer(Progress::Extracting {
        release: release.clone(),
    });
    extract(opened, &folder.join(VMLINUX))?;
    unpacking.write_list()?;
    Record::write(folder, release, origin, modules)
}

/// Extracts the vmlinux; one that QEMU cannot boot is not kept.
fn extract(image: Image, vmlinux: &Path) -> Result<()> {
    image.extract(vmlinux)?;
    if Vmlinux::open(vmlinux)?.has_pvh_entry() {
        return Ok(());
    }
    fs::remove_file(vmlinux).map_err(Error::write(vmlinux))
}

fn names(debs: &[Deb]) -> String {
    let names: Vec<String> = debs.iter().map(Deb::name).collect();
    names.join(", ")
}

/// The state of unpacking packages into a folder.
struct Unpacking<'a> {
    folder: &'a Path,
    made: BTreeSet<PathBuf>,
    modules: Vec<(u64, PathBuf)>,
}

impl<'a> Unpacking<'a> {
    fn new(folder: &'a Path) -> Self {
        Self {
            folder,
            made: BTreeSet::new(),
            modules: Vec::new(),
        }
    }

    /// Writes a file of a package, if the kernel needs it.
    fn file(
        &mut self,
        deb: &Deb,
        (path, size): (&Path, u64),
        content: &mut dyn Read,
    ) -> Result<()> {
        let Some(place) = place(path) else {
            return Ok(());
        };
        if size > FILE_LIMIT {
            return Err(deb.bad("a file in it is larger than any part of a kernel"));
        }
        let target = self.folder.join(&place);
        self.make_parent(&target)?;
        let mut file = File::create(&target).map_err(Error::write(&target))?;
        copy(content, &mut file, deb.unpack(), Error::write(&target))?;
        if let Ok(module) = place.strip_prefix(MODULES) {
            self.modules.push((size, module.to_owned()));
        }
        Ok(())
    }

    fn count_modules(&self) -> usize {
        let names = self.modules.iter();
        names
            .filter(|(_, path)| ModuleName::of_file(path).is_some())
            .count()
    }

    fn write_list(&mut self) -> Result<()> {
        let folder = self.folder.join(MODULES);
        self.make_parent(&folder.join("list"))?;
        index::write_list(&folder, &self.modules)
    }

    fn make_parent(&mut self, target: &Path) -> Result<()> {
        let parent = target.parent().expect("a place has a folder");
        if self.made.insert(parent.to_owned()) {
            fs::create_dir_all(parent).map_err(Error::write(parent))?;
        }
        Ok(())
    }
}

/// Where a package's file goes: the image, the configuration, all that is below the modules' folder; nothing else.
fn place(path: &Path) -> Option<PathBuf> {
    let parts: Vec<&str> = path
        .components()
        .map(|component| match component {
            Component::Normal(part) => part.to_str(),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let parts = parts.strip_prefix(&["usr"]).unwrap_or(&parts);
    match parts {
        ["boot", file] if file.starts_with("vmlinuz-") => Some(IMAGE.into()),
        ["boot", file] if file.starts_with("config-") => Some(CONFIG.into()),
        ["lib", "modules", _, "vmlinuz"] => Some(IMAGE.into()),
        ["lib", "modules", _, "config"] => Some(CONFIG.into()),
        ["lib", "modules", _, "System.map"] => None,
        ["lib", "modules", _, below @ ..] if !below.is_empty() => {
            Some(Path::new(MODULES).join(below.iter().collect::<PathBuf>()))
        }
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        archive::deb::tests::write_deb,
        kernel::{image::tests::bzimage, vmlinux::tests::vmlinux},
        modules::info::tests::elf_with_modinfo,
    };
    use rstest::rstest;

    /// Writes a package with an image, a configuration and a module.
    pub(crate) fn write_kernel_deb(path: &Path, release: &str, has_pvh_entry: bool) {
        let image = bzimage(release, &vmlinux(release, has_pvh_entry));
        let vermagic = format!("vermagic={release} SMP ");
        let module = elf_with_modinfo(&["depends=", &vermagic]);
        let names = [
            format!("./boot/vmlinuz-{release}"),
            format!("./boot/config-{release}"),
            format!("./boot/System.map-{release}"),
            format!("./lib/modules/{release}/kernel/drivers/block/floppy.ko"),
        ];
        let contents = [&image, &b"CONFIG_NETCONSOLE=m\n"[..], b"map", &module];
        let files: Vec<(&str, &[u8])> = names.iter().map(String::as_str).zip(contents).collect();
        write_deb(path, &files);
    }

    fn origin() -> Origin {
        Origin::Files { paths: Vec::new() }
    }

    #[rstest]
    #[case::bootable_as_vmlinux(true)]
    #[case::bootable_as_bzimage_only(false)]
    fn a_kernel_is_unpacked_and_recorded(#[case] has_pvh_entry: bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("linux-image.deb");
        write_kernel_deb(&path, "6.1.0-56-amd64", has_pvh_entry);
        let place = folder.path().join("entry");
        fs::create_dir(&place).unwrap();
        unpack(&[Deb::untrusted(&path)], &place, origin(), &|_| ()).unwrap();
        assert!(Record::is_whole(&place));
        let record = Record::read(&place).unwrap();
        assert!(record.is_sound(&place));
        assert_eq!(record.release(), "6.1.0-56-amd64");
        assert_eq!(record.modules(), 1);
        assert_eq!(record.vmlinux(&place).is_some(), has_pvh_entry);
        assert!(!place.join("modules/System.map").exists());
    }

    #[rstest]
    #[case::image(IMAGE)]
    #[case::vmlinux(VMLINUX)]
    #[case::record("kernel.json")]
    fn a_cut_file_is_noticed(#[case] name: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("linux-image.deb");
        write_kernel_deb(&path, "6.1.0-56-amd64", true);
        let place = folder.path().join("entry");
        fs::create_dir(&place).unwrap();
        unpack(&[Deb::untrusted(&path)], &place, origin(), &|_| ()).unwrap();
        let file = File::options().write(true).open(place.join(name)).unwrap();
        file.set_len(100).unwrap();
        assert!(!Record::is_whole(&place));
    }

    #[test]
    fn a_package_without_an_image_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("linux-doc.deb");
        write_deb(&path, &[("./usr/share/doc/x", b"x")]);
        let error = unpack(&[Deb::untrusted(&path)], folder.path(), origin(), &|_| ()).unwrap_err();
        let sentence = "no kernel image is in linux-doc.deb\n(name another build, or all packages of this one)";
        assert_eq!(error.to_string(), sentence);
    }

    #[rstest]
    #[case::image("boot/vmlinuz-6.1", Some("image"))]
    #[case::image_with_its_modules("usr/lib/modules/7.3/vmlinuz", Some("image"))]
    #[case::module("lib/modules/6.1/kernel/net/a.ko", Some("modules/kernel/net/a.ko"))]
    #[case::module_under_usr(
        "usr/lib/modules/7.3/modules.builtin",
        Some("modules/modules.builtin")
    )]
    #[case::map("boot/System.map-6.1", None)]
    #[case::documentation("usr/share/doc/x", None)]
    #[case::script("etc/kernel/x", None)]
    fn files_have_their_places(#[case] path: &str, #[case] expected: Option<&str>) {
        assert_eq!(place(Path::new(path)), expected.map(PathBuf::from));
    }
}
