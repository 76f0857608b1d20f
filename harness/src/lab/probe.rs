//! A datagram of the harness's own, put on a sender's link as if the sender had sent it.

use std::net::IpAddr;

use etherparse::{PacketBuilder, err::packet::BuildWriteError};

use crate::{
    lab::{Lab, Origin, PortIndex, route},
    netconsole::MacAddress,
    scenario::{Node, NodeIndex},
};

const TTL: u8 = 64;
/// The first of the ports that nobody has for himself (RFC 6335).
const FIRST_EPHEMERAL_PORT: u16 = 49152;
const EPHEMERAL_PORTS: u16 = 16384;

/// Why a probe could not be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    #[error("no way leads from `{from}` to `{to}`")]
    NoWay { from: String, to: String },
    #[error("nobody listens at `{0}`")]
    NotListening(String),
    #[error("cannot build a datagram of {length} bytes")]
    Build {
        length: usize,
        source: BuildWriteError,
    },
}

impl Lab {
    /// Sends `payload` from `from`, a sender, to the first port that `to`, a receiver, listens on; the frame's number.
    ///
    /// Its frame goes over the link like any other, and comes out of [`Lab::next`] as [`Origin::Probe`].
    pub(crate) fn probe(
        &mut self,
        from: NodeIndex,
        to: NodeIndex,
        payload: &[u8],
    ) -> Result<u64, ProbeError> {
        let (sender, receiver) = (&self.nodes[from.0], &self.nodes[to.0]);
        let no_way = || ProbeError::NoWay {
            from: sender.name.clone(),
            to: receiver.name.clone(),
        };
        let hop = route::first_hop(&self.nodes, from, to).ok_or_else(no_way)?;
        let destination_port = listening_port(receiver)?;
        let port = self
            .ports
            .iter()
            .position(|port| port.node == from && port.interface == hop.interface)
            .ok_or_else(no_way)?;
        let macs = (sender.interfaces[hop.interface].mac, hop.mac);
        let udp_ports = (
            FIRST_EPHEMERAL_PORT + self.probes % EPHEMERAL_PORTS,
            destination_port,
        );
        let frame = datagram(macs, (hop.source, hop.destination), udp_ports, payload).map_err(
            |source| ProbeError::Build {
                length: payload.len(),
                source,
            },
        )?;
        self.probes = self.probes.wrapping_add(1);
        Ok(self.put(PortIndex(port), frame.into(), Origin::Probe))
    }
}

/// A port that a real receiver does not listen on, so that its program is not disturbed: the kernel takes the frame, and
/// that it came is all that matters.
fn closed_port(ports: &[u16]) -> u16 {
    const DISCARD: u16 = 9;
    (DISCARD..u16::MAX)
        .find(|port| !ports.contains(port))
        .unwrap_or(DISCARD)
}

fn listening_port(receiver: &Node) -> Result<u16, ProbeError> {
    if receiver.program().is_some() {
        let ports = receiver
            .receiver()
            .map_or(&[][..], |receiver| &receiver.ports);
        return Ok(closed_port(ports));
    }
    let port = receiver
        .receiver()
        .and_then(|receiver| receiver.ports.first());
    port.copied()
        .ok_or_else(|| ProbeError::NotListening(receiver.name.clone()))
}

/// A frame that holds one UDP datagram, from the first of each pair to the second. Both addresses are of one family.
fn datagram(
    macs: (MacAddress, MacAddress),
    addresses: (IpAddr, IpAddr),
    ports: (u16, u16),
    payload: &[u8],
) -> Result<Vec<u8>, BuildWriteError> {
    let ethernet = PacketBuilder::ethernet2(macs.0.0, macs.1.0);
    let ip = match addresses {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            ethernet.ipv4(source.octets(), destination.octets(), TTL)
        }
        (source, destination) => ethernet.ipv6(as_ipv6(source), as_ipv6(destination), TTL),
    };
    let builder = ip.udp(ports.0, ports.1);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload)?;
    Ok(frame)
}

fn as_ipv6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}
