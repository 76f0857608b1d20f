//! The lists that `modprobe` reads beside the modules, as depmod(8) writes them in their text form.

use std::fmt::Write;

use crate::modules::{Module, info::SoftDependency};

/// The lists for some modules: file name and text.
pub(crate) fn lists(modules: &[Module]) -> [(&'static str, String); 3] {
    [
        ("modules.dep", dependencies(modules)),
        ("modules.alias", aliases(modules)),
        ("modules.softdep", soft_dependencies(modules)),
    ]
}

/// One line for each module: its path, then all that it needs, the nearest first.
fn dependencies(modules: &[Module]) -> String {
    let mut text = String::new();
    for module in modules {
        let _ = write!(text, "{}:", module.below.display());
        let mut needed: Vec<&Module> = Vec::new();
        collect(module, modules, &mut needed);
        for need in needed {
            let _ = write!(text, " {}", need.below.display());
        }
        text.push('\n');
    }
    text
}

/// Adds what a module needs, so that each stands before what it needs itself.
fn collect<'a>(module: &Module, modules: &'a [Module], needed: &mut Vec<&'a Module>) {
    let mut open: Vec<&Module> = find(module, modules).collect();
    while !open.is_empty() {
        let mut next = Vec::new();
        for need in open {
            // A need of a need moves to the end, which is where modprobe starts.
            let was = needed.iter().position(|known| known.name == need.name);
            if needed.len() > modules.len() {
                return;
            }
            if let Some(was) = was {
                needed.remove(was);
            } else {
                next.extend(find(need, modules));
            }
            needed.push(need);
        }
        open = next;
    }
}

fn find<'a>(module: &Module, modules: &'a [Module]) -> impl Iterator<Item = &'a Module> {
    let names: Vec<_> = module.info.depends().collect();
    modules
        .iter()
        .filter(move |candidate| names.contains(&candidate.name))
}

fn aliases(modules: &[Module]) -> String {
    let mut text = String::new();
    for module in modules {
        for alias in module.info.values("alias") {
            let _ = writeln!(text, "alias {alias} {}", module.name);
        }
    }
    text
}

fn soft_dependencies(modules: &[Module]) -> String {
    let mut text = String::new();
    for module in modules {
        let before = module.info.soft_depends(SoftDependency::Before);
        let after = module.info.soft_depends(SoftDependency::After);
        if before.is_empty() && after.is_empty() {
            continue;
        }
        let _ = write!(text, "softdep {}", module.name);
        for (when, names) in [("pre:", before), ("post:", after)] {
            if !names.is_empty() {
                let _ = write!(text, " {when}");
            }
            for name in names {
                let _ = write!(text, " {name}");
            }
        }
        text.push('\n');
    }
    text
}
