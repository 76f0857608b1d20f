//! One frame on one link.

use std::{sync::Arc, time::Duration};

use crate::{lab::PortIndex, scenario::NodeIndex};

/// A frame that was put on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Unique in the lab, from 1, in the order of all links together.
    pub(crate) number: u64,
    /// Since the lab was built, on a clock that only goes forward.
    pub(crate) time: Duration,
    /// Index into the scenario's links.
    pub(crate) link: usize,
    /// Who sent it.
    pub(crate) port: PortIndex,
    /// Whose port that is.
    pub(crate) node: NodeIndex,
    /// Whom the link brought it to.
    pub(crate) to: Vec<PortIndex>,
    pub(crate) origin: Origin,
    /// From the destination's MAC on, without checksum. A guest may send anything, also nothing.
    pub(crate) bytes: Arc<[u8]>,
}

/// Who made a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The kernel under test.
    Guest,
    /// The built-in receiver, answering.
    Observer,
    /// This machine's kernel, for a router or a real receiver.
    Machine,
    /// The harness, in a sender's name.
    Probe,
}
