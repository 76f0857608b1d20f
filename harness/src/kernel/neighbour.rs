//! The way to an address, from the kernel's own route and neighbour tables.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket},
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::{
    RouteNetlinkMessage,
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
    },
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteVia},
};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder, new_multicast_connection};
use tokio::time::timeout;

use crate::{
    kernel::{
        Refusal,
        interface::{connect, errno, is_unicast, name_of_index, netlink},
        request::NextHop,
    },
    netconsole::MacAddress,
};

/// The port of RFC 863, whose service throws away what it gets.
const DISCARD: u16 = 9;

/// Looks the way to `address` up and, if asked, has its next hop resolved by ARP or neighbour discovery, at most `within`.
pub(crate) async fn next_hop(
    address: IpAddr,
    resolve: bool,
    within: Duration,
) -> Result<NextHop, Refusal> {
    let doing = format!("ip route get {address}");
    if !is_unicast(address) {
        return Err(Refusal::ours(doing, "it is no address of a machine"));
    }
    let handle = connect(&doing)?;
    let route = route_to(&handle, address, &doing).await?;
    let index = output_interface(&route)
        .ok_or_else(|| Refusal::ours(&doing, "the route names no interface"))?;
    let gateway = gateway(&route);
    let mac = if resolve {
        let hop = Hop {
            index,
            address: gateway.unwrap_or(address),
        };
        let mac = hop.ask(within).await?;
        Some(mac.ok_or_else(|| hop.silent())?)
    } else {
        None
    };
    let interface = name_of_index(&handle, index, &doing).await?;
    Ok(NextHop {
        interface,
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

/// Neighbour entries as they change.
type Changes = futures_channel::mpsc::UnboundedReceiver<(
    netlink_packet_core::NetlinkMessage<RouteNetlinkMessage>,
    rtnetlink::sys::SocketAddr,
)>;

impl Hop {
    fn doing(&self) -> String {
        format!("ip neighbour get {}", self.address)
    }

    fn silent(&self) -> Refusal {
        Refusal::too_late(self.doing(), "nobody answers for this address")
    }

    /// Asks for its MAC by ARP or neighbour discovery, where it is not known already; none where nobody answers in time.
    pub(crate) async fn ask(&self, within: Duration) -> Result<Option<MacAddress>, Refusal> {
        let opened = new_multicast_connection(&[MulticastGroup::Neigh]);
        let (connection, handle, mut changes) =
            opened.map_err(|error| Refusal::by_kernel(self.doing(), &error))?;
        tokio::spawn(connection);
        match timeout(within, self.mac(&handle, &mut changes)).await {
            Ok(mac) => mac.map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Has the hop resolved and waits for its MAC.
    async fn mac(&self, handle: &Handle, changes: &mut Changes) -> Result<MacAddress, Refusal> {
        // First a look: asking takes an entry that an operator made permanent for one that is not (`__neigh_update`).
        if let Some(mac) = self.known(handle).await? {
            return Ok(mac);
        }
        self.resolve(handle).await?;
        while let Some((message, _)) = changes.next().await {
            if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(neighbour)) =
                message.payload
            {
                match self.read(&neighbour) {
                    Resolution::Mac(mac) => return Ok(mac),
                    // The kernel has given up; a link that comes up late is worth another try.
                    Resolution::Failed => self.resolve(handle).await?,
                    Resolution::Open => {}
                }
            }
        }
        Err(self.silent())
    }

    /// Starts a resolution without sending a packet: what `ip neighbour add … use` asks (NTF_USE,
    /// `net/core/neighbour.c`).
    async fn resolve(&self, handle: &Handle) -> Result<(), Refusal> {
        let request = handle.neighbours().add(self.index, self.address);
        let request = request
            .flags(NeighbourFlags::Use)
            .state(NeighbourState::None);
        match request.replace().execute().await {
            Ok(()) => Ok(()),
            Err(error) if errno(&error) == Some(libc::EPERM) => {
                self.nudge();
                Ok(())
            }
            Err(error) => Err(netlink(&self.doing(), error)),
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

    async fn known(&self, handle: &Handle) -> Result<Option<MacAddress>, Refusal> {
        let mut neighbours = handle.neighbours().get().execute();
        let wrong = |error| netlink(&self.doing(), error);
        while let Some(neighbour) = neighbours.try_next().await.map_err(wrong)? {
            if let Resolution::Mac(mac) = self.read(&neighbour) {
                return Ok(Some(mac));
            }
        }
        Ok(None)
    }

    fn read(&self, neighbour: &NeighbourMessage) -> Resolution {
        let address = address_of_neighbour(neighbour);
        if neighbour.header.ifindex != self.index || address != Some(self.address) {
            return Resolution::Open;
        }
        if neighbour.header.state == NeighbourState::Failed {
            return Resolution::Failed;
        }
        let mac = neighbour
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                NeighbourAttribute::LinkLayerAddress(bytes) => {
                    Some(MacAddress(bytes.as_slice().try_into().ok()?))
                }
                _ => None,
            });
        mac.map_or(Resolution::Open, Resolution::Mac)
    }
}

/// What a neighbour entry says of a hop.
enum Resolution {
    Mac(MacAddress),
    Failed,
    Open,
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

async fn route_to(handle: &Handle, address: IpAddr, doing: &str) -> Result<RouteMessage, Refusal> {
    let query = match address {
        IpAddr::V4(address) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(address, 32)
            .build(),
        IpAddr::V6(address) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(address, 128)
            .build(),
    };
    let answer = handle
        .route()
        .get(query)
        .execute()
        .try_next()
        .await
        .map_err(|error| netlink(doing, error))?;
    answer.ok_or_else(|| Refusal::ours(doing, "there is no route"))
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
