//! Templates: a guest booted once, saved, and started from as often as one likes.
//!
//! A template is a folder: the guest's memory as a file, its devices' state, and a description. A start takes a private
//! copy-on-write view of the memory, so nothing that a guest does reaches the template.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{net::UnixStream as StdUnixStream, process::ExitStatusExt},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{io::AsyncReadExt, net::UnixStream, time::timeout};

use crate::{
    boot::{Boot, unplugged},
    cache::{Cache, Entry, Shelf},
    error::Error,
    machine::{Accelerator, Machine, Memory},
    qemu::{self, Qemu, QemuError, Start},
    qmp::{Qmp, QmpError},
};

/// Raised whenever what a template holds changes its meaning.
const VERSION: u32 = 2;
/// How long a guest may take to be saved, or to be restored and to answer again; it takes less than a second.
const MOVED_WITHIN: Duration = Duration::from_secs(60);
/// The file that describes a template.
const DESCRIPTION: &str = "description.json";

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
    /// The template's files are not what was written.
    #[error("the template is torn: {0}")]
    Torn(String),
}

impl TemplateError {
    fn late(doing: &'static str) -> Self {
        Self::Migration {
            doing,
            reason: format!("nothing came of it within {MOVED_WITHIN:?}"),
        }
    }
}

impl From<QmpError> for TemplateError {
    fn from(error: QmpError) -> Self {
        Self::Qemu(error.into())
    }
}

/// What a template says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Description {
    version: u32,
    memory_size: u64,
    state_size: u64,
    state_sha256: String,
    /// The guest's answer to the prelude.
    answer: Value,
}

/// The templates of a cache.
#[derive(Debug, Clone)]
pub struct Templates {
    cache: Cache,
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
    /// Why an existing template was not used, if there was one.
    pub renewed: Option<String>,
}

impl Templates {
    /// The templates in `cache`.
    #[must_use]
    pub fn new(cache: Cache) -> Self {
        Self { cache }
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
            let entry = self.entry(&key, boot).await?;
            let copies = duplicates(&cards).map_err(wrong(entry.folder()))?;
            match restore(entry.folder(), boot.machine, copies).await {
                Ok((qemu, answer)) => {
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
                    let again = renewed.replace(error.to_string()).is_some();
                    if again || !self.discarded(&key)? {
                        let (qemu, answer) = boot.boot(cards).await?;
                        return Ok(Started {
                            qemu,
                            answer,
                            entry: None,
                            renewed,
                        });
                    }
                }
            }
        }
    }

    /// Throws a template away; false where somebody uses it, who may be this very run.
    fn discarded(&self, key: &str) -> Result<bool, TemplateError> {
        let (path, lock) = self.cache.lock_file(Shelf::Templates, key)?;
        match lock.try_lock() {
            Ok(()) => {
                self.cache
                    .discard(&self.cache.folder(Shelf::Templates, key))?;
                Ok(true)
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
                self.cache
                    .needs_room(u64::from(boot.machine.memory) << 20)?;
                let staging = self.cache.staging()?;
                save(boot, staging.path()).await?;
                let shelf = folder.parent().unwrap_or(&folder);
                fs::create_dir_all(shelf).map_err(Error::write(shelf))?;
                staging.publish(&folder)?;
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

/// Whether a template's folder was finished: its description is written last.
fn is_whole(folder: &Path) -> bool {
    folder.join(DESCRIPTION).is_file()
}

fn duplicates(cards: &[OwnedFd]) -> io::Result<Vec<OwnedFd>> {
    cards.iter().map(OwnedFd::try_clone).collect()
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
    hash.update(boot.initramfs);
    Ok(hash
        .finalize()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// Boots the machine with its memory in a file, and saves the rest.
async fn save(boot: &Boot<'_>, folder: &Path) -> Result<(), TemplateError> {
    let memory = folder.join("memory");
    let (cards, _ends) = unplugged(boot.machine).map_err(wrong(folder))?;
    let shared = Memory::Shared(memory.clone());
    let booted = boot.on(&shared, cards).await;
    let (mut qemu, answer) = booted.map_err(|error| disk_full(&memory, error))?;
    let state = match timeout(MOVED_WITHIN, state(&mut qemu)).await {
        Ok(Ok(state)) => state,
        Ok(Err(TemplateError::Qemu(error))) => {
            return Err(disk_full(&memory, qemu.explain(error).await));
        }
        Ok(Err(error)) => return Err(error),
        Err(_) => return Err(TemplateError::late("save")),
    };
    qemu.end().await.map_err(wrong(folder))?;
    let file = folder.join("state");
    fs::write(&file, &state).map_err(Error::write(&file))?;
    describe(folder, &memory, &state, answer)
}

/// A page of the memory file for which there was no room ends QEMU by SIGBUS.
fn disk_full(memory: &Path, error: QemuError) -> TemplateError {
    match error {
        QemuError::Ended { status, .. } if status.signal() == Some(Signal::SIGBUS as i32) => {
            Error::DiskFull {
                path: memory.to_owned(),
                source: io::ErrorKind::StorageFull.into(),
            }
            .into()
        }
        other => other.into(),
    }
}

/// Stops the machine and takes the state of its devices.
async fn state(qemu: &mut Qemu) -> Result<Vec<u8>, TemplateError> {
    let resource = |source| QemuError::Resource {
        what: "a socket for the saved state",
        source,
    };
    qemu.qmp.execute("stop", Value::Null).await?;
    capabilities(&mut qemu.qmp).await?;
    let (near, far) = StdUnixStream::pair().map_err(resource)?;
    near.set_nonblocking(true).map_err(resource)?;
    let mut near = UnixStream::from_std(near).map_err(resource)?;
    qemu.qmp.give("state", far.into()).await?;
    qemu.qmp
        .execute("migrate", json!({ "uri": "fd:state" }))
        .await?;
    let mut state = Vec::new();
    let (moved, read) = tokio::join!(
        completed(&mut qemu.qmp, "save"),
        near.read_to_end(&mut state)
    );
    moved?;
    read.map_err(resource)?;
    Ok(state)
}

/// Writes the description, which makes the template whole.
fn describe(
    folder: &Path,
    memory: &Path,
    state: &[u8],
    answer: Value,
) -> Result<(), TemplateError> {
    let description = Description {
        version: VERSION,
        memory_size: fs::metadata(memory).map_err(wrong(memory))?.len(),
        state_size: state.len() as u64,
        state_sha256: sha256(state),
        answer,
    };
    let text = serde_json::to_vec(&description).map_err(|error| wrong(folder)(error.into()))?;
    let file = folder.join(DESCRIPTION);
    fs::write(&file, text).map_err(Error::write(&file))?;
    Ok(())
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Reads a template and compares it with what it says of itself.
fn intact(path: &Path) -> Result<Description, TemplateError> {
    let torn = |error: &dyn std::fmt::Display| TemplateError::Torn(error.to_string());
    let text = fs::read(path.join(DESCRIPTION)).map_err(|error| torn(&error))?;
    let description: Description = serde_json::from_slice(&text).map_err(|error| torn(&error))?;
    if description.version != VERSION {
        return Err(TemplateError::Torn(format!(
            "it is of version {}, and this is {VERSION}",
            description.version
        )));
    }
    let state = fs::read(path.join("state")).map_err(|error| torn(&error))?;
    if state.len() as u64 != description.state_size || sha256(&state) != description.state_sha256 {
        return Err(TemplateError::Torn(
            "its state is not what was saved".to_owned(),
        ));
    }
    let memory = fs::metadata(path.join("memory")).map_err(|error| torn(&error))?;
    if memory.len() != description.memory_size {
        return Err(TemplateError::Torn(
            "its memory is not as long as it was".to_owned(),
        ));
    }
    Ok(description)
}

/// Starts a machine from the template in `path`, and makes sure that PID 1 lives.
async fn restore(
    path: &Path,
    machine: &Machine,
    cards: Vec<OwnedFd>,
) -> Result<(Qemu, Value), TemplateError> {
    let description = intact(path)?;
    let state = File::open(path.join("state")).map_err(wrong(path))?;
    let start = Start {
        memory: &Memory::View(path.join("memory")),
        initramfs: None,
        cards,
        inherited: &[state.as_raw_fd()],
        within: MOVED_WITHIN,
    };
    let mut qemu = Qemu::start(machine, start).await?;
    match timeout(MOVED_WITHIN, revive(&mut qemu, &state)).await {
        Ok(Ok(())) => Ok((qemu, description.answer)),
        Ok(Err(TemplateError::Qemu(error))) => Err(qemu.explain(error).await.into()),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(TemplateError::late("restore")),
    }
}

async fn revive(qemu: &mut Qemu, state: &File) -> Result<(), TemplateError> {
    capabilities(&mut qemu.qmp).await?;
    // No announcements of the restored machine on its wires: a scenario must not see that it was restored.
    qemu.qmp
        .execute("migrate-set-parameters", json!({ "announce-rounds": 0 }))
        .await?;
    let uri = format!("fd:{}", state.as_raw_fd());
    qemu.qmp
        .execute("migrate-incoming", json!({ "uri": uri }))
        .await?;
    completed(&mut qemu.qmp, "restore").await?;
    qemu.qmp.execute("cont", Value::Null).await?;
    qemu.channel.pulse().await.map_err(QemuError::from)?;
    Ok(())
}

/// Memory that is shared with a file is left out of the state, and progress is told by events.
async fn capabilities(qmp: &mut Qmp) -> Result<(), QmpError> {
    let wanted =
        ["x-ignore-shared", "events"].map(|name| json!({ "capability": name, "state": true }));
    qmp.execute(
        "migrate-set-capabilities",
        json!({ "capabilities": wanted }),
    )
    .await
    .map(drop)
}

async fn completed(qmp: &mut Qmp, doing: &'static str) -> Result<(), TemplateError> {
    loop {
        let event = qmp.event_named("MIGRATION").await?;
        match event["data"]["status"].as_str() {
            Some("completed") => return Ok(()),
            Some("failed") => {
                let answer = qmp.execute("query-migrate", Value::Null).await?;
                let reason = answer["error-desc"]
                    .as_str()
                    .unwrap_or("it gives no reason")
                    .to_owned();
                return Err(TemplateError::Migration { doing, reason });
            }
            _ => {}
        }
    }
}
