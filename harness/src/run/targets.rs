//! Sets a scenario's targets up, as an operator would.

use std::{net::IpAddr, time::Duration};

use tokio::time::Instant;

use crate::{
    kernel::{Answer, Refusal, Request, request::ConfigfsChange, request::NextHop},
    netconsole::{MacAddress, Parameter, Settings},
    run::{
        Error,
        stage::Stage,
        trouble::{Failed, Trouble},
    },
    scenario::{
        Interface, NodeIndex, RemoteMac, Scenario, Target, Via, step::Failure as Wanted,
        target::Setting,
    },
    verdict::{Judge, TargetState},
};

/// How long setting one target up may take: netpoll waits up to 4 s for a carrier, twice on 6.1.
const WITHIN: Duration = Duration::from_secs(30);
/// How long a kernel with a printing thread may take to send what it has printed.
const ASYNCHRONOUS: Duration = Duration::from_secs(3);
/// How long any kernel may take: what finds no room in the card's ring waits for a work item (net/core/netpoll.c).
const QUEUED: Duration = Duration::from_secs(1);

/// A target with all that its set-up needs.
struct Planned {
    index: usize,
    /// What it is to be set to; none where the parameter is one that nobody can read.
    settings: Option<Settings>,
    /// As `netconsole=` has it.
    parameter: String,
}

/// Numbers and texts of the markers around the set-up of a sender's targets.
#[derive(Debug, Clone)]
pub(crate) struct SetUp {
    /// Printed right before netconsole is loaded: that it is replayed shows that a target is there.
    before: (u64, String),
    behind: (u64, String),
}

impl Stage<'_> {
    /// Sets all targets up: those by module parameter first, since a parameter counts only when the module is loaded.
    pub(crate) async fn set_targets_up(&mut self) -> Result<(), Trouble> {
        let senders: Vec<NodeIndex> = self.guests.iter().map(|guest| guest.node).collect();
        for sender in senders {
            self.begin_set_up();
            self.load_planned(sender).await?;
            let scenario = self.scenario;
            for (index, target) in scenario.targets.iter().enumerate() {
                if target.on == sender && target.via == Via::Configfs {
                    self.make_target(index, target).await?;
                }
            }
            self.end_set_up(sender).await?;
        }
        Ok(())
    }

    /// `modprobe netconsole netconsole=…` with all targets of `sender` that are set up so.
    pub(crate) async fn load_targets(&mut self, sender: NodeIndex) -> Result<(), Trouble> {
        self.begin_set_up();
        self.load_planned(sender).await?;
        self.end_set_up(sender).await
    }

    /// Reserves the markers around a set-up: up to the second, a target sends what is replayed to it, and what the
    /// kernel says of the set-up itself.
    fn begin_set_up(&mut self) {
        let before = self.next_marker();
        let behind = self.next_marker();
        self.set_up = Some(SetUp { before, behind });
    }

    async fn end_set_up(&mut self, sender: NodeIndex) -> Result<(), Trouble> {
        let Some(SetUp {
            behind: (_, text), ..
        }) = self.set_up.take()
        else {
            return Ok(());
        };
        self.target = None;
        let request = Request::Batch(vec![printed(text), Request::ReadLog]);
        let answer = self.ask(sender, &request, WITHIN).await??;
        self.log(sender, answer);
        Ok(())
    }

    /// What a target sends from now on belongs to its set-up.
    fn belongs_to_set_up(&mut self, index: usize) {
        if let Some(set_up) = &self.set_up {
            self.judge.replay_ends(index, set_up.behind.0);
        }
    }

    async fn load_planned(&mut self, sender: NodeIndex) -> Result<(), Trouble> {
        let scenario = self.scenario;
        let mut planned = Vec::new();
        for (index, target) in scenario.targets.iter().enumerate() {
            if target.on == sender && target.via == Via::Modprobe {
                self.target = self.target.or(Some(index));
                planned.push(self.plan(index, target).await?);
            }
        }
        let Some((marker, text)) = self.set_up.as_ref().map(|set_up| set_up.before.clone()) else {
            return Ok(());
        };
        if planned.is_empty() {
            return Ok(());
        }
        for plan in &planned {
            if let Some(settings) = &plan.settings {
                self.declare(plan.index, settings.clone(), true);
                self.belongs_to_set_up(plan.index);
            }
        }
        let parameters: Vec<&str> = planned.iter().map(|plan| plan.parameter.as_str()).collect();
        let load = Request::Batch(vec![
            printed(text),
            Request::Load {
                module: "netconsole".to_owned(),
                parameters: module_parameter(&parameters.join(";")),
            },
            Request::ReadLog,
        ]);
        let since = (marker, self.judge.traffic.sightings.len());
        let loaded = self.ask(sender, &load, WITHIN).await?;
        self.check_loaded(sender, &planned, since, loaded).await
    }

    async fn check_loaded(
        &mut self,
        sender: NodeIndex,
        planned: &[Planned],
        since: (u64, usize),
        loaded: Result<Answer, Refusal>,
    ) -> Result<(), Trouble> {
        let scenario = self.scenario;
        let wanted = planned
            .iter()
            .find_map(|plan| scenario.targets[plan.index].fails.as_ref());
        let answer = match (loaded, wanted) {
            (Err(refusal), Some(wanted)) if is_wanted(wanted, &refusal) => {
                planned.iter().for_each(|plan| self.remove(plan.index));
                return Ok(());
            }
            (Err(refusal), _) => return Err(refusal.into()),
            (Ok(answer), _) => answer,
        };
        self.log(sender, answer);
        let sent = self.marker_leaves(sender, planned, since).await?;
        match (wanted, sent) {
            (None, true) => Ok(()),
            (None, false) => self.silent_target(sender, planned).await,
            (Some(Wanted::Any), false) => {
                planned.iter().for_each(|plan| self.remove(plan.index));
                Ok(())
            }
            (Some(wanted), _) => {
                let target = &scenario.targets[planned[0].index].name;
                let errno = wanted_name(wanted);
                Err(Failed::NotRefused(format!(
                    "target `{target}` should fail{errno}, and came up"
                ))
                .into())
            }
        }
    }

    /// Whether the marker that was printed before the load leaves the sender with the replay. `since` is that marker, and
    /// how many messages were seen before the load.
    async fn marker_leaves(
        &mut self,
        sender: NodeIndex,
        planned: &[Planned],
        (marker, seen): (u64, usize),
    ) -> Result<bool, Trouble> {
        self.flush(sender).await?;
        // A replay that is longer than the card's queue goes on behind modprobe: netpoll keeps the rest and tries
        // again later (`net/core/netpoll.c`, `queue_process`). Where nothing has left, nothing follows.
        let traffic = &self.judge.traffic;
        let under_way = traffic.sightings[seen..]
            .iter()
            .any(|sighting| traffic.flows.flow(sighting.flow).heading.from == sender);
        let grace = if under_way || self.prints_later(sender) {
            ASYNCHRONOUS
        } else {
            QUEUED
        };
        let sent = |judge: &Judge| {
            planned
                .iter()
                .all(|plan| judge.traffic.markers(plan.index, marker) > 0)
        };
        Ok(self.until(Instant::now() + grace, sent).await?)
    }

    /// The module is loaded and nothing leaves: right only while the interface has no carrier.
    async fn silent_target(
        &mut self,
        sender: NodeIndex,
        planned: &[Planned],
    ) -> Result<(), Trouble> {
        for plan in planned {
            let interface = plan
                .settings
                .as_ref()
                .map_or("eth0", |settings| settings.dev_name.as_str());
            let carrier = Request::Read {
                path: format!("/sys/class/net/{interface}/carrier"),
            };
            let has_carrier = match self.ask(sender, &carrier, WITHIN).await? {
                Ok(Answer::Text(text)) => text.trim() == "1",
                // Reading it of an interface that is down is refused.
                _ => false,
            };
            self.set_carrier(sender, interface, has_carrier);
            if has_carrier {
                let target = self.scenario.targets[plan.index].name.clone();
                let said = self.said(sender);
                return Err(Failed::NoTarget { target, said }.into());
            }
        }
        Ok(())
    }

    /// Makes a target in configfs, and enables it where it is to be on from the start.
    async fn make_target(&mut self, index: usize, target: &Target) -> Result<(), Trouble> {
        self.target = Some(index);
        let plan = self.plan(index, target).await?;
        let Some(settings) = plan.settings else {
            return Ok(());
        };
        self.declare(index, settings.clone(), target.enabled);
        if target.enabled {
            self.belongs_to_set_up(index);
        }
        let changes = configfs_changes(target, &settings);
        match (
            self.ask(target.on, &Request::Configfs(changes), WITHIN)
                .await?,
            &target.fails,
        ) {
            (Ok(_), None) => Ok(()),
            (Ok(_), Some(wanted)) => {
                let errno = wanted_name(wanted);
                Err(Failed::NotRefused(format!(
                    "target `{}` should fail{errno}, and came up",
                    target.name
                ))
                .into())
            }
            (Err(refusal), Some(wanted)) if is_wanted(wanted, &refusal) => {
                self.remove(index);
                Ok(())
            }
            (Err(refusal), _) => Err(refusal.into()),
        }
    }

    /// Tells the judge what a target is set to from now on.
    pub(crate) fn declare(&mut self, index: usize, settings: Settings, enabled: bool) {
        let target = &self.scenario.targets[index];
        let carries = self
            .judge
            .targets
            .now(index)
            .is_none_or(|state| state.carries);
        let name = target.name.clone();
        let state = TargetState {
            name,
            on: target.on,
            to: target.to,
            settings,
            enabled,
            carries,
        };
        self.judge.target(index, state);
    }

    /// Tells the judge that a target is gone.
    pub(crate) fn remove(&mut self, index: usize) {
        if let Some(state) = self.judge.targets.now(index) {
            let state = TargetState {
                enabled: false,
                ..state.clone()
            };
            self.judge.target(index, state);
        }
    }

    /// Tells the judge that an interface gained or lost its carrier.
    pub(crate) fn set_carrier(&mut self, node: NodeIndex, interface: &str, carrier: bool) {
        let states = self.judge.targets.all_now();
        let of_interface =
            states.filter(|(_, state)| state.on == node && state.settings.dev_name == interface);
        let changed: Vec<(usize, TargetState)> = of_interface
            .map(|(index, state)| {
                (
                    index,
                    TargetState {
                        carries: carrier,
                        ..state.clone()
                    },
                )
            })
            .collect();
        for (index, state) in changed {
            if carrier {
                self.judge.traffic.replay_is_over(index);
            }
            self.judge.target(index, state);
        }
    }

    /// What the kernel has said of netconsole, its last few lines.
    fn said(&self, sender: NodeIndex) -> Vec<String> {
        let records = self.logs.get(&sender).map_or(&[][..], |log| &log.records);
        let mut said: Vec<String> = records
            .iter()
            .rev()
            .filter_map(|record| {
                record
                    .split_once(';')
                    .map(|(_, text)| text.trim_end().to_owned())
            })
            .filter(|text| text.starts_with("netconsole:") || text.starts_with("netpoll:"))
            .take(5)
            .collect();
        said.reverse();
        said
    }

    /// Finds what the file leaves to the lab.
    async fn plan(&mut self, index: usize, target: &Target) -> Result<Planned, Trouble> {
        let scenario = self.scenario;
        if let Some(parameter) = &target.parameter {
            let settings = Parameter::parse_all(parameter).ok().and_then(|parameters| {
                let [parameter] = parameters.as_slice() else {
                    return None;
                };
                let mut settings = parameter
                    .settings(|dev, remote| first_address(scenario, target.on, dev, remote))?;
                settings.dev_name = interface_named(scenario, target.on, &settings.dev_name)?
                    .name
                    .clone();
                Some(settings)
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

/// A marker's line.
fn printed(text: String) -> Request {
    Request::Kmsg {
        records: vec![text],
        level: Some(0),
        newline: true,
    }
}

/// `netconsole=VALUE`, quoted where the kernel would end it at a blank (`kernel/params.c`, `next_arg`).
pub(crate) fn module_parameter(value: &str) -> String {
    if value.contains(char::is_whitespace) {
        format!("netconsole=\"{value}\"")
    } else {
        format!("netconsole={value}")
    }
}

/// Whether `refusal` is the failure that the file asks for.
pub(crate) fn is_wanted(wanted: &Wanted, refusal: &Refusal) -> bool {
    match wanted {
        Wanted::Any => true,
        Wanted::Errno(name) => refusal.errno.as_ref() == Some(name),
    }
}

/// ` with ENOSPC`, or nothing.
pub(crate) fn wanted_name(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Any => String::new(),
        Wanted::Errno(name) => format!(" with {name}"),
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
fn configfs_changes(target: &Target, settings: &Settings) -> Vec<ConfigfsChange> {
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
