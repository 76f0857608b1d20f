//! Which way a datagram goes from one node to another.
//!
//! Pure: nodes in, the first hop out.

use std::{
    collections::{BTreeSet, VecDeque},
    net::IpAddr,
};

use crate::{
    netconsole::MacAddress,
    scenario::{Interface, Node, NodeIndex, Role},
};

/// The first hop of a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hop {
    /// Index into the sending node's interfaces.
    pub(crate) interface: usize,
    /// The neighbour's: the receiver's on a common link, else a router's.
    pub(crate) mac: MacAddress,
    pub(crate) source: IpAddr,
    /// The receiver's.
    pub(crate) destination: IpAddr,
}

/// The first hop of the shortest way between two nodes, over routers where they have no link in common.
pub(crate) fn first_hop(nodes: &[Node], from: NodeIndex, to: NodeIndex) -> Option<Hop> {
    let mut visited = BTreeSet::from([from]);
    let mut pending: VecDeque<(NodeIndex, Option<(usize, MacAddress)>)> =
        VecDeque::from([(from, None)]);
    while let Some((here, first)) = pending.pop_front() {
        for (index, interface) in nodes[here.0].interfaces.iter().enumerate() {
            for (neighbour, theirs) in neighbours(nodes, here, interface.link) {
                let (own, mac) = first.unwrap_or((index, theirs.mac));
                if neighbour == to
                    && let Some((source, destination)) =
                        pair(&nodes[from.0].interfaces[own], theirs)
                {
                    return Some(Hop {
                        interface: own,
                        mac,
                        source,
                        destination,
                    });
                }
                if matches!(nodes[neighbour.0].role, Role::Router) && visited.insert(neighbour) {
                    pending.push_back((neighbour, Some((own, mac))));
                }
            }
        }
    }
    None
}

fn neighbours(
    nodes: &[Node],
    here: NodeIndex,
    link: usize,
) -> impl Iterator<Item = (NodeIndex, &Interface)> {
    nodes
        .iter()
        .enumerate()
        .map(|(index, node)| (NodeIndex(index), node))
        .filter(move |(index, _)| *index != here)
        .flat_map(move |(index, node)| {
            node.interfaces
                .iter()
                .filter(move |interface| interface.link == link)
                .map(move |theirs| (index, theirs))
        })
}

/// Two addresses of the same family, those of the first subnet that has them.
fn pair(own: &Interface, theirs: &Interface) -> Option<(IpAddr, IpAddr)> {
    theirs.addresses.iter().find_map(|destination| {
        let same_subnet = own
            .addresses
            .iter()
            .find(|source| source.contains(&destination.addr()));
        let same_family = || {
            own.addresses
                .iter()
                .find(|source| source.addr().is_ipv4() == destination.addr().is_ipv4())
        };
        same_subnet
            .or_else(same_family)
            .map(|source| (source.addr(), destination.addr()))
    })
}
