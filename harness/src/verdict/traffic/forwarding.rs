//! Takes what routers send on: each message is a copy of one that a sender sent.

use std::collections::BTreeSet;

use crate::{
    netconsole::{Datagram, Message},
    verdict::{
        attribution::Heading,
        finding::Kind,
        marker::marker_number,
        scene::{Frame, Scene},
        sighting::Sighting,
        target::Targets,
        traffic::{Traffic, alone},
        trouble::{Trouble, faults, first_hop_limit},
        way::Passage,
    },
};

/// Which of the senders' messages have come over one way of a router's.
#[derive(Debug, Default)]
pub(super) struct Copied {
    /// All sightings before it were copied, or are none that come this way.
    start: usize,
    numbers: BTreeSet<usize>,
}

impl Traffic {
    /// Takes a datagram that a router put on a link.
    pub(super) fn take_forwarded(
        &mut self,
        frame: &Frame,
        datagram: &Datagram,
        (scene, targets): (&Scene, &Targets),
    ) {
        let heading = Heading::of(frame, datagram);
        let origins = self.flows.origins(&heading);
        if origins.is_empty() {
            // What somebody else sends to somebody else is none of our business.
            return;
        }
        let Some(flow) = self.flows.find(scene, heading) else {
            let sentence = format!("{} sends along too many ways", scene.name(frame.from));
            return self.find(Kind::Overflow, "flows", None, sentence, &[frame.number]);
        };
        self.check_passage(frame, datagram, &origins, scene);
        let (form, header) = self.flows.flow(flow).form(scene, targets, datagram.payload);
        let corrupted = datagram.faults.iter().any(|fault| fault.is_fatal());
        let assembly = &mut self.flows.flow_mut(flow).lane(form).assembly;
        let (number, payload) = (frame.number, datagram.payload);
        let messages = match header {
            _ if corrupted => vec![alone(number, payload, header)],
            Some((header, body)) => assembly.push_extended(number, payload, header, body),
            None => assembly.push_basic(number, payload),
        };
        for message in messages {
            self.keep_copy(message, (flow, corrupted), scene);
        }
    }

    /// Holds a forwarded datagram against what a router makes of one.
    fn check_passage(
        &mut self,
        frame: &Frame,
        datagram: &Datagram,
        origins: &[usize],
        scene: &Scene,
    ) {
        let router = scene.name(frame.from);
        let first = first_hop_limit(datagram.source.ip());
        let ways: Vec<(u8, Passage)> = origins
            .iter()
            .flat_map(|origin| (1..).zip(&self.flows.flow(*origin).way))
            .filter(|(_, passage)| (passage.router, passage.link) == (frame.from, frame.link))
            .map(|(passed, passage)| (first.saturating_sub(passed), *passage))
            .collect();
        let mut wrong = Vec::new();
        if !ways.iter().any(|(hops, _)| *hops == datagram.hop_limit) {
            let must = ways.first().map_or(first, |(hops, _)| *hops);
            wrong.push((
                "hop limit",
                format!("a hop limit of {}, and not {must}", datagram.hop_limit),
            ));
        }
        let is_right = |(_, passage): &(u8, Passage)| {
            passage.source_mac == datagram.source_mac
                && passage
                    .destination_mac
                    .is_none_or(|mac| mac == datagram.destination_mac)
        };
        if !ways.iter().any(is_right) {
            let (from, to) = (datagram.source_mac, datagram.destination_mac);
            wrong.push(("passage", format!("the MACs {from} and {to}")));
        }
        wrong.extend(faults(datagram));
        for (sort, what) in wrong {
            let sentence = format!("{router} sent a datagram on with {what}");
            self.find(Kind::WrongHeader, sort, None, sentence, &[frame.number]);
        }
    }

    /// Keeps a copy with all that is known of what it is a copy of.
    pub(super) fn keep_copy(
        &mut self,
        message: Message,
        (flow, corrupted): (usize, bool),
        scene: &Scene,
    ) {
        if !self.has_room(&message) {
            return;
        }
        let origins = self.flows.origins(&self.flows.flow(flow).heading);
        let original = self.original(flow, &origins, &message);
        let sighting = match original {
            Some(original) => {
                let sent = &self.sightings[original];
                Sighting {
                    copy_of: Some(original),
                    passage: Some(flow),
                    time: self.now,
                    corrupted: corrupted || sent.corrupted,
                    message,
                    ..sent.clone()
                }
            }
            None => {
                let sentence = format!(
                    "{} sent a message on that it did not get so",
                    scene.name(self.flows.flow(flow).heading.from)
                );
                self.find(Kind::Altered, "copy", None, sentence, &message.frames);
                let marker = marker_number(&scene.token, &message.text);
                Sighting {
                    marker: marker.filter(|_| !corrupted),
                    message,
                    time: self.now,
                    flow: origins.first().copied().unwrap_or(flow),
                    entry: None,
                    target: None,
                    boot: self.boot_of(
                        self.flows
                            .flow(origins.first().copied().unwrap_or(flow))
                            .heading
                            .from,
                    ),
                    replayed: false,
                    epoch: 0,
                    troubles: Vec::<Trouble>::new(),
                    corrupted,
                    passage: Some(flow),
                    copy_of: None,
                }
            }
        };
        self.file(sighting);
    }

    /// The first message that is the same and has not come this way yet; where all have, the last: then it came twice.
    fn original(&mut self, flow: usize, origins: &[usize], message: &Message) -> Option<usize> {
        let copied = self.copied.entry(flow).or_default();
        let comes_this_way =
            |sighting: &Sighting| sighting.passage.is_none() && origins.contains(&sighting.flow);
        while self.sightings.get(copied.start).is_some_and(|sighting| {
            !comes_this_way(sighting) || copied.numbers.contains(&copied.start)
        }) {
            copied.numbers.remove(&copied.start);
            copied.start += 1;
        }
        let same = |number: &usize| {
            let sighting = &self.sightings[*number];
            comes_this_way(sighting) && sighting.message.payloads == message.payloads
        };
        let fresh = (copied.start..self.sightings.len())
            .find(|number| !copied.numbers.contains(number) && same(number));
        if let Some(number) = fresh {
            copied.numbers.insert(number);
            return Some(number);
        }
        (0..self.sightings.len()).rev().find(same)
    }
}
