//! Which interfaces carry netconsole, and the traps of those that do not.

use crate::param::{Finding, Interface, Machine};

/// How deep interfaces stand on each other at most (`MAX_NEST_DEV` is 8).
const DEPTH: usize = 8;

/// What is to be known of an interface that netconsole is to send from.
pub(crate) fn findings(machine: &Machine, interface: &Interface) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(part_of(machine, interface));
    found.extend(cannot_poll(machine, interface));
    found.extend(sends_nowhere(machine, interface));
    found.extend(hands_on(machine, interface));
    found.extend(keeps_others_out(machine, interface));
    found.extend(is_not_ready(interface));
    if interface.wireless {
        let text = format!(
            "{} is wireless: many of its drivers cannot send what netconsole gives them, least of all when the machine \
             dies",
            interface.name
        );
        found.push(Finding::warning("wireless", text).help("use a cable, or try it"));
    }
    found
}

/// netpoll refuses what has a master (`netpoll_setup`: "is a slave device, aborting").
fn part_of(machine: &Machine, interface: &Interface) -> Option<Finding> {
    let master = machine.interface(interface.master?)?;
    let (name, of) = (&interface.name, &master.name);
    let (what, help) = match master.kind.as_deref() {
        Some("bridge") => ("a port of the bridge", format!("send from {of} itself")),
        Some("bond") => ("a slave of the bond", format!("send from {of} itself")),
        Some("team") => ("a port of the team", format!("send from {of} itself")),
        Some("vrf") => (
            "a part of the VRF",
            "send from an interface that is in no VRF".to_owned(),
        ),
        Some("openvswitch") => (
            "a port of the switch",
            "send from the switch's internal port, or from a card that is no port".to_owned(),
        ),
        _ => ("a part of", format!("send from {of}")),
    };
    let text = format!("{name} is {what} {of}, and the kernel refuses such an interface (EBUSY)");
    Some(Finding::error("slave", text).help(help))
}

/// Interfaces that say that they cannot be polled, and those that stand on one (`IFF_DISABLE_NETPOLL`).
fn cannot_poll(machine: &Machine, interface: &Interface) -> Option<Finding> {
    let (name, release) = (&interface.name, &machine.kernel.release);
    let beneath = unpollable(machine, interface, DEPTH)?;
    let kind = beneath.kind.as_deref().unwrap_or_default();
    let article = if kind == "hsr" { "an" } else { "a" };
    let since = if kind == "veth" { "from 6.12 on " } else { "" };
    let text = if beneath.index == interface.index {
        format!(
            "{name} is {article} {kind}: {since}the kernel refuses netconsole on it (errno 524), and this is {release}"
        )
    } else {
        format!(
            "{name} stands on {}, which is {article} {kind}: {since}the kernel refuses netconsole on both (errno 524), and this \
             is {release}",
            beneath.name
        )
    };
    let help = if kind == "hsr" {
        "send from a card that is no part of the ring"
    } else {
        "send from the host's own card: what a container prints is in the host's log, too"
    };
    Some(Finding::error("unpollable", text).help(help))
}

/// The interface at or beneath `interface` that refuses netpoll.
fn unpollable<'machine>(
    machine: &'machine Machine,
    interface: &'machine Interface,
    depth: usize,
) -> Option<&'machine Interface> {
    let refuses = interface.is("netkit")
        || interface.is("hsr")
        || (interface.is("veth") && machine.kernel.refuses_veth());
    if refuses {
        return Some(interface);
    }
    if depth == 0 {
        return None;
    }
    beneath(machine, interface)
        .into_iter()
        .find_map(|lower| unpollable(machine, lower, depth - 1))
}

/// What an interface hands its frames to.
fn beneath<'machine>(
    machine: &'machine Machine,
    interface: &Interface,
) -> Vec<&'machine Interface> {
    match interface.kind.as_deref() {
        Some("bridge" | "bond" | "team") => machine.ports(interface).collect(),
        Some("vlan" | "macvlan" | "macvtap") => interface
            .lower
            .and_then(|lower| machine.interface(lower))
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}

/// Interfaces on which netconsole can be enabled and that carry nothing to anybody.
fn sends_nowhere(machine: &Machine, interface: &Interface) -> Option<Finding> {
    let name = &interface.name;
    let other = "send from a card, or from what stands on one";
    let nowhere = |what: &str| {
        let text = format!("{name} is {what}: the kernel takes it, and no line arrives anywhere");
        Some(Finding::error("sends-nowhere", text).help(other))
    };
    match interface.kind.as_deref() {
        _ if name == "lo" => nowhere("the loopback"),
        Some("dummy") => nowhere("a dummy"),
        Some("ifb") => nowhere("an ifb"),
        Some("vrf") => nowhere("a VRF"),
        Some("bridge" | "bond" | "team") if machine.ports(interface).next().is_none() => {
            let kind = interface.kind.as_deref().unwrap_or_default();
            let text = format!("{name} is a {kind} without ports: what it sends goes nowhere");
            Some(Finding::warning("no-ports", text).help("give it one"))
        }
        _ if !interface.ethernet => nowhere("no Ethernet interface"),
        _ => None,
    }
}

/// Interfaces that know nothing of netpoll and give their frames to the kernel's queues, or to its IP. On 6.12 a panic over
/// an ipvlan, a vxlan, a geneve or a gretap ends after its second line or within the trace, and the machine hangs.
fn hands_on(machine: &Machine, interface: &Interface) -> Option<Finding> {
    let beneath = handing_on(machine, interface, DEPTH)?;
    let kind = beneath.kind.as_deref().unwrap_or_default();
    let name = &interface.name;
    let article = if kind.starts_with(['e', 'i']) {
        "an"
    } else {
        "a"
    };
    let what = if beneath.index == interface.index {
        format!("{name} is {article} {kind}")
    } else {
        format!(
            "{name} stands on {}, which is {article} {kind}",
            beneath.name
        )
    };
    let text = format!(
        "{what}: its frames go through the kernel's queues, and of a kernel that dies the last words can stay there"
    );
    let help = "send from a card, or from what stands on one";
    Some(Finding::warning("queued", text).help(help))
}

/// The interface at or beneath `interface` that hands its frames on.
fn handing_on<'machine>(
    machine: &'machine Machine,
    interface: &'machine Interface,
    depth: usize,
) -> Option<&'machine Interface> {
    let kinds = [
        "ipvlan",
        "ipvtap",
        "vxlan",
        "geneve",
        "gretap",
        "ip6gretap",
        "erspan",
        "ip6erspan",
        "bareudp",
        "macsec",
    ];
    if interface.ethernet && kinds.iter().any(|kind| interface.is(kind)) {
        return Some(interface);
    }
    let lower = depth.checked_sub(1)?;
    beneath(machine, interface)
        .into_iter()
        .find_map(|one| handing_on(machine, one, lower))
}

/// A bridge that carries netconsole takes no veth any more.
fn keeps_others_out(machine: &Machine, interface: &Interface) -> Option<Finding> {
    let has_veth = unpollable(machine, interface, DEPTH).is_some();
    if !interface.is("bridge") || !machine.kernel.refuses_veth() || has_veth {
        return None;
    }
    let text = format!(
        "while netconsole uses {}, no veth can join that bridge (errno 524): containers on it do not start",
        interface.name
    );
    Some(Finding::warning("bridge-without-veth", text))
}

fn is_not_ready(interface: &Interface) -> Option<Finding> {
    let name = &interface.name;
    if !interface.up {
        let text =
            format!("{name} is down: netconsole brings it up and waits up to 4 s for its carrier");
        return Some(Finding::warning("down", text).help(format!("`ip link set {name} up`")));
    }
    let text = format!("{name} has no carrier: what is printed meanwhile is not sent later");
    (!interface.carrier).then(|| Finding::warning("no-carrier", text).help("plug the cable in"))
}

/// Whether the system's network configuration makes it, and not a driver: what a driver makes has no kind, but the port of
/// a switch within the machine.
pub(crate) fn is_made_late(interface: &Interface) -> bool {
    interface.kind.as_deref().is_some_and(|kind| kind != "dsa")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use crate::param::{Severity, machine::Kernel};

    use super::*;

    fn interface(index: u32, name: &str, kind: &str) -> Interface {
        Interface {
            index,
            name: name.to_owned(),
            kind: (!kind.is_empty()).then(|| kind.to_owned()),
            ethernet: true,
            up: true,
            carrier: true,
            ..Interface::default()
        }
    }

    fn machine(release: &str, interfaces: &[Interface]) -> Machine {
        Machine {
            kernel: Kernel {
                release: release.to_owned(),
                ..Kernel::default()
            },
            interfaces: interfaces.to_vec(),
            ..Machine::default()
        }
    }

    #[track_caller]
    fn check(machine: &Machine, name: &str, expected: &[(Severity, &str)]) {
        let found = findings(machine, machine.named(name).unwrap());
        let found: Vec<_> = found.iter().map(|one| (one.severity, one.code)).collect();
        assert_eq!(found, expected);
    }

    #[rstest]
    #[case::card("6.12.117", "", &[])]
    #[case::veth_before("6.11.9", "veth", &[])]
    #[case::veth("6.12.0", "veth", &[(Severity::Error, "unpollable")])]
    #[case::netkit("6.8.0", "netkit", &[(Severity::Error, "unpollable")])]
    #[case::dummy("6.1.0", "dummy", &[(Severity::Error, "sends-nowhere")])]
    #[case::ipvlan("6.1.0", "ipvlan", &[(Severity::Warning, "queued")])]
    #[case::vxlan("6.12.0", "vxlan", &[(Severity::Warning, "queued")])]
    #[case::hsr("6.1.0", "hsr", &[(Severity::Error, "unpollable")])]
    #[case::bond("6.12.0", "bond", &[(Severity::Warning, "no-ports")])]
    #[case::bridge(
        "6.12.0",
        "bridge",
        &[(Severity::Warning, "no-ports"), (Severity::Warning, "bridge-without-veth")]
    )]
    #[case::bridge_before("6.1.0", "bridge", &[(Severity::Warning, "no-ports")])]
    fn knows_kinds(
        #[case] release: &str,
        #[case] kind: &str,
        #[case] expected: &[(Severity, &str)],
    ) {
        check(&machine(release, &[interface(2, "x", kind)]), "x", expected);
    }

    #[test]
    fn names_the_master() {
        for (kind, what) in [
            ("bridge", "a port of the bridge m"),
            ("bond", "a slave of the bond m"),
            ("vrf", "a part of the VRF m"),
        ] {
            let mut port = interface(2, "eth0", "");
            port.master = Some(3);
            let machine = machine("6.1.0", &[port, interface(3, "m", kind)]);
            let found = findings(&machine, machine.named("eth0").unwrap());
            assert_eq!(found[0].code, "slave");
            assert!(found[0].text.contains(what), "{}", found[0].text);
            assert!(found[0].text.contains("EBUSY"));
        }
    }

    #[test]
    fn looks_beneath() {
        let mut vlan = interface(4, "br0.7", "vlan");
        vlan.lower = Some(3);
        let mut port = interface(2, "v0", "veth");
        port.master = Some(3);
        let all = [port, interface(3, "br0", "bridge"), vlan];
        let found = findings(&machine("6.12.0", &all), &all[2]);
        assert_eq!(found[0].code, "unpollable");
        assert!(
            found[0]
                .text
                .contains("br0.7 stands on v0, which is a veth")
        );
        check(&machine("6.11.0", &all), "br0.7", &[]);
    }

    #[test]
    fn a_veth_does_not_stand_on_its_peer() {
        let mut one = interface(2, "v0", "veth");
        one.lower = Some(3);
        let mut other = interface(3, "v1", "veth");
        other.lower = Some(2);
        check(&machine("6.11.0", &[one, other]), "v0", &[]);
    }

    #[test]
    fn says_what_is_not_ready() {
        let mut down = interface(2, "x", "");
        down.up = false;
        check(
            &machine("6.1.0", &[down]),
            "x",
            &[(Severity::Warning, "down")],
        );
        let mut unplugged = interface(2, "x", "");
        unplugged.carrier = false;
        check(
            &machine("6.1.0", &[unplugged]),
            "x",
            &[(Severity::Warning, "no-carrier")],
        );
    }
}
