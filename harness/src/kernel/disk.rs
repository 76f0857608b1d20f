//! The sender's files as its disk would keep them, and its orderly end.

use std::{
    fs::{self, Metadata},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use nix::sys::reboot::{RebootMode, reboot};

use crate::kernel::{
    Refusal,
    request::{Bytes, StoredFile, StoredKind},
};

/// How much is kept of a sender's files.
const LIMIT: u64 = 16 << 20;

/// `echo … > PATH`, or `>>` with `append`.
pub(crate) fn write(path: &str, bytes: &[u8], append: bool) -> Result<(), Refusal> {
    let written = || {
        let mut options = fs::OpenOptions::new();
        options
            .write(true)
            .create(true)
            .append(append)
            .truncate(!append);
        options.open(path)?.write_all(bytes)
    };
    let arrow = if append { ">>" } else { ">" };
    written().map_err(|error| Refusal::by_kernel(format!("writing {arrow} {path}"), &error))
}

/// All files below these paths.
pub(crate) fn read(paths: &[String]) -> Result<Vec<StoredFile>, Refusal> {
    let mut files = Vec::new();
    let mut left = LIMIT;
    for path in paths {
        take(Path::new(path), &mut files, &mut left)
            .map_err(|error| Refusal::by_kernel(format!("reading {path}"), &error))?;
    }
    Ok(files)
}

fn take(path: &Path, files: &mut Vec<StoredFile>, left: &mut u64) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let Some(kind) = kind(path, &metadata, left)? else {
        return Ok(());
    };
    files.push(StoredFile {
        path: path.to_string_lossy().into_owned(),
        kind,
    });
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            take(&entry?.path(), files, left)?;
        }
    }
    Ok(())
}

/// What is at a path; sockets, pipes and devices are on no disk.
fn kind(path: &Path, metadata: &Metadata, left: &mut u64) -> io::Result<Option<StoredKind>> {
    let mode = metadata.permissions().mode() & 0o7777;
    if metadata.is_symlink() {
        let target = fs::read_link(path)?.to_string_lossy().into_owned();
        return Ok(Some(StoredKind::Link { target }));
    }
    if metadata.is_dir() {
        return Ok(Some(StoredKind::Folder { mode }));
    }
    if !metadata.is_file() {
        return Ok(None);
    }
    *left = left
        .checked_sub(metadata.len())
        .ok_or_else(|| io::Error::other("its files are more than 16 MiB, which are not kept"))?;
    let bytes = Bytes::new(&fs::read(path)?);
    Ok(Some(StoredKind::File { mode, bytes }))
}

/// Ends the machine. Returns only where that fails.
pub(crate) fn go_down(restart: bool) -> Refusal {
    nix::unistd::sync();
    let (mode, doing) = if restart {
        (RebootMode::RB_AUTOBOOT, "reboot")
    } else {
        (RebootMode::RB_POWER_OFF, "poweroff")
    };
    match reboot(mode) {
        Ok(never) => match never {},
        Err(error) => Refusal::by_kernel(doing, &error.into()),
    }
}
