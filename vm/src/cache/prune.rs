//! What the cache holds, and the removal of what is old or too much; nothing that a run uses is removed.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime},
};

use crate::{
    cache::{Cache, Shelf, USED},
    error::{Error, Result},
};

/// An entry as `list` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its shelf.
    pub shelf: Shelf,
    /// Its name there.
    pub key: String,
    /// What it takes of the disk.
    pub bytes: u64,
    /// When a run used it last.
    pub used: SystemTime,
}

/// How much may stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Entries that nobody used for so long go.
    pub age: Option<Duration>,
    /// The least lately used entries go until the rest fits.
    pub bytes: Option<u64>,
}

/// The variable that says how many MiB all templates may take.
pub const VARIABLE: &str = "LASTWORDS_TEMPLATES_MIB";
/// See [`VARIABLE`].
const TEMPLATES_MIB: u64 = 4096;
/// A template that was not used for so long is of a kernel or a version of the program that is not used any more.
const TEMPLATES_AGE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

impl Limits {
    /// How much of all templates stays after each run.
    #[must_use]
    pub fn of_templates() -> Self {
        let said = std::env::var(VARIABLE).ok();
        let said = said.and_then(|text| text.trim().parse().ok());
        Self {
            age: Some(TEMPLATES_AGE),
            bytes: Some(said.unwrap_or(TEMPLATES_MIB) << 20),
        }
    }
}

/// What pruning did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// What was removed.
    pub removed: Vec<Listed>,
    /// What would have gone, but a run is using it.
    pub in_use: Vec<Listed>,
}

impl Pruned {
    /// The room that was made.
    pub fn bytes(&self) -> u64 {
        self.removed.iter().map(|listed| listed.bytes).sum()
    }
}

impl Cache {
    /// Lists what stands on the shelves, the most lately used first.
    pub fn list(&self, shelves: &[Shelf]) -> Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for &shelf in shelves {
            for key in self.keys(shelf)? {
                let folder = self.folder(shelf, &key);
                listed.push(Listed {
                    shelf,
                    bytes: disk_usage(&folder),
                    used: last_use(&folder),
                    key,
                });
            }
        }
        listed.sort_by_key(|listed| std::cmp::Reverse(listed.used));
        Ok(listed)
    }

    /// Removes what is over the limits, the least lately used first.
    pub fn prune(&self, shelves: &[Shelf], limits: Limits) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        let mut failed = None;
        for listed in excess(self.list(shelves)?, limits, SystemTime::now()) {
            match self.remove(listed.shelf, &listed.key) {
                Ok(true) => pruned.removed.push(listed),
                Ok(false) => pruned.in_use.push(listed),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        // One that is another user's does not keep the others.
        failed.map_or(Ok(pruned), Err)
    }

    /// Removes an entry, unless a run uses it: then it returns false.
    pub fn remove(&self, shelf: Shelf, key: &str) -> Result<bool> {
        let (_, lock) = self.lock_file(shelf, key)?;
        if lock.try_lock().is_err() {
            return Ok(false);
        }
        self.discard(&self.folder(shelf, key))?;
        Ok(true)
    }

    /// Removes entries that nobody uses, the least lately used first, until `bytes` are free on the cache's disk; fails
    /// where that is not enough.
    pub fn make_room(&self, shelves: &[Shelf], bytes: u64) -> Result<()> {
        if self.needs_room(bytes).is_ok() {
            return Ok(());
        }
        for listed in self.list(shelves)?.into_iter().rev() {
            // What another user made may not be ours to remove.
            if self.remove(listed.shelf, &listed.key).is_ok() && self.needs_room(bytes).is_ok() {
                return Ok(());
            }
        }
        self.needs_room(bytes)
    }

    /// Fails where fewer than `bytes` are free on the cache's disk.
    pub fn needs_room(&self, bytes: u64) -> Result<()> {
        let root = self.root();
        let disk = nix::sys::statvfs::statvfs(root)
            .map_err(|errno| Error::read(root)(std::io::Error::from(errno)))?;
        let free = disk.blocks_available() * disk.fragment_size();
        if free >= bytes {
            return Ok(());
        }
        Err(Error::TooLittleSpace {
            path: root.to_owned(),
            needed: bytes.div_ceil(1_000_000),
            free: free / 1_000_000,
        })
    }
}

/// Decides which entries go; `listed` has the most lately used first.
fn excess(listed: Vec<Listed>, limits: Limits, now: SystemTime) -> Vec<Listed> {
    let mut kept = 0;
    let mut excess: Vec<Listed> = listed
        .into_iter()
        .filter(|listed| {
            let age = now.duration_since(listed.used).unwrap_or_default();
            let is_old = limits.age.is_some_and(|limit| age > limit);
            let is_too_much = limits
                .bytes
                .is_some_and(|limit| kept + listed.bytes > limit);
            if !is_old && !is_too_much {
                kept += listed.bytes;
            }
            is_old || is_too_much
        })
        .collect();
    excess.reverse();
    excess
}

fn last_use(folder: &Path) -> SystemTime {
    fs::metadata(folder.join(USED))
        .or_else(|_| fs::metadata(folder))
        .and_then(|metadata| metadata.modified())
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// What a folder takes of the disk; what vanishes meanwhile counts as nothing.
fn disk_usage(folder: &Path) -> u64 {
    let Ok(listing) = fs::read_dir(folder) else {
        return 0;
    };
    listing
        .flatten()
        .filter_map(|item| Some((item.path(), item.metadata().ok()?)))
        .map(|(path, metadata)| {
            if metadata.is_dir() {
                disk_usage(&path)
            } else {
                metadata.blocks() * 512
            }
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn listed(key: &str, bytes: u64, age: u64) -> Listed {
        Listed {
            shelf: Shelf::Kernels,
            key: key.to_owned(),
            bytes,
            used: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 - age),
        }
    }

    #[rstest]
    #[case::no_limit(None, None, &[])]
    #[case::by_age(Some(50), None, &["old"])]
    #[case::by_size(None, Some(25), &["old"])]
    #[case::by_size_the_least_lately_used_first(None, Some(10), &["old", "middle"])]
    #[case::all(None, Some(0), &["old", "middle", "new"])]
    fn limits_take_the_oldest(
        #[case] age: Option<u64>,
        #[case] bytes: Option<u64>,
        #[case] expected: &[&str],
    ) {
        let limits = Limits {
            age: age.map(Duration::from_secs),
            bytes,
        };
        let all = vec![
            listed("new", 10, 1),
            listed("middle", 10, 20),
            listed("old", 10, 100),
        ];
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let keys: Vec<String> = excess(all, limits, now)
            .into_iter()
            .map(|listed| listed.key)
            .collect();
        assert_eq!(keys, expected);
    }

    #[test]
    fn what_a_run_uses_is_spared() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(folder.path())).unwrap();
        let is_there = |folder: &Path| folder.is_dir();
        for key in ["used", "unused"] {
            cache
                .obtain((Shelf::Kernels, key), &is_there, &|| (), &mut |_| Ok(()))
                .unwrap();
        }
        let _entry = cache.take(Shelf::Kernels, "used", &is_there).unwrap();
        let limits = Limits {
            age: None,
            bytes: Some(0),
        };
        // Empty entries take no room, so something is put into each.
        for key in ["used", "unused"] {
            fs::write(cache.folder(Shelf::Kernels, key).join("body"), "x").unwrap();
        }
        let pruned = cache.prune(&Shelf::ALL, limits).unwrap();
        assert_eq!(pruned.removed.len(), 1);
        assert_eq!(pruned.in_use.len(), 1);
        assert_eq!(cache.keys(Shelf::Kernels).unwrap(), ["used"]);
    }

    #[test]
    fn too_little_room_is_said_before_writing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(folder.path())).unwrap();
        cache.needs_room(1).unwrap();
        let error = cache.needs_room(1 << 60).unwrap_err();
        assert!(matches!(error, Error::TooLittleSpace { .. }));
    }
}
