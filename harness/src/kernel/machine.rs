//! The running machine as [`Machine`]: its kernel, interfaces and neighbours, read and not changed.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use futures_util::TryStreamExt;
use ipnet::IpNet;
use lastwords_vm::kernel::config::{Config, Setting};
use netlink_packet_route::{
    address::{AddressAttribute, AddressFlags, AddressMessage},
    link::{LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, Prop},
    neighbour::NeighbourMessage,
};

use crate::{
    kernel::{
        Refusal,
        interface::{address_of, connect, has_carrier, name_of, netlink},
        neighbour::{address_of_neighbour, mac_of_neighbour},
    },
    param::{
        Interface, Machine,
        machine::{Kernel, Neighbour, Own, Support},
    },
};

/// Reads the machine that this program runs on, in this network namespace.
pub(crate) async fn read() -> Result<Machine, Refusal> {
    let doing = "reading the network interfaces";
    let handle = connect(doing)?;
    let wrong = |error| netlink(doing, error);
    let links = handle.link().get().execute();
    let links: Vec<LinkMessage> = links.try_collect().await.map_err(wrong)?;
    let mut interfaces: Vec<Interface> = links.iter().map(interface).collect();
    let addresses = handle.address().get().execute();
    let addresses: Vec<AddressMessage> = addresses.try_collect().await.map_err(wrong)?;
    for message in &addresses {
        let owner = interfaces
            .iter_mut()
            .find(|interface| interface.index == message.header.index);
        if let (Some(owner), Some(own)) = (owner, own(message)) {
            owner.addresses.push(own);
        }
    }
    let neighbours = handle.neighbours().get().execute();
    let neighbours: Vec<NeighbourMessage> = neighbours.try_collect().await.map_err(wrong)?;
    Ok(Machine {
        kernel: kernel(),
        interfaces,
        neighbours: neighbours.iter().filter_map(neighbour).collect(),
    })
}

fn interface(link: &LinkMessage) -> Interface {
    let flags = link.header.flags;
    let name = name_of(link).unwrap_or_default().to_owned();
    let is_ethernet = link.header.link_layer_type == LinkLayerType::Ether;
    let mut interface = Interface {
        index: link.header.index,
        wireless: Path::new("/sys/class/net")
            .join(&name)
            .join("phy80211")
            .exists(),
        name,
        ethernet: is_ethernet,
        mac: address_of(link).filter(|_| is_ethernet),
        resolves: !flags.contains(LinkFlags::Noarp) && !flags.contains(LinkFlags::Loopback),
        up: flags.contains(LinkFlags::Up),
        carrier: has_carrier(link),
        ..Interface::default()
    };
    // A VLAN's card may be in another namespace, where its index says nothing here.
    let mut lower_is_elsewhere = false;
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Controller(index) => interface.master = Some(*index),
            LinkAttribute::Link(index) if *index != link.header.index => {
                interface.lower = Some(*index);
            }
            LinkAttribute::LinkNetNsId(_) => lower_is_elsewhere = true,
            LinkAttribute::PropList(properties) => {
                interface
                    .other_names
                    .extend(properties.iter().filter_map(other_name));
            }
            LinkAttribute::LinkInfo(infos) => interface.kind = infos.iter().find_map(kind),
            _ => {}
        }
    }
    if lower_is_elsewhere {
        interface.lower = None;
    }
    interface
}

fn other_name(property: &Prop) -> Option<String> {
    match property {
        Prop::AltIfName(name) => Some(name.clone()),
        _ => None,
    }
}

fn kind(info: &LinkInfo) -> Option<String> {
    match info {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    }
}

/// With a peer, IFA_LOCAL is the interface's own address and IFA_ADDRESS the other end's (`if_addr.h`).
fn own(message: &AddressMessage) -> Option<Own> {
    let (mut local, mut address): (Option<IpAddr>, Option<IpAddr>) = (None, None);
    let mut temporary = false;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            // The same bit says "secondary" of an IPv4 address (`IFA_F_TEMPORARY`).
            AddressAttribute::Flags(flags) => temporary = flags.contains(AddressFlags::Secondary),
            _ => {}
        }
    }
    let network = address.or(local)?;
    Some(Own {
        address: local.or(address)?,
        network: IpNet::new(network, message.header.prefix_len).ok()?,
        temporary: temporary && network.is_ipv6(),
    })
}

fn neighbour(message: &NeighbourMessage) -> Option<Neighbour> {
    Some(Neighbour {
        interface: message.header.ifindex,
        address: address_of_neighbour(message)?,
        mac: mac_of_neighbour(message)?,
    })
}

fn kernel() -> Kernel {
    let release = nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_default();
    let config = config(&release);
    let loaded = Path::new("/sys/module/netconsole").exists();
    let has = |option: &str| config.as_ref().map(|config| config.has(option));
    let netconsole = match has("NETCONSOLE") {
        Some(Setting::Module) => Support::Module,
        Some(Setting::BuiltIn) => Support::BuiltIn,
        Some(Setting::Off) => Support::Absent,
        None if loaded => Support::Module,
        None => listed(&release),
    };
    let configfs = Path::new("/sys/kernel/config/netconsole");
    let dynamic = has("NETCONSOLE_DYNAMIC").map(|setting| setting != Setting::Off);
    Kernel {
        netconsole,
        dynamic: dynamic.or(configfs.exists().then_some(true)),
        loaded,
        console_level: console_level(),
        targets: names_in(configfs),
        release,
    }
}

/// The running kernel's configuration, where a system keeps one.
fn config(release: &str) -> Option<Config> {
    let places = [
        PathBuf::from("/proc/config.gz"),
        PathBuf::from(format!("/boot/config-{release}")),
        PathBuf::from(format!("/lib/modules/{release}/config")),
        PathBuf::from(format!("/lib/modules/{release}/build/.config")),
    ];
    places.iter().find_map(|path| Config::read(path).ok())
}

/// How the lists of the running kernel's modules have netconsole.
fn listed(release: &str) -> Support {
    let list = |name: &str| {
        fs::read_to_string(format!("/lib/modules/{release}/{name}")).unwrap_or_default()
    };
    let built_in = list("modules.builtin");
    if built_in.contains("/netconsole.ko") {
        Support::BuiltIn
    } else if list("modules.dep").contains("/netconsole.ko") {
        Support::Module
    } else if built_in.is_empty() {
        Support::Unknown
    } else {
        Support::Absent
    }
}

/// What is in a folder; nothing where it is not there, or not for this user.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The first number of /proc/sys/kernel/printk.
fn console_level() -> Option<u8> {
    let text = fs::read_to_string("/proc/sys/kernel/printk").ok()?;
    text.split_whitespace().next()?.parse().ok()
}
