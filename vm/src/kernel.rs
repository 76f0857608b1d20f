//! The kernel under test: from the words that name it to files that can be booted.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    archive::deb::Deb,
    cache::{Cache, Entry, Shelf, digest::digest_of},
    error::{Error, Result},
    kernel::{
        config::Config,
        image::Image,
        place::{Parts, find_modules},
        progress::{Observer, Progress},
        record::{Origin, Record},
        source::Source,
        vmlinux::Vmlinux,
    },
    modules::{ModuleTree, index::Place},
};

pub mod config;
mod debian;
mod extracted;
mod image;
pub mod listing;
mod package;
mod place;
pub mod progress;
mod record;
pub mod selection;
pub mod source;
mod vmlinux;

/// What is asked for: a kernel, its modules where they lie elsewhere, and modules put in the place of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelRequest {
    /// The kernel.
    pub source: Source,
    /// A folder of modules that stands for the kernel's own.
    pub modules: Option<PathBuf>,
    /// Module files that each replace the module of the same name.
    pub replacements: Vec<PathBuf>,
}

/// A kernel that can be booted. As long as it lives, its files stay in the cache.
#[derive(Debug)]
pub struct Kernel {
    /// The words that named it.
    pub name: String,
    /// What `uname -r` will say.
    pub release: String,
    /// The uncompressed kernel with a PVH entry, which QEMU boots fastest; none where `image` must be booted.
    pub vmlinux: Option<PathBuf>,
    /// The bzImage; the vmlinux where there is no bzImage.
    pub image: PathBuf,
    /// Its configuration, where that could be found.
    pub config: Option<Config>,
    /// Its modules.
    pub modules: ModuleTree,
    /// A digest of the image: the same for the same kernel, wherever it came from.
    pub identity: String,
    entry: Option<Entry>,
}

impl KernelRequest {
    /// A kernel with its own modules.
    pub fn new(source: Source) -> Self {
        Self {
            source,
            modules: None,
            replacements: Vec::new(),
        }
    }

    /// Finds the kernel: in the cache, on this machine, or, only where it is in neither, in the archive.
    pub fn resolve(&self, cache: &Cache, observer: Observer) -> Result<Kernel> {
        let kernel = match &self.source {
            Source::Debian(selection) => {
                let (entry, record) = debian::resolve(selection, cache, observer)?;
                self.unpacked(entry, &record)
            }
            Source::Packages(paths) => self.packages(paths, cache, observer),
            Source::Host => {
                let release = host_release()?;
                self.assemble(Parts::of_host(&release)?, cache, observer)
            }
            Source::Path(path) => self.assemble(Parts::of(path)?, cache, observer),
        }?;
        self.with_modules(kernel)
    }

    /// Like `resolve`, but a kernel of the archive is looked up there first, for a newer one.
    pub fn fetch(&self, cache: &Cache, observer: Observer) -> Result<Kernel> {
        let Source::Debian(selection) = &self.source else {
            return self.resolve(cache, observer);
        };
        let (entry, record) = debian::fetch(selection, cache, observer)?;
        if record.is_sound(entry.folder()) {
            return self.with_modules(self.unpacked(entry, &record)?);
        }
        observer(Progress::Torn {
            release: record.release().to_owned(),
        });
        let key = entry.folder().file_name().unwrap_or_default().to_owned();
        drop(entry);
        cache.remove(Shelf::Kernels, &key.to_string_lossy())?;
        let (entry, record) = debian::fetch(selection, cache, observer)?;
        self.with_modules(self.unpacked(entry, &record)?)
    }

    fn packages(&self, paths: &[PathBuf], cache: &Cache, observer: Observer) -> Result<Kernel> {
        let mut digests = String::new();
        for path in paths {
            if !path.is_file() {
                let source = std::io::ErrorKind::NotFound.into();
                let path = path.clone();
                return Err(Error::KernelMissing { path, source });
            }
            digests.push_str(&cache.digest(path)?);
        }
        let key = format!("files_{}", &digest_of(digests.as_bytes())[..32]);
        let entry = cache.obtain(
            (Shelf::Kernels, &key),
            &Record::is_whole,
            &|| {
                let what = self.source.to_string();
                observer(Progress::Waiting { what });
            },
            &mut |folder| {
                let debs: Vec<Deb> = paths.iter().map(|path| Deb::untrusted(path)).collect();
                let paths = paths.to_vec();
                package::unpack(&debs, folder, Origin::Files { paths }, observer)
            },
        )?;
        let record = Record::read(entry.folder())?;
        self.unpacked(entry, &record)
    }

    /// A kernel out of an entry of the cache.
    fn unpacked(&self, entry: Entry, record: &Record) -> Result<Kernel> {
        let folder = entry.folder();
        let name = self.source.to_string();
        let place = Place::Cached(Record::modules_folder(folder));
        let config = record.config(folder);
        Ok(Kernel {
            modules: ModuleTree::new(&name, record.release(), Some(place)),
            name,
            release: record.release().to_owned(),
            vmlinux: record.vmlinux(folder),
            image: Record::image(folder),
            config: config.as_deref().map(Config::read).transpose()?,
            identity: record.identity().to_owned(),
            entry: Some(entry),
        })
    }

    /// A kernel out of parts that lie about.
    fn assemble(&self, mut parts: Parts, cache: &Cache, observer: Observer) -> Result<Kernel> {
        let mut boot = match parts.vmlinux.clone() {
            Some(vmlinux) => Boot::of_vmlinux(&vmlinux, parts.image.clone(), cache)?,
            None => None,
        };
        if boot.is_none()
            && let Some(image) = parts.image.clone()
        {
            boot = Some(Boot::of_image(image, cache, observer)?);
        }
        let boot = boot.ok_or_else(|| Error::NotAKernel {
            path: parts.vmlinux.clone().unwrap_or_default(),
            why: "it has no PVH entry point, so that QEMU needs the bzImage that belongs to it",
        })?;
        parts.look_around(&boot.release);
        let name = self.source.to_string();
        let config = parts.config().map(|path| Config::read(path));
        Ok(Kernel {
            modules: ModuleTree::new(&name, &boot.release, parts.modules()),
            name,
            release: boot.release,
            vmlinux: boot.vmlinux,
            image: boot.image,
            config: config.transpose()?,
            identity: boot.identity,
            entry: boot.entry,
        })
    }

    /// Puts the modules that were asked for in the place of the kernel's own.
    fn with_modules(&self, mut kernel: Kernel) -> Result<Kernel> {
        if let Some(folder) = &self.modules {
            let place = find_modules(folder, &kernel.release)?;
            kernel.modules = ModuleTree::new(&kernel.name, &kernel.release, Some(place));
        }
        for path in &self.replacements {
            kernel.modules.replace(path)?;
        }
        Ok(kernel)
    }
}

impl Kernel {
    /// The file that QEMU is to boot.
    pub fn boot_file(&self) -> &Path {
        self.vmlinux.as_deref().unwrap_or(&self.image)
    }

    /// The folder in the cache that the kernel's files are in, if they are in one.
    pub fn cached_in(&self) -> Option<&Path> {
        self.entry.as_ref().map(Entry::folder)
    }
}

/// What is booted of a kernel that the user named by path.
struct Boot {
    release: String,
    vmlinux: Option<PathBuf>,
    image: PathBuf,
    identity: String,
    entry: Option<Entry>,
}

impl Boot {
    /// Takes a vmlinux as it is; none where it lacks the PVH entry.
    fn of_vmlinux(path: &Path, image: Option<PathBuf>, cache: &Cache) -> Result<Option<Self>> {
        let vmlinux = Vmlinux::open(path)?;
        if !vmlinux.has_pvh_entry() {
            return Ok(None);
        }
        let release = vmlinux::find_release(path)?.ok_or_else(|| Error::NotAKernel {
            path: path.to_owned(),
            why: "it does not say its release",
        })?;
        let identity = cache.digest_by("loaded", path, |path| vmlinux.digest(path))?;
        Ok(Some(Self {
            release,
            vmlinux: Some(path.to_owned()),
            image: image.unwrap_or_else(|| path.to_owned()),
            identity,
            entry: None,
        }))
    }

    fn of_image(image: PathBuf, cache: &Cache, observer: Observer) -> Result<Self> {
        let release = Image::open(&image)?.release().to_owned();
        let identity = cache.digest(&image)?;
        let extracted = extracted::extracted(&image, &identity, cache, observer)?;
        Ok(Self {
            release,
            vmlinux: extracted.vmlinux,
            image,
            identity,
            entry: Some(extracted.entry),
        })
    }
}

fn host_release() -> Result<String> {
    let path = "/proc/sys/kernel/osrelease";
    let release = fs::read_to_string(path).map_err(Error::read(path))?;
    Ok(release.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{
        config::Setting, image::tests::bzimage, package::tests::write_kernel_deb,
        vmlinux::tests::vmlinux,
    };

    struct Place {
        folder: tempfile::TempDir,
        cache: Cache,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let cache = Cache::open(Some(&folder.path().join("cache"))).unwrap();
            Self { folder, cache }
        }

        fn write(&self, name: &str, content: &[u8]) -> PathBuf {
            let path = self.folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            path
        }

        fn resolve(&self, text: &str) -> Result<Kernel> {
            KernelRequest::new(text.parse()?).resolve(&self.cache, &|_| ())
        }
    }

    #[test]
    fn a_package_becomes_a_kernel() {
        let place = Place::new();
        let path = place.folder.path().join("linux-image.deb");
        write_kernel_deb(&path, "6.1.0-56-amd64", true);
        let kernel = place.resolve(path.to_str().unwrap()).unwrap();
        assert_eq!(kernel.release, "6.1.0-56-amd64");
        assert_eq!(kernel.boot_file().file_name().unwrap(), "vmlinux");
        assert_eq!(kernel.config.unwrap().has("NETCONSOLE"), Setting::Module);
        assert_eq!(kernel.modules.closure(["floppy"]).unwrap().len(), 1);
        assert_eq!(place.cache.kernels().unwrap()[0].release, "6.1.0-56-amd64");
    }

    #[test]
    fn an_image_is_extracted_once() {
        let place = Place::new();
        let content = bzimage("6.1.0", &vmlinux("6.1.0", true));
        let path = place.write("vmlinuz", &content);
        for _ in 0..2 {
            let kernel = place.resolve(path.to_str().unwrap()).unwrap();
            assert_eq!(kernel.release, "6.1.0");
            assert!(kernel.vmlinux.is_some());
        }
        assert_eq!(place.cache.keys(Shelf::Images).unwrap().len(), 1);
    }

    #[test]
    fn an_image_without_the_entry_is_booted_itself() {
        let place = Place::new();
        let path = place.write("vmlinuz", &bzimage("6.1.0", &vmlinux("6.1.0", false)));
        let kernel = place.resolve(path.to_str().unwrap()).unwrap();
        assert_eq!(kernel.boot_file(), path);
    }

    #[test]
    fn a_build_tree_is_taken_as_it_is() {
        let place = Place::new();
        let path = place.write("tree/vmlinux", &vmlinux("7.4.0-rc1", true));
        place.write("tree/.config", b"CONFIG_NETCONSOLE=y\n");
        let kernel = place
            .resolve(path.parent().unwrap().to_str().unwrap())
            .unwrap();
        assert_eq!(kernel.release, "7.4.0-rc1");
        assert_eq!(kernel.boot_file(), path);
        assert_eq!(kernel.config.unwrap().has("NETCONSOLE"), Setting::BuiltIn);
    }

    #[test]
    fn kernels_that_cannot_be_booted_are_errors() {
        let place = Place::new();
        let without_entry = place.write("vmlinux", &vmlinux("6.1.0", false));
        let text = place.write("text", &b"no kernel, but a long text ".repeat(100));
        let empty = place.write("empty/file", b"");
        for (path, sentence) in [
            (without_entry.as_path(), "no PVH entry point"),
            (text.as_path(), "neither a bzImage nor an ELF"),
            (empty.parent().unwrap(), "build the kernel there first"),
            (Path::new("/nonexistent"), "there is no kernel at"),
            (Path::new("/nonexistent.deb"), "there is no kernel at"),
        ] {
            let error = place.resolve(path.to_str().unwrap()).unwrap_err();
            assert!(error.to_string().contains(sentence), "{error}");
        }
    }
}
