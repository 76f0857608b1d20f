//! Files that are followed: what they hold, and what they gain. They and their folders need not be there yet.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd, RawFd},
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::{
    io::{AsyncWriteExt, unix::AsyncFd},
    net::unix::OwnedWriteHalf,
};

use crate::receiver::{
    order::{Report, send},
    place::PRINTED,
};

/// How much is told at once.
const PIECE: usize = 64 << 10;

/// All followed files.
pub(crate) struct Followed {
    events: AsyncFd<Events>,
    files: Vec<Follow>,
}

/// So that the runtime can wait for it.
struct Events(Inotify);

fn register(events: Events) -> io::Result<AsyncFd<Events>> {
    // SAFETY: the descriptor is the inotify's own, which stays open as long as it is registered.
    let registered = unsafe { AsyncFd::register(events) };
    registered.map_err(|error| error.into_parts().1)
}

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

struct Follow {
    number: u32,
    path: PathBuf,
    open: Option<Open>,
}

struct Open {
    file: File,
    inode: u64,
    read: u64,
}

impl Followed {
    /// With what the program prints as number 0.
    pub(crate) fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let mut followed = Self {
            events: register(Events(inotify))?,
            files: Vec::new(),
        };
        followed.add(0, PRINTED.into());
        Ok(followed)
    }

    pub(crate) fn add(&mut self, number: u32, path: PathBuf) {
        if self.files.iter().all(|file| file.number != number) {
            self.files.push(Follow {
                number,
                path,
                open: None,
            });
        }
    }

    /// Waits until something has happened to the files or their folders.
    pub(crate) async fn changed(&mut self) -> io::Result<()> {
        let mut ready = self.events.readable().await?;
        while ready.get_inner().0.read_events().is_ok() {}
        ready.clear_ready();
        Ok(())
    }

    /// Tells what there is to be told of all files.
    pub(crate) async fn tell(&mut self, to: &mut OwnedWriteHalf) -> io::Result<()> {
        for file in &mut self.files {
            watch(&self.events.get_ref().0, &file.path);
            file.tell(to).await?;
        }
        Ok(())
    }
}

/// Watches a file, and the folders above it as far as they are there. Watching twice is watching once.
fn watch(inotify: &Inotify, path: &Path) {
    let comes = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ONLYDIR;
    let grows = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CLOSE_WRITE;
    let above = || path.ancestors().skip(1).find(|folder| folder.is_dir());
    // What cannot be watched is not there; its folder tells when it comes. What came before the folder was watched is
    // told by nobody.
    let mut watched = None;
    while let Some(folder) = above().filter(|folder| watched != Some(*folder)) {
        let _ = inotify.add_watch(folder, comes);
        watched = Some(folder);
    }
    let _ = inotify.add_watch(path, grows);
}

impl Follow {
    async fn tell(&mut self, to: &mut OwnedWriteHalf) -> io::Result<()> {
        // One that was replaced may have gained something before.
        self.tell_rest(to).await?;
        if self.look() {
            send(to, &Report::Anew { file: self.number }).await?;
        }
        self.tell_rest(to).await
    }

    async fn tell_rest(&mut self, to: &mut OwnedWriteHalf) -> io::Result<()> {
        let number = self.number;
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let mut piece = vec![0; PIECE];
        loop {
            let length = open.file.read(&mut piece)?;
            if length == 0 {
                return Ok(());
            }
            open.read += length as u64;
            let gained = Report::Gained {
                file: number,
                length: u32::try_from(length).unwrap_or(u32::MAX),
            };
            send(to, &gained).await?;
            to.write_all(&piece[..length]).await?;
        }
    }

    /// Opens the file where that is to be done; whether it is another one now, or begins anew.
    fn look(&mut self) -> bool {
        let Ok(about) = fs::metadata(&self.path) else {
            return false;
        };
        let same = |open: &Open| open.inode == about.ino() && open.read <= about.len();
        if !about.is_file() || self.open.as_ref().is_some_and(same) {
            return false;
        }
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&self.path);
        let was_open = self.open.is_some();
        self.open = opened.ok().map(|file| Open {
            file,
            inode: about.ino(),
            read: 0,
        });
        was_open
    }
}
