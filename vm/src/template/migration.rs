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
    qmp::{Order, Qmp},
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
    // PID 1 answers with a result.
    if let Some(refusal) = answer.get("Err") {
        return Err(TemplateError::Refused(refusal.to_string()));
    }
    let mut patience = Patience::with(qemu.id());
    let state = match patience.within(MOVED_WITHIN, state(&mut qemu)).await {
        Ok(Ok(state)) => state,
        Ok(Err(TemplateError::Qemu(error))) => {
            return Err(disk_full(&memory, qemu.explain(error).await));
        }
        Ok(Err(error)) => return Err(error),
        Err(Late) => return Err(late("save")),
    };
    let processor = qemu.processor;
    qemu.end().await.map_err(wrong(folder))?;
    let file = folder.join("state");
    fs::write(&file, &state).map_err(Error::write(&file))?;
    describe(folder, &memory, &state, processor, answer)
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

/// Takes the state of the machine's devices. It runs when that begins, so that it runs once it is restored, and QEMU stops
/// it (`migration_completion`, migration/migration.c).
async fn state(qemu: &mut Qemu) -> Result<Vec<u8>, TemplateError> {
    let resource = |source| QemuError::Resource {
        what: "a socket for the saved state",
        source,
    };
    // Progress is told by events.
    for (command, arguments) in [without_memory(), capability("events")] {
        qemu.qmp.execute(command, arguments).await?;
    }
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
    let uri = format!("fd:{}", state.as_raw_fd());
    let start = Start {
        memory: &Memory::View(path.join("memory")),
        initramfs: None,
        cards,
        state: Some(&state),
        orders: &[
            without_memory(),
            ("migrate-incoming", json!({ "uri": uri })),
        ],
        processor: description.processor,
        within: MOVED_WITHIN,
    };
    let mut qemu = Qemu::start(machine, start).await?;
    let mut patience = Patience::with(qemu.id());
    let revived = patience.within(MOVED_WITHIN, revive(&mut qemu));
    match revived.await {
        Ok(Ok(())) => Ok((qemu, description.answer)),
        Ok(Err(TemplateError::Qemu(error))) => Err(qemu.explain(error).await.into()),
        Ok(Err(error)) => Err(error),
        Err(Late) => Err(late("restore")),
    }
}

/// Waits until the state is loaded and PID 1 shows that it lives. Where the state does not load, QEMU ends.
async fn revive(qemu: &mut Qemu) -> Result<(), TemplateError> {
    // What is sent before that would be lost: it is the saved port that reads it.
    qemu.qmp.event_named("RESUME").await?;
    qemu.channel.pulse().await.map_err(QemuError::from)?;
    Ok(())
}

/// Memory that is shared with a file is left out of the state.
fn without_memory() -> Order {
    capability("x-ignore-shared")
}

fn capability(name: &str) -> Order {
    let wanted = [json!({ "capability": name, "state": true })];
    (
        "migrate-set-capabilities",
        json!({ "capabilities": wanted }),
    )
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
