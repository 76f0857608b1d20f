//! How old QEMU is, also where it is too old to live.

use std::{path::Path, process::Stdio};

use tokio::{process::Command, time::timeout};

use crate::qemu::process::MANNERS_WITHIN;

/// The oldest QEMU that knows all the arguments.
pub(super) const OLDEST: (u64, u64) = (6, 0);

/// What `--version` says: `QEMU emulator version 7.2.22 (Debian …)`.
pub(super) async fn said_version(program: &Path) -> Option<((u64, u64), String)> {
    let mut command = Command::new(program);
    command
        .arg("--version")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(MANNERS_WITHIN, command.output()).await.ok()?.ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let text = text.split_once("version ")?.1;
    let numeric = |letter: char| letter.is_ascii_digit() || letter == '.';
    let version = text.split(|letter| !numeric(letter)).next()?;
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    Some(((numbers.next()??, numbers.next()??), version.to_owned()))
}
