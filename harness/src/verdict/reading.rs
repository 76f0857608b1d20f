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
}

/// A UDP socket of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ear {
    pub(crate) port: u16,
    /// The only one that it hears.
    pub(crate) peer: Option<(IpAddr, u16)>,
    /// How many datagrams found no room in it.
    pub(crate) drops: u64,
}

impl Attention {
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
