//! Templates: a guest booted once, saved, and started from as often as one likes.
//!
//! A template is a folder: the guest's memory as a file, its devices' state, and a description. A start takes a private
//! copy-on-write view of the memory, so nothing that a guest does reaches the template.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    machine::{Machine, Memory},
    qemu::{self, Qemu, QemuError},
    qmp::{Qmp, QmpError},
};

/// Raised whenever what a template holds changes its meaning.
const VERSION: u32 = 1;

/// Why there is no template.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
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

/// A folder of templates.
#[derive(Debug, Clone)]
pub struct Templates {
    folder: PathBuf,
}

/// A guest that was started from a template.
#[derive(Debug)]
pub struct Restored {
    /// The machine, running.
    pub qemu: Qemu,
    /// The guest's answer to the prelude, given when the template was made.
    pub answer: Value,
    /// Kept while the machine runs: pruning leaves templates in use alone.
    pub lock: File,
    /// Why an existing template was thrown away, if one was.
    pub renewed: Option<String>,
}

impl Templates {
    /// Templates in `folder`, which is made if need be.
    pub fn open(folder: PathBuf) -> Result<Self, TemplateError> {
        fs::create_dir_all(&folder).map_err(wrong(&folder))?;
        Ok(Self { folder })
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
        let key = key(machine, initramfs, prelude)?;
        let path = self.folder.join(&key);
        let lock = self.lock(&key)?;
        let mut renewed = None;
        for attempt in 0..2 {
            if !path.join("description.json").exists() {
                self.make(&path, &lock, machine, initramfs, prelude).await?;
            }
            lock.lock_shared().map_err(wrong(&path))?;
            let copies = duplicates(&cards).map_err(wrong(&path))?;
            match restore(&path, machine, copies).await {
                Ok((qemu, answer)) => {
                    return Ok(Restored {
                        qemu,
                        answer,
                        lock,
                        renewed,
                    });
                }
                Err(error @ TemplateError::Qemu(QemuError::Missing)) => return Err(error),
                Err(error) if attempt == 0 => {
                    renewed = Some(error.to_string());
                    lock.lock().map_err(wrong(&path))?;
                    remove(&path)?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(TemplateError::Torn(
            "it was made twice and restored neither time".to_owned(),
        ))
    }

    fn lock(&self, key: &str) -> Result<File, TemplateError> {
        let path = self.folder.join(format!("{key}.lock"));
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(wrong(&path))
    }

    /// Makes the template under an exclusive lock, unless somebody else did while this one waited for it.
    async fn make(
        &self,
        path: &Path,
        lock: &File,
        machine: &Machine,
        initramfs: &[u8],
        prelude: &Value,
    ) -> Result<(), TemplateError> {
        lock.lock().map_err(wrong(path))?;
        if path.join("description.json").exists() {
            return Ok(());
        }
        // What a killed run left half made; the lock says that nobody is at it.
        remove(path)?;
        fs::create_dir_all(path).map_err(wrong(path))?;
        let made = save(path, machine, initramfs, prelude).await;
        if made.is_err() {
            let _ = remove(path);
        }
        made
    }
}

fn wrong(path: &Path) -> impl FnOnce(io::Error) -> TemplateError + use<> {
    let path = path.to_owned();
    move |source| TemplateError::Folder { path, source }
}

fn remove(path: &Path) -> Result<(), TemplateError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(wrong(path)(error)),
        _ => Ok(()),
    }
}

fn duplicates(cards: &[OwnedFd]) -> io::Result<Vec<OwnedFd>> {
    cards.iter().map(OwnedFd::try_clone).collect()
}

/// Everything that went in: machine, kernel, initramfs, QEMU itself.
fn key(machine: &Machine, initramfs: &[u8], prelude: &Value) -> Result<String, TemplateError> {
    let program = qemu::program()?;
    let mut hash = Sha256::new();
    for file in [&program, &machine.kernel] {
        let metadata = fs::metadata(file).map_err(wrong(file))?;
        let modified = metadata.modified().map_err(wrong(file))?;
        hash.update(format!(
            "{} {} {modified:?}\n",
            file.display(),
            metadata.len()
        ));
    }
    hash.update(format!("{VERSION} {machine:?} {prelude}\n"));
    hash.update(initramfs);
    Ok(hash
        .finalize()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// Boots the machine, asks the prelude, saves.
async fn save(
    path: &Path,
    machine: &Machine,
    initramfs: &[u8],
    prelude: &Value,
) -> Result<(), TemplateError> {
    let (memory, state) = (path.join("memory"), path.join("state"));
    let (cards, _ends) = unplugged(machine).map_err(wrong(path))?;
    let mut qemu = Qemu::start(
        machine,
        &Memory::Shared(memory.clone()),
        Some(initramfs),
        cards,
        &[],
    )
    .await?;
    qemu.ready().await?;
    qemu.channel.ask(prelude).await.map_err(QemuError::from)?;
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
    qemu.end().await.map_err(wrong(path))?;
    describe(path, &memory, &state, answer)
}

/// Writes the description last and at once: a template without one is half made.
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
    let draft = path.join("description.draft");
    fs::write(&draft, text).map_err(wrong(&draft))?;
    fs::rename(&draft, path.join("description.json")).map_err(wrong(&draft))
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
    let text = fs::read(path.join("description.json")).map_err(|error| torn(&error))?;
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
