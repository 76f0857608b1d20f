//! Judges an `expect` once its waiting is over.

use crate::{
    netconsole::escape::show_start,
    scenario::{Expect, Order, Pattern},
    verdict::{
        asked, contiguity,
        finding::Kind,
        judge::{Ending, Judge, Window},
        nearest::{Nearest, nearest},
        outcome::{Arrived, Failure, Passed, Problem},
        sighting::Sighting,
        stream::Stream,
        trace::trace,
        watch::Watch,
    },
};

/// How an expectation came to its end.
#[derive(Debug, Clone)]
pub(crate) struct End {
    /// From where on it looked.
    pub(crate) window: Window,
    pub(crate) marker: Option<u64>,
    pub(crate) ending: Ending,
    /// At a deadline: how often each line had come by then.
    pub(crate) in_time: Option<Vec<Vec<u64>>>,
}

/// How many problems, and how many lines that arrived, are reported.
const MOST_PROBLEMS: usize = 50;
const MOST_ARRIVED: usize = 2000;

/// Judges what a watch has seen.
pub(crate) fn judge(
    judge: &Judge,
    expect: &Expect,
    watch: &Watch,
    end: &End,
) -> Result<Passed, Failure> {
    let conclusion = Conclusion {
        judge,
        expect,
        watch,
        end,
    };
    let mut problems = conclusion.counts();
    if problems.is_empty() && expect.order == Order::Given {
        problems.extend(conclusion.disorder());
    }
    if expect.exactly {
        problems.extend(conclusion.others());
    }
    problems.extend(conclusion.faults());
    if expect.asked.contiguous {
        problems.extend(contiguity::gaps(judge, watch, end));
    }
    if problems.is_empty()
        && end.ending != Ending::KernelDied
        && !judge.has_markers(watch, end.marker)
    {
        let sentence = "every line arrived, but not the marker behind them, so that a second copy cannot be ruled out";
        problems.push(Problem::new(Kind::MarkerLost, sentence.to_owned()));
    }
    problems.truncate(MOST_PROBLEMS);
    if problems.is_empty() {
        Ok(conclusion.passed())
    } else {
        Err(problems.into())
    }
}

struct Conclusion<'judge> {
    judge: &'judge Judge,
    expect: &'judge Expect,
    watch: &'judge Watch,
    end: &'judge End,
}

impl Conclusion<'_> {
    /// Lines that came too seldom or too often.
    fn counts(&self) -> Vec<Problem> {
        let classes = 0..self.watch.matcher.class_count();
        if self.watch.streams.is_empty() {
            return classes
                .map(|class| self.missing(None, class, (self.watch.places.times[class], 0)))
                .collect();
        }
        let mut problems = Vec::new();
        for (number, stream) in self.watch.streams.iter().enumerate() {
            for (class, (must, is)) in self.watch.counts(stream).enumerate() {
                let in_time = self
                    .end
                    .in_time
                    .as_ref()
                    .map_or(is, |counts| counts[number][class]);
                if is < must {
                    problems.push(self.missing(Some(stream), class, (must, is)));
                } else if in_time < must {
                    problems.push(self.late(stream, class, (must, in_time)));
                } else if is > must {
                    problems.push(self.too_many(stream, class, (must, is)));
                }
                if problems.len() >= MOST_PROBLEMS {
                    return problems;
                }
            }
        }
        problems
    }

    fn missing(&self, stream: Option<&Stream>, class: usize, (must, is): (u64, u64)) -> Problem {
        let journey = trace(self.judge, self.watch, self.end, stream, class);
        let mut sentence = match is {
            0 => format!("{} did not arrive{}", self.shown(class), self.from(stream)),
            _ => format!(
                "{} arrived {}{}, expected {}",
                self.shown(class),
                times(is),
                self.from(stream),
                times(must)
            ),
        };
        if let Some(because) = &journey.because {
            sentence += &format!(": {because}");
        }
        Problem {
            line: Some(self.watch.matcher.line(class)),
            target: stream.map(|stream| stream.targets[0]),
            expected: Some(must),
            seen: Some(is),
            nearest: self.nearest(class),
            journey: Some(journey),
            ..Problem::new(Kind::Missing, sentence)
        }
    }

    fn late(&self, stream: &Stream, class: usize, (must, is): (u64, u64)) -> Problem {
        let sentence = format!(
            "{} arrived{} only after the deadline",
            self.shown(class),
            self.from(Some(stream))
        );
        Problem {
            line: Some(self.watch.matcher.line(class)),
            target: Some(stream.targets[0]),
            expected: Some(must),
            seen: Some(is),
            ..Problem::new(Kind::Late, sentence)
        }
    }

    fn too_many(&self, stream: &Stream, class: usize, (must, is): (u64, u64)) -> Problem {
        let sightings: Vec<&Sighting> = stream
            .events
            .iter()
            .filter(|event| event.class == class)
            .map(|event| self.sighting(event.sighting))
            .collect();
        let twice = sightings.iter().enumerate().any(|(index, one)| {
            sightings[..index]
                .iter()
                .any(|other| one.is_same_message(other))
        });
        let kind = if twice {
            Kind::Duplicate
        } else {
            Kind::TooMany
        };
        let what = if twice {
            "the same message again"
        } else {
            "in different messages"
        };
        let sentence = format!(
            "{} arrived {}{}, expected {} ({what})",
            self.shown(class),
            times(is),
            self.from(Some(stream)),
            times(must)
        );
        Problem {
            line: Some(self.watch.matcher.line(class)),
            target: Some(stream.targets[0]),
            expected: Some(must),
            seen: Some(is),
            frames: sightings
                .iter()
                .flat_map(|sighting| &sighting.message.frames)
                .take(20)
                .copied()
                .collect(),
            ..Problem::new(kind, sentence)
        }
    }

    fn disorder(&self) -> Vec<Problem> {
        let wrong = |stream: &Stream| {
            let (event, class) = stream.disorder(&self.watch.places.rows)?;
            let (early, late) = (self.shown(event.class), self.shown(class));
            let sentence = format!("{early} arrived before {late}{}", self.from(Some(stream)));
            Some(Problem {
                line: Some(self.watch.matcher.line(event.class)),
                target: Some(stream.targets[0]),
                frames: self.sighting(event.sighting).message.frames.clone(),
                ..Problem::new(Kind::OutOfOrder, sentence)
            })
        };
        self.watch.streams.iter().filter_map(wrong).collect()
    }

    fn others(&self) -> Vec<Problem> {
        let streams = self.watch.streams.iter().flat_map(|stream| &stream.others);
        let problem = |number: &usize| {
            let sighting = self.sighting(*number);
            let sentence = format!(
                "`{}` arrived, too, and `exactly` forbids other lines",
                show_start(&sighting.message.text, 200)
            );
            Problem {
                target: sighting.target,
                frames: sighting.message.frames.clone(),
                ..Problem::new(Kind::OtherLine, sentence)
            }
        };
        streams
            .chain(&self.watch.strangers)
            .take(MOST_PROBLEMS)
            .map(problem)
            .collect()
    }

    /// What is wrong with the messages that hold the expected lines.
    fn faults(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = Vec::new();
        for stream in &self.watch.streams {
            for event in &stream.events {
                let sighting = self.sighting(event.sighting);
                let asked = asked::check(self.judge, &self.expect.asked, sighting);
                for (kind, sentence) in sighting.wrongs().chain(asked) {
                    let sentence = format!("{}: {sentence}", self.shown(event.class));
                    problems.push(Problem {
                        line: Some(self.watch.matcher.line(event.class)),
                        target: sighting.target,
                        frames: sighting.message.frames.clone(),
                        ..Problem::new(kind, sentence)
                    });
                }
                if problems.len() >= MOST_PROBLEMS {
                    return problems;
                }
            }
        }
        problems
    }

    fn passed(&self) -> Passed {
        let events = self.watch.streams.iter().flat_map(|stream| &stream.events);
        let arrived = |event: &crate::verdict::stream::Event| {
            let sighting = self.sighting(event.sighting);
            let (text, frames) = (
                show_start(&sighting.message.text, 1000),
                sighting.message.frames.clone(),
            );
            Arrived {
                line: self.watch.matcher.line(event.class),
                target: sighting.target,
                text,
                frames,
            }
        };
        Passed {
            arrived: events.take(MOST_ARRIVED).map(arrived).collect(),
        }
    }

    /// The lines that come nearest, of all that arrived here.
    fn nearest(&self, class: usize) -> Vec<Nearest> {
        let pattern = &self.expect.lines[self.watch.matcher.line(class)].pattern;
        let others = self.watch.streams.iter().flat_map(|stream| &stream.others);
        let mut numbers: Vec<usize> = others.chain(&self.watch.strangers).copied().collect();
        numbers.sort_unstable();
        let sightings = numbers.iter().rev().map(|number| self.sighting(*number));
        nearest(
            pattern,
            sightings
                .map(|sighting| (sighting.message.text.as_slice(), sighting.message.frames[0])),
        )
    }

    fn sighting(&self, number: usize) -> &Sighting {
        &self.judge.traffic.sightings[number]
    }

    fn shown(&self, class: usize) -> String {
        shown(&self.expect.lines[self.watch.matcher.line(class)].pattern)
    }

    /// `` from `a` ``, where there is more than one target that it could be.
    fn from(&self, stream: Option<&Stream>) -> String {
        let several = self.judge.targets.all_now().count() > 1;
        let names = stream.filter(|_| several).map(|stream| {
            let names = stream
                .targets
                .iter()
                .filter_map(|target| self.judge.targets.now(*target))
                .map(|state| format!("`{}`", state.name));
            names.collect::<Vec<_>>().join(" and ")
        });
        names.map_or_else(String::new, |names| format!(" from {names}"))
    }
}

/// A line as it is expected, for a sentence.
pub(crate) fn shown(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Literal(literal) => format!("`{}`", show_start(literal.as_bytes(), 200)),
        // As it is written: an escaped backslash would be another expression.
        Pattern::Regex(regex) => {
            format!("/{}/", regex.as_str().chars().take(200).collect::<String>())
        }
    }
}

pub(crate) fn times(count: u64) -> String {
    if count == 1 {
        "once".to_owned()
    } else {
        format!("{count} times")
    }
}
