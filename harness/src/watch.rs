//! Files that are watched for changes: what is read of a change is only that there was one.
//!
//! inotify wakes, and what the files look like decides. So it does not matter how an editor saves: in place, by a rename
//! over the old file, or by removing it first.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
};
use tokio::{
    net::unix::pipe,
    time::{Instant, timeout_at},
};

/// A change often comes in several pieces; it is over when none follows for so long.
const QUIET: Duration = Duration::from_millis(15);
/// A change that never comes to its end is looked at all the same after so long.
const MOST: Duration = Duration::from_secs(1);

/// Folders cannot be watched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    #[error("files cannot be watched")]
    Start(#[source] io::Error),
    #[error("the folder `{}` cannot be watched{}", .path.display(), remedy(.source))]
    Folder { path: PathBuf, source: io::Error },
}

fn remedy(error: &io::Error) -> &'static str {
    if error.raw_os_error() == Some(Errno::ENOSPC as i32) {
        "\n(raise fs.inotify.max_user_watches, or watch fewer folders)"
    } else {
        ""
    }
}

/// Wakes whenever something changes in one of its folders.
pub(crate) struct Watcher {
    inotify: Inotify,
    /// The same, for the runtime: an inotify is read like a pipe.
    events: pipe::Receiver,
    folders: BTreeSet<PathBuf>,
}

impl Watcher {
    /// Watches nothing yet. Needs a tokio runtime with IO.
    pub(crate) fn new() -> Result<Self, WatchError> {
        let wrong = |errno: Errno| WatchError::Start(errno.into());
        let inotify =
            Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).map_err(wrong)?;
        let events = inotify.as_fd().try_clone_to_owned();
        let events = events
            .and_then(pipe::Receiver::from_owned_fd_unchecked)
            .map_err(WatchError::Start)?;
        Ok(Self {
            inotify,
            events,
            folders: BTreeSet::new(),
        })
    }

    /// Watches these folders besides; whether one was new. One that is not there is left out.
    pub(crate) fn add(
        &mut self,
        folders: impl IntoIterator<Item = PathBuf>,
    ) -> Result<bool, WatchError> {
        let what = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_ONLYDIR;
        let mut any = false;
        for folder in folders {
            // Again also where it is known: one that was removed and made anew is another. inotify knows the same.
            match self.inotify.add_watch(&folder, what) {
                Ok(_) => any |= self.folders.insert(folder),
                Err(Errno::ENOENT | Errno::ENOTDIR) => drop(self.folders.remove(&folder)),
                Err(errno) => {
                    return Err(WatchError::Folder {
                        path: folder,
                        source: errno.into(),
                    });
                }
            }
        }
        Ok(any)
    }

    /// Waits until something has changed, and until the change is over. Cancel safe.
    pub(crate) async fn changed(&mut self) -> Result<(), WatchError> {
        self.some().await?;
        let end = Instant::now() + MOST;
        loop {
            let quiet = end.min(Instant::now() + QUIET);
            if timeout_at(quiet, self.some()).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Waits for events and takes them.
    async fn some(&mut self) -> Result<(), WatchError> {
        let mut unread = [0; 4096];
        loop {
            self.events.readable().await.map_err(WatchError::Start)?;
            match self.events.try_read(&mut unread) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(WatchError::Start(error)),
            }
        }
    }
}

/// What files look like: enough to see that one was written, replaced, made or removed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Looks(BTreeMap<PathBuf, Option<Look>>);

/// Device, inode, size, and the times of the last change of content and of inode.
type Look = (u64, u64, u64, i64, i64, i64, i64);

impl Looks {
    /// What these files look like now.
    pub(crate) fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let looks = files.into_iter().map(|file| {
            let look = look(&file);
            (file, look)
        });
        Self(looks.collect())
    }

    /// These and those.
    pub(crate) fn and(mut self, others: Self) -> Self {
        for (file, look) in others.0 {
            // What was looked at first counts: it may have been read since.
            self.0.entry(file).or_insert(look);
        }
        self
    }

    /// The files that look different from `before`, or that were not looked at then.
    pub(crate) fn changed_since(&self, before: &Self) -> BTreeSet<PathBuf> {
        let changed = self
            .0
            .iter()
            .filter(|(file, look)| before.0.get(*file) != Some(*look));
        changed.map(|(file, _)| file.clone()).collect()
    }

    /// The folders that these files are in.
    pub(crate) fn folders(&self) -> BTreeSet<PathBuf> {
        let folders = self.0.keys().filter_map(|file| file.parent());
        folders
            .map(|folder| {
                if folder.as_os_str().is_empty() {
                    PathBuf::from(".")
                } else {
                    folder.to_owned()
                }
            })
            .collect()
    }

    /// How many files they are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

fn look(file: &Path) -> Option<Look> {
    let metadata = fs::metadata(file).ok()?;
    Some((
        metadata.dev(),
        metadata.ino(),
        metadata.size(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn in_place(file: &Path) {
        fs::write(file, "new").unwrap();
    }

    fn by_rename(file: &Path) {
        let other = file.with_extension("swp");
        fs::write(&other, "new").unwrap();
        fs::rename(other, file).unwrap();
    }

    fn after_removal(file: &Path) {
        fs::rename(file, file.with_extension("bak")).unwrap();
        fs::write(file, "new").unwrap();
    }

    fn away(file: &Path) {
        fs::remove_file(file).unwrap();
    }

    #[rstest]
    #[case::in_place(in_place)]
    #[case::by_rename(by_rename)]
    #[case::after_removal(after_removal)]
    #[case::away(away)]
    #[tokio::test(flavor = "current_thread")]
    async fn a_change_is_seen_however_it_is_made(#[case] change: fn(&Path)) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("scenario.toml");
        let other = folder.path().join("other.toml");
        fs::write(&file, "old").unwrap();
        fs::write(&other, "old").unwrap();
        let files = || [file.clone(), other.clone()];
        let before = Looks::of(files());
        let mut watcher = Watcher::new().unwrap();
        assert!(watcher.add(before.folders()).unwrap());
        assert!(!watcher.add(before.folders()).unwrap());
        change(&file);
        let changed = tokio::time::timeout(PATIENCE, watcher.changed()).await;
        changed.unwrap().unwrap();
        let after = Looks::of(files());
        assert_eq!(after.changed_since(&before), BTreeSet::from([file.clone()]));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_folder_that_is_not_there_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let mut watcher = Watcher::new().unwrap();
        assert!(!watcher.add([folder.path().join("nowhere")]).unwrap());
    }

    #[test]
    fn a_file_without_a_folder_is_in_the_working_folder() {
        let looks = Looks::of([PathBuf::from("scenario.toml")]);
        assert_eq!(looks.folders(), BTreeSet::from([PathBuf::from(".")]));
    }
}
