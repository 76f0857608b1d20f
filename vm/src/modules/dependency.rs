//! The order in which modules load: what a module needs, the module, what it would like to see loaded after it.

use std::collections::BTreeSet;

use crate::{
    error::Result,
    modules::{Module, ModuleTree, Presence, info::SoftDependency, name::ModuleName},
};

/// A walk over the dependencies of modules.
pub(crate) struct Walk<'a> {
    tree: &'a ModuleTree,
    seen: BTreeSet<ModuleName>,
    modules: Vec<Module>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(tree: &'a ModuleTree) -> Self {
        Self {
            tree,
            seen: BTreeSet::new(),
            modules: Vec::new(),
        }
    }

    /// Adds a module behind all that it needs. A module that is on its way already is not waited for, so a circle ends.
    pub(crate) fn visit(&mut self, name: &ModuleName) -> Result<()> {
        if self.tree.presence(name)? == Presence::BuiltIn || !self.seen.insert(name.clone()) {
            return Ok(());
        }
        let module = self.tree.module(name)?;
        let after = module.info.soft_depends(SoftDependency::After);
        for wish in module.info.soft_depends(SoftDependency::Before) {
            self.visit_if_there(&wish)?;
        }
        for need in module.info.depends() {
            self.visit(&need)?;
        }
        self.modules.push(module);
        for wish in after {
            self.visit_if_there(&wish)?;
        }
        Ok(())
    }

    fn visit_if_there(&mut self, name: &ModuleName) -> Result<()> {
        if self.tree.presence(name)? == Presence::Absent {
            return Ok(());
        }
        self.visit(name)
    }

    pub(crate) fn into_modules(self) -> Vec<Module> {
        self.modules
    }
}
