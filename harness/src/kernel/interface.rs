//! The sender's network interfaces: addresses, up and down, carrier.

use std::{fs, io, net::IpAddr, time::Duration};

use futures_util::{StreamExt, TryStreamExt};
use ipnet::IpNet;
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage},
};
use rtnetlink::{
    Handle, LinkUnspec, MulticastGroup, RouteMessageBuilder, new_connection,
    new_multicast_connection,
};
use tokio::time::timeout;

use crate::{kernel::Refusal, netconsole::MacAddress};

/// Gives `name` its MAC and its addresses and brings it up.
pub(crate) async fn configure(
    name: &str,
    mac: MacAddress,
    addresses: &[IpNet],
) -> Result<(), Refusal> {
    let doing = format!("setting {name} up");
    let handle = connect(&doing)?;
    let link = find(&handle, name, &doing).await?;
    if address_of(&link) != Some(mac) {
        let change = LinkUnspec::new_with_index(link.header.index).address(mac.0.to_vec());
        let changed = handle.link().set(change.build()).execute().await;
        changed.map_err(|error| netlink(&doing, error))?;
    }
    // Without addresses of its own IPv6 only adds talk, on the wire and in the log.
    if !addresses.iter().any(|net| net.addr().is_ipv6()) {
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
    }
    // An address must be usable at once: no duplicate address detection in a lab that gives each address once.
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/accept_dad"), "0");
    for net in addresses {
        let added = handle
            .address()
            .add(link.header.index, net.addr(), net.prefix_len())
            .execute()
            .await;
        added.map_err(|error| netlink(&doing, error))?;
    }
    up(&handle, &link, true)
        .await
        .map_err(|error| netlink(&doing, error))
}

/// `ip route add TO via GATEWAY dev NAME`.
pub(crate) async fn route(to: IpNet, gateway: IpAddr, name: &str) -> Result<(), Refusal> {
    let doing = format!("ip route add {to} via {gateway} dev {name}");
    let handle = connect(&doing)?;
    let index = find(&handle, name, &doing).await?.header.index;
    let route = RouteMessageBuilder::<IpAddr>::new()
        .output_interface(index)
        .destination_prefix(to.addr(), to.prefix_len())
        .and_then(|route| route.gateway(gateway))
        .map_err(|error| Refusal::ours(&doing, error.to_string()))?;
    let added = handle.route().add(route.build()).execute().await;
    added.map_err(|error| netlink(&doing, error))
}

/// Names the card with the first of these addresses `eth0`, the next `eth1`, and so on: the kernel names them in the
/// order in which their drivers are loaded.
pub(crate) async fn name_cards(cards: &[MacAddress]) -> Result<(), Refusal> {
    let doing = "naming the cards";
    let handle = connect(doing)?;
    let links = handle.link().get().execute().try_collect::<Vec<_>>().await;
    let links = links.map_err(|error| netlink(doing, error))?;
    let wrong: Vec<(u32, usize)> = links
        .iter()
        .filter_map(|link| {
            let card = cards
                .iter()
                .position(|card| address_of(link) == Some(*card))?;
            (name_of(link)? != format!("eth{card}")).then_some((link.header.index, card))
        })
        .collect();
    // First out of each other's way.
    for prefix in ["card", "eth"] {
        for (index, card) in &wrong {
            let name = LinkUnspec::new_with_index(*index).name(format!("{prefix}{card}"));
            let renamed = handle.link().set(name.build()).execute().await;
            renamed.map_err(|error| netlink(doing, error))?;
        }
    }
    Ok(())
}

/// `ip link set NAME up|down`.
pub(crate) async fn set_up(name: &str, wanted: bool) -> Result<(), Refusal> {
    let doing = format!("ip link set {name} {}", if wanted { "up" } else { "down" });
    let handle = connect(&doing)?;
    let link = find(&handle, name, &doing).await?;
    up(&handle, &link, wanted)
        .await
        .map_err(|error| netlink(&doing, error))
}

async fn up(handle: &Handle, link: &LinkMessage, wanted: bool) -> Result<(), rtnetlink::Error> {
    let change = LinkUnspec::new_with_index(link.header.index);
    let change = if wanted { change.up() } else { change.down() };
    handle.link().set(change.build()).execute().await
}

/// Waits for the carrier: listens for changes first, then looks, so that none is missed.
pub(crate) async fn wait_for_carrier(
    name: &str,
    wanted: bool,
    within: Duration,
) -> Result<(), Refusal> {
    let what = if wanted { "carrier" } else { "loss of carrier" };
    let doing = format!("waiting for the {what} of {name}");
    let opened = new_multicast_connection(&[MulticastGroup::Link]);
    let (connection, handle, mut changes) =
        opened.map_err(|error| Refusal::by_kernel(&doing, &error))?;
    tokio::spawn(connection);
    if has_carrier(&find(&handle, name, &doing).await?) == wanted {
        return Ok(());
    }
    let wait = async {
        while let Some((message, _)) = changes.next().await {
            if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) =
                message.payload
                && name_of(&link) == Some(name)
                && has_carrier(&link) == wanted
            {
                return;
            }
        }
    };
    timeout(within, wait)
        .await
        .map_err(|_| Refusal::too_late(doing, format!("none after {within:?}")))
}

pub(crate) fn connect(doing: &str) -> Result<Handle, Refusal> {
    let (connection, handle, _) =
        new_connection().map_err(|error| Refusal::by_kernel(doing, &error))?;
    tokio::spawn(connection);
    Ok(handle)
}

async fn find(handle: &Handle, name: &str, doing: &str) -> Result<LinkMessage, Refusal> {
    let found = handle
        .link()
        .get()
        .match_name(name)
        .execute()
        .try_next()
        .await;
    let missing = || Refusal {
        errno: Some("ENODEV".to_owned()),
        ..Refusal::ours(doing, format!("there is no interface `{name}`"))
    };
    match found {
        Ok(Some(link)) => Ok(link),
        Ok(None) => Err(missing()),
        Err(error) if errno(&error) == Some(libc::ENODEV) => Err(missing()),
        Err(error) => Err(netlink(doing, error)),
    }
}

/// The name of the interface with `index`.
pub(crate) fn name_of_index(index: u32) -> io::Result<String> {
    let name = nix::net::if_::if_indextoname(index)?;
    Ok(name.to_string_lossy().into_owned())
}

pub(crate) fn name_of(link: &LinkMessage) -> Option<&str> {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.as_str()),
            _ => None,
        })
}

pub(crate) fn address_of(link: &LinkMessage) -> Option<MacAddress> {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Address(bytes) => Some(MacAddress(bytes.as_slice().try_into().ok()?)),
            _ => None,
        })
}

pub(crate) fn has_carrier(link: &LinkMessage) -> bool {
    link.attributes
        .iter()
        .any(|attribute| matches!(attribute, LinkAttribute::Carrier(1)))
}

/// A refusal for what netlink answered.
pub(crate) fn netlink(doing: &str, error: rtnetlink::Error) -> Refusal {
    match errno(&error) {
        Some(number) => Refusal::by_kernel(doing, &io::Error::from_raw_os_error(number)),
        None => Refusal::ours(doing, error.to_string()),
    }
}

pub(crate) fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.code.map(|code| -code.get()),
        _ => None,
    }
}

/// Whether `address` is one that a neighbour table resolves (IPv6 and IPv4 alike).
pub(crate) fn is_unicast(address: IpAddr) -> bool {
    !(address.is_multicast() || address.is_unspecified())
}
