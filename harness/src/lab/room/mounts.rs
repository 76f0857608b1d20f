//! What a room's programs see of the machine's files: all of it read-only, and places of our own laid over.

use std::{
    ffi::CString,
    fs::{self, File},
    io,
    mem::{size_of, zeroed},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::{ffi::OsStrExt, fs::symlink},
    },
    path::Path,
};

use nix::mount::{MsFlags, mount};

use crate::lab::{namespace::NamespaceError, room::Place};

/// The devices that are no window into the machine.
const DEVICES: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];
/// As udev makes them.
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

/// Lays everything out in the thread's own mount namespace.
pub(super) fn arrange(places: &[Place]) -> Result<(), NamespaceError> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(NamespaceError::of("keep mounts private"))?;
    // Taken before anything is laid over: a place may hide where another comes from.
    let laid: Vec<(OwnedFd, &Path)> = places
        .iter()
        .map(|place| Ok((take(&place.ours)?, place.theirs.as_path())))
        .collect::<Result<_, NamespaceError>>()?;
    let mut devices = Vec::new();
    for name in DEVICES {
        let path = Path::new("/dev").join(name);
        if path.exists() {
            devices.push((take(&path)?, path));
        }
    }
    make_read_only()?;
    own_dev()?;
    for (device, path) in devices {
        File::create(&path).map_err(NamespaceError::of(format!("make {}", path.display())))?;
        lay(&device, &path)?;
    }
    laid.iter().try_for_each(|(ours, theirs)| lay(ours, theirs))
}

/// Nothing of the machine can be written. Where the kernel cannot say so of all mounts at once (before 5.12), only the
/// room's manners keep it from that.
fn make_read_only() -> Result<(), NamespaceError> {
    // SAFETY: all zeroes changes nothing.
    let mut attributes: libc::mount_attr = unsafe { zeroed() };
    attributes.attr_set = libc::MOUNT_ATTR_RDONLY;
    // SAFETY: the kernel reads the path and as much of the structure as it is told.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            c"/".as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    match done {
        0 => Ok(()),
        _ if io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        _ => Err(NamespaceError::of("make mounts read-only")(
            io::Error::last_os_error(),
        )),
    }
}

/// A /dev in which a daemon may bind its sockets.
fn own_dev() -> Result<(), NamespaceError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount(
        Some("none"),
        "/dev",
        Some("tmpfs"),
        flags,
        Some("mode=755,size=16m"),
    )
    .map_err(NamespaceError::of("mount /dev"))?;
    for (to, at) in DEVICE_LINKS {
        symlink(to, at).map_err(NamespaceError::of(format!("make {at}")))?;
    }
    fs::create_dir("/dev/shm").map_err(NamespaceError::of("make /dev/shm"))
}

/// A copy of the mount at `path` that is nowhere yet.
fn take(path: &Path) -> Result<OwnedFd, NamespaceError> {
    let doing = || NamespaceError::of(format!("take {}", path.display()));
    let text = c_path(path).map_err(doing())?;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: the kernel reads the path.
    let tree = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, text.as_ptr(), flags) };
    if tree < 0 {
        return Err(doing()(io::Error::last_os_error()));
    }
    let tree = RawFd::try_from(tree).map_err(|error| doing()(io::Error::other(error)))?;
    // SAFETY: it was opened just now and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(tree) })
}

/// Lays a copy over `path`.
fn lay(tree: &OwnedFd, path: &Path) -> Result<(), NamespaceError> {
    let doing = || NamespaceError::of(format!("lay something over {}", path.display()));
    let text = c_path(path).map_err(doing())?;
    // `include/uapi/linux/mount.h`: MOVE_MOUNT_F_EMPTY_PATH, and links on the way to the target are followed.
    let flags = 0x0000_0004 | 0x0000_0010;
    // SAFETY: the kernel reads the paths.
    let moved = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            text.as_ptr(),
            flags,
        )
    };
    if moved < 0 {
        return Err(doing()(io::Error::last_os_error()));
    }
    Ok(())
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}
