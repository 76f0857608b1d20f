//! One link: a cable between two ports, a small switch where there are more.
//!
//! Only whom a frame goes to is decided here; the lab carries it.

use std::collections::HashMap;

use crate::{lab::PortIndex, netconsole::MacAddress};

/// Destination, source and type.
const ETHERNET_HEADER: usize = 14;
/// How many addresses a switch remembers; a guest may make up as many as it likes.
const REMEMBERED: usize = 1024;

/// One link.
#[derive(Debug)]
pub(crate) struct Segment {
    ports: Vec<PortIndex>,
    /// Behind which port an address was seen last.
    seen: HashMap<MacAddress, PortIndex>,
}

impl Segment {
    pub(crate) fn new(ports: Vec<PortIndex>) -> Self {
        Self {
            ports,
            seen: HashMap::new(),
        }
    }

    /// The ports that a frame from `from` goes to. One without a whole header goes nowhere.
    pub(crate) fn forward(&mut self, from: PortIndex, frame: &[u8]) -> Vec<PortIndex> {
        let Some(&[d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, _, _]) =
            frame.first_chunk::<ETHERNET_HEADER>()
        else {
            return Vec::new();
        };
        let destination = MacAddress([d0, d1, d2, d3, d4, d5]);
        self.learn(MacAddress([s0, s1, s2, s3, s4, s5]), from);
        match self.seen.get(&destination) {
            Some(&known) if self.is_switch() => Vec::from_iter((known != from).then_some(known)),
            _ => self
                .ports
                .iter()
                .copied()
                .filter(|port| *port != from)
                .collect(),
        }
    }

    fn is_switch(&self) -> bool {
        self.ports.len() > 2
    }

    fn learn(&mut self, source: MacAddress, from: PortIndex) {
        let known = self.seen.contains_key(&source);
        if self.is_switch() && !source.is_group() && (known || self.seen.len() < REMEMBERED) {
            self.seen.insert(source, from);
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn frame(destination: u8, source: u8) -> Vec<u8> {
        let mac = |last| {
            if last == 0xff {
                [0xff; 6]
            } else {
                [2, 0, 0, 0, 0, last]
            }
        };
        [mac(destination).as_slice(), &mac(source), &[0x08, 0x00]].concat()
    }

    fn ports(indices: &[usize]) -> Vec<PortIndex> {
        indices.iter().copied().map(PortIndex).collect()
    }

    #[rstest]
    #[case::to_nobody_known(&[], (0, frame(9, 1)), &[1, 2])]
    #[case::to_all(&[(1, frame(9, 2))], (0, frame(0xff, 1)), &[1, 2])]
    #[case::to_one_that_spoke(&[(1, frame(9, 2))], (0, frame(2, 1)), &[1])]
    #[case::to_one_behind_the_same_port(&[(0, frame(9, 2))], (0, frame(2, 1)), &[])]
    #[case::to_one_that_moved(&[(1, frame(9, 2)), (2, frame(9, 2))], (0, frame(2, 1)), &[2])]
    #[case::a_group_is_never_a_source(&[(1, frame(9, 0xff))], (0, frame(0xff, 1)), &[1, 2])]
    #[case::a_runt(&[], (0, vec![0xff; 13]), &[])]
    fn a_switch_forwards(
        #[case] before: &[(usize, Vec<u8>)],
        #[case] (from, frame): (usize, Vec<u8>),
        #[case] to: &[usize],
    ) {
        let mut segment = Segment::new(ports(&[0, 1, 2]));
        for (from, frame) in before {
            segment.forward(PortIndex(*from), frame);
        }
        assert_eq!(segment.forward(PortIndex(from), &frame), ports(to));
    }

    #[test]
    fn a_cable_carries_everything() {
        let mut segment = Segment::new(ports(&[4, 7]));
        segment.forward(PortIndex(4), &frame(9, 2));
        assert_eq!(segment.forward(PortIndex(4), &frame(2, 1)), ports(&[7]));
    }

    #[test]
    fn a_switch_forgets_what_a_flood_of_addresses_brings_but_keeps_what_it_knows() {
        let mut segment = Segment::new(ports(&[0, 1, 2]));
        segment.forward(PortIndex(1), &frame(9, 2));
        for made_up in 0..u32::try_from(2 * REMEMBERED).unwrap() {
            let mut frame = frame(9, 3);
            frame[7..11].copy_from_slice(&made_up.to_be_bytes());
            segment.forward(PortIndex(2), &frame);
        }
        assert_eq!(segment.seen.len(), REMEMBERED);
        assert_eq!(segment.forward(PortIndex(0), &frame(2, 1)), ports(&[1]));
    }
}
