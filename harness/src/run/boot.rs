//! A sender's machine goes down and comes up again, with what its disk has kept.

use std::{fs, time::Duration};

use lastwords_vm::qemu::QemuError;

use crate::{
    kernel::{
        Answer, Request,
        request::{Booted, Bytes},
    },
    netconsole::{Parameter, Settings, words},
    run::{
        Error,
        action::Done,
        guest::Installed,
        preparation::{first_level, prepare_one},
        silence::Silence,
        stage::Stage,
        system::KEPT,
        trouble::{Failed, Trouble},
    },
    scenario::{
        Action, NodeIndex, Via,
        step::{Content, Write},
    },
    verdict::TargetState,
};

/// How long a machine may take to go down for a set-up.
pub(crate) const DOWN_WITHIN: Duration = Duration::from_secs(60);
/// How long reading its files may take.
const FILES_WITHIN: Duration = Duration::from_secs(30);
/// How long the rest of what a QEMU had sent may take to arrive once it has ended.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

impl Stage<'_> {
    /// An orderly restart. A machine that is off already is switched on; one that is dead is switched off first.
    pub(crate) async fn reboot(
        &mut self,
        node: NodeIndex,
        within: Duration,
    ) -> Result<Done, Trouble> {
        if self.fates.is_silent(node) {
            self.read_memory(node).await?;
            self.ending.insert(node);
            self.let_go(node).await?;
            self.fates.forget(node);
        } else if self.guests.iter().any(|guest| guest.node == node)
            && let Err(refusal) = self.go_down(node, true, within).await?
        {
            return Ok(Err(refusal));
        }
        self.judge.boots(node);
        match self.boot(node).await {
            Ok(()) => {}
            // It was up before, so that it is no longer is a verdict.
            Err(Error::Qemu(QemuError::NotUp { why, .. })) => {
                return Err(Failed::Died(format!("it did not come up again: {why}")).into());
            }
            Err(error) => return Err(error.into()),
        }
        prepare_one(self, node).await?;
        Ok(Ok(()))
    }

    /// An orderly end.
    pub(crate) async fn power_off(
        &mut self,
        node: NodeIndex,
        within: Duration,
    ) -> Result<Done, Trouble> {
        self.go_down(node, false, within).await
    }

    async fn go_down(
        &mut self,
        node: NodeIndex,
        restart: bool,
        within: Duration,
    ) -> Result<Done, Trouble> {
        self.read_log(node, FILES_WITHIN).await?;
        self.keep_files(node).await?;
        self.ending.insert(node);
        match self.ask(node, &Request::GoDown { restart }, within).await {
            Err(Silence::Gone) => {}
            Err(silence) => return Err(silence.into()),
            Ok(Err(refusal)) => {
                self.ending.remove(&node);
                return Ok(Err(refusal));
            }
            Ok(Ok(answer)) => return Err(Error::Answer(format!("{answer:?}")).into()),
        }
        self.unplug(node).await?;
        Ok(Ok(()))
    }

    /// Takes all that the ended QEMU of `node` had sent, and lets it go.
    async fn unplug(&mut self, node: NodeIndex) -> Result<(), Trouble> {
        let deadline = self.now() + CLOSED_WITHIN;
        self.drain();
        while self.lab.is_plugged(node) && self.event(deadline).await? {
            self.drain();
        }
        self.let_go(node).await
    }

    /// Ends the QEMU of `node`.
    async fn let_go(&mut self, node: NodeIndex) -> Result<(), Trouble> {
        if let Some(place) = self.guests.iter().position(|guest| guest.node == node) {
            let guest = self.guests.swap_remove(place);
            let ended = self.lab.drive(guest.qemu.end()).await;
            ended.map_err(|source| {
                Error::Machine(QemuError::Resource {
                    what: "the end of QEMU",
                    source,
                })
            })?;
        }
        self.drain();
        self.judge.is_gone(node);
        Ok(())
    }

    /// Boots the machine of `node` from its files, without a template, and takes what its boot makes of netconsole.
    ///
    /// What it sends while it boots waits in the lab: only then it is known which targets there are.
    pub(crate) async fn boot(&mut self, node: NodeIndex) -> Result<(), Error> {
        let nics = self.lab.plug(node)?;
        let cards = nics.into_iter().map(|nic| nic.socket.into()).collect();
        self.ending.remove(&node);
        self.printing.remove(&node);
        let (marker, text) = self.next_marker();
        let plan = self
            .plans
            .get(&node)
            .expect("a sender has a plan before it has a machine");
        let installed = Installed {
            files: self.disks.get(&node).map(Vec::as_slice),
            cmdline: self.cmdlines.get(&node).map_or("", String::as_str),
            marker: &text,
        };
        let guest = tokio::select! {
            guest = self.lab.drive(plan.boot(node, cards, installed)) => guest?,
            () = self.interrupt.wait() => return Err(Error::Interrupted),
        };
        let booted = guest.booted.clone();
        let level = first_level(&booted.console_levels);
        self.judge.booted(node, level, marker);
        for (index, state) in self.booted_targets(node, &booted) {
            self.judge.target(index, state);
            self.judge.replay_ends(index, marker);
        }
        self.booted.insert(node, (marker, booted));
        self.admit(guest);
        self.drain();
        Ok(())
    }

    /// The targets that a boot has made, as far as anybody can tell: the kernel is not asked, what it sends is judged.
    fn booted_targets(&self, node: NodeIndex, booted: &Booted) -> Vec<(usize, TargetState)> {
        let settings =
            parameter(booted, self.is_built_in(node)).map_or_else(Vec::new, |parameter| {
                let parameters = Parameter::parse_all(&parameter).unwrap_or_default();
                let settings = parameters
                    .iter()
                    .map(|parameter| self.settings_of(node, parameter));
                settings.flatten().collect()
            });
        let mut targets: Vec<(usize, TargetState)> = Vec::new();
        for settings in settings {
            let taken: Vec<usize> = targets.iter().map(|(index, _)| *index).collect();
            let index = self.index_of(node, &settings, &taken);
            targets.push((index, self.booted_state(node, index, settings)));
        }
        targets
    }

    /// Which of the scenario's targets settings belong to, that is not taken: the one that had or is to have them, else
    /// one that is aimed at the same node, else a new one.
    fn index_of(&self, node: NodeIndex, settings: &Settings, taken: &[usize]) -> usize {
        let targets = self.scenario.targets.iter().enumerate();
        let free = |index: &usize| !taken.contains(index);
        let own: Vec<usize> = targets
            .filter(|(_, target)| target.on == node)
            .map(|(index, _)| index)
            .filter(free)
            .collect();
        let had = |index: &&usize| self.settings.get(*index) == Some(settings);
        let to = self.owner(settings);
        let aimed = |index: &&usize| Some(self.scenario.targets[**index].to) == to;
        let known = own.iter().find(had).or_else(|| own.iter().find(aimed));
        let first_new = self.scenario.targets.len();
        known
            .copied()
            .or_else(|| (first_new..).find(free))
            .unwrap_or(first_new)
    }

    fn booted_state(&self, node: NodeIndex, index: usize, settings: Settings) -> TargetState {
        let (name, to) = match self.scenario.targets.get(index) {
            Some(target) => (target.name.clone(), target.to),
            None => (
                format!("boot{}", index - self.scenario.targets.len() + 1),
                self.owner(&settings).unwrap_or_else(|| self.any_receiver()),
            ),
        };
        TargetState {
            name,
            on: node,
            to,
            settings,
            enabled: true,
            carries: true,
        }
    }

    /// The receiver that has the address that settings aim at.
    fn owner(&self, settings: &Settings) -> Option<NodeIndex> {
        let mut nodes = (0..self.scenario.nodes.len()).map(NodeIndex);
        nodes.find(|node| {
            let node = self.scenario.node(*node);
            let mut addresses = node.interfaces.iter().flat_map(|card| &card.addresses);
            node.receiver().is_some() && addresses.any(|net| net.addr() == settings.remote_ip)
        })
    }

    fn any_receiver(&self) -> NodeIndex {
        let mut nodes = (0..self.scenario.nodes.len()).map(NodeIndex);
        nodes
            .find(|node| self.scenario.node(*node).receiver().is_some())
            .expect("a scenario has a receiver")
    }

    /// Keeps the files of a sender that boots from them, as they stand.
    pub(crate) async fn keep_files(&mut self, node: NodeIndex) -> Result<(), Trouble> {
        if !self.scenario.boots(node) {
            return Ok(());
        }
        let written = self.scenario.steps.iter().filter_map(|step| {
            let Action::Write(write) = &step.action else {
                return None;
            };
            (step.on == node && is_kept(&write.path)).then(|| write.path.clone())
        });
        let paths = KEPT.map(str::to_owned).into_iter().chain(written);
        let request = Request::ReadFiles {
            paths: paths.collect(),
        };
        match self.ask(node, &request, FILES_WITHIN).await? {
            Ok(Answer::Files(files)) => {
                self.disks.insert(node, files);
                Ok(())
            }
            Ok(other) => Err(Error::Answer(format!("{other:?}")).into()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Writes a file of the sender, as an operator does.
    pub(crate) async fn write_file(
        &mut self,
        node: NodeIndex,
        write: &Write,
        within: Duration,
    ) -> Result<Done, Trouble> {
        let bytes = match &write.content {
            Content::Text(text) => Bytes::new(text.as_bytes()),
            Content::File(file) => {
                let path = self.scenario.path_of(file);
                let bytes = fs::read(&path).map_err(|source| Error::Folder { path, source })?;
                Bytes::new(&bytes)
            }
        };
        if write.path.starts_with("/proc/") {
            self.judge.console_level_is_unknown(node);
        }
        let request = Request::WriteFile {
            path: write.path.clone(),
            bytes,
            append: write.append,
        };
        if let Err(refusal) = self.ask(node, &request, within).await? {
            return Ok(Err(refusal));
        }
        self.keep_files(node).await?;
        Ok(Ok(()))
    }

    /// Writes what an operator would for targets that a boot is to make with this parameter.
    pub(crate) async fn configure_boot(
        &mut self,
        node: NodeIndex,
        via: Via,
        parameter: &str,
    ) -> Result<Done, Trouble> {
        let mut files = Vec::new();
        if via == Via::Boot {
            let option = words::word("netconsole", parameter);
            files.push((
                "/etc/modprobe.d/netconsole.conf",
                format!("options netconsole {option}\n"),
            ));
        } else {
            let key = if self.is_built_in(node) {
                "netconsole"
            } else {
                "netconsole.netconsole"
            };
            self.cmdlines.insert(node, words::word(key, parameter));
        }
        if !self.is_built_in(node) {
            files.push(("/etc/modules", "netconsole\n".to_owned()));
        }
        for (path, text) in files {
            let write = Write {
                path: path.to_owned(),
                content: Content::Text(text),
                append: path == "/etc/modules",
            };
            if let Err(refusal) = self.write_file(node, &write, FILES_WITHIN).await? {
                return Ok(Err(refusal));
            }
        }
        Ok(Ok(()))
    }

    fn is_built_in(&self, node: NodeIndex) -> bool {
        self.plans
            .get(&node)
            .is_some_and(|plan| plan.has_built_in_netconsole())
    }
}

/// The parameter with which netconsole came up.
fn parameter(booted: &Booted, built_in: bool) -> Option<String> {
    if built_in {
        words::value_of("netconsole", &booted.cmdline)
    } else if booted.loaded {
        words::value_of("netconsole", &booted.options.join(" "))
    } else {
        None
    }
}

/// Whether a disk keeps a path that is written, wherever it is.
fn is_kept(path: &str) -> bool {
    let volatile = ["/proc/", "/sys/", "/dev/", "/run/", "/tmp/"];
    !volatile.iter().any(|folder| path.starts_with(folder))
}
