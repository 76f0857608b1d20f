//! Takes frames and keeps what was seen on the wire: messages, who they are of, who took them.

mod forwarding;
mod keeping;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use crate::{
    netconsole::{Datagram, Header, Message, datagram::NotUdp, escape::show_start},
    scenario::NodeIndex,
    verdict::{
        attribution::{Attribution, Form, Heading},
        finding::{Finding, Findings, Kind},
        flow::{Flows, looks_like_netconsole},
        marker::{Probes, probe_number},
        reception::Rejection,
        scene::{Frame, Scene},
        sighting::Sighting,
        target::Targets,
        trouble::{Trouble, troubles},
        way::is_router,
    },
};

use forwarding::Copied;
use keeping::Origin;

/// What was seen on the wire.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) flows: Flows,
    /// In the order in which they became whole.
    pub(crate) sightings: Vec<Sighting>,
    pub(crate) findings: Findings,
    /// The sightings that a receiver took, in order.
    arrivals: HashMap<NodeIndex, Vec<usize>>,
    probes: HashSet<(NodeIndex, u64)>,
    /// How often each marker was seen of each target.
    markers: HashMap<(usize, u64), u32>,
    registrations: BTreeMap<usize, Registration>,
    /// By the flow of a router's: what has come over it.
    copied: HashMap<usize, Copied>,
    identifications: HashMap<NodeIndex, u16>,
    /// How often each sender was booted again.
    boots: HashMap<NodeIndex, u32>,
    /// Of the last frame.
    now: Duration,
    /// Of all that is kept, in bytes.
    size: usize,
}

/// How often a target was registered with the kernel's log, and whether it is still being replayed to it.
#[derive(Debug, Default, Clone, Copy)]
struct Registration {
    epoch: u32,
    replay_until: Option<u64>,
}

impl Traffic {
    /// Takes a frame that was put on a link.
    pub(crate) fn take(&mut self, frame: &Frame, scene: &Scene, targets: &mut Targets) {
        self.now = frame.time;
        let datagram = match Datagram::parse(&frame.bytes) {
            Ok(datagram) => datagram,
            Err(NotUdp::Broken) if scene.is_sender(frame.from) => {
                let sentence = format!(
                    "{} sent a frame whose IP or UDP header is broken",
                    scene.name(frame.from)
                );
                return self.find(Kind::WrongHeader, "broken", None, sentence, &[frame.number]);
            }
            Err(not_udp) => return self.take_other(not_udp, frame, scene),
        };
        let probe = probe_number(&scene.token, datagram.payload);
        if probe.is_none() && is_router(scene, frame.from) {
            return self.take_forwarded(frame, &datagram, (scene, targets));
        }
        if probe.is_none() && !scene.is_sender(frame.from) {
            return;
        }
        match (self.flows.find(scene, Heading::of(frame, &datagram)), probe) {
            (Some(flow), Some(probe)) => self.take_probe(flow, probe),
            (Some(flow), None) => self.take_datagram(frame, &datagram, flow, (scene, targets)),
            (None, _) => {
                let sentence = format!(
                    "{} sends along more ways than are kept apart",
                    scene.name(frame.from)
                );
                self.find(Kind::Overflow, "flows", None, sentence, &[frame.number]);
            }
        }
    }

    /// Takes a frame that is no datagram: a stray where it is a sender's, and of a kind that no kernel sends, or holds what
    /// only the kernel's log has.
    fn take_other(&mut self, not_udp: NotUdp, frame: &Frame, scene: &Scene) {
        let token = scene.token.as_bytes();
        let marked = || frame.bytes.windows(token.len()).any(|piece| piece == token);
        let busy = scene.busy.contains(&frame.from);
        let strange = match not_udp {
            NotUdp::Strange => true,
            NotUdp::OfPrograms => !busy,
            NotUdp::Arp => !busy && !scene.is_own_arp(frame),
            NotUdp::Other | NotUdp::Broken => false,
        };
        if scene.is_sender(frame.from) && (strange || marked()) {
            let sentence = format!(
                "{} sent a frame that is no UDP: `{}`",
                scene.name(frame.from),
                show_start(&frame.bytes, 60)
            );
            self.find(Kind::Stray, "no UDP", None, sentence, &[frame.number]);
        }
    }

    /// Adds a finding.
    pub(crate) fn find(
        &mut self,
        kind: Kind,
        sort: &str,
        target: Option<usize>,
        sentence: String,
        frames: &[u64],
    ) {
        let frames = frames.iter().take(3).copied().collect();
        self.findings.add(
            sort,
            Finding {
                kind,
                sentence,
                target,
                frames,
                count: 1,
            },
        );
    }

    fn take_probe(&mut self, flow: usize, probe: u64) {
        let accepted = self.flows.flow(flow).receptions.iter().filter(|reception| {
            // At a real receiver no probe disturbs the port that its program listens on.
            matches!(
                reception.rejection,
                None | Some(Rejection::WrongPort { .. })
            )
        });
        self.probes
            .extend(accepted.map(|reception| (reception.at, probe)));
    }

    fn take_datagram(
        &mut self,
        frame: &Frame,
        datagram: &Datagram,
        number: usize,
        (scene, targets): (&Scene, &mut Targets),
    ) {
        let flow = self.flows.flow_mut(number);
        let (form, header) = flow.form(scene, targets, datagram.payload);
        let attribution = flow.attribution(scene, targets, form).cloned();
        let certain = attribution
            .as_ref()
            .is_some_and(|attribution| attribution.mismatches.len() <= 2);
        let may_be_a_programs = scene.busy.contains(&frame.from);
        if !certain && may_be_a_programs && !looks_like_netconsole(datagram.payload) {
            return;
        }
        self.take_troubles(
            frame,
            datagram,
            number,
            (form, attribution.as_ref(), targets),
        );
        let corrupted = datagram.faults.iter().any(|fault| fault.is_fatal());
        let assembly = &mut self.flows.flow_mut(number).lane(form).assembly;
        let messages = match header {
            _ if corrupted => vec![alone(frame.number, datagram.payload, header)],
            Some((header, body)) => {
                assembly.push_extended(frame.number, datagram.payload, header, body)
            }
            None => assembly.push_basic(frame.number, datagram.payload),
        };
        let entry = attribution.map(|attribution| attribution.entry);
        let origin = Origin {
            flow: number,
            form,
            entry,
            corrupted,
        };
        for message in messages {
            self.keep(message, origin, scene, targets);
        }
    }

    /// Finds what is wrong with a datagram; its message will know it, too.
    fn take_troubles(
        &mut self,
        frame: &Frame,
        datagram: &Datagram,
        flow: usize,
        (form, attribution, targets): (Form, Option<&Attribution>, &Targets),
    ) {
        let previous = match datagram.identification {
            Some(identification) => self.identifications.insert(frame.from, identification),
            None => None,
        };
        let troubles = troubles(frame.number, datagram, previous, attribution);
        let target = attribution.map(|attribution| targets.entry(attribution.entry).target);
        for Trouble {
            frame,
            kind,
            sort,
            sentence,
        } in &troubles
        {
            self.find(
                *kind,
                sort,
                target,
                targets.named(target, sentence),
                &[*frame],
            );
        }
        self.flows
            .flow_mut(flow)
            .lane(form)
            .troubles
            .extend(troubles);
    }

    /// A target was registered: up to and including this marker, the log is replayed to it.
    pub(crate) fn replay_ends(&mut self, target: usize, marker: u64) {
        let registration = self.registrations.entry(target).or_default();
        registration.epoch += 1;
        registration.replay_until = Some(marker);
    }

    /// Whatever a target was to replay is over: without a carrier it was lost, and the marker behind it.
    pub(crate) fn replay_is_over(&mut self, target: usize) {
        self.registrations.entry(target).or_default().replay_until = None;
    }

    /// Which boot of a sender is going on, from 0.
    pub(crate) fn boot_of(&self, sender: NodeIndex) -> u32 {
        self.boots.get(&sender).copied().unwrap_or(0)
    }

    /// The kernel of `sender` is gone: what is not yet whole will never be, nor is anything replayed any more.
    pub(crate) fn is_gone(&mut self, sender: NodeIndex, scene: &Scene, targets: &mut Targets) {
        self.flush_all(Some(sender), scene, targets);
        for (target, _) in targets.all_now().filter(|(_, state)| state.on == sender) {
            self.replay_is_over(target);
        }
    }

    /// Another kernel of `sender` is about to boot.
    pub(crate) fn boots(&mut self, sender: NodeIndex) {
        *self.boots.entry(sender).or_default() += 1;
        self.identifications.remove(&sender);
    }

    /// The numbers of the sightings that a receiver took.
    pub(crate) fn arrivals(&self, at: NodeIndex) -> &[usize] {
        self.arrivals.get(&at).map_or(&[], Vec::as_slice)
    }

    /// Whether probes came through to a receiver, all of them: one sender's may overtake what another has sent.
    pub(crate) fn has_probes(&self, at: NodeIndex, probes: Probes) -> bool {
        probes
            .numbers()
            .all(|number| self.probes.contains(&(at, number)))
    }

    /// How often a marker was seen of a target, on the wire.
    pub(crate) fn markers(&self, target: usize, marker: u64) -> u32 {
        self.markers.get(&(target, marker)).copied().unwrap_or(0)
    }

    /// Gives up on all that is not yet whole.
    pub(crate) fn flush(&mut self, scene: &Scene, targets: &mut Targets) {
        self.flush_all(None, scene, targets);
    }

    /// Gives up on what is not yet whole, of one sender or of all.
    fn flush_all(&mut self, of: Option<NodeIndex>, scene: &Scene, targets: &mut Targets) {
        for flow in 0..self.flows.count() {
            if of.is_some_and(|of| of != self.flows.flow(flow).heading.from) {
                continue;
            }
            for form in [Form::Basic, Form::Extended, Form::Release] {
                let Some(message) = self.flows.flow_mut(flow).lane(form).assembly.flush() else {
                    continue;
                };
                if is_router(scene, self.flows.flow(flow).heading.from) {
                    self.keep_copy(message, (flow, false), scene);
                    continue;
                }
                let entry = self
                    .flows
                    .flow_mut(flow)
                    .attribution(scene, targets, form)
                    .map(|attribution| attribution.entry);
                self.keep(
                    message,
                    Origin {
                        flow,
                        form,
                        entry,
                        corrupted: false,
                    },
                    scene,
                    targets,
                );
            }
        }
    }
}

/// A datagram that no receiver takes, as a message of its own.
fn alone(frame: u64, payload: &[u8], header: Option<(Header, usize)>) -> Message {
    let (payloads, frames) = (vec![payload.to_vec()], vec![frame]);
    match header {
        Some((header, body)) => Message::extended(
            header,
            payload[body..].to_vec(),
            payloads,
            frames,
            Vec::new(),
        ),
        None => Message::basic(payloads, frames, Vec::new()),
    }
}
