//! What a scenario's own commands bring into a guest: programs and files of this machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use lastwords_vm::{initramfs::Initramfs, kernel::Kernel, modules::Presence};

use crate::{
    run::{Error, need},
    scenario::{Action, Node, Scenario, step::Run},
};

/// Packs programs, and what they do not say that they need: this program is there already, and modprobe looks for the
/// kernel's modules.
pub(super) fn pack_programs(
    initramfs: &mut Initramfs,
    programs: BTreeSet<&str>,
    kernel: &Kernel,
    modules: &BTreeSet<&str>,
) -> Result<(), Error> {
    for program in programs {
        if program == need::OWN {
            initramfs.symlink(&format!("usr/bin/{program}"), "/init");
            continue;
        }
        initramfs.program(program)?;
        if program == "modprobe" {
            let mut there = Vec::new();
            for name in modules.iter().copied() {
                if need::presence(kernel, name)? != Presence::Absent {
                    there.push(name);
                }
            }
            let closure = kernel.modules.closure(there)?;
            initramfs.modules(&kernel.modules, &closure)?;
        }
    }
    Ok(())
}

/// The programs that the scenario runs on `node`: the commands, and what they need besides.
pub(super) fn programs<'scenario>(
    scenario: &'scenario Scenario,
    node: &Node,
) -> BTreeSet<&'scenario str> {
    runs(scenario, node)
        .flat_map(|run| run.command.first().into_iter().chain(&run.programs))
        .map(String::as_str)
        .collect()
}

/// The files that the scenario copies to `node`: where they go, and where they are.
pub(super) fn files<'scenario>(
    scenario: &'scenario Scenario,
    node: &Node,
) -> BTreeMap<&'scenario str, PathBuf> {
    let folder = scenario.path.parent().unwrap_or(Path::new(""));
    runs(scenario, node)
        .flat_map(|run| &run.files)
        .map(|(there, here)| (there.as_str(), folder.join(here)))
        .collect()
}

/// What runs on `node`.
fn runs<'scenario>(
    scenario: &'scenario Scenario,
    node: &Node,
) -> impl Iterator<Item = &'scenario Run> {
    let steps = scenario
        .steps
        .iter()
        .filter(move |step| scenario.node(step.on).name == node.name);
    steps.filter_map(|step| match &step.action {
        Action::Run(run) => Some(run),
        _ => None,
    })
}

/// A file's mode and content.
pub(super) fn read(path: &Path) -> io::Result<(u32, Vec<u8>)> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    Ok((mode, fs::read(path)?))
}
