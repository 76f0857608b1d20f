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

/// Looks the way to `address` up, and has its next hop resolved by ARP or neighbour discovery, at most `within`.
pub(crate) async fn next_hop(address: IpAddr, within: Duration) -> Result<NextHop, Refusal> {
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
    let hop = gateway.unwrap_or(address);
    let unresolved = || {
        Refusal::ours(
            format!("ip neighbour get {hop}"),
            format!("nobody answered within {within:?}"),
        )
    };
    resolve(&handle, index, hop, &doing).await?;
    let wait = async {
        if let Some(mac) = known(&handle, index, hop, &doing).await? {
            return Ok(mac);
        }
        while let Some((message, _)) = changes.next().await {
            if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(neighbour)) =
                message.payload
            {
                match resolved(&neighbour, index, hop) {
                    Resolution::Mac(mac) => return Ok(mac),
                    Resolution::Failed => return Err(unresolved()),
                    Resolution::Open => {}
                }
            }
        }
        Err(unresolved())
    };
    let mac = timeout(within, wait).await.map_err(|_| unresolved())??;
    let interface = name_of_index(&handle, index, &doing).await?;
    Ok(NextHop {
        interface,
        source: source(&route),
        gateway,
        mac,
    })
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

/// Starts a resolution without sending a packet: what `ip neighbour add … use` asks (NTF_USE, `net/core/neighbour.c`).
async fn resolve(handle: &Handle, index: u32, hop: IpAddr, doing: &str) -> Result<(), Refusal> {
    let request = handle
        .neighbours()
        .add(index, hop)
        .flags(NeighbourFlags::Use)
        .state(NeighbourState::None);
    request
        .replace()
        .execute()
        .await
        .map_err(|error| netlink(doing, error))
}

async fn known(
    handle: &Handle,
    index: u32,
    hop: IpAddr,
    doing: &str,
) -> Result<Option<MacAddress>, Refusal> {
    let mut neighbours = handle.neighbours().get().execute();
    while let Some(neighbour) = neighbours
        .try_next()
        .await
        .map_err(|error| netlink(doing, error))?
    {
        if let Resolution::Mac(mac) = resolved(&neighbour, index, hop) {
            return Ok(Some(mac));
        }
    }
    Ok(None)
}

/// What a neighbour entry says of a hop.
enum Resolution {
    Mac(MacAddress),
    Failed,
    Open,
}

fn resolved(neighbour: &NeighbourMessage, index: u32, hop: IpAddr) -> Resolution {
    let is_destination = |attribute: &NeighbourAttribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => {
            IpAddr::from(*address) == hop
        }
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => {
            IpAddr::from(*address) == hop
        }
        _ => false,
    };
    if neighbour.header.ifindex != index || !neighbour.attributes.iter().any(is_destination) {
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
