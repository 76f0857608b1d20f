//! Scenarios: the file as written, the file as meant, and its errors with their places.
//!
//! The types here are the file as meant: names are resolved, defaults filled in, and what cannot be is not
//! representable. Pure: the text of a file comes in, nothing is opened.

pub(crate) mod cause;
pub(crate) mod expectation;
pub(crate) mod link;
mod matrix;
mod meaning;
pub(crate) mod mistake;
pub(crate) mod needs;
pub(crate) mod node;
pub(crate) mod place;
pub(crate) mod program;
mod read;
pub(crate) mod route;
pub(crate) mod schema;
pub(crate) mod step;
pub(crate) mod target;
mod tree;
mod written;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use toml::de::DeTable;

use crate::scenario::mistake::Mistakes;

pub(crate) use expectation::{Absent, Expect, Line, Lines, Order, Pattern};
pub(crate) use link::Link;
pub(crate) use mistake::Mistake;
pub(crate) use needs::{Known, Needs};
pub(crate) use node::{Interface, Node, NodeIndex, Role};
pub(crate) use place::Place;
pub(crate) use program::{Program, ProgramName};
pub(crate) use route::Route;
pub(crate) use step::{Action, Step};
pub(crate) use target::{RemoteMac, Target, Via};

/// One scenario as it is run: one combination of its file's matrix.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scenario {
    /// The file that it came from, as the user named it.
    pub(crate) path: PathBuf,
    /// `smoke/floppy`, or `smoke/floppy[via=modprobe,nic=e1000]` where the file has a matrix.
    pub(crate) name: String,
    pub(crate) title: String,
    /// Invariant: at least one sender and one receiver.
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: Vec<Link>,
    /// In the order in which they are set up, before the first step.
    pub(crate) targets: Vec<Target>,
    pub(crate) needs: Needs,
    pub(crate) known: Vec<Known>,
    pub(crate) steps: Vec<Step>,
}

impl Scenario {
    /// The node at `index`.
    pub(crate) fn node(&self, index: NodeIndex) -> &Node {
        &self.nodes[index.0]
    }

    /// The senders on which programs run.
    pub(crate) fn busy(&self) -> impl Iterator<Item = NodeIndex> {
        let runs = |step: &&Step| matches!(step.action, Action::Run(_));
        self.steps.iter().filter(runs).map(|step| step.on)
    }

    /// The senders whose kernel is made to go through something.
    pub(crate) fn tried(&self) -> impl Iterator<Item = NodeIndex> {
        let ordeals = self.steps.iter().filter(|step| step.action.is_ordeal());
        ordeals.map(|step| step.on)
    }

    /// Every line that is expected anywhere.
    pub(crate) fn expected(&self) -> impl Iterator<Item = &Line> {
        self.steps.iter().flat_map(|step| match &step.action {
            Action::Expect(expect) => &expect.lines[..],
            _ => &[],
        })
    }

    /// Whether the sender `node` is a machine that boots from its own files: it has targets that a boot makes, it is booted
    /// again, or its files in /etc are written.
    pub(crate) fn boots(&self, node: NodeIndex) -> bool {
        let by_target = self
            .targets
            .iter()
            .any(|target| target.on == node && target.via.is_booted());
        let sender = self.node(node).sender();
        let cmdline = sender.and_then(|sender| sender.cmdline.as_deref());
        let by_cmdline = cmdline.is_some_and(|words| words.contains("netconsole"));
        let by_step = self.steps.iter().any(|step| {
            step.on == node
                && match &step.action {
                    Action::Reboot => true,
                    Action::Write(write) => write.path.starts_with("/etc/"),
                    _ => false,
                }
        });
        by_target || by_cmdline || by_step
    }

    /// A path in the scenario's file, which starts at that file's folder.
    pub(crate) fn path_of(&self, path: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    /// Where the expectations at a real receiver look, the wire aside.
    pub(crate) fn sources(&self, at: NodeIndex) -> BTreeSet<expectation::Source> {
        let sources = self.steps.iter().filter_map(|step| match &step.action {
            Action::Expect(expect) if expect.at == at => Some(&expect.source),
            Action::Absent(absent) if absent.at == at => Some(&absent.source),
            _ => None,
        });
        let sources = sources.filter(|source| **source != expectation::Source::Wire);
        sources.cloned().collect()
    }

    /// The kernel modules that a guest must have: those of steps and needs, and netconsole where there is a target.
    pub(crate) fn modules(&self) -> BTreeSet<&str> {
        let steps = self.steps.iter().filter_map(|step| step.action.module());
        let netconsole = (!self.targets.is_empty()).then_some("netconsole");
        steps
            .chain(self.needs.module.iter().map(String::as_str))
            .chain(netconsole)
            .collect()
    }
}

/// The scenarios in `text`, the file `path`, called `name`: one for each case of its matrix. Or all of its mistakes, in
/// the file's order.
///
/// A mistake in TOML's own syntax hides what the keys mean, so then only those mistakes are told.
pub(crate) fn parse(path: &Path, name: &str, text: &str) -> Result<Vec<Scenario>, Vec<Mistake>> {
    let mut mistakes = Mistakes::new(text);
    let (file, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        mistakes.add(Mistake::of_syntax(error, text));
    }
    if !mistakes.is_empty() {
        return Err(mistakes.into_sorted());
    }
    let cases = matrix::cases(&file, &mut mistakes);
    let mut scenarios = Vec::new();
    let mut by_case = Vec::new();
    for case in &cases {
        let mut found = Mistakes::new(text);
        let tree = tree::grow(&file, case, &mut found);
        let written = read::read::<written::File>(&tree, &mut found);
        let name = format!("{name}{}", case.name());
        scenarios.extend(
            written.and_then(|written| meaning::mean(&written.value, path, name, &mut found)),
        );
        by_case.push((case.name(), found.into_sorted()));
    }
    mistakes.absorb(by_case);
    if mistakes.is_empty() {
        Ok(scenarios)
    } else {
        Err(mistakes.into_sorted())
    }
}

#[cfg(test)]
mod tests;
