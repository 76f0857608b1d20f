//! Goes over all that was seen on the wire and finds what no expectation asked about.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    netconsole::{escape::show_start, message::Content, prefix::Style},
    scenario::NodeIndex,
    verdict::{
        completeness::unsent,
        course::{Course, Lane, Step},
        fidelity::{Context, Likeness, Texts, compare},
        finding::{Finding, Findings, Kind},
        judge::Judge,
        log::Log,
        sighting::Sighting,
        target::sends_alike,
        userdata,
    },
};

/// Finds what is wrong in what one sender sent.
pub(crate) fn audit(judge: &Judge, sender: NodeIndex, findings: &mut Findings) {
    let Some(log) = judge.logs.get(&sender).filter(|log| !log.is_empty()) else {
        return;
    };
    let texts = Texts::new(log);
    let release = judge.scene.releases.get(&sender).map(String::as_str);
    let mut audit = Audit {
        judge,
        log,
        texts: &texts,
        release,
        findings,
        courses: BTreeMap::new(),
        style: None,
    };
    let numbers: Vec<usize> = (0..judge.traffic.sightings.len())
        .filter(|number| audit.is_of(sender, *number))
        .collect();
    let settled = audit.settled(&numbers);
    for (number, settled) in numbers.into_iter().zip(settled) {
        audit.look(number, settled);
    }
    audit.unfinished();
    audit.unsent(sender);
}

struct Audit<'judge, 'findings> {
    judge: &'judge Judge,
    log: &'judge Log,
    texts: &'judge Texts<'judge>,
    release: Option<&'judge str>,
    findings: &'findings mut Findings,
    courses: BTreeMap<Lane, Course>,
    /// The prefix that the kernel's basic messages have.
    style: Option<Style>,
}

impl Audit<'_, '_> {
    fn is_of(&self, sender: NodeIndex, number: usize) -> bool {
        let sighting = &self.judge.traffic.sightings[number];
        !sighting.corrupted
            && sighting.passage.is_none()
            && sighting.target.is_some()
            && sighting.boot == self.judge.traffic.boot_of(sender)
            && self.judge.traffic.flows.flow(sighting.flow).heading.from == sender
    }

    /// For each sighting: whether a marker that the log has came behind it, from the same target. All, where nothing more
    /// is printed.
    fn settled(&self, numbers: &[usize]) -> Vec<bool> {
        if self.log.is_final {
            return vec![true; numbers.len()];
        }
        let mut marked = BTreeSet::new();
        let mut settled: Vec<bool> = numbers
            .iter()
            .rev()
            .map(|number| {
                let sighting = &self.judge.traffic.sightings[*number];
                let known = sighting
                    .marker
                    .is_some_and(|marker| self.log.marker(marker).is_some());
                if known {
                    marked.insert(sighting.target);
                }
                marked.contains(&sighting.target)
            })
            .collect();
        settled.reverse();
        settled
    }

    fn look(&mut self, number: usize, settled: bool) {
        let judge = self.judge;
        let sighting = &judge.traffic.sightings[number];
        let Some(target) = sighting.target else {
            return;
        };
        // What is wrong by itself was found when it came.
        if !sighting.message.faults.is_empty() || sighting.message.is_notice() {
            return;
        }
        self.check_style(sighting);
        let lane = Lane::of(target, sighting);
        match self
            .courses
            .entry(lane)
            .or_default()
            .continue_with(&sighting.message)
        {
            Some(true) => return,
            Some(false) => self.find(
                Kind::Truncated,
                sighting,
                "the message before it was cut at 1000 bytes and the rest did not follow",
            ),
            None => {}
        }
        let after = self.courses.entry(lane).or_default().last;
        let (log, texts, release) = (self.log, self.texts, self.release);
        let likeness = compare(
            sighting,
            Context {
                log,
                texts,
                after,
                release,
                settled,
            },
        );
        if let Some(sequence) = self.judge_likeness(lane, number, likeness) {
            self.check_sequence(lane, sighting, sequence);
            self.check_standing(sighting, sequence);
        }
        self.check_release(sighting);
    }

    /// Finds what is wrong with a message as a record; gives the record's number where it is sure.
    fn judge_likeness(&mut self, lane: Lane, number: usize, likeness: Likeness) -> Option<u64> {
        let judge = self.judge;
        let sighting = &judge.traffic.sightings[number];
        let course = self.courses.entry(lane).or_default();
        match likeness {
            Likeness::Unknown => sighting.message.header().map(|header| header.sequence),
            Likeness::Wrong {
                kind,
                sequence,
                sentence,
            } => {
                // It stands for its record, so that the record is not found missing, too.
                sequence.map(|sequence| course.counts.entry(sequence).or_default());
                self.find(kind, sighting, &sentence);
                None
            }
            Likeness::Start { sequence, rest } => {
                course.rest = Some(rest);
                Some(sequence)
            }
            Likeness::Record { sequence, userdata } => {
                let wrong = userdata::wrong(judge, self.log, (number, sequence), &userdata);
                if let Some(sentence) = wrong {
                    self.find(Kind::WrongUserdata, sighting, &sentence);
                }
                Some(sequence)
            }
        }
    }

    fn unfinished(&mut self) {
        let lanes: Vec<Lane> = self
            .courses
            .iter()
            .filter(|(_, course)| course.rest.is_some())
            .map(|(lane, _)| *lane)
            .collect();
        for lane in lanes {
            let sentence = "its last message was cut at 1000 bytes and the rest did not follow";
            self.add(Kind::Truncated, lane.target, sentence, &[]);
        }
    }

    fn unsent(&mut self, sender: NodeIndex) {
        let mut sent: BTreeMap<usize, BTreeSet<u64>> = BTreeMap::new();
        for (lane, course) in &self.courses {
            sent.entry(lane.target)
                .or_default()
                .extend(course.counts.keys());
        }
        for (target, sent) in sent {
            for record in unsent(self.judge, (sender, target), &sent) {
                let text = show_start(&record.text, 60);
                self.add(
                    Kind::Unsent,
                    target,
                    &format!(
                        "it did not send record {}: `{text}`",
                        record.header.sequence
                    ),
                    &[],
                );
            }
        }
    }

    /// Every line of a kernel has the same kind of prefix.
    fn check_style(&mut self, sighting: &Sighting) {
        let Content::Basic(basic) = &sighting.message.content else {
            return;
        };
        let style = basic.prefix.style();
        let usual = *self.style.get_or_insert(style);
        if usual != style {
            let text = show_start(&sighting.message.payloads[0], 60);
            self.find(
                Kind::Altered,
                sighting,
                &format!("`{text}` has another kind of prefix than the lines before"),
            );
        }
    }

    /// A record comes once for each target, and after the ones before it.
    fn check_sequence(&mut self, lane: Lane, sighting: &Sighting, sequence: u64) {
        let copies = self.copies(sighting);
        match self.courses.entry(lane).or_default().step(sequence, copies) {
            Step::On => {}
            Step::Again => {
                let text = show_start(&sighting.message.text, 60);
                self.find(
                    Kind::Repeated,
                    sighting,
                    &format!("it sent record {sequence} again: `{text}`"),
                );
            }
            Step::Back { from } => {
                self.find(
                    Kind::OutOfOrder,
                    sighting,
                    &format!("it sent record {sequence} after record {from}"),
                );
            }
        }
    }

    /// How many targets ever sent the very same datagrams as this one's.
    fn copies(&self, sighting: &Sighting) -> u64 {
        let Some(entry) = sighting.entry.map(|entry| self.judge.targets.entry(entry)) else {
            return 1;
        };
        let alike = self.judge.targets.all().filter(|other| {
            other.state.on == entry.state.on
                && other.state.enabled
                && sends_alike(&other.state.settings, &entry.state.settings)
        });
        let targets: BTreeSet<usize> = alike
            .map(|other| other.target)
            .chain([entry.target])
            .collect();
        targets.len() as u64
    }

    /// Whether the target could still send with these settings when the record was printed.
    fn check_standing(&mut self, sighting: &Sighting, sequence: u64) {
        let Some(entry) = sighting.entry.filter(|_| !sighting.replayed) else {
            return;
        };
        let printed_behind = |marker: u64| {
            self.log
                .marker_from(marker)
                .is_some_and(|barrier| sequence > barrier)
        };
        if let Some((kind, sentence)) = self.judge.targets.outlived_when(entry, printed_behind) {
            self.find(kind, sighting, sentence);
        }
    }

    fn check_release(&mut self, sighting: &Sighting) {
        let Some(header) = sighting.message.header() else {
            return;
        };
        let sender = self.judge.traffic.flows.flow(sighting.flow).heading.from;
        let Some(running) = self.judge.scene.releases.get(&sender) else {
            return;
        };
        if let Some(is) = header.release.as_ref().filter(|is| *is != running) {
            let sentence = format!(
                "its release is {}, the kernel's is {running}",
                show_start(is.as_bytes(), 80)
            );
            self.find(Kind::WrongRelease, sighting, &sentence);
        }
    }

    fn find(&mut self, kind: Kind, sighting: &Sighting, sentence: &str) {
        if let Some(target) = sighting.target {
            self.add(kind, target, sentence, &sighting.message.frames);
        }
    }

    fn add(&mut self, kind: Kind, target: usize, sentence: &str, frames: &[u64]) {
        let sentence = self.judge.targets.named(Some(target), sentence);
        let frames = frames.iter().take(3).copied().collect();
        self.findings.add(
            "audit",
            Finding {
                kind,
                sentence,
                target: Some(target),
                frames,
                count: 1,
            },
        );
    }
}
