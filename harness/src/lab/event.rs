//! What a lab tells of itself.

use crate::{
    lab::{Frame, PortIndex, wire::WireError},
    scenario::NodeIndex,
};

/// What happened in a lab.
#[derive(Debug)]
pub(crate) enum Event {
    /// A frame was put on a link.
    Frame(Frame),
    /// A guest's end of a wire was closed: its QEMU has ended. Comes once for each port that was plugged in.
    PortClosed { node: NodeIndex },
    /// A guest's wire brought what no QEMU sends; its port is closed.
    Fault(Fault),
}

/// A guest's wire that cannot be read on.
#[derive(Debug, thiserror::Error)]
#[error("the wire of `{name}` cannot be read on")]
pub(crate) struct Fault {
    /// `box:eth0`.
    pub(crate) name: String,
    pub(crate) port: PortIndex,
    pub(crate) node: NodeIndex,
    pub(crate) source: WireError,
}
