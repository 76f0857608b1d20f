//! Keeps the messages that were seen, with what is known of them.

use crate::{
    netconsole::Message,
    verdict::{
        attribution::Form, finding::Kind, marker::marker_number, scene::Scene, sighting::Sighting,
        target::Targets, traffic::Traffic, trouble::Trouble,
    },
};

/// Where a message comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    pub(super) flow: usize,
    pub(super) form: Form,
    /// The number of the target's state.
    pub(super) entry: Option<usize>,
    pub(super) corrupted: bool,
}

/// How much is kept of what senders send.
const MOST_MESSAGES: usize = 400_000;
const MOST_BYTES: usize = 128 << 20;

impl Traffic {
    /// Keeps a message that is whole, or will never be.
    pub(super) fn keep(
        &mut self,
        message: Message,
        origin: Origin,
        scene: &Scene,
        targets: &mut Targets,
    ) {
        let target = origin.entry.map(|entry| targets.entry(entry).target);
        for fault in message.faults.iter().filter(|_| !origin.corrupted) {
            let sentence = targets.named(target, &fault.to_string());
            self.find(
                Kind::from(fault),
                fault.name(),
                target,
                sentence,
                &message.frames,
            );
        }
        if !self.has_room(&message) {
            return;
        }
        let troubles = self.troubles_of(&message, origin);
        let marker = marker_number(&scene.token, &message.text).filter(|_| !origin.corrupted);
        let registration = target
            .map(|target| *self.registrations.entry(target).or_default())
            .unwrap_or_default();
        let sighting = Sighting {
            message,
            time: self.now,
            flow: origin.flow,
            entry: origin.entry,
            target,
            boot: self.boot_of(self.flows.flow(origin.flow).heading.from),
            replayed: registration.replay_until.is_some(),
            epoch: registration.epoch,
            marker,
            troubles,
            corrupted: origin.corrupted,
            passage: None,
            copy_of: None,
        };
        if let (Some(entry), Some(marker)) = (origin.entry, marker) {
            self.take_marker(entry, marker, &sighting, targets);
        }
        self.file(sighting);
    }

    /// Whether another message can be kept; that none can is found.
    pub(super) fn has_room(&mut self, message: &Message) -> bool {
        self.size += message.size();
        let is_full = self.sightings.len() >= MOST_MESSAGES || self.size > MOST_BYTES;
        if is_full {
            let sentence = format!(
                "more than {} messages were sent, the rest is not judged",
                self.sightings.len()
            );
            self.find(Kind::Overflow, "messages", None, sentence, &message.frames);
        }
        !is_full
    }

    /// What was found wrong with a message's datagrams.
    fn troubles_of(&mut self, message: &Message, origin: Origin) -> Vec<Trouble> {
        let lane = self.flows.flow_mut(origin.flow).lane(origin.form);
        let of_it = |trouble: &Trouble| message.frames.contains(&trouble.frame);
        let (troubles, rest) = std::mem::take(&mut lane.troubles)
            .into_iter()
            .partition(of_it);
        lane.troubles = rest;
        troubles
    }

    /// Files a sighting, also with those who took it.
    pub(super) fn file(&mut self, sighting: Sighting) {
        let flow = self.flows.flow(sighting.passage.unwrap_or(sighting.flow));
        for reception in flow
            .receptions
            .iter()
            .filter(|reception| reception.rejection.is_none() && !sighting.corrupted)
        {
            self.arrivals
                .entry(reception.at)
                .or_default()
                .push(self.sightings.len());
        }
        self.sightings.push(sighting);
    }

    fn take_marker(
        &mut self,
        entry: usize,
        marker: u64,
        sighting: &Sighting,
        targets: &mut Targets,
    ) {
        let target = targets.entry(entry).target;
        *self.markers.entry((target, marker)).or_default() += 1;
        let registration = self.registrations.entry(target).or_default();
        // A replay brings older markers again.
        if registration
            .replay_until
            .is_some_and(|until| marker < until)
        {
            return;
        }
        registration.replay_until = None;
        if let Some((kind, sentence)) = targets.outlived(entry, marker) {
            self.find(
                kind,
                "marker",
                Some(target),
                targets.named(Some(target), sentence),
                &sighting.message.frames,
            );
        }
        targets.marker_came(entry, marker, self.sightings.len());
    }
}
