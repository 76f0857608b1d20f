//! What is known before the first frame: who stands where, and how frames come in.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use crate::scenario::{Interface, Line, Node, NodeIndex};

/// The lab as a judge has to know it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scene {
    /// Unique to the run; markers and probes carry it.
    pub(crate) token: String,
    /// As in the scenario: addresses, MACs, and the ports that receivers listen on.
    pub(crate) nodes: Vec<Node>,
    /// `uname -r` of each sender.
    pub(crate) releases: BTreeMap<NodeIndex, String>,
    /// Senders on which the scenario runs programs: those may send what they like.
    pub(crate) busy: BTreeSet<NodeIndex>,
    /// Senders that a step makes go through something: their kernel may complain.
    pub(crate) tried: BTreeSet<NodeIndex>,
    /// Every line that is expected anywhere.
    pub(crate) expected: Vec<Line>,
}

/// A frame on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Counts all frames of the lab; the recording has the same number.
    pub(crate) number: u64,
    /// Since the lab's start.
    pub(crate) time: Duration,
    /// Index into the scenario's links.
    pub(crate) link: usize,
    /// Who put it on the link.
    pub(crate) from: NodeIndex,
    pub(crate) bytes: Vec<u8>,
}

impl Scene {
    /// A node's name.
    pub(crate) fn name(&self, node: NodeIndex) -> &str {
        self.nodes.get(node.0).map_or("", |node| &node.name)
    }

    /// Whether the node's kernel is under test.
    pub(crate) fn is_sender(&self, node: NodeIndex) -> bool {
        self.nodes
            .get(node.0)
            .is_some_and(|node| node.sender().is_some())
    }

    /// Whether who put a frame of ARP on its link speaks for itself there (RFC 826: the sender's addresses).
    pub(crate) fn is_own_arp(&self, frame: &Frame) -> bool {
        let Some(node) = self.nodes.get(frame.from.0) else {
            return false;
        };
        let (Some(mac), Some(address)) = (frame.bytes.get(22..28), frame.bytes.get(28..32)) else {
            return false;
        };
        let mut cards = node.interfaces.iter();
        let own = cards.any(|card| card.link == frame.link && card.mac.0 == *mac);
        let mut addresses = node.interfaces.iter().flat_map(|card| &card.addresses);
        let says =
            |net: &ipnet::IpNet| matches!(net.addr(), IpAddr::V4(own) if own.octets() == *address);
        // Who looks whether an address is taken has none yet.
        own && frame.bytes[6..12] == *mac && (address == [0; 4] || addresses.any(says))
    }

    /// A node's interface by its name.
    pub(crate) fn interface(&self, node: NodeIndex, name: &str) -> Option<&Interface> {
        self.nodes
            .get(node.0)?
            .interfaces
            .iter()
            .find(|interface| interface.name == name)
    }
}
