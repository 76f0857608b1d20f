//! Sets a scenario's targets up, as an operator would.

mod booted;
pub(crate) mod dynamic;
pub(crate) mod plan;

use std::time::Duration;

use crate::{
    kernel::{Answer, Refusal, Request},
    netconsole::{Settings, words},
    run::{
        stage::Stage,
        targets::plan::{Planned, configfs_changes},
        trouble::{Failed, Trouble},
    },
    scenario::{NodeIndex, Target, Via, step::Failure as Wanted},
    verdict::{Judge, TargetState},
};

/// How long setting one target up may take: netpoll waits up to 4 s for a carrier, twice on 6.1.
const WITHIN: Duration = Duration::from_secs(30);
/// How long a kernel with a printing thread may take to send what it has printed.
const ASYNCHRONOUS: Duration = Duration::from_secs(3);
/// How long any kernel may take: what finds no room in the card's ring waits for a work item (net/core/netpoll.c).
const QUEUED: Duration = Duration::from_secs(1);

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
            self.boot_planned(sender).await?;
            self.begin_set_up();
            self.load_planned(sender).await?;
            let scenario = self.scenario;
            for (index, target) in scenario.targets.iter().enumerate() {
                if target.on == sender && target.via == Via::Configfs && !target.later {
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
            behind: (number, text),
            ..
        }) = self.set_up.take()
        else {
            return Ok(());
        };
        self.target = None;
        let request = Request::Batch(vec![printed(text), Request::ReadLog]);
        let answer = self.ask(sender, &request, WITHIN).await??;
        self.log(sender, answer);
        self.set_up_leaves(sender, number).await
    }

    /// Where a real receiver is, nothing but the order of what it takes tells the set-up from what follows: waits until
    /// the marker behind the set-up has left from every target that can send one, and programs wrote what they write of it.
    ///
    /// So, too, where the kernel is to suffer: what found no room in the card's ring when the log was replayed waits for a
    /// work item, and a kernel that panics before runs none, and sends nothing past what waits (net/core/netpoll.c).
    async fn set_up_leaves(&mut self, sender: NodeIndex, marker: u64) -> Result<(), Trouble> {
        let is_tried = self.scenario.tried().any(|tried| tried == sender);
        if self.receivers.is_empty() && !is_tried {
            return Ok(());
        }
        self.flush(sender).await?;
        let left = |judge: &Judge| {
            let states = judge.targets.all_now();
            let mut sending =
                states.filter(|(_, state)| state.on == sender && state.enabled && state.carries);
            sending.all(|(index, _)| judge.traffic.markers(index, marker) > 0)
        };
        let deadline = self.now() + ASYNCHRONOUS;
        self.until(deadline, left).await?;
        self.set_up_is_written().await
    }

    /// What a target sends from now on belongs to its set-up.
    fn belongs_to_set_up(&mut self, index: usize) {
        if let Some(set_up) = &self.set_up {
            self.judge.replay_ends(index, set_up.behind.0);
        }
    }

    /// Plans the targets of `sender` that are set up in one of these ways.
    async fn planned(
        &mut self,
        sender: NodeIndex,
        is_meant: impl Fn(Via) -> bool,
    ) -> Result<Vec<Planned>, Trouble> {
        let mut planned = Vec::new();
        for (index, target) in self.scenario.targets.iter().enumerate() {
            if target.on == sender && is_meant(target.via) {
                self.target = self.target.or(Some(index));
                planned.push(self.plan(index, target).await?);
            }
        }
        Ok(planned)
    }

    async fn load_planned(&mut self, sender: NodeIndex) -> Result<(), Trouble> {
        let planned = self.planned(sender, |via| via == Via::Modprobe).await?;
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
        let load = Request::Batch(vec![
            printed(text),
            Request::Load {
                module: "netconsole".to_owned(),
                parameters: words::word("netconsole", &joined(&planned)),
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
        self.check_sent(sender, planned, (wanted, sent)).await
    }

    /// Whether targets that were loaded send as they should, or do not.
    async fn check_sent(
        &mut self,
        sender: NodeIndex,
        planned: &[Planned],
        (wanted, sent): (Option<&Wanted>, bool),
    ) -> Result<(), Trouble> {
        match (wanted, sent) {
            (None, true) => Ok(()),
            (None, false) => self.silent_target(sender, planned).await,
            (Some(Wanted::Any), false) => {
                planned.iter().for_each(|plan| self.remove(plan.index));
                Ok(())
            }
            (Some(wanted), _) => {
                let target = &self.scenario.targets[planned[0].index].name;
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
        let deadline = self.now() + grace;
        Ok(self.until(deadline, sent).await?)
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
        self.settings.insert(index, settings.clone());
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
}

/// The parameter for all of them.
fn joined(planned: &[Planned]) -> String {
    let parameters: Vec<&str> = planned.iter().map(|plan| plan.parameter.as_str()).collect();
    parameters.join(";")
}

/// A marker's line.
fn printed(text: String) -> Request {
    Request::Kmsg {
        records: vec![text],
        level: Some(0),
        newline: true,
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
