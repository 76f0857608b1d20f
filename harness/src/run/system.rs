//! What a sender has installed that boots from its own files: kmod, systemd-modules-load, and what their packages bring.

use std::collections::BTreeSet;

use lastwords_vm::{
    initramfs::Initramfs,
    kernel::Kernel,
    modules::{Presence, name::ModuleName},
};

use crate::{
    kernel::request::{StoredFile, StoredKind},
    run::Error,
};

/// The folders that a disk keeps; all else of a sender is as at its first boot.
pub(crate) const KEPT: [&str; 6] = ["/etc", "/home", "/opt", "/root", "/srv", "/var"];

/// Where Debian, Ubuntu and most others have systemd-modules-load.
const MODULES_LOAD: [&str; 2] = [
    "/lib/systemd/systemd-modules-load",
    "/usr/lib/systemd/systemd-modules-load",
];
const MODPROBE: &str = "modprobe";
/// Loaded by systemd itself from 256 on, where no header of the program tells of it.
const LOADED_BY_SYSTEMD: &str = "libkmod.so.2";

/// /etc/modules as Debian's kmod installs it.
const MODULES: &str = "\
# /etc/modules: kernel modules to load at boot time.
#
# This file contains the names of kernel modules that should be loaded
# at boot time, one per line. Lines beginning with \"#\" are ignored.
# Parameters can be specified after the module name.

";

/// Where the programs of a start are in the guest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct System {
    pub(crate) modules_load: String,
    pub(crate) modprobe: String,
}

impl System {
    /// Packs the programs, the modules where they look for them, and the files of their packages.
    pub(crate) fn install(
        initramfs: &mut Initramfs,
        kernel: &Kernel,
        modules: &BTreeSet<&str>,
    ) -> Result<Self, Error> {
        let modprobe = initramfs.program(MODPROBE)?;
        let modules_load = initramfs.program(modules_load())?;
        initramfs.library(LOADED_BY_SYSTEMD)?;
        let mut present = Vec::new();
        for name in modules {
            if kernel.modules.presence(&ModuleName::new(name))? == Presence::Loadable {
                present.push(*name);
            }
        }
        let closure = kernel.modules.closure(present)?;
        initramfs
            .modules(&kernel.modules, &closure)?
            .file("/etc/modules", 0o644, MODULES)
            .symlink("/etc/modules-load.d/modules.conf", "../modules")
            .directory("/etc/modprobe.d", 0o755);
        for folder in KEPT {
            initramfs.directory(folder, 0o755);
        }
        Ok(Self {
            modules_load: modules_load.display().to_string(),
            modprobe: modprobe.display().to_string(),
        })
    }
}

/// What of it this machine lacks: the program, and Debian's package.
pub(crate) fn missing() -> Option<(&'static str, &'static str)> {
    if lastwords_vm::initramfs::find_program(MODPROBE).is_none() {
        return Some((MODPROBE, "kmod"));
    }
    if lastwords_vm::initramfs::find_program(modules_load()).is_none() {
        return Some(("systemd-modules-load", "systemd"));
    }
    None
}

fn modules_load() -> &'static str {
    let found = MODULES_LOAD
        .iter()
        .find(|path| lastwords_vm::initramfs::find_program(path).is_some());
    found.unwrap_or(&MODULES_LOAD[0])
}

/// Puts the files that a disk has kept in place of those that were installed.
pub(crate) fn restore(initramfs: &mut Initramfs, files: &[StoredFile]) {
    for folder in KEPT {
        initramfs.remove(folder);
    }
    for StoredFile { path, kind } in files {
        match kind {
            StoredKind::File { mode, bytes } => initramfs.file(path, *mode, bytes.to_vec()),
            StoredKind::Folder { mode } => initramfs.directory(path, *mode),
            StoredKind::Link { target } => initramfs.symlink(path, target),
        };
    }
}
