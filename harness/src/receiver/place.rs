//! The place in which a receiver's program lives: a file system of its own, made of the machine's.
//!
//! It is made in a room of the lab: the machine's programs and libraries are there, and cannot be written. What a receiver writes to is its own and empty
//! at the start (/var, /run, /tmp, /srv, /dev), what it is configured with is a copy (/etc). All of it is memory, limited, and
//! gone with the last process in it. Nothing of the machine's own log can be read or written.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::stat::Mode,
    unistd::{chdir, mkfifo, pivot_root},
};

use crate::receiver::order::Plan;

mod etc;

/// How much a receiver may write, in bytes.
const SIZE: &str = "268435456";
/// Where a program's standard output goes.
pub(crate) const PRINTED: &str = "/.lastwords/printed";
/// Where its standard error goes.
pub(crate) const COMPLAINED: &str = "/.lastwords/complained";
/// Where it says that it is ready (sd_notify(3)).
pub(crate) const NOTIFY: &str = "/.lastwords/notify";
/// What stands in place of the machine's kernel log: a pipe.
pub(crate) const KERNEL_LOG: &str = "/.lastwords/kmsg";
/// Where it is started.
pub(crate) const WORK: &str = "/tmp";

/// What could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}")]
pub(crate) struct PlaceError {
    doing: String,
    source: io::Error,
}

/// Names what is being done for an error.
fn doing<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> PlaceError {
    let doing = doing.into();
    move |source| PlaceError {
        doing,
        source: source.into(),
    }
}

/// Makes the place and moves into it. The caller is in a room of its own, whose machine is read-only.
pub(crate) fn make(plan: &Plan) -> Result<(), PlaceError> {
    let options = format!("mode=0755,size={SIZE}");
    mount(
        Some("tmpfs"),
        WORK,
        Some("tmpfs"),
        MsFlags::MS_NOSUID,
        Some(options.as_str()),
    )
    .map_err(doing("mount a file system in memory"))?;
    let root = Path::new(WORK).join("root");
    folder(&root)?;
    bind(&root, &root)?;
    see_the_machine(&root, plan.prefix.as_deref())?;
    etc::copy(&root, plan)?;
    for path in [
        "run/lock",
        "sys",
        "tmp",
        ".lastwords",
        "srv",
        "mnt",
        "media",
        "var/cache",
        "var/lib/misc",
        "var/lib/rsyslog",
        "var/lib/syslog-ng",
        "var/log",
        "var/mail",
        "var/spool/rsyslog",
        "var/tmp",
    ] {
        folder(&root.join(path))?;
    }
    for path in ["tmp", "var/tmp"] {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(0o1777))
            .map_err(doing(format!("open /{path} to all")))?;
    }
    link("/run", &root.join("var/run"))?;
    link("/run/lock", &root.join("var/lock"))?;
    devices_and_processes(&root)?;
    enter(&root)?;
    write_files(plan)
}

fn folder(path: &Path) -> Result<(), PlaceError> {
    fs::create_dir_all(path).map_err(doing(format!("make {}", path.display())))
}

fn link(to: &str, path: &Path) -> Result<(), PlaceError> {
    symlink(to, path).map_err(doing(format!("make the link {}", path.display())))
}

fn bind(from: &Path, to: &Path) -> Result<(), PlaceError> {
    let none = None::<&str>;
    mount(
        Some(from),
        to,
        none,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        none,
    )
    .map_err(doing(format!("show {} to a receiver", from.display())))
}

/// Shows what the machine has in its root but what a receiver has for itself.
fn see_the_machine(root: &Path, prefix: Option<&Path>) -> Result<(), PlaceError> {
    const OWN: [&str; 12] = [
        "boot",
        "dev",
        "etc",
        "lost+found",
        "media",
        "mnt",
        "proc",
        "run",
        "srv",
        "sys",
        "tmp",
        "var",
    ];
    let entries = fs::read_dir("/").map_err(doing("read /"))?;
    for entry in entries {
        let entry = entry.map_err(doing("read /"))?;
        let (name, from) = (entry.file_name(), entry.path());
        let to = root.join(&name);
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if OWN.iter().any(|own| name == *own) {
            continue;
        }
        if kind.is_symlink() {
            let aim = fs::read_link(&from).map_err(doing(format!("read {}", from.display())))?;
            symlink(aim, &to).map_err(doing(format!("make the link {}", to.display())))?;
        } else if kind.is_dir() {
            folder(&to)?;
            match prefix.map(|prefix| prefix.join(&name)) {
                Some(unpacked) if unpacked.is_dir() => lay_over(&unpacked, &from, &to)?,
                Some(_) | None => bind(&from, &to)?,
            }
        }
    }
    Ok(())
}

/// Shows two folders as one, the first before the second.
fn lay_over(first: &Path, second: &Path, to: &Path) -> Result<(), PlaceError> {
    let options = format!("lowerdir={}:{}", first.display(), second.display());
    mount(
        Some("overlay"),
        to,
        Some("overlay"),
        MsFlags::MS_RDONLY,
        Some(options.as_str()),
    )
    .map_err(doing(format!(
        "lay {} over {}",
        first.display(),
        second.display()
    )))
}

/// /dev and /proc are the room's. In place of the kernel's log, which would be the machine's own and lose what is read of
/// it, there is a pipe into which nobody writes.
fn devices_and_processes(root: &Path) -> Result<(), PlaceError> {
    for name in ["dev", "proc"] {
        let to = root.join(name);
        folder(&to)?;
        bind(&Path::new("/").join(name), &to)?;
    }
    let pipe = root.join(KERNEL_LOG.trim_start_matches('/'));
    mkfifo(&pipe, Mode::from_bits_truncate(0o600)).map_err(doing("make a pipe"))?;
    bind(&pipe, &root.join("proc/kmsg"))
}

/// Makes `root` the root, and forgets the machine's.
fn enter(root: &Path) -> Result<(), PlaceError> {
    let what = "enter a receiver's place";
    chdir(root).map_err(doing(what))?;
    pivot_root(".", ".").map_err(doing(what))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(doing(what))?;
    chdir(WORK).map_err(doing(what))
}

/// Writes what the plan has in store.
fn write_files(plan: &Plan) -> Result<(), PlaceError> {
    for (path, bytes) in &plan.files {
        if let Some(parent) = path.parent() {
            folder(parent)?;
        }
        // What stood there may be a link to elsewhere.
        let _ = fs::remove_file(path);
        fs::write(path, bytes).map_err(doing(format!("write {}", path.display())))?;
    }
    let Some((path, text)) = &plan.append else {
        return Ok(());
    };
    let mut bytes = fs::read(path).map_err(doing(format!("append to {}", path.display())))?;
    if !bytes.is_empty() && !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(text.as_bytes());
    fs::write(path, bytes).map_err(doing(format!("append to {}", path.display())))
}

/// The file that a path of the scenario means.
pub(crate) fn at(path: &Path) -> PathBuf {
    Path::new(WORK).join(path)
}
