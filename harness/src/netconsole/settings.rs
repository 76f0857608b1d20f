//! What one netconsole target is set to, every field known.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::netconsole::MacAddress;

/// A target's settings as the kernel holds them once it is enabled: nothing is left to a default.
///
/// They fix what its datagrams look like on the wire, so a verdict compares every frame with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// The interface that it sends from.
    pub(crate) dev_name: String,
    pub(crate) local_port: u16,
    pub(crate) remote_port: u16,
    pub(crate) local_ip: IpAddr,
    pub(crate) remote_ip: IpAddr,
    pub(crate) remote_mac: MacAddress,
    /// With the header that holds level, sequence number and timestamp.
    pub(crate) extended: bool,
    /// With the kernel's release before that header.
    pub(crate) release: bool,
    /// `userdata/KEY/value`, from 6.9 on.
    #[serde(default)]
    pub(crate) userdata: BTreeMap<String, String>,
}

impl Settings {
    /// The source port that netconsole takes by itself (`Documentation/networking/netconsole.rst`).
    pub(crate) const LOCAL_PORT: u16 = 6665;
    /// The target port that netconsole takes by itself.
    pub(crate) const REMOTE_PORT: u16 = 6666;
    /// The interface that netconsole takes by itself.
    pub(crate) const DEV_NAME: &str = "eth0";
}
