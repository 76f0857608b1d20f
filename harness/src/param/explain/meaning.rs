//! What each field means on a machine.

use std::{net::IpAddr, ops::Range};

use crate::{
    netconsole::{MacAddress, Parameter, Settings, parameter::Field},
    param::{
        Interface, Machine,
        explain::{LookedUp, Meaning},
    },
};

/// Where a field stands in the text of a target that the kernel can read.
pub(crate) fn span(text: &str, field: Field) -> Range<usize> {
    let after = |from: usize, end: char| {
        text[from..]
            .find(end)
            .map_or(text.len(), |length| from + length)
    };
    let plus = usize::from(text.starts_with('+'));
    let port = plus + usize::from(text[plus..].starts_with('r'));
    let at = after(port, '@');
    let ip = (at + 1).min(text.len());
    let slash = after(ip, '/');
    let device = (slash + 1).min(text.len());
    let comma = after(device, ',');
    let remote_port = (comma + 1).min(text.len());
    let remote_at = after(remote_port, '@');
    let remote_ip = (remote_at + 1).min(text.len());
    let remote_slash = after(remote_ip, '/');
    let mac = (remote_slash + 1).min(text.len());
    match field {
        Field::Extended => 0..plus,
        Field::Release => plus..port,
        Field::LocalPort => port..at,
        Field::LocalIp => ip..slash,
        Field::Device => device..comma,
        Field::RemotePort => remote_port..remote_at,
        Field::RemoteIp => remote_ip..remote_slash,
        Field::RemoteMac => mac..text.len(),
        Field::Whole => 0..text.len(),
    }
}

/// All fields of a target, in order.
pub(crate) fn fields(
    text: &str,
    parameter: &Parameter,
    machine: &Machine,
    looked_up: &LookedUp<'_>,
) -> Vec<Meaning> {
    let field = |field: Field, value: Option<String>, meaning: String| {
        let written = &text[span(text, field)];
        Meaning {
            field,
            text: (!written.is_empty()).then(|| written.to_owned()),
            value,
            meaning,
        }
    };
    let interface = looked_up.interface;
    let local_port = parameter.local_port.unwrap_or(Settings::LOCAL_PORT);
    let remote_port = parameter.remote_port.unwrap_or(Settings::REMOTE_PORT);
    let local_ip = parameter
        .local_ip
        .or_else(|| interface?.first_address(parameter.remote_ip));
    let device = parameter
        .dev_name
        .clone()
        .unwrap_or_else(|| Settings::DEV_NAME.to_owned());
    let mac = parameter.remote_mac.unwrap_or(MacAddress::BROADCAST);
    let format = match (parameter.extended, parameter.release) {
        (false, _) => "basic messages: the text as it stands",
        (true, false) => "extended messages: level, sequence number and time before the text",
        (true, true) => "extended messages, with the kernel's release before them",
    };
    let flags = if parameter.release {
        Field::Release
    } else {
        Field::Extended
    };
    vec![
        Meaning {
            text: text
                .get(..span(text, Field::Release).end)
                .filter(|flags| !flags.is_empty())
                .map(str::to_owned),
            ..field(flags, None, format.to_owned())
        },
        field(
            Field::LocalPort,
            Some(local_port.to_string()),
            "the datagrams come from this port".to_owned(),
        ),
        field(
            Field::LocalIp,
            local_ip.map(|address| address.to_string()),
            source(local_ip, interface, machine),
        ),
        field(Field::Device, Some(device), described(interface)),
        field(
            Field::RemotePort,
            Some(remote_port.to_string()),
            "the receiver listens on this port".to_owned(),
        ),
        field(
            Field::RemoteIp,
            Some(parameter.remote_ip.to_string()),
            "the receiver".to_owned(),
        ),
        field(
            Field::RemoteMac,
            Some(mac.to_string()),
            whose(mac, machine, looked_up),
        ),
    ]
}

fn source(address: Option<IpAddr>, interface: Option<&Interface>, machine: &Machine) -> String {
    let Some(address) = address else {
        return "the interface's first address: it has none".to_owned();
    };
    match machine.owner(address) {
        Some(owner) if interface.is_none_or(|interface| interface.has(address)) => {
            format!("an address of {}", owner.name)
        }
        Some(owner) => format!("an address of another interface, {}", owner.name),
        None => "no address of this machine".to_owned(),
    }
}

/// An interface in a few words.
fn described(interface: Option<&Interface>) -> String {
    let Some(interface) = interface else {
        return "no interface of this machine".to_owned();
    };
    let state = match (interface.up, interface.carrier) {
        (false, _) => "down",
        (true, false) => "up, without carrier",
        (true, true) => "up",
    };
    let kind = interface.kind.as_deref().unwrap_or("a card");
    let mac = interface
        .mac
        .map(|mac| format!(", MAC {mac}"))
        .unwrap_or_default();
    let addresses: Vec<String> = interface
        .addresses
        .iter()
        .map(|own| format!("{}/{}", own.address, own.network.prefix_len()))
        .collect();
    let addresses = if addresses.is_empty() {
        "no address".to_owned()
    } else {
        addresses.join(" ")
    };
    format!("{kind}, {state}{mac}, {addresses}")
}

/// Whose MAC it is, as far as this machine knows.
pub(crate) fn whose(mac: MacAddress, machine: &Machine, looked_up: &LookedUp<'_>) -> String {
    if mac == MacAddress::BROADCAST {
        return "everybody on the segment".to_owned();
    }
    if let Some(Ok(way)) = &looked_up.way
        && way.mac == Some(mac)
    {
        return match way.gateway {
            Some(gateway) => format!("that of the next hop, the gateway {gateway}"),
            None => "that of the receiver itself".to_owned(),
        };
    }
    if mac.is_group() {
        return "a group of machines".to_owned();
    }
    let own = machine
        .interfaces
        .iter()
        .find(|interface| interface.mac == Some(mac));
    if let Some(interface) = own {
        return format!("this machine's own, of {}", interface.name);
    }
    let neighbours: Vec<String> = machine
        .neighbours
        .iter()
        .filter(|neighbour| neighbour.mac == mac)
        .map(|neighbour| neighbour.address.to_string())
        .collect();
    match neighbours.as_slice() {
        [] => "nobody's that this machine knows".to_owned(),
        some => format!("that of {}", some.join(" and ")),
    }
}
