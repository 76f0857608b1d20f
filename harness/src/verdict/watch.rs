//! An expectation while frames still come in: what is there already.

use std::num::NonZeroU32;

use crate::{
    scenario::{Lines, NodeIndex},
    verdict::{
        matcher::Matcher, scene::Scene, sighting::Sighting, stream::Stream, target::Targets,
        traffic::Traffic,
    },
};

/// What an `expect` or an `absent` has seen so far. Each sighting is looked at once.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) at: NodeIndex,
    /// Only this target's messages are looked at.
    only: Option<usize>,
    replay: bool,
    pub(crate) matcher: Matcher,
    pub(crate) places: Places,
    pub(crate) streams: Vec<Stream>,
    /// What came from others than the streams' targets.
    pub(crate) strangers: Vec<usize>,
    /// How many of the receiver's arrivals were looked at.
    seen: usize,
}

/// How often lines must come, and in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// By class: how often it must come per target.
    pub(crate) times: Vec<u64>,
    /// A class and how often it comes in a row.
    pub(crate) rows: Vec<(usize, u64)>,
}

impl Places {
    pub(crate) fn new(lines: &Lines, matcher: &Matcher) -> Self {
        let mut times = vec![0; matcher.class_count()];
        let mut rows: Vec<(usize, u64)> = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            let class = matcher.class(index);
            let count = u64::from(NonZeroU32::get(line.times));
            times[class] += count;
            match rows.last_mut() {
                Some((last, times)) if *last == class => *times += count,
                Some(_) | None => rows.push((class, count)),
            }
        }
        Self { times, rows }
    }
}

impl Watch {
    /// Begins to look at the arrivals from the one with number `from` on.
    pub(crate) fn new(
        at: NodeIndex,
        only: Option<usize>,
        replay: bool,
        lines: &Lines,
        from: usize,
    ) -> Self {
        let matcher = Matcher::new(lines);
        Self {
            at,
            only,
            replay,
            places: Places::new(lines, &matcher),
            matcher,
            streams: Vec::new(),
            strangers: Vec::new(),
            seen: from,
        }
    }

    /// Settles which targets must fulfil the expectation: those that are enabled now and aimed at the receiver, or the
    /// one that is named, whether it is enabled or not.
    pub(crate) fn choose_streams(&mut self, scene: &Scene, targets: &Targets) {
        let mut chosen: Vec<usize> = match self.only {
            Some(target) => vec![target],
            None => targets
                .all_now()
                .filter(|(_, state)| state.enabled && state.to == self.at)
                .map(|(target, _)| target)
                .collect(),
        };
        if chosen.is_empty() {
            chosen = targets
                .all_now()
                .filter(|(_, state)| state.enabled && reaches(scene, self.at, state))
                .map(|(target, _)| target)
                .collect();
        }
        for target in chosen {
            if self
                .streams
                .iter()
                .any(|stream| stream.targets.contains(&target))
            {
                continue;
            }
            let mut alike = targets.twins(target);
            if alike.is_empty() {
                alike.push(target);
            }
            self.streams
                .push(Stream::new(alike, self.matcher.class_count()));
        }
    }

    /// Looks at what arrived since it last looked.
    pub(crate) fn advance(&mut self, traffic: &Traffic, marker: Option<u64>) {
        let arrivals = traffic.arrivals(self.at);
        for &number in arrivals.get(self.seen..).unwrap_or(&[]) {
            self.look(number, &traffic.sightings[number], marker);
        }
        self.seen = self.seen.max(arrivals.len());
    }

    fn look(&mut self, number: usize, sighting: &Sighting, marker: Option<u64>) {
        let of_it = |stream: &&mut Stream| {
            sighting
                .target
                .is_some_and(|target| stream.targets.contains(&target))
        };
        let stream = self.streams.iter_mut().find(of_it);
        if let Some(which) = sighting.marker {
            if let Some(stream) = stream.filter(|_| marker == Some(which)) {
                stream.markers += 1;
            }
            return;
        }
        if (sighting.replayed && !self.replay) || sighting.message.is_notice() {
            return;
        }
        match stream {
            Some(stream) => stream.add(number, &self.matcher.find(&sighting.message)),
            None if self.only.is_none() => self.strangers.push(number),
            None => {}
        }
    }

    /// Whether every line came as often as it must, from every target.
    pub(crate) fn is_complete(&self) -> bool {
        !self.streams.is_empty()
            && self
                .streams
                .iter()
                .all(|stream| self.counts(stream).all(|(must, is)| is >= must))
    }

    /// Whether some line came more often than it may.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.streams
            .iter()
            .any(|stream| self.counts(stream).any(|(must, is)| is > must))
    }

    /// By class: how often it must have come, and how often it did.
    pub(crate) fn counts(&self, stream: &Stream) -> impl Iterator<Item = (u64, u64)> {
        let copies = stream.copies;
        self.places
            .times
            .iter()
            .map(move |times| times * copies)
            .zip(stream.counts.clone())
    }

    /// By stream and class: how often it came so far.
    pub(crate) fn all_counts(&self) -> Vec<Vec<u64>> {
        self.streams
            .iter()
            .map(|stream| stream.counts.clone())
            .collect()
    }

    /// How many arrivals were looked at, so that the next expectation begins behind them.
    pub(crate) fn seen(&self) -> usize {
        self.seen
    }
}

/// Whether a target's address is one of the receiver's.
fn reaches(scene: &Scene, at: NodeIndex, state: &crate::verdict::TargetState) -> bool {
    let interfaces = scene
        .nodes
        .get(at.0)
        .map_or(&[][..], |node| &node.interfaces);
    interfaces
        .iter()
        .flat_map(|interface| &interface.addresses)
        .any(|own| own.addr() == state.settings.remote_ip)
}
