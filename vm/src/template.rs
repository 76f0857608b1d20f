//! Templates: a guest booted once, saved, and started from as often as one likes.
//!
//! A template is a folder: the guest's memory as a file, its devices' state, and a description. A start takes a private
//! copy-on-write view of the memory, so nothing that a guest does reaches the template.

mod description;
mod migration;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    boot::{Boot, duplicates},
    cache::{Cache, Entry, Shelf},
    error::Error,
    machine::Accelerator,
    qemu::{self, Qemu, QemuError},
    qmp::QmpError,
    template::{
        description::{VERSION, is_synced, is_whole, sync},
        migration::{restore, save},
    },
};

/// Why there is no template.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] Error),
    /// Its folder cannot be used.
    #[error("the template folder `{}` cannot be used", .path.display())]
    Folder {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The machine did not get as far as it should.
    #[error(transparent)]
    Qemu(#[from] QemuError),
    /// QEMU did not save or restore.
    #[error("QEMU did not {doing} the guest: {reason}")]
    Migration {
        /// `save` or `restore`.
        doing: &'static str,
        /// QEMU's words.
        reason: String,
    },
    /// What every guest of a template would lack.
    #[error("the guest refused what it was asked before it could be saved: {0}")]
    Refused(String),
    /// The template's files are not what was written.
    #[error("the template is torn: {0}")]
    Torn(String),
}

impl From<QmpError> for TemplateError {
    fn from(error: QmpError) -> Self {
        Self::Qemu(error.into())
    }
}

/// The templates of a cache.
#[derive(Debug, Clone)]
pub struct Templates {
    cache: Cache,
    /// Those that are on their way to the disk, or were sent there.
    syncing: Arc<Mutex<BTreeSet<String>>>,
}

/// A guest that was started from a template, if it could be.
#[derive(Debug)]
pub struct Started {
    /// The machine, running.
    pub qemu: Qemu,
    /// The guest's answer to the prelude, given when it was booted.
    pub answer: Value,
    /// The template, kept while the machine runs: pruning leaves templates in use alone. None where the guest was
    /// booted for itself after all.
    pub entry: Option<Entry>,
    /// That an existing template was not used, if there was one, and why: a sentence.
    pub renewed: Option<String>,
}

impl Templates {
    /// The templates in `cache`.
    #[must_use]
    pub fn new(cache: Cache) -> Self {
        Self {
            cache,
            syncing: Arc::default(),
        }
    }

    /// Starts a guest from its template, which is made first where there is none.
    ///
    /// A template that does not restore is made again; where that does not help, or where it is in use and cannot be
    /// replaced, the guest is booted for itself. Two callers at once make a template once: the second waits.
    pub async fn start(
        &self,
        boot: &Boot<'_>,
        cards: Vec<OwnedFd>,
    ) -> Result<Started, TemplateError> {
        let key = key(boot)?;
        let mut renewed = None;
        loop {
            let entry = match self.entry(&key, boot).await {
                Ok(entry) => entry,
                // The cache is another user's, too, and this part of it is not for us.
                Err(error) if is_denied(&error) => return alone(boot, cards, &error).await,
                Err(error) => return Err(error),
            };
            let copies = duplicates(&cards).map_err(wrong(entry.folder()))?;
            match restore(entry.folder(), boot.machine, copies).await {
                Ok((qemu, answer)) => {
                    self.bring_to_disk(&key, entry.folder());
                    return Ok(Started {
                        qemu,
                        answer,
                        entry: Some(entry),
                        renewed,
                    });
                }
                Err(error @ TemplateError::Qemu(QemuError::Missing | QemuError::TooOld { .. })) => {
                    return Err(error);
                }
                Err(error) => {
                    drop(entry);
                    let again = renewed.is_some();
                    if again || !self.discarded(&key)? {
                        return alone(boot, cards, &error).await;
                    }
                    let why = first_line(&error);
                    renewed = Some(format!("the template was made again: {why}"));
                }
            }
        }
    }

    /// Has a template written to the disk, in a thread of its own that nobody waits for.
    fn bring_to_disk(&self, key: &str, folder: &Path) {
        let mut syncing = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        if is_synced(folder) || !syncing.insert(key.to_owned()) {
            return;
        }
        let (cache, key) = (self.cache.clone(), key.to_owned());
        tokio::task::spawn_blocking(move || {
            // Kept meanwhile: what is written must be what the name stands for.
            if let Ok(Some(entry)) = cache.take(Shelf::Templates, &key, &is_whole) {
                // Where it cannot be said that it is there, it is made again after the machine's next start.
                let _ = sync(entry.folder());
            }
        });
    }

    /// Throws a template away; false where somebody uses it, who may be this very run, or where it is another user's.
    fn discarded(&self, key: &str) -> Result<bool, TemplateError> {
        let (path, lock) = self.cache.lock_file(Shelf::Templates, key)?;
        match lock.try_lock() {
            Ok(()) => {
                let discarded = self
                    .cache
                    .discard(&self.cache.folder(Shelf::Templates, key));
                match discarded.map_err(TemplateError::from) {
                    Ok(()) => Ok(true),
                    Err(error) if is_denied(&error) => Ok(false),
                    Err(error) => Err(error),
                }
            }
            Err(fs::TryLockError::WouldBlock) => Ok(false),
            Err(fs::TryLockError::Error(error)) => Err(wrong(&path)(error)),
        }
    }

    /// The template's folder, made where it is not there yet.
    async fn entry(&self, key: &str, boot: &Boot<'_>) -> Result<Entry, TemplateError> {
        loop {
            let shared = self.locked(key, File::lock_shared).await?;
            if let Ok(entry) = self.cache.taken(Shelf::Templates, key, &is_whole, shared) {
                return Ok(entry);
            }
            let _alone = self.locked(key, File::lock).await?;
            let folder = self.cache.folder(Shelf::Templates, key);
            // Another run may have made it while this one waited for the lock.
            if !is_whole(&folder) {
                self.cache.discard(&folder)?;
                let room = u64::from(boot.machine.memory) << 20;
                self.cache.make_room(&[Shelf::Templates], room)?;
                let staging = self.cache.staging()?;
                save(boot, staging.path()).await?;
                self.cache.publish(staging, &folder)?;
            }
        }
    }

    /// Waits for a lock on a thread of its own: whoever holds it may be another case of this very run.
    async fn locked(
        &self,
        key: &str,
        lock: fn(&File) -> io::Result<()>,
    ) -> Result<File, TemplateError> {
        let (path, file) = self.cache.lock_file(Shelf::Templates, key)?;
        let waiting = tokio::task::spawn_blocking(move || lock(&file).map(|()| file));
        waiting
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(wrong(&path))
    }
}

fn wrong(path: &Path) -> impl FnOnce(io::Error) -> TemplateError + use<> {
    let path = path.to_owned();
    move |source| TemplateError::Folder { path, source }
}

/// Boots the guest for itself, since no template can be used.
async fn alone(
    boot: &Boot<'_>,
    cards: Vec<OwnedFd>,
    why: &TemplateError,
) -> Result<Started, TemplateError> {
    let (qemu, answer) = boot.boot(cards).await?;
    let why = first_line(why);
    Ok(Started {
        qemu,
        answer,
        entry: None,
        renewed: Some(format!("booted for real, the template is of no use: {why}")),
    })
}

/// What went wrong, without remedy and command.
fn first_line(error: &TemplateError) -> String {
    error
        .to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Whether the system did not permit something in the cache.
fn is_denied(error: &TemplateError) -> bool {
    let (TemplateError::Folder { source, .. }
    | TemplateError::Cache(Error::Read { source, .. } | Error::Write { source, .. })) = error
    else {
        return false;
    };
    source.kind() == io::ErrorKind::PermissionDenied
}

/// Everything that goes in: machine, kernel, initramfs, QEMU itself.
fn key(boot: &Boot<'_>) -> Result<String, TemplateError> {
    let program = qemu::program()?;
    let mut hash = Sha256::new();
    for file in [&program, &boot.machine.kernel] {
        let metadata = fs::metadata(file).map_err(wrong(file))?;
        let modified = metadata.modified().map_err(wrong(file))?;
        hash.update(format!(
            "{} {} {modified:?}\n",
            file.display(),
            metadata.len()
        ));
    }
    if boot.machine.accelerator == Accelerator::Kvm {
        // The guest sees the host's processor, and its state fits no other.
        hash.update(
            fs::read("/proc/cpuinfo")
                .unwrap_or_default()
                .split(|byte| *byte == b'\n')
                .take(26)
                .flatten()
                .copied()
                .collect::<Vec<u8>>(),
        );
    }
    hash.update(format!("{VERSION} {:?} {}\n", boot.machine, boot.prelude));
    hash.update(boot.initramfs.fingerprint());
    Ok(hash
        .finalize()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
