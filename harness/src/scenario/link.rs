//! The Ethernet segments of a scenario.

use ipnet::IpNet;

use crate::scenario::NodeIndex;

/// One Ethernet segment. With more than two nodes it is a small switch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Link {
    /// Invariant: at least one; no two of a scenario's links overlap.
    pub(crate) subnets: Vec<IpNet>,
    /// In the file's order, which is the order of the addresses: .1, .2, …
    pub(crate) nodes: Vec<NodeIndex>,
}
