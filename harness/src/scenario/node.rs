//! The machines of a scenario and their interfaces.

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::{
    netconsole::MacAddress,
    scenario::{Program, Route},
};

/// Which of a scenario's nodes is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeIndex(pub(crate) usize);

/// A machine of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// In the order of the links that name the node: `eth0`, `eth1`, …
    pub(crate) interfaces: Vec<Interface>,
    /// What does not lie on a link of its own.
    pub(crate) routes: Vec<Route>,
}

/// What a node is there for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Role {
    /// The machine whose kernel is under test.
    Sender(Sender),
    /// The machine that the lines should reach.
    Receiver(Receiver),
    /// A machine that forwards between its links.
    Router,
}

/// What a sender is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sender {
    /// QEMU's `-smp`.
    pub(crate) cpus: u8,
    /// QEMU's `-m`, in MiB.
    pub(crate) memory: u32,
    /// More words for the kernel's command line.
    pub(crate) cmdline: Option<String>,
    /// `/proc/sys` values by name (`kernel.printk_devkmsg`), written before the targets are set up.
    pub(crate) sysctl: BTreeMap<String, String>,
}

/// Who receives, and where.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Receiver {
    /// The real program that receives; none: the observer, which sees whole frames.
    pub(crate) program: Option<Program>,
    /// The UDP ports that it listens on: those of the file, else the remote ports of the targets that name it as they
    /// are at the start (6666 where there is none).
    pub(crate) ports: Vec<u16>,
}

/// A QEMU network card that a stock kernel has a driver for.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Default,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
pub(crate) enum Nic {
    #[default]
    #[serde(rename = "virtio-net-pci")]
    VirtioNetPci,
    #[serde(rename = "e1000")]
    E1000,
    #[serde(rename = "e1000e")]
    E1000e,
    #[serde(rename = "rtl8139")]
    Rtl8139,
}

/// A node's end of a link.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Interface {
    /// Index into the scenario's links.
    pub(crate) link: usize,
    /// `eth0`, `eth1`, … in the order of the links.
    pub(crate) name: String,
    pub(crate) mac: MacAddress,
    /// One address for each subnet of the link, with the subnet's prefix length.
    pub(crate) addresses: Vec<IpNet>,
    /// The sender's card; unused elsewhere.
    pub(crate) nic: Nic,
}

impl Sender {
    /// MiB of memory that a sender has unless its file says otherwise.
    pub(crate) const MEMORY: u32 = 256;
}

impl Node {
    /// The sender's side of the node, where it is one.
    pub(crate) fn sender(&self) -> Option<&Sender> {
        match &self.role {
            Role::Sender(sender) => Some(sender),
            Role::Receiver(_) | Role::Router => None,
        }
    }

    /// The real program that receives, where one does.
    pub(crate) fn program(&self) -> Option<&Program> {
        self.receiver()?.program.as_ref()
    }

    /// The receiver's side of the node, where it is one.
    pub(crate) fn receiver(&self) -> Option<&Receiver> {
        match &self.role {
            Role::Receiver(receiver) => Some(receiver),
            Role::Sender(_) | Role::Router => None,
        }
    }

    /// Whether its network is a namespace of this machine: a router's, and a real program's.
    pub(crate) fn lives_in_a_namespace(&self) -> bool {
        match &self.role {
            Role::Router => true,
            Role::Receiver(receiver) => receiver.program.is_some(),
            Role::Sender(_) => false,
        }
    }
}
