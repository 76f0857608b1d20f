//! The way that a datagram takes over routers, by their routing tables.

use std::net::IpAddr;

use crate::{
    netconsole::MacAddress,
    scenario::{Interface, NodeIndex, Role},
    verdict::{attribution::Heading, scene::Scene},
};

/// How a router sends a datagram on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Passage {
    pub(crate) router: NodeIndex,
    /// The link that it goes out on.
    pub(crate) link: usize,
    pub(crate) source_mac: MacAddress,
    /// None where nobody has the address that it goes to.
    pub(crate) destination_mac: Option<MacAddress>,
}

/// More routers than this a datagram does not pass (`net/core/netpoll.c`: a time to live of 64).
const MOST: usize = 64;

/// The routers that send on a datagram that left its sender so, one after the other.
pub(crate) fn way(scene: &Scene, heading: &Heading) -> Vec<Passage> {
    let address = heading.destination.0;
    let mut passages = Vec::new();
    let mut next = owner_of_mac(scene, heading.link, heading.destination_mac);
    while let Some(router) = next.filter(|node| is_router(scene, *node)) {
        let Some(passage) = passage(scene, router, address).filter(|_| passages.len() < MOST)
        else {
            break;
        };
        passages.push(passage);
        next = passage
            .destination_mac
            .and_then(|mac| owner_of_mac(scene, passage.link, mac));
    }
    passages
}

/// Whether the node forwards.
pub(crate) fn is_router(scene: &Scene, node: NodeIndex) -> bool {
    let node = scene.nodes.get(node.0);
    node.is_some_and(|node| matches!(node.role, Role::Router))
}

/// How `router` sends on what is for `address`; not at all where it is its own, or where it knows no way.
pub(crate) fn passage(scene: &Scene, router: NodeIndex, address: IpAddr) -> Option<Passage> {
    let node = scene.nodes.get(router.0)?;
    let own = || node.interfaces.iter();
    if own().any(|interface| has(interface, address)) {
        return None;
    }
    let near = own().find_map(|interface| {
        let mut subnets = interface.addresses.iter();
        let subnet = subnets.find(|subnet| subnet.contains(&address))?;
        Some((interface, subnet.prefix_len()))
    });
    let route = node.route_to(address);
    let (interface, gateway) = match (near, route) {
        (Some((_, length)), Some(route)) if route.to.prefix_len() > length => {
            (node.interfaces.get(route.interface)?, route.gateway)
        }
        (Some((interface, _)), _) => (interface, address),
        (None, route) => {
            let route = route?;
            (node.interfaces.get(route.interface)?, route.gateway)
        }
    };
    Some(Passage {
        router,
        link: interface.link,
        source_mac: interface.mac,
        destination_mac: interfaces_on(scene, interface.link)
            .find(|(_, interface)| has(interface, gateway))
            .map(|(_, interface)| interface.mac),
    })
}

/// Whether a router knows any way to an address: what comes from one to which it knows none is thrown away, since reverse
/// paths are checked loosely (`ip-sysctl.rst`, `rp_filter`). IPv6 has no such check.
pub(crate) fn knows_a_way(scene: &Scene, router: NodeIndex, address: IpAddr) -> bool {
    address.is_ipv6() || passage(scene, router, address).is_some()
}

/// The interfaces of all nodes on a link.
pub(crate) fn interfaces_on(
    scene: &Scene,
    link: usize,
) -> impl Iterator<Item = (NodeIndex, &Interface)> {
    let nodes = scene.nodes.iter().enumerate();
    nodes.flat_map(move |(index, node)| {
        let interfaces = node.interfaces.iter();
        interfaces
            .filter(move |interface| interface.link == link)
            .map(move |interface| (NodeIndex(index), interface))
    })
}

fn has(interface: &Interface, address: IpAddr) -> bool {
    interface.addresses.iter().any(|own| own.addr() == address)
}

fn owner_of_mac(scene: &Scene, link: usize, mac: MacAddress) -> Option<NodeIndex> {
    interfaces_on(scene, link)
        .find(|(_, interface)| interface.mac == mac)
        .map(|(node, _)| node)
}
