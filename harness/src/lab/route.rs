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
            let mut own = own.addresses.iter();
            own.find(|source| {
                // No router sends on what comes from a link-local address.
                source.addr().is_ipv4() == destination.addr().is_ipv4()
                    && !matches!(source.addr(), IpAddr::V6(source) if source.is_unicast_link_local())
            })
        };
        same_subnet
            .or_else(same_family)
            .map(|source| (source.addr(), destination.addr()))
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        lab::tests::{receiver, sender},
        scenario::node::Nic,
    };

    fn mac(link: usize, host: u8) -> MacAddress {
        MacAddress([2, 0, 10, u8::try_from(link).unwrap(), 0, host])
    }

    /// A node with one interface on each of `links`: on link 1 it has 10.1.0.HOST and fd00:0:0:1::HOST.
    fn node(role: Role, host: u8, links: &[usize]) -> Node {
        let interface = |(number, link): (usize, &usize)| Interface {
            link: *link,
            name: format!("eth{number}"),
            mac: mac(*link, host),
            addresses: vec![
                format!("10.{link}.0.{host}/24").parse().unwrap(),
                format!("fd00:0:0:{link}::{host}/64").parse().unwrap(),
            ],
            nic: Nic::default(),
        };
        Node {
            name: String::new(),
            role,
            interfaces: links.iter().enumerate().map(interface).collect(),
            routes: Vec::new(),
        }
    }

    #[rstest]
    #[case::a_common_link(vec![(sender(), vec![1]), (receiver(), vec![1])], Some((0, mac(1, 2), "10.1.0.1", "10.1.0.2")))]
    #[case::the_second_link(vec![(sender(), vec![1, 2]), (receiver(), vec![2])], Some((1, mac(2, 2), "10.2.0.1", "10.2.0.2")))]
    #[case::a_router(
        vec![(sender(), vec![1]), (receiver(), vec![2]), (Role::Router, vec![1, 2])],
        Some((0, mac(1, 3), "10.1.0.1", "10.2.0.2"))
    )]
    #[case::two_routers(
        vec![(sender(), vec![1]), (receiver(), vec![3]), (Role::Router, vec![2, 3]), (Role::Router, vec![1, 2])],
        Some((0, mac(1, 4), "10.1.0.1", "10.3.0.2"))
    )]
    #[case::a_link_before_a_router(
        vec![(sender(), vec![1, 2]), (receiver(), vec![2, 3]), (Role::Router, vec![1, 3])],
        Some((1, mac(2, 2), "10.2.0.1", "10.2.0.2"))
    )]
    #[case::only_a_machine_that_does_not_forward(vec![(sender(), vec![1]), (receiver(), vec![2]), (receiver(), vec![1, 2])], None)]
    #[case::nothing_in_common(vec![(sender(), vec![1]), (receiver(), vec![2])], None)]
    fn the_first_hop_is_the_nearest(
        #[case] nodes: Vec<(Role, Vec<usize>)>,
        #[case] expected: Option<(usize, MacAddress, &str, &str)>,
    ) {
        let nodes: Vec<Node> = (1..)
            .zip(nodes)
            .map(|(host, (role, links))| node(role, host, &links))
            .collect();
        let expected = expected.map(|(interface, mac, source, destination)| Hop {
            interface,
            mac,
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        });
        assert_eq!(first_hop(&nodes, NodeIndex(0), NodeIndex(1)), expected);
    }

    #[test]
    fn a_common_family_is_taken() {
        let mut nodes = vec![node(sender(), 1, &[1]), node(receiver(), 2, &[1])];
        nodes[1].interfaces[0].addresses.remove(0);
        let hop = first_hop(&nodes, NodeIndex(0), NodeIndex(1)).unwrap();
        assert_eq!(hop.destination.to_string(), "fd00:0:0:1::2");
        nodes[0].interfaces[0].addresses.remove(1);
        assert_eq!(first_hop(&nodes, NodeIndex(0), NodeIndex(1)), None);
    }
}
