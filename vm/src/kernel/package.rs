//! A kernel unpacked from Debian packages into a folder of the cache, and the record of what was put there.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    path::{Component, Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    archive::deb::Deb,
    cache::digest::digest_file,
    error::{Error, Result},
    kernel::{
        image::{Image, copy},
        progress::{Observer, Progress},
        vmlinux::Vmlinux,
    },
    modules::{index, name::ModuleName},
};

/// The version of the layout that is described here; entries of another one are made again.
const LAYOUT: u32 = 1;

/// The most that one file of a package may take.
const FILE_LIMIT: u64 = 1 << 30;

/// Names of what the folder holds.
const RECORD: &str = "kernel.json";
const IMAGE: &str = "image";
const CONFIG: &str = "config";
const VMLINUX: &str = "vmlinux";
const MODULES: &str = "modules";

/// Where a kernel came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Origin {
    /// Debian's archive.
    Debian {
        /// The packages' version.
        version: String,
        /// The packages' names.
        packages: Vec<String>,
    },
    /// Package files that the user named.
    Files {
        /// Their paths at that time.
        paths: Vec<PathBuf>,
    },
}

/// A file whose size and content were noted when it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Noted {
    size: u64,
    sha256: String,
}

impl Noted {
    fn of(path: &Path) -> Result<Self> {
        let size = fs::metadata(path).map_err(Error::read(path))?.len();
        let sha256 = digest_file(path)?;
        Ok(Self { size, sha256 })
    }

    fn has_the_size_of(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|metadata| metadata.len() == self.size)
    }

    /// Reads the whole file and compares it.
    fn is(&self, path: &Path) -> bool {
        digest_file(path).is_ok_and(|sha256| sha256 == self.sha256)
    }
}

/// What an unpacked kernel is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    layout: u32,
    release: String,
    origin: Origin,
    image: Noted,
    /// Missing where the image holds no vmlinux that QEMU can boot.
    vmlinux: Option<Noted>,
    has_config: bool,
    modules: usize,
}

impl Record {
    /// What `uname -r` will say.
    pub(crate) fn release(&self) -> &str {
        &self.release
    }

    /// Where the kernel came from.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The number of its modules.
    pub(crate) fn modules(&self) -> usize {
        self.modules
    }

    /// Reads the record of a folder.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(RECORD);
        let text = fs::read(&path).map_err(Error::read(&path))?;
        serde_json::from_slice(&text).map_err(|_| Error::CacheTorn {
            path,
            what: "it is no record of a kernel",
        })
    }

    /// Whether a folder holds, by name and size, what its record says.
    pub(crate) fn is_whole(folder: &Path) -> bool {
        let Ok(record) = Self::read(folder) else {
            return false;
        };
        let vmlinux = record.vmlinux.as_ref();
        record.layout == LAYOUT
            && record.image.has_the_size_of(&folder.join(IMAGE))
            && vmlinux.is_none_or(|noted| noted.has_the_size_of(&folder.join(VMLINUX)))
            && (!record.has_config || folder.join(CONFIG).is_file())
            && index::has_list(&folder.join(MODULES))
    }

    /// Whether image and vmlinux hold, byte for byte, what was written; this reads all of both.
    pub(crate) fn is_sound(&self, folder: &Path) -> bool {
        let vmlinux = self.vmlinux.as_ref();
        self.image.is(&folder.join(IMAGE))
            && vmlinux.is_none_or(|noted| noted.is(&folder.join(VMLINUX)))
    }

    pub(crate) fn identity(&self) -> &str {
        &self.image.sha256
    }

    pub(crate) fn image(folder: &Path) -> PathBuf {
        folder.join(IMAGE)
    }

    pub(crate) fn vmlinux(&self, folder: &Path) -> Option<PathBuf> {
        self.vmlinux.as_ref().map(|_| folder.join(VMLINUX))
    }

    pub(crate) fn config(&self, folder: &Path) -> Option<PathBuf> {
        self.has_config.then(|| folder.join(CONFIG))
    }

    pub(crate) fn modules_folder(folder: &Path) -> PathBuf {
        folder.join(MODULES)
    }
}

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
    let vmlinux = extract(opened, &folder.join(VMLINUX))?;
    unpacking.write_list()?;
    let record = Record {
        layout: LAYOUT,
        release,
        origin,
        image: Noted::of(&image)?,
        vmlinux,
        has_config: folder.join(CONFIG).is_file(),
        modules,
    };
    let path = folder.join(RECORD);
    let text = serde_json::to_vec_pretty(&record).expect("a record is plain data");
    fs::write(&path, text).map_err(Error::write(path))
}

/// Extracts the vmlinux; one that QEMU cannot boot is not kept.
fn extract(image: Image, vmlinux: &Path) -> Result<Option<Noted>> {
    image.extract(vmlinux)?;
    if Vmlinux::open(vmlinux)?.has_pvh_entry() {
        return Noted::of(vmlinux).map(Some);
    }
    fs::remove_file(vmlinux).map_err(Error::write(vmlinux))?;
    Ok(None)
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
    #[case::record(RECORD)]
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
