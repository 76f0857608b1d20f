//! A guest's way into a template, and out of it: QEMU's migration.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{net::UnixStream as StdUnixStream, process::ExitStatusExt},
    },
    path::Path,
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, net::UnixStream};

use crate::{
    boot::{Boot, unplugged},
    error::Error,
    machine::{Machine, Memory},
    patience::{Late, Patience},
    qemu::{Qemu, QemuError, Start},
    qmp::{Qmp, QmpError},
    template::{
        TemplateError,
        description::{describe, intact},
        wrong,
    },
};

/// How long a guest may take to be saved, or to be restored and to answer again; it takes less than a second.
const MOVED_WITHIN: Duration = Duration::from_secs(60);

/// Boots the machine with its memory in a file, and saves the rest.
pub(super) async fn save(boot: &Boot<'_>, folder: &Path) -> Result<(), TemplateError> {
    let memory = folder.join("memory");
    let (cards, _ends) = unplugged(boot.machine).map_err(wrong(folder))?;
    let shared = Memory::Shared(memory.clone());
    let booted = boot.on(&shared, cards).await;
    let (mut qemu, answer) = booted.map_err(|error| disk_full(&memory, error))?;
    let mut patience = Patience::with(qemu.id());
    let state = match patience.within(MOVED_WITHIN, state(&mut qemu)).await {
        Ok(Ok(state)) => state,
        Ok(Err(TemplateError::Qemu(error))) => {
            return Err(disk_full(&memory, qemu.explain(error).await));
        }
        Ok(Err(error)) => return Err(error),
        Err(Late) => return Err(late("save")),
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

/// Starts a machine from the template in `path`, and makes sure that PID 1 lives.
pub(super) async fn restore(
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
    let mut patience = Patience::with(qemu.id());
    let revived = patience.within(MOVED_WITHIN, revive(&mut qemu, &state));
    match revived.await {
        Ok(Ok(())) => Ok((qemu, description.answer)),
        Ok(Err(TemplateError::Qemu(error))) => Err(qemu.explain(error).await.into()),
        Ok(Err(error)) => Err(error),
        Err(Late) => Err(late("restore")),
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

fn late(doing: &'static str) -> TemplateError {
    TemplateError::Migration {
        doing,
        reason: format!("nothing came of it within {MOVED_WITHIN:?}"),
    }
}
