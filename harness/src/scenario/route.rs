//! The routing tables of nodes: what does not lie on a link of their own, and who takes it there.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::scenario::Node;

/// An entry of a node's routing table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) to: IpNet,
    /// Invariant: of the same family, and in a subnet of the interface.
    pub(crate) gateway: IpAddr,
    /// Index into the node's interfaces.
    pub(crate) interface: usize,
}

impl Node {
    /// The entry that a packet for `address` follows: the one with the longest prefix.
    pub(crate) fn route_to(&self, address: IpAddr) -> Option<&Route> {
        let fitting = self
            .routes
            .iter()
            .filter(|route| route.to.contains(&address));
        fitting.max_by_key(|route| route.to.prefix_len())
    }
}
