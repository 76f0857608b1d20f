//! Gives a node that lives in a network namespace its interfaces: veth pairs, whose other ends are the lab's.
//!
//! Both ends of a pair are made where they belong, by one message, so that no name of ours is ever seen in the machine's
//! own namespace. What comes out at the lab's end is [`crate::lab::packet`]'s.

use std::{
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd, AsRawFd},
};

use ipnet::{IpNet, Ipv4Net};
use netlink_packet_route::address::{AddressAttribute, AddressFlags};
use rtnetlink::{Handle, LinkUnspec, LinkVeth, RouteMessageBuilder, new_connection};

use crate::{
    lab::{
        namespace::{Namespace, NamespaceError, write_sysctl},
        offload,
        operation::Watch,
        packet::PacketSocket,
        room::Room,
    },
    netconsole::MacAddress,
    scenario::{Interface, Node, Role, Route, node::Nic},
};

/// Reverse paths are checked loosely, as Debian has it (`/usr/lib/sysctl.d/50-default.conf`), whatever this machine has.
const LOOSE: [(&str, &str); 2] = [
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "2"),
];
/// No duplicate address detection and no router discovery in a lab that gives each address once, and no IPv6 where no
/// interface asks for it.
const QUIET: [(&str, &str); 5] = [
    ("net/ipv6/conf/default/disable_ipv6", "1"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/dad_transmits", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
];

/// What waits for a neighbour's MAC is kept, as much as a boot log is: on a busy machine the question for it may leave
/// late, and a router would throw the oldest away (`Documentation/networking/ip-sysctl.rst`, `unres_qlen_bytes`), and all
/// after three seconds (arp(7), `mcast_solicit`).
const PATIENT: [(&str, &str); 4] = [
    ("net/ipv4/neigh/default/unres_qlen_bytes", "16777216"),
    ("net/ipv6/neigh/default/unres_qlen_bytes", "16777216"),
    ("net/ipv4/neigh/default/mcast_solicit", "60"),
    ("net/ipv6/neigh/default/mcast_solicit", "60"),
];

/// The namespace in which all ends of the lab's own lie: nobody there has an address or answers anything.
pub(crate) fn hub() -> Result<Namespace, NamespaceError> {
    let hub = Namespace::new()?;
    hub.enter(quiet)?;
    Ok(hub)
}

/// Makes a little of all that a lab is made of: whether this machine lets us.
pub(crate) fn try_out() -> Result<(), NamespaceError> {
    let interface = Interface {
        link: 0,
        name: "eth0".to_owned(),
        mac: MacAddress([2, 0, 0, 0, 0, 1]),
        addresses: vec![IpNet::from(Ipv4Net::new_assert(
            Ipv4Addr::new(10, 0, 0, 1),
            24,
        ))],
        nic: Nic::default(),
    };
    let node = Node {
        name: "node".to_owned(),
        role: Role::Router,
        interfaces: vec![interface],
        routes: Vec::new(),
    };
    let (network, _) = furnish(&node, &hub()?, 0)?;
    Room::new(&network, &node.name, &[]).map(drop)
}

/// A namespace with the interfaces of `node`, in operation and with their addresses, and the lab's ends of them in order.
/// `first` is the number of the first port, so that names are unique in `hub`.
pub(crate) fn furnish(
    node: &Node,
    hub: &Namespace,
    first: usize,
) -> Result<(Namespace, Vec<PacketSocket>), NamespaceError> {
    let namespace = Namespace::new()?;
    let ends: Vec<(&Interface, String)> = (node.interfaces.iter())
        .zip(first..)
        .map(|(interface, number)| (interface, format!("port{number}")))
        .collect();
    namespace.enter_async(async || {
        quiet()?;
        if matches!(node.role, Role::Router) {
            write_sysctl("net/ipv4/ip_forward", "1")?;
            write_where_it_is("net/ipv6/conf/all/forwarding", "1")?;
        }
        let handle = connect()?;
        for (interface, lab_end) in &ends {
            make_pair(&handle, interface, (hub, lab_end)).await?;
        }
        Ok(())
    })?;
    // The node cannot say a word yet: its own ends are down.
    let (sockets, mut watch) = hub.enter_async(async || {
        let watch = Watch::new()?;
        let handle = connect()?;
        let mut sockets = Vec::new();
        for (_, lab_end) in &ends {
            offload::switch_off(lab_end)?;
            up(&handle, lab_end).await?;
            sockets.push(PacketSocket::open(lab_end)?);
        }
        Ok((sockets, watch))
    })?;
    namespace.enter_async(async || {
        let handle = connect()?;
        up(&handle, "lo").await?;
        for interface in &node.interfaces {
            settle(&handle, interface).await?;
        }
        for route in &node.routes {
            add_route(&handle, route, &node.interfaces[route.interface].name).await?;
        }
        Ok(())
    })?;
    // The node's own ends are in operation at once: the others were up before them.
    watch.wait(&ends.iter().map(|(_, end)| end.as_str()).collect::<Vec<_>>())?;
    Ok((namespace, sockets))
}

fn quiet() -> Result<(), NamespaceError> {
    LOOSE
        .iter()
        .try_for_each(|(name, value)| write_sysctl(name, value))?;
    QUIET
        .iter()
        .chain(&PATIENT)
        .try_for_each(|(name, value)| write_where_it_is(name, value))
}

/// A kernel without IPv6 has no such value, and no noise.
fn write_where_it_is(name: &str, value: &str) -> Result<(), NamespaceError> {
    match write_sysctl(name, value) {
        Err(error) if error.is_absent() => Ok(()),
        written => written,
    }
}

/// Speaks rtnetlink with the namespace of the thread.
fn connect() -> Result<Handle, NamespaceError> {
    let (connection, handle, _) =
        new_connection().map_err(NamespaceError::of("open a netlink socket"))?;
    tokio::spawn(connection);
    Ok(handle)
}

async fn make_pair(
    handle: &Handle,
    interface: &Interface,
    (hub, lab_end): (&Namespace, &str),
) -> Result<(), NamespaceError> {
    use netlink_packet_route::link::{InfoData, InfoVeth};

    let peer = LinkUnspec::new_with_name(lab_end)
        .setns_by_fd(hub.as_fd().as_raw_fd())
        .build();
    let pair = LinkVeth::new(&interface.name, lab_end)
        .address(interface.mac.0.to_vec())
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .build();
    let made = handle.link().add(pair).execute().await;
    made.map_err(netlink(format!("make the veth pair of {}", interface.name)))
}

/// Addresses, and up.
async fn settle(handle: &Handle, interface: &Interface) -> Result<(), NamespaceError> {
    let name = &interface.name;
    offload::switch_off(name)?;
    if interface.addresses.iter().any(|net| net.addr().is_ipv6()) {
        write_where_it_is(&format!("net/ipv6/conf/{name}/disable_ipv6"), "0")?;
    }
    let index = index_of(name)?;
    for net in &interface.addresses {
        add_address(handle, (name, index), net).await?;
    }
    up(handle, name).await
}

async fn add_address(
    handle: &Handle,
    (name, index): (&str, u32),
    net: &IpNet,
) -> Result<(), NamespaceError> {
    let mut request = handle.address().add(index, net.addr(), net.prefix_len());
    if matches!(net.addr(), IpAddr::V6(_)) {
        let flags = AddressAttribute::Flags(AddressFlags::Nodad);
        request.message_mut().attributes.push(flags);
    }
    let added = request.execute().await;
    added.map_err(netlink(format!("give {name} the address {net}")))
}

async fn add_route(handle: &Handle, route: &Route, name: &str) -> Result<(), NamespaceError> {
    let Route { to, gateway, .. } = route;
    let doing = || format!("add a route to {to} via {gateway} at {name}");
    let message = RouteMessageBuilder::<IpAddr>::new()
        .output_interface(index_of(name)?)
        .destination_prefix(to.addr(), to.prefix_len())
        .and_then(|message| message.gateway(*gateway))
        .map_err(|error| NamespaceError::of(doing())(std::io::Error::other(error)))?;
    let added = handle.route().add(message.build()).execute().await;
    added.map_err(netlink(doing()))
}

async fn up(handle: &Handle, name: &str) -> Result<(), NamespaceError> {
    let change = LinkUnspec::new_with_index(index_of(name)?).up();
    let changed = handle.link().set(change.build()).execute().await;
    changed.map_err(netlink(format!("bring {name} up")))
}

/// The number of an interface of the thread's namespace.
pub(super) fn index_of(name: &str) -> Result<u32, NamespaceError> {
    nix::net::if_::if_nametoindex(name).map_err(NamespaceError::of(format!("find {name}")))
}

/// What rtnetlink says, as an error of the system's.
fn netlink(doing: String) -> impl FnOnce(rtnetlink::Error) -> NamespaceError {
    move |error| {
        let source = match error {
            rtnetlink::Error::NetlinkError(message) => message.to_io(),
            other => std::io::Error::other(other),
        };
        NamespaceError::of(doing)(source)
    }
}

#[cfg(test)]
pub(super) mod tests;
