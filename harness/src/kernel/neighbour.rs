//! The way to an address, from the kernel's own route and neighbour tables.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket},
    time::{Duration, Instant},
};

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
    },
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteType, RouteVia},
};
use rtnetlink::{MulticastGroup, RouteMessageBuilder};

use crate::{
    kernel::{
        Refusal,
        interface::{is_unicast, name_of_index},
        request::NextHop,
    },
    netconsole::MacAddress,
    netlink::Netlink,
};

/// The port of RFC 863, whose service throws away what it gets.
const DISCARD: u16 = 9;

/// Looks the way to `address` up and, if asked, has its next hop resolved by ARP or neighbour discovery, at most `within`.
pub(crate) fn next_hop(
    address: IpAddr,
    resolve: bool,
    within: Duration,
) -> Result<NextHop, Refusal> {
    let doing = format!("ip route get {address}");
    if !is_unicast(address) {
        return Err(Refusal::ours(doing, "it is no address of a machine"));
    }
    let wrong = |error: io::Error| Refusal::by_kernel(&doing, &error);
    let mut netlink = Netlink::new(&[MulticastGroup::Neigh]).map_err(wrong)?;
    let route = route_to(&mut netlink, address).map_err(wrong)?;
    let route = route.ok_or_else(|| Refusal::ours(&doing, "there is no route"))?;
    let index = output_interface(&route)
        .ok_or_else(|| Refusal::ours(&doing, "the route names no interface"))?;
    let gateway = gateway(&route);
    let mac = if resolve {
        let hop = Hop {
            index,
            address: gateway.unwrap_or(address),
        };
        let mac = hop.resolved(&mut netlink, within)?;
        Some(mac.ok_or_else(|| hop.silent())?)
    } else {
        None
    };
    Ok(NextHop {
        interface: name_of_index(index).map_err(wrong)?,
        source: source(&route),
        gateway,
        mac,
    })
}

/// The machine that a packet goes to first.
pub(crate) struct Hop {
    /// Of the interface that leads there.
    pub(crate) index: u32,
    pub(crate) address: IpAddr,
}

impl Hop {
    fn doing(&self) -> String {
        format!("ip neighbour get {}", self.address)
    }

    fn silent(&self) -> Refusal {
        Refusal::too_late(self.doing(), "nobody answers for this address")
    }

    /// Asks for its MAC by ARP or neighbour discovery, where it is not known already; none where nobody answers in time.
    ///
    /// The thread waits.
    pub(crate) fn ask(&self, within: Duration) -> Result<Option<MacAddress>, Refusal> {
        let opened = Netlink::new(&[MulticastGroup::Neigh]);
        let mut netlink = opened.map_err(|error| Refusal::by_kernel(self.doing(), &error))?;
        self.resolved(&mut netlink, within)
    }

    /// The same, on a connection that hears of neighbours.
    fn resolved(
        &self,
        netlink: &mut Netlink,
        within: Duration,
    ) -> Result<Option<MacAddress>, Refusal> {
        match self.mac(netlink, Instant::now() + within) {
            Ok(mac) => Ok(Some(mac)),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(None),
            Err(error) => Err(Refusal::by_kernel(self.doing(), &error)),
        }
    }

    /// Has the hop resolved and waits for its MAC.
    fn mac(&self, netlink: &mut Netlink, deadline: Instant) -> io::Result<MacAddress> {
        // First a look: asking takes an entry that an operator made permanent for one that is not (`__neigh_update`).
        if let Some(mac) = self.known(netlink)? {
            return Ok(mac);
        }
        self.resolve(netlink)?;
        loop {
            let RouteNetlinkMessage::NewNeighbour(neighbour) = netlink.next(deadline)? else {
                continue;
            };
            match self.read(&neighbour) {
                Resolution::Mac(mac) => return Ok(mac),
                // The kernel has given up; a link that comes up late is worth another try.
                Resolution::Failed => self.resolve(netlink)?,
                Resolution::Open => {}
            }
        }
    }

    /// Starts a resolution without sending a packet: what `ip neighbour add … use` asks (NTF_USE,
    /// `net/core/neighbour.c`).
    fn resolve(&self, netlink: &mut Netlink) -> io::Result<()> {
        let mut entry = NeighbourMessage::default();
        entry.header.family = self.family();
        entry.header.ifindex = self.index;
        entry.header.state = NeighbourState::None;
        entry.header.flags = NeighbourFlags::Use;
        entry.header.kind = RouteType::Unspec;
        let address = match self.address {
            IpAddr::V4(address) => NeighbourAddress::Inet(address),
            IpAddr::V6(address) => NeighbourAddress::Inet6(address),
        };
        let destination = NeighbourAttribute::Destination(address);
        entry.attributes.push(destination);
        let question = RouteNetlinkMessage::NewNeighbour(entry);
        match netlink.ask(question, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE) {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                self.nudge();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn family(&self) -> AddressFamily {
        match self.address {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        }
    }

    /// Starts a resolution as an ordinary user can: by an empty datagram, for which the kernel needs the MAC.
    fn nudge(&self) {
        let (any, to): (SocketAddr, SocketAddr) = match self.address {
            IpAddr::V4(address) => ((Ipv4Addr::UNSPECIFIED, 0).into(), (address, DISCARD).into()),
            IpAddr::V6(address) => (
                (Ipv6Addr::UNSPECIFIED, 0).into(),
                SocketAddrV6::new(address, DISCARD, 0, self.index).into(),
            ),
        };
        // Where it cannot be sent nobody will answer, which is said in time.
        let _ = UdpSocket::bind(any).and_then(|socket| socket.send_to(&[], to));
    }

    fn known(&self, netlink: &mut Netlink) -> io::Result<Option<MacAddress>> {
        let mut all = NeighbourMessage::default();
        all.header.family = self.family();
        let entries = netlink.ask(RouteNetlinkMessage::GetNeighbour(all), NLM_F_DUMP)?;
        Ok(entries.iter().find_map(|entry| match entry {
            RouteNetlinkMessage::NewNeighbour(neighbour) => match self.read(neighbour) {
                Resolution::Mac(mac) => Some(mac),
                _ => None,
            },
            _ => None,
        }))
    }

    fn read(&self, neighbour: &NeighbourMessage) -> Resolution {
        let address = address_of_neighbour(neighbour);
        if neighbour.header.ifindex != self.index || address != Some(self.address) {
            return Resolution::Open;
        }
        if neighbour.header.state == NeighbourState::Failed {
            return Resolution::Failed;
        }
        mac_of_neighbour(neighbour).map_or(Resolution::Open, Resolution::Mac)
    }
}

/// What a neighbour entry says of a hop.
enum Resolution {
    Mac(MacAddress),
    Failed,
    Open,
}

/// The MAC that an entry gives, where it is an Ethernet address.
pub(crate) fn mac_of_neighbour(neighbour: &NeighbourMessage) -> Option<MacAddress> {
    neighbour
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                Some(MacAddress(bytes.as_slice().try_into().ok()?))
            }
            _ => None,
        })
}

/// The IP address that an entry is about.
pub(crate) fn address_of_neighbour(neighbour: &NeighbourMessage) -> Option<IpAddr> {
    neighbour
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => {
                Some(IpAddr::from(*address))
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => {
                Some(IpAddr::from(*address))
            }
            _ => None,
        })
}

fn route_to(netlink: &mut Netlink, address: IpAddr) -> io::Result<Option<RouteMessage>> {
    let query = match address {
        IpAddr::V4(address) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(address, 32)
            .build(),
        IpAddr::V6(address) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(address, 128)
            .build(),
    };
    let answers = netlink.ask(RouteNetlinkMessage::GetRoute(query), 0)?;
    Ok(answers.into_iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewRoute(route) => Some(route),
        _ => None,
    }))
}

pub(crate) fn output_interface(route: &RouteMessage) -> Option<u32> {
    route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        })
}

pub(crate) fn gateway(route: &RouteMessage) -> Option<IpAddr> {
    route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Gateway(address) => ip(address),
            // IPv4 by a gateway that is known by its IPv6 address.
            RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
            _ => None,
        })
}

pub(crate) fn source(route: &RouteMessage) -> Option<IpAddr> {
    route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::PrefSource(address) => ip(address),
            _ => None,
        })
}

pub(crate) fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}
