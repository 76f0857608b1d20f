//! Whether a receiver takes a datagram, and if not, why.

use std::{fmt, net::IpAddr};

use crate::{
    netconsole::MacAddress,
    scenario::{Interface, NodeIndex},
    verdict::{attribution::Heading, scene::Scene},
};

/// Why a receiver does not take a datagram that its link carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rejection {
    NotMyMac { is: MacAddress, mine: MacAddress },
    WrongAddress { is: IpAddr },
    WrongPort { is: u16 },
    Tagged { vlan: u16 },
    Corrupted,
}

/// What one receiver does with the datagrams of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reception {
    pub(crate) at: NodeIndex,
    pub(crate) rejection: Option<Rejection>,
}

/// What the receivers on the flow's link do with it.
pub(crate) fn receptions(scene: &Scene, heading: &Heading) -> Vec<Reception> {
    let mut receptions = Vec::new();
    for (index, node) in scene.nodes.iter().enumerate() {
        let at = NodeIndex(index);
        let Some(receiver) = node.receiver().filter(|_| at != heading.from) else {
            continue;
        };
        let on_link = |interface: &&Interface| interface.link == heading.link;
        if let Some(interface) = node.interfaces.iter().find(on_link) {
            receptions.push(Reception {
                at,
                rejection: rejection(interface, &receiver.ports, heading),
            });
        }
    }
    receptions
}

fn rejection(interface: &Interface, ports: &[u16], heading: &Heading) -> Option<Rejection> {
    let (address, port) = heading.destination;
    if let Some(vlan) = heading.vlan {
        Some(Rejection::Tagged { vlan })
    } else if heading.destination_mac != interface.mac
        && heading.destination_mac != MacAddress::BROADCAST
    {
        Some(Rejection::NotMyMac {
            is: heading.destination_mac,
            mine: interface.mac,
        })
    } else if !interface.addresses.iter().any(|own| own.addr() == address) {
        Some(Rejection::WrongAddress { is: address })
    } else if !ports.contains(&port) {
        Some(Rejection::WrongPort { is: port })
    } else {
        None
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMyMac { is, mine } => write!(f, "destination MAC {is} is not its own {mine}"),
            Self::WrongAddress { is } => write!(f, "destination address {is} is not its own"),
            Self::WrongPort { is } => write!(f, "it does not listen on port {is}"),
            Self::Tagged { vlan } => write!(f, "the frame is tagged with VLAN {vlan}"),
            Self::Corrupted => f.write_str("a checksum or a length is wrong"),
        }
    }
}
