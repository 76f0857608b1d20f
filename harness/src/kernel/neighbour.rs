//! The way to an address, from the kernel's own route and neighbour tables.

use std::{net::IpAddr, time::Duration};

use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::{
    RouteNetlinkMessage,
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
    },
    route::{RouteAddress, RouteAttribute, RouteMessage},
};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder, new_multicast_connection};
use tokio::time::timeout;

use crate::{
    kernel::{
        Refusal,
        interface::{is_unicast, name_of_index, netlink},
        request::NextHop,
    },
    netconsole::MacAddress,
};

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
    let opened = new_multicast_connection(&[MulticastGroup::Neigh]);
    let (connection, handle, mut changes) =
        opened.map_err(|error| Refusal::by_kernel(&doing, &error))?;
    tokio::spawn(connection);
    let route = route_to(&handle, address, &doing).await?;
    let index = output_interface(&route)
        .ok_or_else(|| Refusal::ours(&doing, "the route names no interface"))?;
    let gateway = gateway(&route);
    let mac = if resolve {
        let hop = Hop {
            index,
            address: gateway.unwrap_or(address),
        };
        let wait = hop.mac(&handle, &mut changes);
        let mac = timeout(within, wait).await;
        Some(mac.map_err(|_| hop.silent())??)
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
struct Hop {
    /// Of the interface that leads there.
    index: u32,
    address: IpAddr,
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

    /// Has the hop resolved and waits for its MAC.
    async fn mac(&self, handle: &Handle, changes: &mut Changes) -> Result<MacAddress, Refusal> {
        self.resolve(handle).await?;
        if let Some(mac) = self.known(handle).await? {
            return Ok(mac);
        }
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
        let started = request.replace().execute().await;
        started.map_err(|error| netlink(&self.doing(), error))
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
        let address = neighbour
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
            });
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

async fn route_to(handle: &Handle, address: IpAddr, doing: &str) -> Result<RouteMessage, Refusal> {
    let query = match address {
        IpAddr::V4(address) => RouteMessageBuilder::<std::net::Ipv4Addr>::new()
            .destination_prefix(address, 32)
            .build(),
        IpAddr::V6(address) => RouteMessageBuilder::<std::net::Ipv6Addr>::new()
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

fn output_interface(route: &RouteMessage) -> Option<u32> {
    route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        })
}

fn gateway(route: &RouteMessage) -> Option<IpAddr> {
    route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Gateway(address) => ip(address),
            _ => None,
        })
}

fn source(route: &RouteMessage) -> Option<IpAddr> {
    route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::PrefSource(address) => ip(address),
            _ => None,
        })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}
