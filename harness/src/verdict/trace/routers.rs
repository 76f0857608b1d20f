//! Tells which router lost a line, and why.

use std::net::IpAddr;

use crate::{
    netconsole::MacAddress,
    scenario::{Interface, Node},
    verdict::{
        attribution::Heading,
        journey::{Cause, Journey},
        trace::Trace,
        trouble::first_hop_limit,
        way::{interfaces_on, is_router, knows_a_way, passage},
    },
};

impl Trace<'_> {
    /// Its hops are used up.
    pub(super) fn expired(&self, journey: Journey, heading: &Heading) -> Journey {
        let scene = &self.judge.scene;
        let (mac, link) = (heading.destination_mac, heading.link);
        let last = interfaces_on(scene, link).find(|(_, interface)| interface.mac == mac);
        let name = last.map_or("nobody", |(node, _)| scene.name(node));
        let hops = first_hop_limit(heading.source.0);
        let because = format!("it came to {name} with the last of its {hops} hops");
        journey.end(name, Cause::TtlExpired, because)
    }

    /// The receiver is not on the link: a router should have sent it on.
    pub(super) fn lost_before_a_router(&self, journey: Journey, heading: &Heading) -> Journey {
        let scene = &self.judge.scene;
        let (mac, address) = (heading.destination_mac, heading.destination.0);
        let routers = || {
            interfaces_on(scene, heading.link)
                .filter(|(node, _)| *node != heading.from && is_router(scene, *node))
        };
        if let Some((router, _)) = routers().find(|(_, interface)| interface.mac == mac) {
            let name = scene.name(router);
            let source = heading.source.0;
            return match passage(scene, router, address) {
                Some(_) if is_link_local(source) => journey.end(
                    name,
                    Cause::WrongSource,
                    format!("its source {source} is link-local: no router sends that on"),
                ),
                Some(_) if !knows_a_way(scene, router, source) => journey.end(
                    name,
                    Cause::Filtered,
                    format!("{name} knows no way back to {source}, and drops what comes from there (rp_filter)"),
                ),
                Some(_) => Journey {
                    lost: Some(name.to_owned()),
                    because: Some(format!("{name} got it and did not send it on")),
                    ..journey
                },
                None => journey.end(
                    name,
                    Cause::NoRoute,
                    format!("{name} knows no way to {address}"),
                ),
            };
        }
        let gateway = scene.nodes.get(heading.from.0);
        let gateway = gateway.and_then(|node| node.route_to(address));
        let is_gateway = |interface: &Interface| {
            let mut addresses = interface.addresses.iter();
            gateway.is_some_and(|route| addresses.any(|own| own.addr() == route.gateway))
        };
        let asked = routers().find(|(_, interface)| is_gateway(interface));
        match asked.or_else(|| routers().next()) {
            Some((router, interface)) => {
                let name = scene.name(router);
                let because = format!(
                    "{name} does not take it: destination MAC {mac} is {}, {name}'s is {}",
                    self.whose(mac),
                    interface.mac
                );
                journey.end(name, Cause::NotMyMac, because)
            }
            None => {
                let at = scene.name(self.watch.at);
                let because = format!("it left on a link that {at} is not on");
                journey.end(scene.name(heading.from), Cause::NoRoute, because)
            }
        }
    }

    /// `agent's`.
    fn whose(&self, mac: MacAddress) -> String {
        let nodes = &self.judge.scene.nodes;
        let has = |node: &&Node| {
            let mut interfaces = node.interfaces.iter();
            interfaces.any(|interface| interface.mac == mac)
        };
        match nodes.iter().find(has) {
            _ if mac == MacAddress::BROADCAST => "everybody's".to_owned(),
            Some(node) => format!("{}'s", node.name),
            None => "nobody's".to_owned(),
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
