//! The way to a receiver: what the routing table says, in words.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{
    netconsole::MacAddress,
    param::{Interface, Machine},
};

/// The table that routes are in unless somebody says otherwise (`RT_TABLE_MAIN`).
const MAIN: u32 = 254;

/// Where frames for an address go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Way {
    /// The index of the interface that they leave by.
    pub(crate) interface: u32,
    /// Whether somebody chose that interface, and not the routing table.
    pub(crate) named: bool,
    /// The source address that the kernel would take.
    pub(crate) source: Option<IpAddr>,
    /// The gateway, where there is one.
    pub(crate) gateway: Option<IpAddr>,
    /// The route that counts.
    pub(crate) route: Option<Route>,
    /// Routes to the same network that do not count.
    pub(crate) rivals: Vec<Rival>,
    /// The MAC of the gateway, or of the address itself; none where nobody answered.
    pub(crate) mac: Option<MacAddress>,
}

/// An entry of a routing table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) network: IpNet,
    pub(crate) metric: u32,
    pub(crate) table: u32,
    /// More than one where the kernel spreads packets over several gateways.
    pub(crate) next_hops: usize,
}

/// A route that another one goes before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rival {
    pub(crate) gateway: Option<IpAddr>,
    /// The interface's index.
    pub(crate) interface: u32,
    pub(crate) metric: u32,
}

/// Why there is no way to an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoWay {
    #[error(
        "{to} is this machine's own address, on {interface}: netconsole sends by a card, and nothing comes back to the \
         same machine\n(name the address of the machine that receives)"
    )]
    Own { to: IpAddr, interface: String },
    #[error(
        "{to} is the broadcast address of {interface}'s network\n(name the address of the machine that receives)"
    )]
    Broadcast { to: IpAddr, interface: String },
    #[error("there is no route to {to}\n({remedy})")]
    NoRoute { to: IpAddr, remedy: String },
    #[error(
        "no route to {to} goes by {interface}{instead}\n(leave `--interface` out, or add a route)"
    )]
    OtherInterface {
        to: IpAddr,
        interface: String,
        instead: String,
    },
    #[error("the routing table says that {to} is {word}\n(`ip route get {to}` shows it)")]
    Refused { to: IpAddr, word: &'static str },
    #[error(
        "the way to {to} goes by {interface}, which is {what}: no MAC leads there, and netconsole sends Ethernet frames\n\
         (name a receiver that is reached by a card, or another way with `--interface`)"
    )]
    NoEthernet {
        to: IpAddr,
        interface: String,
        what: String,
    },
    #[error(
        "the way to {to} goes by {interface}, on which there is no address to send from\n(give it one, or name one with \
         `--source`)"
    )]
    NoSource { to: IpAddr, interface: String },
    #[error("nobody answers for {hop} on {interface} after {within:?}: {guess}")]
    Silent {
        hop: IpAddr,
        interface: String,
        within: std::time::Duration,
        guess: String,
    },
}

impl Way {
    /// The machine that a frame goes to first.
    pub(crate) fn hop(&self, to: IpAddr) -> IpAddr {
        self.gateway.unwrap_or(to)
    }

    /// One sentence on whose MAC it is and why, and what else is to be known of the route.
    pub(crate) fn reason(&self, to: IpAddr, machine: &Machine) -> String {
        let name = machine.name(self.interface);
        let interface = machine.interface(self.interface);
        let network = interface.and_then(|interface| interface.network_of(to));
        let mut reason = match (self.gateway, network) {
            (None, Some(network)) => {
                format!("{to} is on {name}'s own network {network}, so the MAC is its own.")
            }
            (None, None) => format!(
                "{to} is reached by {name} without a gateway{}, so the MAC is its own.",
                self.by_route()
            ),
            (Some(gateway), None) => format!(
                "{to} is not on {name}'s networks: the way goes through {gateway}, whose MAC this is."
            ),
            (Some(gateway), Some(network)) => format!(
                "{to} is on {name}'s network {network}, but the way goes through {gateway}{}, whose MAC this is.",
                self.by_route()
            ),
        };
        let more = [
            self.why_not_another(machine),
            self.by_policy(),
            self.one_of_several(),
        ];
        for more in more.into_iter().flatten() {
            reason.push(' ');
            reason.push_str(&more);
        }
        reason
    }

    fn by_route(&self) -> String {
        self.route
            .as_ref()
            .map(|route| format!(" by the route to {}", route.network))
            .unwrap_or_default()
    }

    /// What decides between routes of the same metric.
    fn decides(&self) -> &'static str {
        if self.named {
            "the interface that was named decides"
        } else {
            "the kernel takes this one now"
        }
    }

    fn why_not_another(&self, machine: &Machine) -> Option<String> {
        let route = self.route.as_ref()?;
        if self.rivals.is_empty() {
            return None;
        }
        let better = self.rivals.iter().min_by_key(|rival| rival.metric);
        if let Some(better) = better.filter(|rival| self.named && rival.metric < route.metric) {
            let better = better.shown(machine);
            return Some(format!(
                "By itself the kernel would take the route {better}; this one has metric {}.",
                route.metric
            ));
        }
        if let Some(alike) = self
            .rivals
            .iter()
            .find(|rival| rival.metric == route.metric)
        {
            let (alike, decides) = (alike.shown(machine), self.decides());
            return Some(format!(
                "The route {alike} is as good as this one: {decides}."
            ));
        }
        let what = if route.network.prefix_len() == 0 {
            "default routes".to_owned()
        } else {
            format!("routes to {}", route.network)
        };
        let others: Vec<String> = self
            .rivals
            .iter()
            .map(|rival| rival.shown(machine))
            .collect();
        Some(format!(
            "Of {} {what} the one with metric {} counts, not the one {}.",
            self.rivals.len() + 1,
            route.metric,
            others.join(" or ")
        ))
    }

    fn by_policy(&self) -> Option<String> {
        let table = self.route.as_ref()?.table;
        (table != MAIN).then(|| format!("The rules (`ip rule`) lead to routing table {table}."))
    }

    fn one_of_several(&self) -> Option<String> {
        let hops = self.route.as_ref()?.next_hops;
        (hops > 1).then(|| format!("The route has {hops} next hops; netconsole knows this one."))
    }
}

impl Rival {
    fn shown(&self, machine: &Machine) -> String {
        let through = self
            .gateway
            .map(|gateway| format!("through {gateway} "))
            .unwrap_or_default();
        let (name, metric) = (machine.name(self.interface), self.metric);
        format!("{through}on {name} (metric {metric})")
    }
}

/// Why no machine can be at an address, and what to do: whatever the machine that sends.
pub(crate) fn why_no_receiver(to: IpAddr) -> Option<(&'static str, &'static str)> {
    const NAME: &str = "name the address of the machine that receives";
    let is_broadcast = to == IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
    if to.is_loopback() {
        let why = "a loopback address: netconsole sends by a card, and nothing comes back to the same machine";
        Some((why, NAME))
    } else if to.is_unspecified() {
        Some(("no address of a machine", NAME))
    } else if to.is_multicast() {
        Some(("a multicast address, which no single MAC belongs to", NAME))
    } else if is_broadcast {
        Some((
            "the broadcast address, which no single MAC belongs to",
            NAME,
        ))
    } else if matches!(to, IpAddr::V6(address) if address.to_ipv4_mapped().is_some()) {
        Some((
            "an IPv4 address in IPv6's clothes",
            "write the IPv4 address",
        ))
    } else {
        None
    }
}

/// What could give a way to `to`, where there is no route.
pub(crate) fn remedy(to: IpAddr, machine: &Machine) -> String {
    let down = |interface: &&Interface| !interface.up && interface.network_of(to).is_some();
    if let Some(interface) = machine.interfaces.iter().find(down) {
        let name = &interface.name;
        return format!(
            "{name}, whose network it is in, is down: `ip link set {name} up` brings it up"
        );
    }
    let family = |own: &crate::param::machine::Own| own.address.is_ipv4() == to.is_ipv4();
    let usable =
        |interface: &Interface| interface.ethernet && interface.addresses.iter().any(family);
    if machine.interfaces.iter().any(usable) {
        format!("`ip route get {to}` says the same; `ip route` lists the routes that there are")
    } else {
        let version = if to.is_ipv4() { "IPv4" } else { "IPv6" };
        format!("no interface has an {version} address")
    }
}

/// What an interface is that has no MACs.
pub(crate) fn what(interface: &Interface) -> String {
    match interface.kind.as_deref() {
        _ if interface.name == "lo" => "the loopback".to_owned(),
        Some("tun") => "a tunnel (tun)".to_owned(),
        Some(kind) if !interface.ethernet => format!("a tunnel ({kind})"),
        Some(kind) => format!("a {kind} that asks nobody for MACs"),
        None if interface.ethernet => "an interface that asks nobody for MACs".to_owned(),
        None => "no Ethernet interface".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::param::machine::Own;

    use super::*;

    fn machine() -> Machine {
        let interface = |index, name: &str, network: &str| {
            let network: IpNet = network.parse().unwrap();
            Interface {
                index,
                name: name.to_owned(),
                ethernet: true,
                up: true,
                addresses: vec![Own {
                    address: network.addr(),
                    network,
                    temporary: false,
                }],
                ..Interface::default()
            }
        };
        Machine {
            interfaces: vec![
                interface(2, "eth0", "10.1.0.1/24"),
                interface(3, "eth1", "10.9.0.1/24"),
            ],
            ..Machine::default()
        }
    }

    fn way() -> Way {
        Way {
            interface: 2,
            named: false,
            source: Some("10.1.0.1".parse().unwrap()),
            gateway: Some("10.1.0.254".parse().unwrap()),
            route: Some(Route {
                network: "0.0.0.0/0".parse().unwrap(),
                metric: 100,
                table: 254,
                next_hops: 1,
            }),
            rivals: Vec::new(),
            mac: Some("02:00:0a:01:00:fe".parse().unwrap()),
        }
    }

    #[track_caller]
    fn check(way: &Way, to: &str, reason: &str) {
        assert_eq!(way.reason(to.parse().unwrap(), &machine()), reason);
    }

    #[test]
    fn says_whose_mac_it_is() {
        check(
            &way(),
            "10.2.0.2",
            "10.2.0.2 is not on eth0's networks: the way goes through 10.1.0.254, whose MAC this is.",
        );
        let mut on_link = way();
        on_link.gateway = None;
        check(
            &on_link,
            "10.1.0.2",
            "10.1.0.2 is on eth0's own network 10.1.0.0/24, so the MAC is its own.",
        );
        check(
            &on_link,
            "10.2.0.2",
            "10.2.0.2 is reached by eth0 without a gateway by the route to 0.0.0.0/0, so the MAC is its own.",
        );
        check(
            &way(),
            "10.1.0.2",
            "10.1.0.2 is on eth0's network 10.1.0.0/24, but the way goes through 10.1.0.254 by the route to 0.0.0.0/0, \
             whose MAC this is.",
        );
    }

    #[test]
    fn says_why_not_another_way() {
        let mut one = way();
        one.rivals = vec![Rival {
            gateway: Some("10.9.0.254".parse().unwrap()),
            interface: 3,
            metric: 200,
        }];
        check(
            &one,
            "10.2.0.2",
            "10.2.0.2 is not on eth0's networks: the way goes through 10.1.0.254, whose MAC this is. Of 2 default routes \
             the one with metric 100 counts, not the one through 10.9.0.254 on eth1 (metric 200).",
        );
        one.named = true;
        one.route.as_mut().unwrap().metric = 200;
        check(
            &one,
            "10.2.0.2",
            "10.2.0.2 is not on eth0's networks: the way goes through 10.1.0.254, whose MAC this is. The route through \
             10.9.0.254 on eth1 (metric 200) is as good as this one: the interface that was named decides.",
        );
        one.route.as_mut().unwrap().metric = 300;
        check(
            &one,
            "10.2.0.2",
            "10.2.0.2 is not on eth0's networks: the way goes through 10.1.0.254, whose MAC this is. By itself the kernel \
             would take the route through 10.9.0.254 on eth1 (metric 200); this one has metric 300.",
        );
        let mut policy = way();
        let route = policy.route.as_mut().unwrap();
        route.table = 100;
        route.next_hops = 2;
        check(
            &policy,
            "10.2.0.2",
            "10.2.0.2 is not on eth0's networks: the way goes through 10.1.0.254, whose MAC this is. The rules (`ip \
             rule`) lead to routing table 100. The route has 2 next hops; netconsole knows this one.",
        );
    }

    #[test]
    fn knows_an_interface_that_is_down() {
        let mut machine = machine();
        machine.interfaces[1].up = false;
        let remedy = |to: &str| remedy(to.parse().unwrap(), &machine);
        assert!(remedy("10.9.0.7").starts_with("eth1, whose network"));
        assert!(remedy("10.7.0.7").starts_with("`ip route get 10.7.0.7`"));
        assert_eq!(remedy("fd00::1"), "no interface has an IPv6 address");
    }
}
