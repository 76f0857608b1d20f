//! The cache folder: entries that are made once, shared by all runs, and never seen half made.
//!
//! What an entry holds is the business of those who make it; the network is none of this module's.

use std::{
    env,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use etcetera::BaseStrategy;

use crate::{
    cache::staging::Staging,
    error::{Error, Result, is_full},
};

pub mod digest;
pub mod prune;
pub mod staging;

/// The variable that names the cache folder.
pub const VARIABLE: &str = "LASTWORDS_CACHE";

/// A kind of thing that the cache keeps; each has its folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shelf {
    /// Unpacked kernels with their modules.
    Kernels,
    /// What was extracted from kernel images that the user named by path.
    Images,
    /// Saved machine states.
    Templates,
}

impl Shelf {
    /// All shelves.
    pub const ALL: [Shelf; 3] = [Shelf::Kernels, Shelf::Images, Shelf::Templates];

    /// The name of the shelf's folder.
    pub fn name(self) -> &'static str {
        match self {
            Shelf::Kernels => "kernels",
            Shelf::Images => "images",
            Shelf::Templates => "templates",
        }
    }
}

/// The cache folder, known to be writable.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
    /// What others may do with the root, where they may write to it: then they may with all of the cache.
    shared: Option<u32>,
}

/// An entry in use: as long as this lives, nobody prunes or replaces it.
#[derive(Debug)]
pub struct Entry {
    folder: PathBuf,
    _shared: File,
}

impl Entry {
    /// The folder that holds the entry.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Cache {
    /// Opens the cache at `folder`, else where `LASTWORDS_CACHE` says, else in the user's cache folder; removes what
    /// killed runs left half made.
    pub fn open(folder: Option<&Path>) -> Result<Self> {
        let root = match folder {
            Some(folder) => folder.to_owned(),
            None => default_folder()?,
        };
        let root = std::path::absolute(&root).map_err(unusable(&root))?;
        fs::create_dir_all(&root).map_err(unusable(&root))?;
        let mode = fs::metadata(&root).map_err(unusable(&root))?.mode() & 0o7777;
        let shared = (mode & 0o022 != 0).then_some(mode);
        let cache = Self { root, shared };
        for part in ["tmp", "locks"] {
            cache.part(part)?;
        }
        staging::sweep(&cache.root.join("tmp")).map_err(unusable(&cache.root))?;
        Ok(cache)
    }

    /// A folder of the cache, made where it is not there.
    pub fn part(&self, name: &str) -> Result<PathBuf> {
        let folder = self.root.join(name);
        if !folder.is_dir() {
            fs::create_dir_all(&folder).map_err(unusable(&self.root))?;
            self.share(&folder);
        }
        Ok(folder)
    }

    /// Lets those who share the cache do with a folder what they may do with its root.
    fn share(&self, folder: &Path) {
        if let Some(mode) = self.shared {
            // Where it is another user's, that user has done it.
            let _ = fs::set_permissions(folder, fs::Permissions::from_mode(mode));
        }
    }

    /// Moves a newly made folder to its place, where nothing may be.
    pub(crate) fn publish(&self, staging: Staging, folder: &Path) -> Result<()> {
        if let Some(shelf) = folder.parent().and_then(Path::file_name) {
            self.part(&shelf.to_string_lossy())?;
        }
        self.share(staging.path());
        staging.publish(folder)
    }

    /// The cache folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the entry `key`, whether it is there or not.
    pub fn folder(&self, shelf: Shelf, key: &str) -> PathBuf {
        self.root.join(shelf.name()).join(key)
    }

    /// Writes a small file of the cache's own, so that whoever reads it sees all of the old content or all of the new.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        staging::write_whole(&self.root.join(name), content)
    }

    /// The names of all entries of a shelf, in order.
    pub fn keys(&self, shelf: Shelf) -> Result<Vec<String>> {
        let folder = self.root.join(shelf.name());
        let listing = match fs::read_dir(&folder) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unusable(&folder)(error)),
        };
        let mut keys = Vec::new();
        for item in listing {
            let item = item.map_err(Error::read(&folder))?;
            keys.extend(item.file_name().into_string());
        }
        keys.sort();
        Ok(keys)
    }

    /// Takes an entry that is there and that `whole` accepts, and marks it as used now.
    pub fn take(&self, shelf: Shelf, key: &str, whole: Check) -> Result<Option<Entry>> {
        let (path, lock) = self.lock_file(shelf, key)?;
        lock.lock_shared().map_err(Error::write(path))?;
        Ok(self.taken(shelf, key, whole, lock).ok())
    }

    /// Takes an entry, or lets `make` fill a folder that becomes the entry. Where another run is at it, `waiting` is
    /// called and that run's work awaited. An entry that `whole` does not accept is made again.
    pub fn obtain(
        &self,
        (shelf, key): (Shelf, &str),
        whole: Check,
        waiting: &dyn Fn(),
        make: &mut dyn FnMut(&Path) -> Result<()>,
    ) -> Result<Entry> {
        let (path, mut lock) = self.lock_file(shelf, key)?;
        loop {
            share_patiently(&lock, waiting).map_err(Error::write(&path))?;
            lock = match self.taken(shelf, key, whole, lock) {
                Ok(entry) => return Ok(entry),
                Err(lock) => lock,
            };
            lock.unlock().map_err(Error::write(&path))?;
            lock_patiently(&lock, waiting).map_err(Error::write(&path))?;
            // Another run may have made it since.
            if !whole(&self.folder(shelf, key)) {
                self.replace(shelf, key, make)?;
                if !whole(&self.folder(shelf, key)) {
                    let path = self.folder(shelf, key);
                    let what = "what was just written cannot be read back";
                    return Err(Error::CacheTorn { path, what });
                }
            }
        }
    }

    /// An empty folder on the cache's file system that is removed with the returned value, also after SIGKILL.
    pub fn staging(&self) -> Result<Staging> {
        Staging::new(&self.root.join("tmp"))
    }

    pub(crate) fn taken(
        &self,
        shelf: Shelf,
        key: &str,
        whole: Check,
        lock: File,
    ) -> Result<Entry, File> {
        let folder = self.folder(shelf, key);
        if !whole(&folder) {
            return Err(lock);
        }
        mark_used(&folder);
        Ok(Entry {
            folder,
            _shared: lock,
        })
    }

    /// Puts a newly made entry in the place of what is there; the caller holds its lock alone.
    fn replace(
        &self,
        shelf: Shelf,
        key: &str,
        make: &mut dyn FnMut(&Path) -> Result<()>,
    ) -> Result<()> {
        let folder = self.folder(shelf, key);
        self.discard(&folder)?;
        let staging = self.staging()?;
        make(staging.path())?;
        self.publish(staging, &folder)
    }

    /// Removes a folder so that nobody sees it half removed; the caller holds its lock alone.
    pub(crate) fn discard(&self, folder: &Path) -> Result<()> {
        if !folder.exists() {
            return Ok(());
        }
        let staging = self.staging()?;
        fs::rename(folder, staging.path().join("discarded")).map_err(Error::write(folder))
    }

    pub(crate) fn lock_file(&self, shelf: Shelf, key: &str) -> Result<(PathBuf, File)> {
        let path = self
            .root
            .join("locks")
            .join(format!("{}-{key}", shelf.name()));
        let lock = open_lock(&path).map_err(Error::write(&path))?;
        Ok((path, lock))
    }
}

/// Opens a file for locking. One that is another user's is only read, which is enough.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    let made = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path);
    match made {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => File::open(path),
        made => made,
    }
}

/// Says cheaply whether an entry's folder holds all that it should; false for a folder that is not there.
pub type Check<'a> = &'a dyn Fn(&Path) -> bool;

/// Locks a file alone; where that takes waiting, `waiting` is called before.
pub(crate) fn lock_patiently(lock: &File, waiting: &dyn Fn()) -> io::Result<()> {
    match lock.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
        Err(TryLockError::WouldBlock) => {
            waiting();
            lock.lock()
        }
    }
}

fn share_patiently(lock: &File, waiting: &dyn Fn()) -> io::Result<()> {
    match lock.try_lock_shared() {
        Ok(()) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
        Err(TryLockError::WouldBlock) => {
            waiting();
            lock.lock_shared()
        }
    }
}

fn unusable(path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| {
        let path = path.to_owned();
        if is_full(&source) {
            Error::DiskFull { path, source }
        } else {
            Error::CacheUnusable { path, source }
        }
    }
}

fn default_folder() -> Result<PathBuf> {
    if let Some(folder) = env::var_os(VARIABLE).filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    let base = etcetera::choose_base_strategy().map_err(|_| Error::CacheNowhere)?;
    Ok(base.cache_dir().join("lastwords"))
}

/// The file whose modification time is the entry's last use.
const USED: &str = "used";

/// Notes that an entry is used now. Where that cannot be written, it only ages faster.
fn mark_used(folder: &Path) {
    let marker = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join(USED));
    if let Ok(marker) = marker {
        let _ = marker.set_modified(SystemTime::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, thread};

    fn has_body(folder: &Path) -> bool {
        folder.join("body").is_file()
    }

    fn write_body(folder: &Path) -> Result<()> {
        fs::write(folder.join("body"), "x").map_err(Error::write(folder))
    }

    fn open() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(folder.path())).unwrap();
        (folder, cache)
    }

    #[test]
    fn an_entry_is_made_once_and_then_taken() {
        let (_folder, cache) = open();
        let made = Cell::new(0);
        for _ in 0..2 {
            let entry = cache.obtain((Shelf::Kernels, "k"), &has_body, &|| (), &mut |folder| {
                made.set(made.get() + 1);
                write_body(folder)
            });
            assert!(has_body(entry.unwrap().folder()));
        }
        assert_eq!(made.get(), 1);
        assert_eq!(cache.keys(Shelf::Kernels).unwrap(), ["k"]);
    }

    #[test]
    fn a_failed_making_leaves_nothing() {
        let (folder, cache) = open();
        let result = cache.obtain((Shelf::Kernels, "k"), &has_body, &|| (), &mut |staging| {
            fs::write(staging.join("half"), "x").unwrap();
            Err(Error::CacheNowhere)
        });
        assert!(result.is_err());
        assert!(cache.keys(Shelf::Kernels).unwrap().is_empty());
        assert!(staging::is_empty(&folder.path().join("tmp")));
    }

    #[test]
    fn a_torn_entry_is_made_again() {
        let (_folder, cache) = open();
        fs::create_dir_all(cache.folder(Shelf::Kernels, "k")).unwrap();
        let entry = cache.take(Shelf::Kernels, "k", &has_body).unwrap();
        assert!(entry.is_none());
        let entry = cache.obtain((Shelf::Kernels, "k"), &has_body, &|| (), &mut |folder| {
            write_body(folder)
        });
        assert!(has_body(entry.unwrap().folder()));
    }

    #[test]
    fn two_makers_at_once_make_one_entry() {
        let (_folder, cache) = open();
        let made = std::sync::atomic::AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    cache
                        .obtain((Shelf::Kernels, "k"), &has_body, &|| (), &mut |folder| {
                            made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                            write_body(folder)
                        })
                        .unwrap();
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named_with_the_remedy() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Cache::open(Some(&file.path().join("cache"))).unwrap_err();
        assert!(error.to_string().contains("LASTWORDS_CACHE"), "{error}");
    }
}
