//! Does what a step says, on the sender that it is for.

use std::time::Duration;

use crate::{
    kernel::{Refusal, Request, request::ConfigfsChange},
    netconsole::Settings,
    run::{
        stage::Stage,
        targets::plan::mac_of,
        trouble::{Failed, Trouble},
    },
    scenario::{
        Action, NodeIndex, Step, Via,
        step::{Kmsg, Set},
    },
    verdict::Judge,
};

/// How long a target may take to send what was printed before it is changed.
const QUIET_WITHIN: Duration = Duration::from_secs(5);
/// How many frames a card, its queue in QEMU (10 000, `net/queue.c`) and its socket hold at most.
const MOST_PENDING: u64 = 12_000;

/// What came of an action: done, or refused by the kernel.
pub(crate) type Done = Result<(), Refusal>;

impl Stage<'_> {
    /// Does an action; expectations are [`crate::run::wait`]'s.
    pub(crate) async fn act(&mut self, step: &Step) -> Result<Done, Trouble> {
        let (node, within) = (step.on, step.within);
        match &step.action {
            Action::ConsoleLevel(level) => {
                self.judge.console_level(node, *level);
                self.plain(node, Request::ConsoleLevel(*level), within)
                    .await
            }
            Action::Load { module, parameters } if module == "netconsole" => {
                self.load_netconsole(node, parameters, within).await
            }
            Action::Load { module, parameters } => {
                let request = Request::Load {
                    module: module.clone(),
                    parameters: parameters.clone(),
                };
                self.plain(node, request, within).await
            }
            Action::Unload { module, if_loaded } => {
                self.unload(node, module, *if_loaded, within).await
            }
            Action::Kmsg(kmsg) => {
                if kmsg.background {
                    self.printing.insert(node);
                }
                self.plain(node, written(kmsg), within).await
            }
            Action::Set(set) => self.set(node, set, within).await,
            Action::Make { target } => self.make(*target).await,
            Action::Remove { target } => self.unmake(*target, within).await,
            Action::Link(change) => self.change_link(node, change, within).await,
            Action::Run(run) => self.run_program(node, run, within).await,
            Action::WaitForCarrier { interface } => {
                let interface = self.scenario.node(node).interfaces[*interface].name.clone();
                // The guest's own deadline comes first: its refusal says more than our silence.
                let request = Request::WaitForCarrier {
                    interface: interface.clone(),
                    carrier: true,
                    within,
                };
                let done = self
                    .plain(node, request, within + Duration::from_secs(5))
                    .await?;
                if done.is_ok() {
                    self.set_carrier(node, &interface, true);
                }
                Ok(done)
            }
            Action::Hang(..)
            | Action::Nmi
            | Action::Oops(_)
            | Action::Panic { .. }
            | Action::SysRq(_) => self.ordeal(step).await,
            Action::Write(write) => self.write_file(node, write, within).await,
            Action::Reboot => self.reboot(node, within).await,
            Action::PowerOff => self.power_off(node, within).await,
            Action::Program(change) => self.change_program(node, *change, within).await,
            Action::Expect(_) | Action::Absent(_) => Ok(Ok(())),
        }
    }

    pub(crate) async fn plain(
        &mut self,
        node: NodeIndex,
        request: Request,
        within: Duration,
    ) -> Result<Done, Trouble> {
        Ok(self.ask(node, &request, within).await?.map(drop))
    }

    /// Loads netconsole: without parameters, with those of its targets, as `/etc/modprobe.d` would have it.
    async fn load_netconsole(
        &mut self,
        node: NodeIndex,
        parameters: &str,
        within: Duration,
    ) -> Result<Done, Trouble> {
        let has_targets = |via: Via| {
            self.scenario
                .targets
                .iter()
                .any(|target| target.on == node && target.via == via)
        };
        if parameters.is_empty() && has_targets(Via::Modprobe) {
            return match self.load_targets(node).await {
                Ok(()) => Ok(Ok(())),
                Err(Trouble::Failed(failed)) => match *failed {
                    Failed::Refused(refusal) => Ok(Err(refusal)),
                    other => Err(other.into()),
                },
                Err(error) => Err(error),
            };
        }
        let request = Request::Load {
            module: "netconsole".to_owned(),
            parameters: parameters.to_owned(),
        };
        self.plain(node, request, within).await
    }

    /// Unloads a module; with netconsole go the targets that its parameter made.
    async fn unload(
        &mut self,
        node: NodeIndex,
        module: &str,
        if_loaded: bool,
        within: Duration,
    ) -> Result<Done, Trouble> {
        let done = self
            .plain(
                node,
                Request::Unload {
                    module: module.to_owned(),
                    if_loaded,
                },
                within,
            )
            .await?;
        if module == "netconsole" && done.is_ok() {
            self.flush(node).await?;
            for (index, target) in self.scenario.targets.iter().enumerate() {
                if target.on == node {
                    self.remove(index);
                }
            }
        }
        Ok(done)
    }

    /// Changes a target through configfs. The judge hears of the new settings while the target is off, so that each
    /// frame is compared with the settings that it was sent with.
    async fn set(&mut self, node: NodeIndex, set: &Set, within: Duration) -> Result<Done, Trouble> {
        let target = &self.scenario.targets[set.target];
        let Some(state) = self.judge.targets.now(set.target) else {
            return Ok(Err(Refusal::ours(
                format!("setting target `{}`", target.name),
                "it is not there",
            )));
        };
        let (mut settings, was_enabled) = (state.settings.clone(), state.enabled);
        let is_quiet = self.quiet(node, set.target).await?;
        let mut writes = self.attribute_writes(set, &mut settings);
        let cycles = !set.raw && was_enabled && !writes.is_empty();
        if cycles || set.enabled == Some(false) {
            writes.insert(0, write(&target.name, "enabled", "0"));
        }
        let enable = set.enabled == Some(true) || (cycles && set.enabled.is_none());
        writes.extend(userdata_changes(&target.name, set, &mut settings));
        if let Err(refusal) = self.ask(node, &Request::Configfs(writes), within).await? {
            return Ok(Err(refusal));
        }
        self.flush(node).await?;
        let enabled = if cycles || set.enabled.is_some() {
            enable
        } else {
            was_enabled
        };
        self.declare(set.target, settings, enabled);
        if is_quiet {
            self.judge.target_was_quiet(set.target);
        }
        if !enable {
            return Ok(Ok(()));
        }
        let change = vec![write(&target.name, "enabled", "1")];
        let done = self.plain(node, Request::Configfs(change), within).await?;
        if done.is_err()
            && let Some(state) = self.judge.targets.now(set.target).cloned()
        {
            self.declare(set.target, state.settings, false);
        }
        Ok(done)
    }

    /// Waits until all that a target has to send is out: a marker's frame says so. False where none can come.
    pub(crate) async fn quiet(&mut self, node: NodeIndex, target: usize) -> Result<bool, Trouble> {
        let sends = |judge: &Judge| {
            let state = judge.targets.now(target);
            state.is_some_and(|state| state.enabled && state.carries)
        };
        if !sends(&self.judge) || self.printing.contains(&node) {
            return Ok(false);
        }
        let (number, text) = self.next_marker();
        let marker = Request::Kmsg {
            records: vec![text],
            level: Some(0),
            newline: true,
        };
        if self.ask(node, &marker, QUIET_WITHIN).await?.is_err() {
            return Ok(false);
        }
        let out = |judge: &Judge| judge.traffic.markers(target, number) > 0;
        let deadline = self.now() + QUIET_WITHIN;
        Ok(self.until(deadline, out).await?)
    }

    /// The attributes that a `set` writes, in the order in which the kernel takes them.
    fn attribute_writes(&self, set: &Set, settings: &mut Settings) -> Vec<ConfigfsChange> {
        let name = &self.scenario.targets[set.target].name;
        let mut writes = Vec::new();
        let mut put = |attribute: &str, value: String| writes.push(write(name, attribute, &value));
        if let Some(dev_name) = &set.dev_name {
            settings.dev_name.clone_from(dev_name);
            put("dev_name", dev_name.clone());
        }
        if let Some(extended) = set.extended {
            settings.extended = extended;
            put("extended", u8::from(extended).to_string());
        }
        if let Some(release) = set.release {
            settings.release = release;
            put("release", u8::from(release).to_string());
        }
        for (port, attribute, setting) in [
            (set.local_port, "local_port", &mut settings.local_port),
            (set.remote_port, "remote_port", &mut settings.remote_port),
        ] {
            if let Some(port) = port {
                *setting = port;
                put(attribute, port.to_string());
            }
        }
        for (address, attribute, setting) in [
            (set.local_ip, "local_ip", &mut settings.local_ip),
            (set.remote_ip, "remote_ip", &mut settings.remote_ip),
        ] {
            if let Some(address) = address {
                *setting = address;
                put(attribute, address.to_string());
            }
        }
        if let Some(mac) = &set.remote_mac {
            let sender = self.scenario.targets[set.target].on;
            settings.remote_mac = mac_of(self.scenario, sender, mac);
            put("remote_mac", settings.remote_mac.to_string());
        }
        for (attribute, value) in &set.attributes {
            put(attribute, value.clone());
        }
        writes
    }

    /// Waits until all frames that the guest has given its cards are here: until QEMU has nothing more to bring, though
    /// the lab has read all that it brought. Of a guest that never stops sending, all that it had given by then.
    pub(crate) async fn flush(&mut self, node: NodeIndex) -> Result<(), Trouble> {
        let begun = self.frames;
        let mut taken = None;
        while taken != Some(self.frames) && self.frames - begun < MOST_PENDING {
            taken = Some(self.frames);
            if let Some(guest) = self.guests.iter_mut().find(|guest| guest.node == node)
                && let Err(error) = self.lab.drive(guest.qemu.flush()).await
            {
                return Err(self.unanswered(node, error).await);
            }
            self.drain();
        }
        Ok(())
    }
}

fn written(kmsg: &Kmsg) -> Request {
    let (records, level, newline) = (kmsg.records.clone(), kmsg.level, kmsg.newline);
    if kmsg.background {
        Request::KmsgMeanwhile {
            records,
            level,
            newline,
        }
    } else {
        Request::Kmsg {
            records,
            level,
            newline,
        }
    }
}

fn write(target: &str, attribute: &str, value: &str) -> ConfigfsChange {
    ConfigfsChange::Write(format!("{target}/{attribute}"), value.to_owned())
}

/// `userdata/KEY` made, written or removed.
fn userdata_changes(target: &str, set: &Set, settings: &mut Settings) -> Vec<ConfigfsChange> {
    let mut changes = Vec::new();
    for (key, value) in &set.userdata {
        let folder = format!("{target}/userdata/{key}");
        match value {
            Some(value) => {
                if settings
                    .userdata
                    .insert(key.clone(), value.clone())
                    .is_none()
                {
                    changes.push(ConfigfsChange::Make(folder.clone()));
                }
                changes.push(ConfigfsChange::WriteExactly(
                    format!("{folder}/value"),
                    value.clone(),
                ));
            }
            None => {
                settings.userdata.remove(key);
                changes.push(ConfigfsChange::Remove(folder));
            }
        }
    }
    changes
}
