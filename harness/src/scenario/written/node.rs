//! Nodes and links as written.

use schemars::JsonSchema;

use crate::{
    netconsole::MacAddress,
    scenario::{
        ProgramName,
        node::Nic,
        read::{
            Either, Entries, Many, Map,
            form::Memory,
            network::{Address, Subnet},
            scalar::{Number, Port},
            table::table,
            word::Word,
        },
    },
};

table! {
    /// A machine.
    "a node" struct Node {
        /// What the machine is there for.
        required "role" role: RoleWord,
        /// Its addresses where it is on one link: one for each subnet. Without it they follow from the link's order.
        "address" address: Many<Address>,
        /// Its Ethernet address where it is on one link. Without it, it follows from the address.
        "mac" mac: MacAddress,
        /// The router that takes what is for none of its links. Without it, the first router on the shortest way.
        "gateway" gateway: String,
        /// Routers for single subnets, as in `{ "10.3.0.0/24" = "gw2" }`.
        "routes" routes: Map<String>,
        /// A sender's network cards.
        "nic" nic: Nic,
        /// A sender's processors; 1 without it.
        "cpus" cpus: Number<1, 64>,
        /// A sender's memory, as in `256M`.
        "memory" memory: Memory,
        /// More words for the command line of a sender's kernel.
        "cmdline" cmdline: String,
        /// Values below /proc/sys of a sender, written before its targets are set up.
        "sysctl" sysctl: Map<Either<String, Number<0, { u32::MAX }>>>,
        /// A real program that receives, in place of the observer.
        "program" program: ProgramName,
        /// The configuration file of `program`, from the scenario file's folder; without it, its package's.
        "config" config: String,
        /// What is appended to the configuration of `program`.
        "append" append: String,
        /// The line for the shell that starts `program`, in place of the usual one.
        "command" command: String,
        /// Whether `program` is started before the targets are set up; it is without it.
        "start" start: bool,
        /// Whether `program` must fail to start: `true`, or a literal piece of what it prints then.
        "fails" fails: Either<bool, String>,
        /// The UDP ports on which a receiver listens; without it, those of the targets aimed at it.
        "port" port: Many<Port>,
    }
}

table! {
    /// An Ethernet segment.
    "a link" struct Link {
        /// One or more subnets that overlap no other; 172.16.0.0/24 without it, 172.16.1.0/24 on the second link, and so on.
        "subnet" subnet: Many<Subnet>,
        /// The machines on it; addresses follow from their order: .1, .2, …
        required "nodes" nodes: Entries<Either<String, End>>,
    }
}

table! {
    /// A machine's end of a link.
    "a node on a link" struct End {
        /// The machine.
        required "node" node: String,
        /// Its addresses here: one for each subnet.
        "address" address: Many<Address>,
        /// Its Ethernet address here.
        "mac" mac: MacAddress,
        /// A sender's network card here.
        "nic" nic: Nic,
    }
}

/// What a machine is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub(crate) enum RoleWord {
    /// Its kernel is under test.
    Sender,
    /// The lines should reach it.
    Receiver,
    /// It forwards between its links.
    Router,
}

impl Word for RoleWord {
    const WHAT: &'static str = "role";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("sender", Self::Sender),
        ("receiver", Self::Receiver),
        ("router", Self::Router),
    ];
}

impl Word for ProgramName {
    const WHAT: &'static str = "program that receives";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("netcat", Self::Netcat),
        ("netcat-openbsd", Self::NetcatOpenbsd),
        ("netcat-traditional", Self::NetcatTraditional),
        ("socat", Self::Socat),
        ("syslog-ng", Self::SyslogNg),
        ("rsyslog", Self::Rsyslog),
        ("netconsd", Self::Netconsd),
    ];
}

impl Word for Nic {
    const WHAT: &'static str = "network card";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("virtio-net-pci", Self::VirtioNetPci),
        ("e1000", Self::E1000),
        ("e1000e", Self::E1000e),
        ("rtl8139", Self::Rtl8139),
    ];
}
