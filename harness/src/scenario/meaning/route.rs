//! The routing tables that nodes have: what the file says, else the shortest way.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

use crate::scenario::{
    NodeIndex,
    meaning::{link::Net, node::Roster},
    mistake::{Mistake, Mistakes},
    read::word::Word,
    route::Route,
    tree::At,
    written::node::RoleWord,
};

/// The routing tables of all nodes.
pub(crate) fn routes(
    net: &Net,
    roster: &Roster<'_>,
    mistakes: &mut Mistakes<'_>,
) -> Vec<Vec<Route>> {
    let tables = Tables { net, roster };
    roster
        .members()
        .map(|(node, _)| tables.of(node, mistakes))
        .collect()
}

struct Tables<'file> {
    net: &'file Net,
    roster: &'file Roster<'file>,
}

/// A router that a node can send to: on which of the node's interfaces, and who.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NextHop {
    interface: usize,
    router: NodeIndex,
}

impl Tables<'_> {
    fn of(&self, node: NodeIndex, mistakes: &mut Mistakes<'_>) -> Vec<Route> {
        let written = self.roster.member(node).written;
        let mut routes = Vec::new();
        let table = written.and_then(|node| node.routes.as_ref());
        for (subnet, router) in table.iter().flat_map(|table| &table.value.0) {
            let Some(router) = router else { continue };
            let hop = self.router(node, router, mistakes);
            if let (Some(to), Some(hop)) = (subnet_of(subnet, mistakes), hop) {
                let route = self.route(node, to, hop);
                if route.is_none() {
                    let title = format!(
                        "`{}` has no address of the family of {to} on a link with `{}`",
                        router.value,
                        self.roster.name(node)
                    );
                    mistakes.add(Mistake::at(router.span, title));
                }
                routes.extend(route);
            }
        }
        let gateway = match written.and_then(|node| node.gateway.as_ref()) {
            Some(name) => self.router(node, name, mistakes),
            None if table.is_some() => None,
            None => self.shortest(node, &mut routes),
        };
        for all in [
            IpNet::new_assert(Ipv4Addr::UNSPECIFIED.into(), 0),
            IpNet::new_assert(Ipv6Addr::UNSPECIFIED.into(), 0),
        ] {
            let is_written = routes.iter().any(|route| route.to == all);
            routes.extend(
                gateway
                    .filter(|_| !is_written)
                    .and_then(|gateway| self.route(node, all, gateway)),
            );
        }
        routes
    }

    /// The shortest way to every subnet; those of the first router that is found are left to the default route, which is
    /// given back. A router has none, since it knows every subnet.
    fn shortest(&self, node: NodeIndex, routes: &mut Vec<Route>) -> Option<NextHop> {
        let is_router = self.roster.member(node).role == Some(RoleWord::Router);
        let mut gateway = None;
        for (link, subnets) in self.net.links.iter().map(|link| &link.subnets).enumerate() {
            let Some(hop) = self.first_hop(node, link) else {
                continue;
            };
            let gateway = *gateway.get_or_insert(hop);
            if is_router || hop != gateway {
                let known = subnets.iter().map(|to| self.route(node, *to, hop));
                routes.extend(known.flatten());
            }
        }
        gateway.filter(|_| !is_router)
    }

    fn route(&self, node: NodeIndex, to: IpNet, hop: NextHop) -> Option<Route> {
        let link = self.net.interfaces_of(node)[hop.interface].link;
        let theirs = self.net.interfaces_of(hop.router);
        let theirs = theirs.iter().find(|interface| interface.link == link)?;
        let mut addresses = theirs.addresses.iter().map(IpNet::addr);
        let gateway = addresses.find(|address| is_of_family(address, &to))?;
        Some(Route {
            to,
            gateway,
            interface: hop.interface,
        })
    }

    /// The router called so, if it is one on a link of `node`'s; or a mistake.
    fn router(
        &self,
        node: NodeIndex,
        name: &At<String>,
        mistakes: &mut Mistakes<'_>,
    ) -> Option<NextHop> {
        let router = self.roster.find(name, mistakes)?;
        let near = self.routers_near(node);
        let names = || near.iter().map(|hop| self.roster.name(hop.router));
        let found = near.iter().find(|hop| hop.router == router).copied();
        match self.roster.member(router).role {
            Some(RoleWord::Router) if found.is_none() && router != node => {
                let title = format!(
                    "`{}` is on no link with `{}`",
                    name.value,
                    self.roster.name(node)
                );
                mistakes.add(Mistake::at(name.span, title).did_you_mean("", names()));
            }
            Some(role) if role != RoleWord::Router || router == node => {
                let title = if router == node {
                    format!("`{}` cannot be its own gateway", name.value)
                } else {
                    format!(
                        "`{}` is a {}, and only a router forwards",
                        name.value,
                        role.name()
                    )
                };
                mistakes.add(Mistake::at(name.span, title).did_you_mean("", names()));
            }
            Some(_) | None => {}
        }
        found
    }

    /// The routers on the node's links, in the file's order.
    fn routers_near(&self, node: NodeIndex) -> Vec<NextHop> {
        let mut near = Vec::new();
        for (interface, own) in self.net.interfaces_of(node).iter().enumerate() {
            let others = self.net.links[own.link].nodes.iter();
            let routers = others.filter(|other| {
                **other != node && self.roster.member(**other).role == Some(RoleWord::Router)
            });
            near.extend(routers.map(|router| NextHop {
                interface,
                router: *router,
            }));
        }
        near
    }

    /// The first router of the shortest way from `node` to a link that it is not on; of several, the first in the file's
    /// order.
    fn first_hop(&self, node: NodeIndex, link: usize) -> Option<NextHop> {
        let is_on = |node: NodeIndex| {
            let mut interfaces = self.net.interfaces_of(node).iter();
            interfaces.any(|interface| interface.link == link)
        };
        if is_on(node) {
            return None;
        }
        let mut seen = vec![node];
        let mut queue: VecDeque<(NextHop, NodeIndex)> = VecDeque::new();
        let mut here = node;
        let mut first = None;
        loop {
            for hop in self.routers_near(here) {
                if !seen.contains(&hop.router) {
                    seen.push(hop.router);
                    queue.push_back((first.unwrap_or(hop), hop.router));
                }
            }
            let (hop, router) = queue.pop_front()?;
            if is_on(router) {
                return Some(hop);
            }
            (first, here) = (Some(hop), router);
        }
    }
}

/// The subnet that a key of `routes` names, or a mistake.
fn subnet_of(key: &At<String>, mistakes: &mut Mistakes<'_>) -> Option<IpNet> {
    let Ok(subnet) = key.value.parse::<IpNet>() else {
        let title = format!("`{}` is no subnet", key.value);
        mistakes.add(
            Mistake::at(key.span, title)
                .help("write one like `\"10.3.0.0/24\"` or `\"fd00::/64\"`"),
        );
        return None;
    };
    if subnet.trunc() != subnet {
        let title = format!("{subnet} is an address of a host, not of a subnet");
        let help = format!("the subnet is `\"{}\"`", subnet.trunc());
        mistakes.add(Mistake::at(key.span, title).help(help));
    }
    Some(subnet.trunc())
}

fn is_of_family(address: &IpAddr, subnet: &IpNet) -> bool {
    address.is_ipv4() == subnet.addr().is_ipv4()
}
