//! Loading and unloading modules, as `modprobe` and `rmmod` do.

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs::{self, File},
    io,
    path::PathBuf,
};

use nix::kmod::{DeleteModuleFlags, ModuleInitFlags, delete_module, finit_module};

use crate::kernel::Refusal;

/// The modules that can be loaded: for each by its name, the files in load order, itself last.
pub(crate) struct Modules {
    folder: PathBuf,
    closures: BTreeMap<String, Vec<String>>,
}

impl Modules {
    pub(crate) fn new(folder: PathBuf, closures: BTreeMap<String, Vec<String>>) -> Self {
        Self { folder, closures }
    }

    /// Loads `name` with `parameters`, and before it what it depends on. False when it was there already or is built
    /// into the kernel.
    pub(crate) fn load(&mut self, name: &str, parameters: &str) -> Result<bool, Refusal> {
        let doing = || {
            format!("modprobe {name} {parameters}")
                .trim_end()
                .to_owned()
        };
        let Some(files) = self.closures.get(&underscored(name)) else {
            return Err(Refusal {
                errno: Some("ENOENT".to_owned()),
                ..Refusal::ours(doing(), "no such module was packed")
            });
        };
        let Some((own, dependencies)) = files.split_last() else {
            return Ok(false);
        };
        for file in dependencies {
            self.insert(file, "")
                .map_err(|error| Refusal::by_kernel(doing(), &error))?;
        }
        self.insert(own, parameters)
            .map_err(|error| Refusal::by_kernel(doing(), &error))
    }

    fn insert(&self, file: &str, parameters: &str) -> io::Result<bool> {
        if is_live(file) {
            return Ok(false);
        }
        let parameters = CString::new(parameters)?;
        let module = File::open(self.folder.join(file))?;
        match finit_module(module, &parameters, ModuleInitFlags::empty()) {
            Ok(()) => Ok(true),
            Err(nix::Error::EEXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// `rmmod name`.
    pub(crate) fn unload(&mut self, name: &str, if_loaded: bool) -> Result<(), Refusal> {
        let refusal =
            |error: nix::Error| Refusal::by_kernel(format!("rmmod {name}"), &error.into());
        let name = CString::new(underscored(name)).map_err(|_| refusal(nix::Error::EINVAL))?;
        match delete_module(&name, DeleteModuleFlags::O_NONBLOCK) {
            Err(nix::Error::ENOENT) if if_loaded => Ok(()),
            other => other.map_err(refusal),
        }
    }
}

/// Whether the module in `file` is loaded and ready: modprobe, too, looks there first (`kmod_module_get_initstate` of
/// libkmod). The kernel says so only when it has read the file and verified its signature, which takes 12 ms for configfs
/// in an emulated guest.
fn is_live(file: &str) -> bool {
    let name = underscored(file.trim_end_matches(".ko"));
    fs::read_to_string(format!("/sys/module/{name}/initstate"))
        .is_ok_and(|state| state.trim_end() == "live")
}

/// The kernel's spelling: a module's name has underscores where its file may have dashes.
pub(crate) fn underscored(name: &str) -> String {
    name.replace('-', "_")
}
