//! netconsole targets as a scenario asks for them.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    netconsole::{MacAddress, Settings},
    scenario::{NodeIndex, Place, step::Failure},
};

/// One netconsole target, before the lab has told what is left open.
///
/// A setting that is `None` is left to the lab: the harness finds it as an operator would. A setting that is
/// `Some(Setting::KernelDefault)` is left out of the parameter (or not written), so the kernel's default stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    /// As written, else `target1`, `target2`, … in the file's order. Also the configfs folder's name.
    pub(crate) name: String,
    /// The sender that has it.
    pub(crate) on: NodeIndex,
    /// The receiver that it is aimed at.
    pub(crate) to: NodeIndex,
    pub(crate) via: Via,
    /// The whole `netconsole=` parameter as the user wrote it; then no other setting is there.
    pub(crate) parameter: Option<String>,
    pub(crate) dev_name: Option<Setting<String>>,
    pub(crate) local_port: Option<Setting<u16>>,
    pub(crate) remote_port: Option<Setting<u16>>,
    pub(crate) local_ip: Option<Setting<IpAddr>>,
    pub(crate) remote_ip: Option<Setting<IpAddr>>,
    pub(crate) remote_mac: Option<Setting<RemoteMac>>,
    pub(crate) extended: bool,
    pub(crate) release: bool,
    /// Whether it is on from the start; `set` may switch it on later (configfs only).
    pub(crate) enabled: bool,
    pub(crate) userdata: BTreeMap<String, String>,
    /// Whether it is not there before a step makes it (configfs only).
    pub(crate) later: bool,
    /// Whether it must fail to come up.
    pub(crate) fails: Option<Failure>,
    pub(crate) place: Place,
}

impl Target {
    /// The ports that it sends to from the start.
    pub(crate) fn remote_ports(&self) -> Vec<u16> {
        match (&self.parameter, &self.remote_port) {
            (Some(parameter), _) => parameter.split(';').map(port_of_parameter).collect(),
            (None, Some(Setting::Value(port))) => vec![*port],
            (None, Some(Setting::KernelDefault) | None) => vec![Settings::REMOTE_PORT],
        }
    }
}

/// How a target is set up.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Via {
    /// `modprobe netconsole netconsole=…`; several such targets of one sender are one parameter, joined by `;`.
    Modprobe,
    /// `/sys/kernel/config/netconsole/NAME/`.
    Configfs,
    /// /etc/modules and /etc/modprobe.d, read when the machine boots.
    Boot,
    /// The kernel's command line: `netconsole.netconsole=…`, or `netconsole=…` where netconsole is built in.
    Cmdline,
}

impl Via {
    /// As a scenario spells it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Modprobe => "modprobe",
            Self::Configfs => "configfs",
            Self::Boot => "boot",
            Self::Cmdline => "cmdline",
        }
    }

    /// Whether it is in the one parameter that the module is loaded with.
    pub(crate) fn is_parameter(self) -> bool {
        self != Self::Configfs
    }

    /// Whether it is there once the machine has booted.
    pub(crate) fn is_booted(self) -> bool {
        matches!(self, Self::Boot | Self::Cmdline)
    }
}

/// A setting that was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Setting<T> {
    /// `"default"`: the field stays empty and the kernel takes its own default.
    KernelDefault,
    Value(T),
}

/// A remote MAC that was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RemoteMac {
    Address(MacAddress),
    /// The MAC of that node's interface nearest to the sender: on a link of the sender, else its first.
    Node(NodeIndex),
}

/// The remote port of a module parameter: what stands between `,` and `@`, else the kernel's own.
fn port_of_parameter(parameter: &str) -> u16 {
    let remote = parameter.split_once(',').map_or("", |(_, remote)| remote);
    let port = remote
        .split_once('@')
        .and_then(|(port, _)| port.trim().parse().ok());
    port.filter(|port| *port != 0)
        .unwrap_or(Settings::REMOTE_PORT)
}
