//! Scenarios: the file as written, the file as meant, and its errors with their places.
//!
//! The types here are the file as meant: names are resolved, defaults filled in, and what cannot be is not
//! representable. Pure: the text of a file comes in, nothing is opened.

pub(crate) mod expectation;
pub(crate) mod link;
pub(crate) mod needs;
pub(crate) mod node;
pub(crate) mod place;
pub(crate) mod step;
pub(crate) mod target;

use std::path::PathBuf;

pub(crate) use expectation::{Absent, Expect, Line, Lines, Order, Pattern};
pub(crate) use link::Link;
pub(crate) use needs::{Known, Needs};
pub(crate) use node::{Interface, Node, NodeIndex, Role};
pub(crate) use place::Place;
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
}
