//! What a template's folder holds, and whether it is what was written.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    error::Error,
    machine::Processor,
    template::{TemplateError, wrong},
};

/// Raised whenever what a template holds changes its meaning.
pub(super) const VERSION: u32 = 4;
/// The file that describes a template.
const DESCRIPTION: &str = "description.json";
/// The file that says that all others have reached the disk.
const SYNCED: &str = "synced";

/// What a template says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Description {
    version: u32,
    memory_size: u64,
    state_size: u64,
    state_sha256: String,
    /// The run of this machine in which it was made, see [`boot_id`].
    boot: String,
    /// What the guest was booted on.
    pub(super) processor: Processor,
    /// The guest's answer to the prelude.
    pub(super) answer: Value,
}

/// Whether a template's folder was finished: its description is written last.
pub(super) fn is_whole(folder: &Path) -> bool {
    folder.join(DESCRIPTION).is_file()
}

/// Writes the description, which makes the template whole.
pub(super) fn describe(
    folder: &Path,
    memory: &Path,
    state: &[u8],
    processor: Processor,
    answer: Value,
) -> Result<(), TemplateError> {
    let description = Description {
        version: VERSION,
        memory_size: fs::metadata(memory).map_err(wrong(memory))?.len(),
        state_size: state.len() as u64,
        state_sha256: sha256(state),
        boot: boot_id(),
        processor,
        answer,
    };
    let text = serde_json::to_vec(&description).map_err(|error| wrong(folder)(error.into()))?;
    let file = folder.join(DESCRIPTION);
    fs::write(&file, text).map_err(Error::write(&file))?;
    Ok(())
}

/// Whether it is known that a template has reached the disk.
pub(super) fn is_synced(folder: &Path) -> bool {
    folder.join(SYNCED).exists()
}

/// Waits until a template has reached the disk, and says so in it.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    for name in ["memory", "state", DESCRIPTION] {
        File::open(folder.join(name))?.sync_all()?;
    }
    File::create(folder.join(SYNCED))?.sync_all()?;
    File::open(folder)?.sync_all()
}

/// A name for the time from this machine's start to its end; empty where the kernel has none.
fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    text.unwrap_or_default().trim().to_owned()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Reads a template and compares it with what it says of itself.
pub(super) fn intact(path: &Path) -> Result<Description, TemplateError> {
    let torn = |error: &dyn std::fmt::Display| TemplateError::Torn(error.to_string());
    let text = fs::read(path.join(DESCRIPTION)).map_err(|error| torn(&error))?;
    let description: Description = serde_json::from_slice(&text).map_err(|error| torn(&error))?;
    if description.version != VERSION {
        return Err(TemplateError::Torn(format!(
            "it is of version {}, and this is {VERSION}",
            description.version
        )));
    }
    // As long as the machine runs, what was written is read, wherever it is. After a crash some of it may be zeroes, which
    // nobody sees who does not read all of the memory.
    if description.boot != boot_id() && !is_synced(path) {
        return Err(TemplateError::Torn(
            "the machine went down before it was on the disk".to_owned(),
        ));
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
