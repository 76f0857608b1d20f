//! What is packed into a guest for somebody who wants to look around in it: a shell, and the programs of this machine
//! that one reaches for there.

use std::{env, path::PathBuf};

use lastwords_vm::initramfs::Initramfs;

use crate::run::Error;

/// The shell: on every machine.
pub(crate) const SHELL: &str = "sh";
/// Packed where this machine has them.
const TOOLS: [&str; 45] = [
    "arp", "awk", "cat", "chmod", "clear", "cp", "cut", "date", "dmesg", "echo", "env", "find",
    "free", "grep", "head", "hexdump", "id", "insmod", "ip", "kill", "less", "ln", "ls", "lsmod",
    "mkdir", "modinfo", "mount", "mv", "netstat", "ping", "ps", "rm", "rmdir", "rmmod", "sed",
    "sleep", "sort", "stty", "sysctl", "tail", "tr", "tty", "umount", "uname", "wc",
];

/// Packs the shell and the tools, and the description of this terminal.
pub(crate) fn pack(initramfs: &mut Initramfs) -> Result<(), Error> {
    initramfs.directory("/root", 0o700);
    initramfs.program(SHELL)?;
    for tool in TOOLS {
        // What this machine has not is not there either.
        if which::which_in(tool, Some(FOLDERS), "/").is_ok() {
            initramfs.program(tool)?;
        }
    }
    if let Some((below, path)) = terminal_description()
        && let Ok(bytes) = std::fs::read(path)
    {
        initramfs.file(&format!("/usr/share/terminfo/{below}"), 0o644, bytes);
    }
    Ok(())
}

const FOLDERS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `$TERM`; a terminal that can do nothing where it is not set.
pub(crate) fn term() -> String {
    env::var("TERM")
        .ok()
        .filter(|term| is_plain(term))
        .unwrap_or_else(|| "dumb".to_owned())
}

fn is_plain(term: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-+._".contains(&byte);
    !term.is_empty() && term.bytes().all(plain) && !term.starts_with('.')
}

/// Where the description of this terminal is, below the folder of descriptions and on this machine (`man 5 terminfo`).
fn terminal_description() -> Option<(String, PathBuf)> {
    let term = term();
    let below = format!("{}/{term}", term.chars().next()?);
    let folders = ["/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo"];
    let paths = folders.map(|folder| PathBuf::from(folder).join(&below));
    let path = paths.into_iter().find(|path| path.is_file())?;
    Some((below, path))
}
