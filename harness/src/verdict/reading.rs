//! An expectation that reads what a program wrote.

use std::net::IpAddr;

use crate::{
    scenario::{Lines, expectation::Source},
    verdict::{
        matcher::Matcher,
        stream::{Event, Stream},
        watch::Places,
        written::Written,
    },
};

/// What an expectation has read so far. Each whole line is looked at once.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) matcher: Matcher,
    places: Places,
    /// The first line that is looked at, and the first that was not yet.
    from: usize,
    next: usize,
    whole: Stream,
    /// With what has come of the last line.
    pub(crate) stream: Stream,
}

/// How it stands with a receiver's program, where it did not write what it should have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Attention {
    pub(crate) runs: bool,
    pub(crate) sockets: Vec<Ear>,
    /// How many datagrams had found no room in them when it was looked last.
    pub(crate) dropped: u64,
}

/// A UDP socket of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ear {
    pub(crate) port: u16,
    /// The only one that it hears.
    pub(crate) peer: Option<(IpAddr, u16)>,
    /// What waits in it, in bytes.
    pub(crate) waiting: u64,
    /// How many datagrams found no room in it.
    pub(crate) drops: u64,
}

impl Attention {
    /// How many datagrams have found no room in all sockets together.
    pub(crate) fn drops(&self) -> u64 {
        self.sockets.iter().map(|ear| ear.drops).sum()
    }

    /// Whether a socket takes what `source` sends to `port`.
    pub(crate) fn hears(&self, source: (IpAddr, u16), port: u16) -> bool {
        let mut ears = self.sockets.iter().filter(|ear| ear.port == port);
        ears.any(|ear| ear.peer.is_none_or(|peer| peer == source))
    }
}

impl Reading {
    pub(crate) fn new(lines: &Lines) -> Self {
        let matcher = Matcher::new(lines);
        let places = Places::new(lines, &matcher);
        let stream = Stream::new(Vec::new(), matcher.class_count());
        Self {
            matcher,
            places,
            from: 0,
            next: 0,
            whole: stream.clone(),
            stream,
        }
    }

    /// Reads for lines of which none may be there.
    pub(crate) fn none_of(lines: &Lines) -> Self {
        let mut reading = Self::new(lines);
        reading.places.times.fill(0);
        reading
    }

    /// Looks at what was written behind line `from`.
    pub(crate) fn advance(&mut self, written: &Written, from: usize) {
        if from != self.from {
            // The marker that the window begins behind has come only now.
            (self.from, self.next) = (from, from);
            self.whole = Stream::new(Vec::new(), self.matcher.class_count());
        }
        for number in self.next..written.whole_lines() {
            look(&mut self.whole, &self.matcher, written, number);
        }
        self.next = written.whole_lines();
        self.stream = self.whole.clone();
        if !written.line(self.next).is_empty() {
            look(&mut self.stream, &self.matcher, written, self.next);
        }
    }

    /// The first line that is looked at.
    pub(crate) fn first_line(&self) -> usize {
        self.from
    }

    /// Takes up to `most` lines for a marker's, of those that are too many and that `may_be` one's; the last are likeliest.
    pub(crate) fn leave_out(&mut self, most: usize, may_be: impl Fn(usize) -> bool) {
        for class in 0..self.matcher.class_count() {
            let excess = self.stream.counts[class].saturating_sub(self.places.times[class]);
            let mut left = most.min(usize::try_from(excess).unwrap_or(usize::MAX));
            let mut leaves = |event: &Event| {
                let is_one = left > 0 && event.class == class && may_be(event.sighting);
                left -= usize::from(is_one);
                is_one
            };
            let events = self.stream.events.iter().rev();
            let kept: Vec<Event> = events.filter(|event| !leaves(event)).copied().collect();
            self.stream.counts[class] -= (self.stream.events.len() - kept.len()) as u64;
            self.stream.events = kept.into_iter().rev().collect();
        }
        let mut left = most;
        let mut leaves = |line: &usize| {
            let is_one = left > 0 && may_be(*line);
            left -= usize::from(is_one);
            is_one
        };
        let others = self.stream.others.iter().rev();
        let kept: Vec<usize> = others.filter(|line| !leaves(line)).copied().collect();
        self.stream.others = kept.into_iter().rev().collect();
    }

    /// By class: how often it must be there, and how often it is.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (u64, u64)> {
        let times = self.places.times.iter().copied();
        times.zip(self.stream.counts.iter().copied())
    }

    /// Whether every line is there as often as it must.
    pub(crate) fn is_complete(&self) -> bool {
        self.counts().all(|(must, is)| is >= must)
    }

    /// Whether some line is there more often than it may.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.counts().any(|(must, is)| is > must)
    }

    /// The first line that is out of order, and the class that should have stood there.
    pub(crate) fn disorder(&self) -> Option<(Event, usize)> {
        self.stream.disorder(&self.places.rows)
    }
}

/// Adds what a line holds. One with a marker in it is no stranger.
fn look(stream: &mut Stream, matcher: &Matcher, written: &Written, number: usize) {
    let (text, has_marker) = written.text(number);
    let classes = matcher.find_in(&text);
    if !(classes.is_empty() && has_marker) {
        stream.add(number, &classes);
    }
}

/// How a place where a program writes is called.
pub(crate) fn shown(source: &Source, name: &str) -> String {
    match source {
        Source::Wire => format!("the wire to {name}"),
        Source::Printed => format!("what the program of {name} printed"),
        Source::File(path) => format!("`{}` of {name}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::scenario::{Line, Pattern};

    fn reading(texts: &[&str], begin: fn(&Lines) -> Reading) -> Reading {
        let line = Line {
            pattern: Pattern::Literal("spoke".to_owned()),
            times: std::num::NonZeroU32::MIN,
            raw: false,
        };
        let mut written = Written::new("ab12");
        texts.iter().for_each(|text| written.gain(text.as_bytes()));
        let mut reading = begin(&vec![line]);
        reading.advance(&written, 0);
        reading
    }

    /// Of three lines two are too many, or all, where none is expected; which may be a marker's, each case says.
    #[rstest]
    #[case::none_came(0, &[0, 1, 2], &[0, 1, 2])]
    #[case::one_came(1, &[0, 1, 2], &[0, 1])]
    #[case::more_came_than_are_too_many(9, &[0, 1, 2], &[0])]
    #[case::the_last_tells_of_a_message(1, &[0, 1], &[0, 2])]
    #[case::all_tell_of_messages(9, &[], &[0, 1, 2])]
    fn what_may_be_a_markers_is_left_out(
        #[case] markers: usize,
        #[case] may_be: &[usize],
        #[case] left: &[usize],
    ) {
        let mut reading = reading(&["spoke\nspoke\nspoke\n"], Reading::new);
        reading.leave_out(markers, |line| may_be.contains(&line));
        let events = reading.stream.events.iter();
        let lines: Vec<usize> = events.map(|event| event.sighting).collect();
        assert_eq!(lines, left);
        assert_eq!(reading.stream.counts, [left.len() as u64]);
    }

    #[test]
    fn where_none_may_be_a_markers_line_is_none() {
        let mut reading = reading(&["spoke\nother\n"], Reading::none_of);
        reading.leave_out(1, |_| true);
        assert!(reading.stream.events.is_empty());
        assert!(reading.stream.others.is_empty());
    }
}
