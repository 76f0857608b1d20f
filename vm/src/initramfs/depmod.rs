//! The lists that `modprobe` reads beside the modules, as depmod(8) writes them.

use std::fmt::Write;

use crate::{
    error::Result,
    initramfs::trie::Trie,
    modules::{Module, ModuleTree, info::SoftDependency},
};

/// The lists for some modules of a tree: file name and content.
pub(crate) fn lists(tree: &ModuleTree, modules: &[Module]) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let dependencies = dependencies(modules);
    let aliases = aliases(modules);
    let builtin: String = tree
        .builtin()?
        .iter()
        .map(|name| format!("kernel/{name}.ko\n"))
        .collect();
    let mut trie = Trie::default();
    for (priority, (module, line)) in modules.iter().zip(dependencies.lines()).enumerate() {
        trie.add(module.name.as_ref(), priority, line);
    }
    let dependency_index = trie.to_bytes();
    let mut trie = Trie::default();
    for (priority, (alias, module)) in aliases.iter().enumerate() {
        trie.add(&alias.replace('-', "_"), priority, module.name.as_ref());
    }
    let alias_index = trie.to_bytes();
    let mut trie = Trie::default();
    for name in tree.builtin()? {
        trie.add(name.as_ref(), 0, "");
    }
    let alias_lines = aliases
        .iter()
        .map(|(alias, module)| format!("alias {alias} {}\n", module.name));
    Ok(vec![
        ("modules.dep", dependencies.into_bytes()),
        ("modules.dep.bin", dependency_index),
        (
            "modules.alias",
            alias_lines.collect::<String>().into_bytes(),
        ),
        ("modules.alias.bin", alias_index),
        ("modules.builtin", builtin.into_bytes()),
        ("modules.builtin.bin", trie.to_bytes()),
        ("modules.softdep", soft_dependencies(modules).into_bytes()),
        ("modules.symbols.bin", Trie::default().to_bytes()),
    ])
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

fn aliases(modules: &[Module]) -> Vec<(String, &Module)> {
    let aliases = modules.iter().flat_map(|module| {
        let aliases = module.info.values("alias");
        aliases.map(move |alias| (alias.to_owned(), module))
    });
    aliases.collect()
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
