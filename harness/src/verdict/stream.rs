//! What one target (or several that send alike) sent to a receiver since an expectation began.

use std::collections::VecDeque;

/// The part of an expectation that one target must fulfil.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stream {
    /// The scenario's indices of the targets. They send the very same datagrams, so that nothing tells them apart.
    pub(crate) targets: Vec<usize>,
    /// How often each line must come: once for each target. Invariant: not 0.
    pub(crate) copies: u64,
    /// By class: how often it came.
    pub(crate) counts: Vec<u64>,
    /// The expected lines in the order in which they came.
    pub(crate) events: Vec<Event>,
    /// The sightings that hold none of the expected lines.
    pub(crate) others: Vec<usize>,
    /// The sightings of the set-up, which hold nothing that is expected.
    pub(crate) before: Vec<usize>,
    /// How often the expectation's marker came.
    pub(crate) markers: u64,
}

/// An expected line that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) class: usize,
    /// The number of the sighting.
    pub(crate) sighting: usize,
}

impl Stream {
    pub(crate) fn new(targets: Vec<usize>, class_count: usize) -> Self {
        let copies = targets.len().max(1) as u64;
        Self {
            targets,
            copies,
            counts: vec![0; class_count],
            events: Vec::new(),
            others: Vec::new(),
            before: Vec::new(),
            markers: 0,
        }
    }

    /// Adds what a message holds.
    pub(crate) fn add(&mut self, sighting: usize, classes: &[usize]) {
        if classes.is_empty() {
            self.others.push(sighting);
        }
        for &class in classes {
            self.counts[class] += 1;
            self.events.push(Event { class, sighting });
        }
    }

    /// The first event that is out of the order of `places` (a class and how often it comes in a row, per target), and
    /// the class that should have stood there. Only asked where all counts are right.
    ///
    /// Copies of a line may have other messages between them, but none of the other expected lines.
    pub(crate) fn disorder(&self, places: &[(usize, u64)]) -> Option<(Event, usize)> {
        let mut places: VecDeque<_> = places
            .iter()
            .map(|(class, times)| (*class, times * self.copies))
            .collect();
        for event in &self.events {
            let (class, left) = places.front_mut()?;
            if *class != event.class {
                return Some((*event, *class));
            }
            *left -= 1;
            if *left == 0 {
                places.pop_front();
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::in_order(1, &[0, 1], &[(0, 1), (1, 1)], None)]
    #[case::swapped(1, &[1, 0], &[(0, 1), (1, 1)], Some((0, 0)))]
    #[case::times(1, &[0, 0, 1], &[(0, 2), (1, 1)], None)]
    #[case::torn_apart(1, &[0, 1, 0], &[(0, 2), (1, 1)], Some((1, 0)))]
    #[case::again(1, &[0, 1, 0], &[(0, 1), (1, 1), (0, 1)], None)]
    #[case::two_targets(2, &[0, 0, 1, 1], &[(0, 1), (1, 1)], None)]
    #[case::two_targets_crossed(2, &[0, 1, 0, 1], &[(0, 1), (1, 1)], Some((1, 0)))]
    fn finds_disorder(
        #[case] targets: usize,
        #[case] classes: &[usize],
        #[case] places: &[(usize, u64)],
        #[case] wrong: Option<(usize, usize)>,
    ) {
        let mut stream = Stream::new((0..targets).collect(), 2);
        for (sighting, class) in classes.iter().enumerate() {
            stream.add(sighting, &[*class]);
        }
        assert_eq!(
            stream
                .disorder(places)
                .map(|(event, class)| (event.sighting, class)),
            wrong
        );
    }
}
