//! Flows: all datagrams with the same addresses, ports and MACs on the same link.

use std::collections::HashMap;

use crate::{
    netconsole::{
        Assembly, Datagram, Header,
        prefix::{Prefix, Style},
    },
    verdict::{
        attribution::{Attribution, Form, Heading, attribute},
        reception::{Reception, receptions},
        scene::{Frame, Scene},
        target::Targets,
        trouble::Trouble,
        way::{Passage, way},
    },
};

/// A flow, and what its datagrams have in common.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) heading: Heading,
    pub(crate) receptions: Vec<Reception>,
    /// How routers send it on; of what a router sent, nothing.
    pub(crate) way: Vec<Passage>,
    /// As its sender sent it: of what a router sent on, the first way that leads there.
    sent: Heading,
    lanes: [Lane; 3],
}

/// The datagrams of one form in a flow: two targets may differ in nothing else.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    pub(crate) assembly: Assembly,
    /// What is wrong with the datagrams of the message that is not yet whole.
    pub(crate) troubles: Vec<Trouble>,
    attribution: Option<Attribution>,
    /// For which generation of the targets `attribution` holds.
    generation: Option<u64>,
}

/// All flows of a lab.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    list: Vec<Flow>,
    by_heading: HashMap<Heading, usize>,
}

/// A sender that takes a new port for each datagram must not take our memory.
const MOST_FLOWS: usize = 4096;

impl Flows {
    /// The number of the flow with this heading; none where there are too many already.
    pub(crate) fn find(&mut self, scene: &Scene, heading: Heading) -> Option<usize> {
        if let Some(&flow) = self.by_heading.get(&heading) {
            return Some(flow);
        }
        if self.list.len() >= MOST_FLOWS {
            return None;
        }
        let receptions = receptions(scene, &heading);
        self.by_heading.insert(heading.clone(), self.list.len());
        let way = if scene.is_sender(heading.from) {
            way(scene, &heading)
        } else {
            Vec::new()
        };
        let sent = match self.origins(&heading).first() {
            Some(origin) => self.list[*origin].heading.clone(),
            None => heading.clone(),
        };
        self.list.push(Flow {
            heading,
            receptions,
            way,
            sent,
            lanes: Default::default(),
        });
        Some(self.list.len() - 1)
    }

    /// The flows that a router would send on so.
    pub(crate) fn origins(&self, heading: &Heading) -> Vec<usize> {
        let comes_so = |flow: &Flow| {
            let mut passages = flow.way.iter();
            flow.heading.source == heading.source
                && flow.heading.destination == heading.destination
                && passages
                    .any(|passage| (passage.router, passage.link) == (heading.from, heading.link))
        };
        let flows = self.list.iter().enumerate();
        flows
            .filter(|(_, flow)| comes_so(flow))
            .map(|(index, _)| index)
            .collect()
    }

    pub(crate) fn flow(&self, flow: usize) -> &Flow {
        &self.list[flow]
    }

    pub(crate) fn flow_mut(&mut self, flow: usize) -> &mut Flow {
        &mut self.list[flow]
    }

    pub(crate) fn count(&self) -> usize {
        self.list.len()
    }
}

impl Flow {
    pub(crate) fn lane(&mut self, form: Form) -> &mut Lane {
        &mut self.lanes[form as usize]
    }

    /// Which form a payload has; and its extended header, where it has one.
    pub(crate) fn form(
        &self,
        scene: &Scene,
        targets: &Targets,
        payload: &[u8],
    ) -> (Form, Option<(Header, usize)>) {
        let Ok((header, body)) = Header::parse(payload) else {
            return (Form::Basic, None);
        };
        let form = if header.release.is_some() {
            Form::Release
        } else {
            Form::Extended
        };
        // The tail of a cut message is text, whatever it looks like, unless an extended target sends along the same way.
        let tail = self.lanes[Form::Basic as usize].assembly.awaits_a_tail();
        if tail
            && !attribute(scene, targets, &self.sent, form)
                .is_some_and(|attribution| attribution.mismatches.is_empty())
        {
            return (Form::Basic, None);
        }
        (form, Some((header, body)))
    }

    /// The target of the flow's datagrams of one form.
    pub(crate) fn attribution(
        &mut self,
        scene: &Scene,
        targets: &Targets,
        form: Form,
    ) -> Option<&Attribution> {
        let lane = &mut self.lanes[form as usize];
        if lane.generation != Some(targets.generation) {
            lane.attribution = attribute(scene, targets, &self.sent, form);
            lane.generation = Some(targets.generation);
        }
        lane.attribution.as_ref()
    }
}

impl Heading {
    /// What a datagram has in common with the others of its flow.
    pub(crate) fn of(frame: &Frame, datagram: &Datagram) -> Self {
        Self {
            from: frame.from,
            link: frame.link,
            source_mac: datagram.source_mac,
            destination_mac: datagram.destination_mac,
            vlan: datagram.vlan,
            source: (datagram.source.ip(), datagram.source.port()),
            destination: (datagram.destination.ip(), datagram.destination.port()),
        }
    }
}

/// Whether a payload looks like netconsole's, and not like what some program sends.
pub(crate) fn looks_like_netconsole(payload: &[u8]) -> bool {
    let (prefix, _) = Prefix::parse(payload);
    prefix.style() != Style::default() || Header::parse(payload).is_ok()
}
