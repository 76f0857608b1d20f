//! Templates: a guest booted once, saved, and started from as often as one likes.
//!
//! A template is a folder: the guest's memory as a file, its devices' state, and a description. A start takes a private
//! copy-on-write view of the memory, so nothing that a guest does reaches the template.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    cache::{Cache, Entry, Shelf},
    error,
    machine::{Accelerator, Machine, Memory},
    qemu::{self, Qemu, QemuError},
    qmp::{Qmp, QmpError},
};

/// Raised whenever what a template holds changes its meaning.
const VERSION: u32 = 1;
/// The file that describes a template.
const DESCRIPTION: &str = "description.json";

/// Why there is no template.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] error::Error),
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

/// A guest that was started from a template.
#[derive(Debug)]
pub struct Restored {
    /// The machine, running.
    pub qemu: Qemu,
    /// The guest's answer to the prelude, given when the template was made.
    pub answer: Value,
    /// Kept while the machine runs: pruning leaves templates in use alone.
    pub entry: Entry,
    /// Why an existing template was thrown away, if one was.
    pub renewed: Option<String>,
}

/// What a template is made from and started with.
struct Recipe<'a> {
    machine: &'a Machine,
    initramfs: &'a [u8],
    prelude: &'a Value,
}

impl Templates {
    /// The templates in `cache`.
    #[must_use]
    pub fn new(cache: Cache) -> Self {
        Self { cache }
    }

    /// Starts `machine` from its template, which is made first where there is none, or none that restores.
    ///
    /// `prelude` is asked of the guest before it is saved. Two callers at once make it once: the second waits.
    pub async fn start(
        &self,
        machine: &Machine,
        initramfs: &[u8],
        prelude: &Value,
        cards: Vec<OwnedFd>,
    ) -> Result<Restored, TemplateError> {
        let recipe = Recipe {
            machine,
            initramfs,
            prelude,
        };
        let key = recipe.key()?;
        let mut renewed = None;
        loop {
            let entry = self.entry(&key, &recipe).await?;
            let folder = entry.folder().to_owned();
            let copies = duplicates(&cards).map_err(wrong(&folder))?;
            match restore(&folder, machine, copies).await {
                Ok((qemu, answer)) => {
                    return Ok(Restored {
                        qemu,
                        answer,
                        entry,
                        renewed,
                    });
                }
                Err(error @ TemplateError::Qemu(QemuError::Missing)) => return Err(error),
                Err(error) if renewed.is_none() => renewed = Some(error.to_string()),
                Err(error) => return Err(error),
            }
            drop(entry);
            let lock = self.locked(&key, File::lock).await?;
            self.cache
                .discard(&self.cache.folder(Shelf::Templates, &key))?;
            drop(lock);
        }
    }

    /// The template's folder, made where it is not there yet.
    async fn entry(&self, key: &str, recipe: &Recipe<'_>) -> Result<Entry, TemplateError> {
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
                    .needs_room(u64::from(recipe.machine.memory) << 20)?;
                let staging = self.cache.staging()?;
                recipe.save(staging.path()).await?;
                let shelf = folder.parent().unwrap_or(&folder);
                fs::create_dir_all(shelf).map_err(wrong(shelf))?;
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

impl Recipe<'_> {
    /// Everything that goes in: machine, kernel, initramfs, QEMU itself.
    fn key(&self) -> Result<String, TemplateError> {
        let program = qemu::program()?;
        let mut hash = Sha256::new();
        for file in [&program, &self.machine.kernel] {
            let metadata = fs::metadata(file).map_err(wrong(file))?;
            let modified = metadata.modified().map_err(wrong(file))?;
            hash.update(format!(
                "{} {} {modified:?}\n",
                file.display(),
                metadata.len()
            ));
        }
        if self.machine.accelerator == Accelerator::Kvm {
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
        hash.update(format!("{VERSION} {:?} {}\n", self.machine, self.prelude));
        hash.update(self.initramfs);
        Ok(hash
            .finalize()
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect())
    }

    /// Boots the machine, asks the prelude, saves.
    async fn save(&self, folder: &Path) -> Result<(), TemplateError> {
        let (memory, state) = (folder.join("memory"), folder.join("state"));
        let (cards, _ends) = unplugged(self.machine).map_err(wrong(folder))?;
        let shared = Memory::Shared(memory.clone());
        let mut qemu = Qemu::start(self.machine, &shared, Some(self.initramfs), cards, &[]).await?;
        qemu.ready().await?;
        qemu.channel
            .ask(self.prelude)
            .await
            .map_err(QemuError::from)?;
        let answer: Value = qemu.channel.answer().await.map_err(QemuError::from)?;
        qemu.qmp.execute("stop", Value::Null).await?;
        capabilities(&mut qemu.qmp).await?;
        let quoted = state.display().to_string().replace('\'', r"'\''");
        qemu.qmp
            .execute(
                "migrate",
                json!({ "uri": format!("exec:cat > '{quoted}'") }),
            )
            .await?;
        completed(&mut qemu.qmp, "save").await?;
        qemu.end().await.map_err(wrong(folder))?;
        describe(folder, &memory, &state, answer)
    }
}

/// Writes the description.
fn describe(path: &Path, memory: &Path, state: &Path, answer: Value) -> Result<(), TemplateError> {
    let saved = fs::read(state).map_err(wrong(state))?;
    let description = Description {
        version: VERSION,
        memory_size: fs::metadata(memory).map_err(wrong(memory))?.len(),
        state_size: saved.len() as u64,
        state_sha256: sha256(&saved),
        answer,
    };
    let text = serde_json::to_vec(&description).map_err(|error| wrong(path)(error.into()))?;
    fs::write(path.join(DESCRIPTION), text).map_err(wrong(path))
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

async fn restore(
    path: &Path,
    machine: &Machine,
    cards: Vec<OwnedFd>,
) -> Result<(Qemu, Value), TemplateError> {
    let description = intact(path)?;
    let state = File::open(path.join("state")).map_err(wrong(path))?;
    let number = state.as_raw_fd();
    let memory = Memory::View(path.join("memory"));
    let mut qemu = Qemu::start(machine, &memory, None, cards, &[number]).await?;
    capabilities(&mut qemu.qmp).await?;
    // No announcements of the restored machine on its wires: a scenario must not see that it was restored.
    qemu.qmp
        .execute("migrate-set-parameters", json!({ "announce-rounds": 0 }))
        .await?;
    qemu.qmp
        .execute("migrate-incoming", json!({ "uri": format!("fd:{number}") }))
        .await?;
    completed(&mut qemu.qmp, "restore").await?;
    qemu.qmp.execute("cont", Value::Null).await?;
    Ok((qemu, description.answer))
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

/// Sockets for cards that nobody listens to.
fn unplugged(machine: &Machine) -> io::Result<(Vec<OwnedFd>, Vec<OwnedFd>)> {
    let pairs = machine
        .cards
        .iter()
        .map(|_| std::os::unix::net::UnixStream::pair());
    let pairs: Vec<_> = pairs.collect::<io::Result<_>>()?;
    Ok(pairs
        .into_iter()
        .map(|(one, other)| (OwnedFd::from(one), OwnedFd::from(other)))
        .unzip())
}
