//! What is wrong with a target that the kernel can read.

use crate::{
    netconsole::{MacAddress, Parameter, Settings, parameter::Field},
    param::{
        Finding, Interface, Machine, NoWay, Way, device,
        explain::{LookedUp, meaning::whose},
        way::why_no_receiver,
    },
};

/// An interface's name has at most so many bytes (`IFNAMSIZ`).
const LONGEST_NAME: usize = 15;

/// All that is wrong with a target, each finding with its field.
pub(crate) fn findings(
    parameter: &Parameter,
    machine: &Machine,
    looked_up: &LookedUp<'_>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(release(parameter, machine));
    found.extend(port(Field::LocalPort, parameter.local_port));
    found.extend(source(parameter, machine, looked_up.interface));
    match looked_up.interface {
        Some(interface) => found.extend(
            device::findings(machine, interface)
                .into_iter()
                .map(|finding| finding.about(Field::Device)),
        ),
        None => found.push(no_interface(parameter, machine)),
    }
    found.extend(by_mac(parameter, machine));
    found.extend(port(Field::RemotePort, parameter.remote_port));
    match why_no_receiver(parameter.remote_ip) {
        Some((why, help)) => {
            let text = format!("{} is {why}", parameter.remote_ip);
            let finding = Finding::error("no-receiver", text).about(Field::RemoteIp);
            found.push(finding.help(help));
        }
        None => match &looked_up.way {
            Some(Ok(way)) => found.extend(mac(parameter, machine, looked_up, way)),
            Some(Err(no_way)) => found.extend(without_way(no_way)),
            None => {}
        },
    }
    found
}

fn release(parameter: &Parameter, machine: &Machine) -> Option<Finding> {
    if !parameter.release || machine.kernel.is_at_least(6, 6, 0) {
        return None;
    }
    let text = format!(
        "the flag `r` needs kernel 6.6: this one, {}, reads it as a port",
        machine.kernel.release
    );
    Some(Finding::error("release", text).about(Field::Release))
}

fn port(field: Field, port: Option<u16>) -> Option<Finding> {
    let text = format!("the {field} 0 is none: nobody listens there");
    (port == Some(0)).then(|| Finding::error("port-zero", text).about(field))
}

fn source(
    parameter: &Parameter,
    machine: &Machine,
    interface: Option<&Interface>,
) -> Option<Finding> {
    let interface = interface?;
    let name = &interface.name;
    let Some(address) = parameter.local_ip else {
        let version = if parameter.remote_ip.is_ipv4() {
            "IPv4"
        } else {
            "IPv6"
        };
        let text = format!("{name} has no {version} address that the kernel could take by itself");
        return interface
            .first_address(parameter.remote_ip)
            .is_none()
            .then(|| Finding::error("no-source", text).about(Field::LocalIp));
    };
    if interface.has(address) {
        return None;
    }
    let owner = machine.owner(address);
    let whose = owner.map_or_else(
        || "of no interface here".to_owned(),
        |owner| format!("{}'s", owner.name),
    );
    let text = format!("{address} is not on {name}: it is {whose}");
    let own = interface.first_address(parameter.remote_ip);
    let help = own.map_or_else(
        || format!("{name} has no address that fits"),
        |own| format!("{name} has {own}"),
    );
    let finding = Finding::error("foreign-source", text).about(Field::LocalIp);
    Some(finding.help(help))
}

fn no_interface(parameter: &Parameter, machine: &Machine) -> Finding {
    let given = parameter.dev_name.as_deref();
    let name = given.unwrap_or(Settings::DEV_NAME);
    let what = match given {
        Some(_) if name.parse::<MacAddress>().is_ok() => {
            format!("no interface here has the MAC {name}")
        }
        Some(_) => format!("there is no interface `{name}` here"),
        None => format!("no interface is named, and there is no `{name}`, the kernel's default"),
    };
    let text = if given.is_some_and(|name| name.len() >= LONGEST_NAME && !name.contains(':')) {
        format!("{what} (the kernel keeps {LONGEST_NAME} bytes of a name)")
    } else {
        what
    };
    let names: Vec<&str> = machine
        .interfaces
        .iter()
        .filter(|interface| interface.ethernet)
        .map(|interface| interface.name.as_str())
        .collect();
    let help = if names.is_empty() {
        "there is no Ethernet interface at all".to_owned()
    } else {
        format!("there is {}", names.join(", "))
    };
    Finding::error("no-such-interface", text)
        .about(Field::Device)
        .help(help)
}

fn by_mac(parameter: &Parameter, machine: &Machine) -> Option<Finding> {
    let is_mac = parameter.dev_name.as_ref()?.parse::<MacAddress>().is_ok();
    if !is_mac || machine.kernel.takes_device_by_mac() {
        return None;
    }
    let text = format!(
        "a MAC names an interface from kernel 6.15 on, and in 6.12 from 6.12.91 on; this is {}",
        machine.kernel.release
    );
    Some(Finding::error("device-by-mac", text).about(Field::Device))
}

fn mac(
    parameter: &Parameter,
    machine: &Machine,
    looked_up: &LookedUp<'_>,
    way: &Way,
) -> Option<Finding> {
    let given = parameter.remote_mac.unwrap_or(MacAddress::BROADCAST);
    if given == MacAddress::BROADCAST {
        return Some(broadcast(way).about(Field::RemoteMac));
    }
    let hop = way.hop(parameter.remote_ip);
    let Some(wanted) = way.mac else {
        let text = format!(
            "nobody answers for {hop} on {}, so whether {given} is its MAC cannot be told",
            machine.name(way.interface)
        );
        let known = whose(given, machine, looked_up);
        let finding = Finding::warning("silent-hop", text).about(Field::RemoteMac);
        return Some(finding.help(format!("as far as known, it is {known}")));
    };
    if given == wanted {
        return None;
    }
    let whose = whose(given, machine, looked_up);
    let text = format!("{given} is not the next hop's MAC: it is {whose}");
    let wanted_by = match way.gateway {
        Some(gateway) => format!("the gateway {gateway}'s"),
        None => "the receiver's own".to_owned(),
    };
    let finding = Finding::error("other-mac", text).about(Field::RemoteMac);
    Some(finding.help(format!("it should be {wanted}, {wanted_by}")))
}

fn broadcast(way: &Way) -> Finding {
    let should = way
        .mac
        .map(|mac| format!("; the next hop's MAC is {mac}"))
        .unwrap_or_default();
    match way.gateway {
        Some(gateway) => {
            let text = format!(
                "the frames go to everybody on the segment, and the gateway {gateway} forwards no such frame"
            );
            Finding::error("broadcast-mac", text).help(format!("name the gateway's MAC{should}"))
        }
        None => {
            let text = "the frames go to everybody on the segment, the receiver included";
            Finding::note("broadcast-mac", format!("{text}{should}"))
        }
    }
}

fn without_way(no_way: &NoWay) -> Option<Finding> {
    let message = no_way.to_string();
    let (text, help) = match message.split_once('\n') {
        Some((text, help)) => (text, Some(help.trim_matches(['(', ')']))),
        None => (message.as_str(), None),
    };
    let code = match no_way {
        NoWay::Own { .. } | NoWay::Broadcast { .. } => "no-receiver",
        NoWay::NoRoute { .. } | NoWay::Refused { .. } => "no-route",
        NoWay::OtherInterface { .. } => "other-interface",
        // The interface's own findings say it.
        NoWay::NoEthernet { .. } => return None,
        NoWay::NoSource { .. } => "no-source",
        NoWay::Silent { .. } => "silent-hop",
    };
    // What the user wrote is a parameter, and no option.
    let help = match no_way {
        NoWay::OtherInterface { .. } => Some("name the interface that leads there, or add a route"),
        _ => help,
    };
    let finding = Finding::error(code, text).about(Field::RemoteIp);
    let finding = match help {
        Some(help) => finding.help(help),
        None => finding,
    };
    Some(finding)
}
