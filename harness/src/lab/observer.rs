//! The IP endpoint of the built-in receiver on one of its links: it answers ARP, neighbour solicitation and echo.
//!
//! It answers through its gateway, where it has one, what came over routers. It answers what a machine would answer to a datagram for a port where nobody listens, too. What arrives is not its
//! business: the lab shows every frame to the verdict.

mod cable;

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use ipnet::IpNet;
use smoltcp::{
    iface::{Config, Interface as Endpoint, SocketSet},
    time::Instant,
    wire::{EthernetAddress, IpCidr},
};

use crate::{
    lab::observer::cable::Cable,
    netconsole::MacAddress,
    scenario::{Interface, Route},
};

/// The prefix length of link-local addresses.
const LINK_LOCAL_PREFIX: u8 = 64;

/// The IP endpoint of the built-in receiver on one of its links.
pub(crate) struct Observer {
    endpoint: Endpoint,
    cable: Cable,
    /// Nobody listens in smoltcp: the verdict reads the frames themselves.
    sockets: SocketSet<'static>,
    mac: MacAddress,
    ports: Vec<u16>,
    /// What could not be answered, since whoever gets the answer was asked for its MAC first.
    unanswered: Option<Vec<u8>>,
}

/// Addresses that no machine can have.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObserverError {
    #[error("{0} is an address of many machines")]
    GroupMac(MacAddress),
    #[error("{0} is an address of many machines, or of none")]
    NotUnicast(IpAddr),
    #[error("{0} addresses are more than the observer can have on one link\n(at most 7)")]
    TooManyAddresses(usize),
    #[error("{0} routes are more than the observer can have on one link\n(at most 16)")]
    TooManyRoutes(usize),
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer")
            .field("mac", &self.mac)
            .field("addresses", &self.endpoint.ip_addrs())
            .finish_non_exhaustive()
    }
}

impl Observer {
    /// The endpoint at `interface`, where somebody listens on the UDP ports `ports`.
    pub(crate) fn new(
        interface: &Interface,
        routes: &[Route],
        ports: &[u16],
    ) -> Result<Self, ObserverError> {
        let mac = interface.mac;
        if mac.is_group() {
            return Err(ObserverError::GroupMac(mac));
        }
        let mut cable = Cable::default();
        let config = Config::new(EthernetAddress(mac.0).into());
        let mut endpoint = Endpoint::new(config, &mut cable, Instant::ZERO);
        let addresses = addresses(interface)?;
        let mut all_fit = true;
        endpoint.update_ip_addrs(|own| {
            all_fit = addresses.iter().all(|address| own.push(*address).is_ok());
        });
        if !all_fit {
            return Err(ObserverError::TooManyAddresses(interface.addresses.len()));
        }
        endpoint.routes_mut().update(|table| {
            let mut entries = routes.iter().map(entry);
            all_fit = entries.all(|entry| table.push(entry).is_ok());
        });
        if !all_fit {
            return Err(ObserverError::TooManyRoutes(routes.len()));
        }
        Ok(Self {
            endpoint,
            cable,
            sockets: SocketSet::new(Vec::new()),
            mac,
            ports: ports.to_vec(),
            unanswered: None,
        })
    }

    /// Takes a frame from the link and gives those that answer it.
    pub(crate) fn receive(&mut self, frame: &[u8], time: Duration) -> Vec<Vec<u8>> {
        if !self.may_answer(frame) {
            return Vec::new();
        }
        let answers = self.answer(frame, time);
        if answers.iter().any(|answer| asks_for_a_mac(answer)) {
            self.unanswered = Some(frame.to_vec());
        } else if is_about_a_mac(frame)
            && let Some(unanswered) = self.unanswered.take()
        {
            return [answers, self.receive(&unanswered, time)].concat();
        }
        answers
    }

    /// smoltcp's answers. Where it does not know the MAC of whom it answers, it asks for that and forgets the question.
    fn answer(&mut self, frame: &[u8], time: Duration) -> Vec<Vec<u8>> {
        self.cable.incoming = Some(frame.to_vec());
        let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        self.endpoint.poll(
            Instant::from_micros(micros),
            &mut self.cable,
            &mut self.sockets,
        );
        std::mem::take(&mut self.cable.outgoing)
    }

    /// Whether smoltcp is to see a frame. It would refuse each datagram, since it holds no socket; a machine refuses
    /// those for a closed port only, and none that was sent to many or is a part of one.
    fn may_answer(&self, frame: &[u8]) -> bool {
        let Ok(packet) = SlicedPacket::from_ethernet(frame) else {
            return false;
        };
        let is_fragment = match &packet.net {
            Some(NetSlice::Ipv4(ip)) => ip.header().is_fragmenting_payload(),
            Some(NetSlice::Ipv6(ip)) => ip.is_payload_fragmented(),
            Some(NetSlice::Arp(_)) | None => false,
        };
        match packet.transport {
            Some(TransportSlice::Udp(udp)) => {
                frame.starts_with(&self.mac.0) && !self.ports.contains(&udp.destination_port())
            }
            _ => !is_fragment,
        }
    }
}

/// ARP's operation, or the type of a message of neighbour discovery.
fn of_a_mac(frame: &[u8]) -> Option<u8> {
    const ARP: [u8; 2] = [0x08, 0x06];
    const IPV6: [u8; 2] = [0x86, 0xdd];
    match frame.get(12..14)?.try_into().ok()? {
        ARP => frame.get(21).copied(),
        IPV6 if frame.get(20) == Some(&58) => frame.get(54).copied(),
        _ => None,
    }
}

/// An ARP request, or a neighbour solicitation.
fn asks_for_a_mac(frame: &[u8]) -> bool {
    matches!(of_a_mac(frame), Some(1 | 135))
}

/// An ARP reply, or a neighbour advertisement.
fn is_about_a_mac(frame: &[u8]) -> bool {
    matches!(of_a_mac(frame), Some(2 | 136))
}

fn entry(route: &Route) -> smoltcp::iface::Route {
    smoltcp::iface::Route {
        cidr: IpCidr::new(route.to.addr().into(), route.to.prefix_len()),
        via_router: route.gateway.into(),
        preferred_until: None,
        expires_at: None,
    }
}

/// The addresses of an interface, and the link-local one that follows from its MAC.
fn addresses(interface: &Interface) -> Result<Vec<IpCidr>, ObserverError> {
    let link_local = IpNet::new(link_local(interface.mac).into(), LINK_LOCAL_PREFIX);
    let mut addresses = Vec::new();
    for net in interface.addresses.iter().copied().chain(link_local) {
        let address = net.addr();
        let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
        if address.is_multicast() || address.is_unspecified() || is_broadcast {
            return Err(ObserverError::NotUnicast(address));
        }
        let address = IpCidr::new(address.into(), net.prefix_len());
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// `fe80::` and the EUI-64 of `mac`, as a kernel makes it by itself.
pub(crate) fn link_local(mac: MacAddress) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from([
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        a ^ 2,
        b,
        c,
        0xff,
        0xfe,
        d,
        e,
        f,
    ])
}

#[cfg(test)]
mod tests;
