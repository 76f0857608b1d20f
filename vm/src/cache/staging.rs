//! Folders in which entries are made before they are published by a rename.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use tempfile::{Builder, TempDir};

use crate::{
    cache::open_lock,
    error::{Error, Result},
};

/// A private folder on the cache's file system; removed when dropped, or by the next start after SIGKILL.
///
/// Invariant: its folder is locked as long as its maker lives, which tells it from a dead one's.
#[derive(Debug)]
pub struct Staging {
    folder: TempDir,
    _alive: File,
}

impl Staging {
    /// Makes a folder inside of `parent`.
    pub(crate) fn new(parent: &Path) -> Result<Self> {
        Self::locked(parent).map_err(Error::write(parent))
    }

    fn locked(parent: &Path) -> io::Result<Self> {
        let _gate = gate(parent)?;
        let folder = Builder::new().prefix("making-").tempdir_in(parent)?;
        let alive = File::open(folder.path())?;
        alive.lock()?;
        Ok(Self {
            folder,
            _alive: alive,
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Moves the folder to its place, where nothing may be.
    pub(crate) fn publish(self, place: &Path) -> Result<()> {
        fs::rename(self.folder.path(), place).map_err(Error::write(place))?;
        // The folder is gone from where it was: nothing is left to remove.
        let _ = self.folder.keep();
        Ok(())
    }
}

/// Writes a file so that whoever reads it sees all of the old content or all of the new.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    // As any file of the user's is made: another user who may read the cache reads this, too.
    let ordinary = fs::Permissions::from_mode(0o666);
    let mut file = Builder::new()
        .permissions(ordinary)
        .tempfile_in(folder)
        .map_err(Error::write(path))?;
    file.write_all(content).map_err(Error::write(path))?;
    file.persist(path)
        .map_err(|error| Error::write(path)(error.error))?;
    Ok(())
}

/// Removes the folders of makers that died.
pub(crate) fn sweep(parent: &Path) -> io::Result<()> {
    let _gate = gate(parent)?;
    for item in fs::read_dir(parent)? {
        let path = item?.path();
        let is_dead = || File::open(&path).is_ok_and(|folder| folder.try_lock().is_ok());
        if path.is_dir() && is_dead() {
            // What another user left is for that user to remove.
            let _ = fs::remove_dir_all(&path);
        }
    }
    Ok(())
}

/// Keeps a sweeper away from a folder that is made but not locked yet.
fn gate(parent: &Path) -> io::Result<File> {
    let gate = open_lock(&parent.join("gate"))?;
    gate.lock()?;
    Ok(gate)
}

#[cfg(test)]
pub(crate) fn is_empty(parent: &Path) -> bool {
    fs::read_dir(parent)
        .unwrap()
        .all(|item| item.unwrap().file_name() == "gate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeping_removes_the_dead_and_spares_the_living() {
        let parent = tempfile::tempdir().unwrap();
        let living = Staging::new(parent.path()).unwrap();
        fs::create_dir(parent.path().join("dead")).unwrap();
        fs::write(parent.path().join("dead/half"), "x").unwrap();
        sweep(parent.path()).unwrap();
        assert!(living.path().is_dir());
        assert!(!parent.path().join("dead").exists());
        drop(living);
        assert!(is_empty(parent.path()));
    }

    #[test]
    fn a_published_folder_stays() {
        let parent = tempfile::tempdir().unwrap();
        let staging = Staging::new(parent.path()).unwrap();
        fs::write(staging.path().join("body"), "x").unwrap();
        let place = parent.path().join("place");
        staging.publish(&place).unwrap();
        assert!(place.join("body").is_file());
    }
}
