//! What became of a message that reached a receiver, and that its program did not write where it should.

use memchr::memmem;

use crate::{
    netconsole::escape::show_start,
    scenario::expectation::Source,
    verdict::{
        journey::{Cause, Journey},
        reading::{self, Ear},
        shortfall::Desk,
        sighting::Sighting,
        written::Written,
    },
};

/// How many other files are told of.
const MOST_FILES: usize = 3;
/// How much of a line is shown.
const SHOWN: usize = 200;

impl Desk<'_> {
    /// The messages with the line that came to the receiver's card.
    pub(super) fn taken(&self, class: usize) -> Vec<&Sighting> {
        let traffic = &self.judge.traffic;
        let arrivals = traffic.arrivals(self.at).iter();
        let sightings = arrivals.map(|number| &traffic.sightings[*number]);
        sightings
            .filter(|sighting| sighting.marker.is_none() && !sighting.replayed)
            .filter(|sighting| {
                let text = &sighting.message.text;
                self.reading.matcher.find_in(text).contains(&class)
            })
            .collect()
    }

    /// What became of a message that came to the receiver's card.
    pub(super) fn at_the_program(&self, sighting: &Sighting, class: usize) -> Journey {
        let name = self.judge.scene.name(self.at);
        let heading = &self.judge.traffic.flows.flow(sighting.flow).heading;
        let (source, port) = (heading.source, heading.destination.1);
        let journey = Journey {
            printed: Some(true),
            wire: Some(true),
            arrived: Some(true),
            lost: Some(name.to_owned()),
            ..Journey::default()
        };
        let reached = format!("it reached {name}");
        let sockets = self.attention.sockets.iter();
        let at_port: Vec<&Ear> = sockets.filter(|ear| ear.port == port).collect();
        if !self.attention.runs {
            let because = format!("{reached}, where no program runs");
            return journey.end(name, Cause::NotListening, because);
        }
        if at_port.is_empty() {
            let because = format!("{reached}, where nobody listens on port {port}");
            return journey.end(name, Cause::NotListening, because);
        }
        if !self.attention.hears(source, port) {
            let peer = at_port[0].peer.map_or_else(String::new, |(address, port)| {
                format!(" {address}, port {port}")
            });
            let because = format!("{reached}, whose program hears only its first peer,{peer}");
            return journey.end(name, Cause::OtherPeer, because);
        }
        if let Some((cause, because)) = self.instead(sighting, class) {
            let because = format!("{reached}, whose program wrote it {because}");
            return journey.end(name, cause, because);
        }
        let drops = self
            .attention
            .drops()
            .saturating_sub(self.attention.dropped);
        if drops > 0 {
            let because = format!(
                "{reached}, where {drops} datagrams found no room in the socket of its program"
            );
            return journey.end(name, Cause::ReceiverOverflow, because);
        }
        Journey {
            because: Some(format!("{reached}, and its program did not write it there")),
            ..journey
        }
    }

    /// How a line that must be absent was lost at the program; none where it did not come so far.
    pub(super) fn lost(&self, class: usize) -> Option<Journey> {
        let taken = self.taken(class);
        taken
            .last()
            .map(|sighting| self.at_the_program(sighting, class))
    }

    /// How the program wrote a message differently, or where else.
    fn instead(&self, sighting: &Sighting, class: usize) -> Option<(Cause, String)> {
        let said = said(sighting);
        let holds = |line: &[u8]| said.iter().any(|said| memmem::find(line, said).is_some());
        let here = self.written.and_then(|written| {
            let lines = self.reading.first_line()..=written.whole_lines();
            lines
                .map(|number| written.line(number))
                .find(|line| holds(line))
        });
        if let Some(line) = here {
            let because = format!("as `{}`", show_start(line, SHOWN));
            return Some((Cause::ReceiverChangedIt, because));
        }
        let others = self.judge.written_at(self.at).into_iter();
        let mut others = others.filter(|(source, _)| *source != self.source);
        others.find_map(|(source, written)| {
            let lines = written.behind(self.floor)..=written.whole_lines();
            let mut lines = lines.map(|number| written.line(number));
            let line = lines
                .find(|line| holds(line) || self.reading.matcher.find_in(line).contains(&class))?;
            let place = self.place(source);
            let because = format!("to {place}: `{}`", show_start(line, SHOWN));
            Some((Cause::ReceiverWroteElsewhere, because))
        })
    }

    /// What the program wrote where something is missing, in sentences.
    pub(super) fn wrote_instead(&self) -> Vec<String> {
        if let Some(last) = self.written.and_then(Written::last) {
            let last = show_start(last, SHOWN);
            return vec![format!("the last line of {} is `{last}`", self.shown())];
        }
        let mut sentences = vec![format!("nothing was written to {}", self.shown())];
        let others = self.judge.written_at(self.at).into_iter();
        let told = others.filter_map(|(source, written)| {
            let names_it = self.complaint(written);
            let line = names_it.or_else(|| written.last())?;
            let place = self.place(source);
            let line = show_start(line, SHOWN);
            let sentence = format!("{place} says `{line}`");
            Some((names_it.is_none(), sentence))
        });
        let mut told: Vec<(bool, String)> = told.collect();
        // First what names the file that is missing.
        told.sort();
        sentences.extend(told.into_iter().map(|(_, told)| told).take(MOST_FILES));
        sentences
    }

    /// The last line that names the file that was looked for: why it could not be written.
    fn complaint<'written>(&self, written: &'written Written) -> Option<&'written [u8]> {
        let Source::File(path) = self.source else {
            return None;
        };
        let path = path.as_os_str().as_encoded_bytes();
        let lines = (0..=written.whole_lines()).rev();
        let mut lines = lines.map(|number| written.line(number));
        lines.find(|line| memmem::find(line, path).is_some())
    }

    fn place(&self, source: &Source) -> String {
        let name = self.judge.scene.name(self.at);
        match source {
            Source::File(path) if path.ends_with(".lastwords/complained") => {
                format!("the standard error of the program of {name}")
            }
            source => reading::shown(source, name),
        }
    }
}

/// What a line must hold to tell of a message: what was sent with the time but the bracket before it, which some daemons
/// take for their own; else its text.
fn said(sighting: &Sighting) -> Vec<Vec<u8>> {
    let first = |bytes: &[u8]| {
        bytes
            .split(|byte| *byte == b'\n')
            .next()
            .map(<[u8]>::to_vec)
    };
    let sent = sighting
        .message
        .payloads
        .first()
        .and_then(|payload| first(payload));
    let timed = sent.and_then(|sent| {
        let time = sent.iter().position(|byte| *byte == b'[')?;
        Some(sent[time + 1..].trim_ascii_start().to_vec())
    });
    let said = timed.or_else(|| first(&sighting.message.text));
    said.into_iter().filter(|said| !said.is_empty()).collect()
}
