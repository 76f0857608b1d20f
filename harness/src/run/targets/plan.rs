//! What a target is set to: what its file says, and what an operator would find in the lab where it says nothing.

use std::net::IpAddr;

use crate::{
    kernel::{Answer, Request, request::ConfigfsChange, request::NextHop},
    netconsole::{MacAddress, Parameter, Settings},
    run::{Error, stage::Stage, targets::WITHIN, trouble::Trouble},
    scenario::{Interface, NodeIndex, RemoteMac, Scenario, Target, target::Setting},
};

/// A target with all that its set-up needs.
pub(super) struct Planned {
    pub(super) index: usize,
    /// What it is to be set to; none where the parameter is one that nobody can read.
    pub(super) settings: Option<Settings>,
    /// As `netconsole=` has it.
    pub(super) parameter: String,
}

impl Stage<'_> {
    /// Finds what the file leaves to the lab.
    pub(super) async fn plan(&mut self, index: usize, target: &Target) -> Result<Planned, Trouble> {
        let scenario = self.scenario;
        if let Some(parameter) = &target.parameter {
            let settings = Parameter::parse_all(parameter).ok().and_then(|parameters| {
                let [parameter] = parameters.as_slice() else {
                    return None;
                };
                self.settings_of(target.on, parameter)
            });
            return Ok(Planned {
                index,
                settings,
                parameter: parameter.clone(),
            });
        }
        let remote_ip = match &target.remote_ip {
            Some(Setting::Value(address)) => *address,
            Some(Setting::KernelDefault) | None => address_of(scenario, target),
        };
        let hop = self.way(target, remote_ip).await?;
        let parameter = parameter(scenario, target, remote_ip, hop.as_ref());
        let settings =
            parameter.settings(|dev, remote| first_address(scenario, target.on, dev, remote));
        let settings = settings.map(|mut settings| {
            if let Some(interface) = interface_named(scenario, target.on, &settings.dev_name) {
                settings.dev_name = interface.name.clone();
            }
            settings.userdata = target.userdata.clone();
            settings
        });
        Ok(Planned {
            index,
            settings,
            parameter: parameter.to_string(),
        })
    }

    /// The settings that `node` has after a parameter; none where it has no such interface.
    pub(crate) fn settings_of(&self, node: NodeIndex, parameter: &Parameter) -> Option<Settings> {
        let scenario = self.scenario;
        let mut settings =
            parameter.settings(|dev, remote| first_address(scenario, node, dev, remote))?;
        settings.dev_name = interface_named(scenario, node, &settings.dev_name)?
            .name
            .clone();
        Some(settings)
    }

    /// The way to `address`, where the file leaves interface, source or MAC open.
    async fn way(&mut self, target: &Target, address: IpAddr) -> Result<Option<NextHop>, Trouble> {
        let resolve = target.remote_mac.is_none();
        if !resolve && target.dev_name.is_some() && target.local_ip.is_some() {
            return Ok(None);
        }
        let request = Request::NextHop {
            address,
            resolve,
            within: WITHIN / 2,
        };
        match self.ask(target.on, &request, WITHIN).await? {
            Ok(Answer::NextHop(hop)) => Ok(Some(hop)),
            Ok(other) => Err(Error::Answer(format!("{other:?}")).into()),
            Err(refusal) => Err(refusal.into()),
        }
    }
}

/// The receiver's address that a target is aimed at: on a link of the sender's where there is one.
fn address_of(scenario: &Scenario, target: &Target) -> IpAddr {
    let (sender, receiver) = (scenario.node(target.on), scenario.node(target.to));
    let shared = |interface: &&Interface| {
        sender
            .interfaces
            .iter()
            .any(|own| own.link == interface.link)
    };
    let interface = receiver
        .interfaces
        .iter()
        .find(shared)
        .unwrap_or(&receiver.interfaces[0]);
    let wanted_family = match &target.local_ip {
        Some(Setting::Value(local)) => Some(local.is_ipv6()),
        Some(Setting::KernelDefault) | None => None,
    };
    let fits = |net: &&ipnet::IpNet| wanted_family.is_none_or(|ipv6| net.addr().is_ipv6() == ipv6);
    interface
        .addresses
        .iter()
        .find(fits)
        .unwrap_or(&interface.addresses[0])
        .addr()
}

/// The first address of an interface in the family of `remote`.
fn first_address(
    scenario: &Scenario,
    node: NodeIndex,
    name: &str,
    remote: IpAddr,
) -> Option<IpAddr> {
    let interface = interface_named(scenario, node, name)?;
    interface
        .addresses
        .iter()
        .map(ipnet::IpNet::addr)
        .find(|address| address.is_ipv6() == remote.is_ipv6())
}

/// The interface called `name`, or with that MAC.
fn interface_named<'scenario>(
    scenario: &'scenario Scenario,
    node: NodeIndex,
    name: &str,
) -> Option<&'scenario Interface> {
    let mac: Option<MacAddress> = name.parse().ok();
    scenario
        .node(node)
        .interfaces
        .iter()
        .find(|interface| interface.name == name || Some(interface.mac) == mac)
}

/// The MAC that a file means: that of a node's interface on a link of the sender's, else its first.
pub(crate) fn mac_of(scenario: &Scenario, sender: NodeIndex, mac: &RemoteMac) -> MacAddress {
    match mac {
        RemoteMac::Address(mac) => *mac,
        RemoteMac::Node(node) => {
            let (sender, node) = (scenario.node(sender), scenario.node(*node));
            let shared = |interface: &&Interface| {
                sender
                    .interfaces
                    .iter()
                    .any(|own| own.link == interface.link)
            };
            node.interfaces
                .iter()
                .find(shared)
                .unwrap_or(&node.interfaces[0])
                .mac
        }
    }
}

/// A value that was written, or what the lab says; none leaves the field empty.
fn field<T: Clone>(setting: Option<&Setting<T>>, lab: Option<T>) -> Option<T> {
    match setting {
        Some(Setting::Value(value)) => Some(value.clone()),
        Some(Setting::KernelDefault) => None,
        None => lab,
    }
}

/// The parameter that an operator would write.
fn parameter(
    scenario: &Scenario,
    target: &Target,
    remote_ip: IpAddr,
    hop: Option<&NextHop>,
) -> Parameter {
    let remote_mac = match &target.remote_mac {
        Some(Setting::Value(mac)) => Some(mac_of(scenario, target.on, mac)),
        Some(Setting::KernelDefault) => None,
        None => hop.and_then(|hop| hop.mac),
    };
    let listening = scenario
        .node(target.to)
        .receiver()
        .and_then(|receiver| receiver.ports.first().copied());
    Parameter {
        extended: target.extended,
        release: target.release,
        local_port: field(target.local_port.as_ref(), Some(Settings::LOCAL_PORT)),
        local_ip: field(target.local_ip.as_ref(), hop.and_then(|hop| hop.source)),
        dev_name: field(
            target.dev_name.as_ref(),
            hop.map(|hop| hop.interface.clone()),
        ),
        remote_port: field(
            target.remote_port.as_ref(),
            Some(listening.unwrap_or(Settings::REMOTE_PORT)),
        ),
        remote_ip,
        remote_mac,
    }
}

/// A new target's folder and attributes; what the file leaves to the kernel is not written.
pub(super) fn configfs_changes(target: &Target, settings: &Settings) -> Vec<ConfigfsChange> {
    let name = &target.name;
    let mut changes = vec![ConfigfsChange::Make(name.clone())];
    let mut write = |attribute: &str, value: String| {
        changes.push(ConfigfsChange::Write(format!("{name}/{attribute}"), value));
    };
    if target.dev_name != Some(Setting::KernelDefault) {
        write("dev_name", settings.dev_name.clone());
    }
    if target.extended {
        write("extended", "1".to_owned());
    }
    if target.release {
        write("release", "1".to_owned());
    }
    if target.local_port != Some(Setting::KernelDefault) {
        write("local_port", settings.local_port.to_string());
    }
    if target.remote_port != Some(Setting::KernelDefault) {
        write("remote_port", settings.remote_port.to_string());
    }
    if target.local_ip != Some(Setting::KernelDefault) {
        write("local_ip", settings.local_ip.to_string());
    }
    write("remote_ip", settings.remote_ip.to_string());
    if target.remote_mac != Some(Setting::KernelDefault) {
        write("remote_mac", settings.remote_mac.to_string());
    }
    for (key, value) in &target.userdata {
        changes.push(ConfigfsChange::Make(format!("{name}/userdata/{key}")));
        changes.push(ConfigfsChange::WriteExactly(
            format!("{name}/userdata/{key}/value"),
            value.clone(),
        ));
    }
    if target.enabled {
        changes.push(ConfigfsChange::Write(
            format!("{name}/enabled"),
            "1".to_owned(),
        ));
    }
    changes
}
