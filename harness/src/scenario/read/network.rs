//! Addresses of networks and their hosts.

use std::{borrow::Cow, net::IpAddr};

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::{
    netconsole::MacAddress,
    scenario::{
        mistake::Mistakes,
        read::{
            Read,
            form::{Fault, Form, forms},
        },
        tree::{At, Value},
    },
};

forms!(Address Subnet MacAddress);

/// An IPv4 or IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) IpAddr);

impl Form for Address {
    const WHAT: &'static str = "an IP address";
    const LIKE: &'static str = "`\"10.0.0.1\"` or `\"fd00::1\"`";

    fn parse(text: &str) -> Result<Self, Fault> {
        text.parse().map(Self).map_err(|_| Fault::default())
    }
}

/// An address and a prefix length. It may have host bits, and be no place for hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subnet(pub(crate) IpNet);

impl Form for Subnet {
    const WHAT: &'static str = "a subnet";
    const LIKE: &'static str = "`\"10.0.0.0/24\"` or `\"fd00::/64\"`";

    fn parse(text: &str) -> Result<Self, Fault> {
        text.parse().map(Self).map_err(|_| Fault::default())
    }
}

impl Form for MacAddress {
    const WHAT: &'static str = "an Ethernet address";
    const LIKE: &'static str = "`\"02:00:0a:01:00:02\"`";

    fn parse(text: &str) -> Result<Self, Fault> {
        text.parse().map_err(|_| Fault::default())
    }
}
