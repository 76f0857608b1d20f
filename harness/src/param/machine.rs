//! A machine as values: its kernel, its interfaces, its neighbours.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    netconsole::{MacAddress, Parameter, Settings},
    scenario::needs::KernelVersion,
};

/// The machine that is to send.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    pub(crate) kernel: Kernel,
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) neighbours: Vec<Neighbour>,
}

/// The running kernel, as far as netconsole is concerned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Kernel {
    /// `uname -r`.
    pub(crate) release: String,
    pub(crate) netconsole: Support,
    /// Whether targets can be made through configfs, where that can be told.
    pub(crate) dynamic: Option<bool>,
    /// Whether the module is loaded.
    pub(crate) loaded: bool,
    /// Messages below this level go to the consoles.
    pub(crate) console_level: Option<u8>,
    /// The targets that configfs has already.
    pub(crate) targets: Vec<String>,
}

/// How a kernel has netconsole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Support {
    Module,
    BuiltIn,
    Absent,
    /// Neither a configuration nor a module was found.
    #[default]
    Unknown,
}

/// A network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// Its alternative names, which the kernel takes, too.
    pub(crate) other_names: Vec<String>,
    /// `bridge`, `bond`, `vlan`, …; none for a card.
    pub(crate) kind: Option<String>,
    pub(crate) ethernet: bool,
    pub(crate) mac: Option<MacAddress>,
    /// Whether MACs of neighbours are asked for on it: not where NOARP is set.
    pub(crate) resolves: bool,
    pub(crate) up: bool,
    pub(crate) carrier: bool,
    pub(crate) wireless: bool,
    /// In the kernel's order.
    pub(crate) addresses: Vec<Own>,
    /// The bridge, bond, team or VRF that it is a part of.
    pub(crate) master: Option<u32>,
    /// What it stands on: a VLAN's card.
    pub(crate) lower: Option<u32>,
}

/// An address of an interface, and the network that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) address: IpAddr,
    pub(crate) network: IpNet,
    /// Whether it is one of IPv6 that the kernel makes up for some hours (RFC 8981).
    pub(crate) temporary: bool,
}

/// An entry of the neighbour table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Neighbour {
    pub(crate) interface: u32,
    pub(crate) address: IpAddr,
    pub(crate) mac: MacAddress,
}

impl Kernel {
    /// Whether it is that version or a later one; a release that cannot be read is taken for a new one.
    pub(crate) fn is_at_least(&self, major: u32, minor: u32, patch: u32) -> bool {
        let wanted = KernelVersion {
            major,
            minor,
            patch,
        };
        KernelVersion::from_release(&self.release).is_none_or(|version| version >= wanted)
    }

    /// Whether an interface can be named by its MAC: from 6.15 on, and in 6.12 from 6.12.91 on.
    pub(crate) fn takes_device_by_mac(&self) -> bool {
        self.is_at_least(6, 15, 0) || (self.is_at_least(6, 12, 91) && !self.is_at_least(6, 13, 0))
    }

    /// Whether a veth refuses netconsole: 45160cebd6ac, "net: veth: Disable netpoll support".
    pub(crate) fn refuses_veth(&self) -> bool {
        self.is_at_least(6, 12, 0)
    }
}

impl Machine {
    pub(crate) fn interface(&self, index: u32) -> Option<&Interface> {
        self.interfaces
            .iter()
            .find(|interface| interface.index == index)
    }

    /// The interface of that name, or alternative name.
    pub(crate) fn named(&self, name: &str) -> Option<&Interface> {
        let by_name = self.interfaces.iter().find(|one| one.name == name);
        by_name.or_else(|| {
            self.interfaces
                .iter()
                .find(|one| one.other_names.iter().any(|other| other == name))
        })
    }

    /// The interface that a parameter is for: the named one, the first with the MAC that it names, else `eth0`.
    pub(crate) fn device(&self, parameter: &Parameter) -> Option<&Interface> {
        let name = parameter.dev_name.as_deref().unwrap_or(Settings::DEV_NAME);
        match name.parse::<MacAddress>() {
            Ok(mac) => self.interfaces.iter().find(|one| one.mac == Some(mac)),
            Err(_) => self.named(name),
        }
    }

    /// The interface that has `address`.
    pub(crate) fn owner(&self, address: IpAddr) -> Option<&Interface> {
        self.interfaces
            .iter()
            .find(|interface| interface.has(address))
    }

    /// The interfaces that are a part of `master`.
    pub(crate) fn ports(&self, master: &Interface) -> impl Iterator<Item = &Interface> {
        let index = master.index;
        self.interfaces
            .iter()
            .filter(move |interface| interface.master == Some(index))
    }

    /// The name of the interface with `index`, for messages.
    pub(crate) fn name(&self, index: u32) -> String {
        self.interface(index)
            .map_or_else(|| format!("interface {index}"), |one| one.name.clone())
    }
}

impl Interface {
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.address == address)
    }

    /// Its network that `address` is in.
    pub(crate) fn network_of(&self, address: IpAddr) -> Option<IpNet> {
        self.addresses
            .iter()
            .map(|own| own.network.trunc())
            .find(|network| network.contains(&address))
    }

    /// The source address that netconsole takes by itself for a target at `remote`: the first of its family, for IPv6
    /// the first that is link-local exactly where `remote` is (`netpoll_setup`).
    pub(crate) fn first_address(&self, remote: IpAddr) -> Option<IpAddr> {
        let fits = |address: &IpAddr| match (address, remote) {
            (IpAddr::V4(_), IpAddr::V4(_)) => true,
            (IpAddr::V6(own), IpAddr::V6(remote)) => {
                own.is_unicast_link_local() == remote.is_unicast_link_local()
            }
            _ => false,
        };
        self.addresses.iter().map(|own| own.address).find(fits)
    }

    pub(crate) fn is(&self, kind: &str) -> bool {
        self.kind.as_deref() == Some(kind)
    }
}
