//! The way to a receiver by the kernel's own routing tables, rules included.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use futures_util::TryStreamExt;
use ipnet::IpNet;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType,
};
use rtnetlink::{Handle, RouteMessageBuilder};

use crate::{
    kernel::{
        Refusal,
        interface::{connect, errno, netlink},
        neighbour::{Hop, gateway, ip, output_interface, source},
    },
    param::{
        Machine, NoWay, Way,
        way::{Rival, Route, remedy, what},
    },
};

/// What a way is looked up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) to: IpAddr,
    /// The index of the interface that it must go by.
    pub(crate) interface: Option<u32>,
    /// One of this machine's addresses, where it must come from that.
    pub(crate) source: Option<IpAddr>,
    /// How long a neighbour may take to answer.
    pub(crate) within: Duration,
}

/// Why no way was found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RouteError {
    #[error(transparent)]
    NoWay(#[from] NoWay),
    #[error(transparent)]
    Kernel(#[from] Refusal),
}

/// Looks up where frames for an address go, and asks for the MAC of whom they go to first. A way whose `mac` is none is
/// one where nobody answered in time.
pub(crate) async fn way(query: &Query, machine: &Machine) -> Result<Way, RouteError> {
    let doing = format!("ip route get {}", query.to);
    let handle = connect(&doing)?;
    let answer = match get(&handle, query, RouteFlags::empty()).await {
        Ok(answer) => answer,
        Err(error) => return Err(refused(&error, &doing, &handle, query, machine).await),
    };
    let index =
        output_interface(&answer).ok_or_else(|| Refusal::ours(&doing, "no interface is named"))?;
    let name = machine.name(index);
    let (to, interface) = (query.to, name.clone());
    match answer.header.kind {
        RouteType::Local => {
            let owner = machine.owner(to).map(|owner| owner.name.clone());
            let interface = owner.unwrap_or(interface);
            return Err(NoWay::Own { to, interface }.into());
        }
        RouteType::Broadcast => return Err(NoWay::Broadcast { to, interface }.into()),
        _ => {}
    }
    let exact = RouteFlags::FibMatch | RouteFlags::LookupTable;
    // With an interface that was named, IPv4 takes an address without a route for a neighbour (`ip_route_output_key`).
    let matched = match get(&handle, query, exact).await {
        Ok(matched) => matched,
        Err(error) => return Err(refused(&error, &doing, &handle, query, machine).await),
    };
    let route = route(&matched);
    let rivals = match &route {
        Some(route) => rivals(&handle, &answer, route, &doing).await?,
        None => Vec::new(),
    };
    if let Some(found) = machine.interface(index)
        && !(found.ethernet && found.resolves)
    {
        let what = what(found);
        return Err(NoWay::NoEthernet {
            to,
            interface,
            what,
        }
        .into());
    }
    let gateway = gateway(&answer);
    let hop = Hop {
        index,
        address: gateway.unwrap_or(to),
    };
    Ok(Way {
        interface: index,
        named: query.interface.is_some(),
        source: query.source.or(source(&answer)),
        gateway,
        route,
        rivals,
        mac: hop.ask(query.within)?,
    })
}

async fn get(
    handle: &Handle,
    query: &Query,
    flags: RouteFlags,
) -> Result<RouteMessage, rtnetlink::Error> {
    let mut message = match query.to {
        IpAddr::V4(to) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(to, 32)
            .build(),
        IpAddr::V6(to) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(to, 128)
            .build(),
    };
    message.header.flags = flags;
    if let Some(index) = query.interface {
        message.attributes.push(RouteAttribute::Oif(index));
    }
    match (query.source, query.to) {
        (Some(IpAddr::V4(source)), IpAddr::V4(_)) => {
            message.header.source_prefix_length = 32;
            let source = RouteAddress::Inet(source);
            message.attributes.push(RouteAttribute::Source(source));
        }
        (Some(IpAddr::V6(source)), IpAddr::V6(_)) => {
            message.header.source_prefix_length = 128;
            let source = RouteAddress::Inet6(source);
            message.attributes.push(RouteAttribute::Source(source));
        }
        _ => {}
    }
    let answer = handle.route().get(message).execute().try_next().await?;
    answer.ok_or(rtnetlink::Error::RequestFailed)
}

/// What the errno of a look-up means: it is the kind of the route that was found (`fib_props`).
async fn refused(
    error: &rtnetlink::Error,
    doing: &str,
    handle: &Handle,
    query: &Query,
    machine: &Machine,
) -> RouteError {
    let to = query.to;
    let word = match errno(error) {
        Some(libc::ENETUNREACH) if query.interface.is_none() => {
            let remedy = remedy(to, machine);
            return NoWay::NoRoute { to, remedy }.into();
        }
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH) if query.interface.is_some() => {
            return elsewhere(handle, query, machine).await.into();
        }
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH) => "unreachable",
        Some(libc::EINVAL) => "a black hole",
        Some(libc::EACCES) => "prohibited",
        Some(number) => {
            let error = std::io::Error::from_raw_os_error(number);
            return Refusal::by_kernel(doing, &error).into();
        }
        None => return Refusal::ours(doing, error.to_string()).into(),
    };
    NoWay::Refused { to, word }.into()
}

/// Which way goes, where the one by the interface that was named does not.
async fn elsewhere(handle: &Handle, query: &Query, machine: &Machine) -> NoWay {
    let (to, index) = (query.to, query.interface.unwrap_or_default());
    let free = Query {
        interface: None,
        source: None,
        ..*query
    };
    let Ok(answer) = get(handle, &free, RouteFlags::empty()).await else {
        let remedy = remedy(to, machine);
        return NoWay::NoRoute { to, remedy };
    };
    let through = gateway(&answer)
        .map(|gateway| format!(" through {gateway}"))
        .unwrap_or_default();
    let instead = output_interface(&answer)
        .map(|index| format!(": the way goes by {}{through}", machine.name(index)))
        .unwrap_or_default();
    NoWay::OtherInterface {
        to,
        interface: machine.name(index),
        instead,
    }
}

/// The route that a look-up matched.
fn route(matched: &RouteMessage) -> Option<Route> {
    let network = destination(matched)?;
    let mut route = Route {
        network,
        metric: 0,
        table: matched.header.table.into(),
        next_hops: 1,
    };
    for attribute in &matched.attributes {
        match attribute {
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::MultiPath(hops) => route.next_hops = hops.len(),
            _ => {}
        }
    }
    Some(route)
}

fn destination(route: &RouteMessage) -> Option<IpNet> {
    let length = route.header.destination_prefix_length;
    let address = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Destination(address) => ip(address),
            _ => None,
        });
    let any: IpAddr = match route.header.address_family {
        netlink_packet_route::AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        _ => Ipv6Addr::UNSPECIFIED.into(),
    };
    IpNet::new(address.unwrap_or(any), length).ok()
}

/// The other routes of the same table to the same network.
async fn rivals(
    handle: &Handle,
    answer: &RouteMessage,
    chosen: &Route,
    doing: &str,
) -> Result<Vec<Rival>, Refusal> {
    let all = match chosen.network {
        IpNet::V4(_) => RouteMessageBuilder::<Ipv4Addr>::new().build(),
        IpNet::V6(_) => RouteMessageBuilder::<Ipv6Addr>::new().build(),
    };
    let mut routes = handle.route().get(all).execute();
    let (index, through) = (output_interface(answer), gateway(answer));
    let mut rivals = Vec::new();
    while let Some(message) = routes
        .try_next()
        .await
        .map_err(|error| netlink(doing, error))?
    {
        let Some(other) = route(&message) else {
            continue;
        };
        let is_rival = message.header.kind == RouteType::Unicast
            && other.next_hops == 1
            && (other.table, other.network) == (chosen.table, chosen.network);
        let (interface, gateway) = (output_interface(&message), gateway(&message));
        let is_itself = (interface, gateway) == (index, through);
        if let Some(interface) = interface.filter(|_| is_rival && !is_itself) {
            rivals.push(Rival {
                gateway,
                interface,
                metric: other.metric,
            });
        }
    }
    Ok(rivals)
}
