//! netconsole's dynamic configuration: /sys/kernel/config/netconsole.

use std::{fs, io, io::Write, path::Path};

use nix::mount::{MsFlags, mount};

use crate::kernel::{Refusal, module::Modules, request::ConfigfsChange};

/// Where configfs belongs (`Documentation/filesystems/configfs.rst`).
const CONFIGFS: &str = "/sys/kernel/config";

/// Makes the changes in order, up to the first that the kernel refuses.
pub(crate) fn change(modules: &mut Modules, changes: &[ConfigfsChange]) -> Result<(), Refusal> {
    prepare(modules)?;
    let root = Path::new(CONFIGFS).join("netconsole");
    changes.iter().try_for_each(|change| one(&root, change))
}

fn one(root: &Path, change: &ConfigfsChange) -> Result<(), Refusal> {
    let path = |path: &str| root.join(path);
    let (doing, done) = match change {
        ConfigfsChange::Make(name) => (
            format!("mkdir {}", path(name).display()),
            fs::create_dir(path(name)),
        ),
        ConfigfsChange::Remove(name) => (
            format!("rmdir {}", path(name).display()),
            fs::remove_dir(path(name)),
        ),
        ConfigfsChange::Write(name, value) => (
            format!("echo {value} > {}", path(name).display()),
            store(&path(name), &format!("{value}\n")),
        ),
        ConfigfsChange::WriteExactly(name, value) => (
            format!("echo -n {value} > {}", path(name).display()),
            store(&path(name), value),
        ),
    };
    done.map_err(|error| Refusal::by_kernel(doing, &error))
}

/// One write(2), as `echo` does it: an attribute takes what one write gives it.
fn store(path: &Path, value: &str) -> io::Result<()> {
    fs::OpenOptions::new()
        .write(true)
        .open(path)?
        .write_all(value.as_bytes())
}

/// Loads configfs and netconsole and mounts configfs, where that is still to be done.
fn prepare(modules: &mut Modules) -> Result<(), Refusal> {
    if !Path::new(CONFIGFS).exists() {
        modules.load("configfs", "")?;
    }
    modules.load("netconsole", "")?;
    let mounted = fs::read_dir(CONFIGFS).is_ok_and(|mut entries| entries.next().is_some());
    if !mounted {
        let doing = format!("mount -t configfs none {CONFIGFS}");
        match mount(
            Some("none"),
            CONFIGFS,
            Some("configfs"),
            MsFlags::empty(),
            None::<&str>,
        ) {
            Ok(()) | Err(nix::Error::EBUSY) => {}
            Err(error) => return Err(Refusal::by_kernel(doing, &error.into())),
        }
    }
    if Path::new(CONFIGFS).join("netconsole").exists() {
        return Ok(());
    }
    let lack = "this kernel has no /sys/kernel/config/netconsole: it was built without CONFIG_NETCONSOLE_DYNAMIC";
    Err(Refusal::ours("setting a target up by configfs", lack))
}
