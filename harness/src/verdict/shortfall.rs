//! Judges what a program wrote, once the waiting is over.

use crate::{
    netconsole::escape::show_start,
    scenario::{Absent, Expect, NodeIndex, Order, expectation::Source},
    verdict::{
        absence,
        conclusion::{End, shown, times},
        finding::Kind,
        journey::Cause,
        judge::{Ending, Judge},
        nearest::{Nearest, nearest},
        outcome::{Arrived, Failure, Passed, Problem},
        reading::{self, Attention, Reading},
        watch::Watch,
        written::Written,
    },
};

/// How many problems, and how many lines that are there, are reported.
const MOST_PROBLEMS: usize = 50;
const MOST_ARRIVED: usize = 2000;

/// A place where a program writes, and what was read of it.
pub(crate) struct Desk<'judge> {
    pub(crate) judge: &'judge Judge,
    pub(crate) reading: &'judge Reading,
    pub(crate) at: NodeIndex,
    pub(crate) source: &'judge Source,
    /// None: nothing was written there.
    pub(crate) written: Option<&'judge Written>,
    pub(crate) attention: &'judge Attention,
    /// The marker behind which it was looked.
    pub(crate) floor: Option<u64>,
}

/// Judges an `expect`. `wire` is what is missing on the wire already; `over`: nothing can come any more; `late`: not all was
/// there at the deadline.
pub(crate) fn of_expect(
    desk: &Desk<'_>,
    expect: &Expect,
    wire: Option<&Failure>,
    (over, late): (bool, bool),
) -> Result<Passed, Failure> {
    let mut problems = desk.counts(expect, wire);
    if problems.is_empty() && expect.order == Order::Given {
        problems.extend(desk.disorder(expect));
    }
    if expect.exactly {
        problems.extend(desk.others());
    }
    if problems.is_empty() && late {
        let sentence = format!(
            "what was missing came to {} only after the deadline, perhaps because the harness's marker pushed it out",
            desk.shown()
        );
        problems.push(Problem::new(Kind::Late, sentence));
    }
    if problems.is_empty() && !over {
        let sentence = format!(
            "every line is in {}, but not the marker behind them, so that a second copy cannot be ruled out",
            desk.shown()
        );
        problems.push(Problem::new(Kind::MarkerLost, sentence));
    }
    problems.truncate(MOST_PROBLEMS);
    if problems.is_empty() {
        Ok(desk.passed())
    } else {
        let is_missing = problems.iter().any(|problem| problem.kind == Kind::Missing);
        let facts = if is_missing {
            desk.wrote_instead()
        } else {
            Vec::new()
        };
        Err(Failure { problems, facts })
    }
}

/// Judges an `absent`. `over`: nothing can come any more.
pub(crate) fn of_absent(
    desk: &Desk<'_>,
    absent: &Absent,
    (watch, end): (&Watch, &End),
    over: bool,
) -> Result<Passed, Failure> {
    let pattern = |class: usize| shown(&absent.lines[watch.matcher.line(class)].pattern);
    let events = desk.reading.stream.events.iter().take(20);
    let mut problems: Vec<Problem> = events
        .map(|event| {
            let sentence = format!(
                "{} must be absent, and is in {}: `{}`",
                pattern(event.class),
                desk.shown(),
                show_start(desk.line(event.sighting), 200)
            );
            Problem {
                line: Some(watch.matcher.line(event.class)),
                ..Problem::new(Kind::Arrived, sentence)
            }
        })
        .collect();
    if problems.is_empty() && !over && end.ending != Ending::Listened {
        let waits = desk.attention.sockets.iter().any(|ear| ear.waiting > 0);
        let why = if waits {
            "something waits in its socket, which its program does not read"
        } else {
            "its program did not come to rest"
        };
        let sentence = format!(
            "the marker behind the lines did not come through to {}, and {why}, so that they may still be on their way",
            desk.shown()
        );
        problems.push(Problem::new(Kind::Unproven, sentence));
    }
    let classes = 0..watch.matcher.class_count();
    problems.extend(classes.clone().filter_map(|class| {
        absence::never_printed(desk.judge, watch, end, (class, pattern(class)))
    }));
    if problems.is_empty() {
        problems.extend(classes.flat_map(|class| {
            let lost = desk.lost(class);
            absence::other_causes(
                desk.judge,
                absent,
                (watch, end),
                (class, pattern(class)),
                lost,
            )
        }));
    }
    if problems.is_empty() {
        Ok(Passed::default())
    } else {
        Err(problems.into())
    }
}

impl Desk<'_> {
    pub(super) fn shown(&self) -> String {
        reading::shown(self.source, self.judge.scene.name(self.at))
    }

    pub(super) fn line(&self, number: usize) -> &[u8] {
        self.written.map_or(&[], |written| written.line(number))
    }

    /// Lines that are there too seldom or too often.
    fn counts(&self, expect: &Expect, wire: Option<&Failure>) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (class, (must, is)) in self.reading.counts().enumerate() {
            let line = self.reading.matcher.line(class);
            let shown = shown(&expect.lines[line].pattern);
            let place = self.shown();
            let mut problem = if is < must {
                self.missing((class, line), expect, wire, (must, is))
            } else if is > must {
                let sentence = format!(
                    "{shown} is {} in {place}, expected {}",
                    times(is),
                    times(must)
                );
                Problem::new(Kind::TooMany, sentence)
            } else {
                continue;
            };
            (problem.expected, problem.seen) = (Some(must), Some(is));
            problem.line = Some(line);
            problems.push(problem);
            if problems.len() >= MOST_PROBLEMS {
                break;
            }
        }
        problems
    }

    fn missing(
        &self,
        (class, line): (usize, usize),
        expect: &Expect,
        wire: Option<&Failure>,
        (must, is): (u64, u64),
    ) -> Problem {
        let (shown, place) = (shown(&expect.lines[line].pattern), self.shown());
        let mut sentence = match is {
            0 => format!("{shown} is not in {place}"),
            _ => format!(
                "{shown} is {} in {place}, expected {}",
                times(is),
                times(must)
            ),
        };
        // It may have died before it came to the program.
        let before = wire.into_iter().flat_map(|wire| &wire.problems);
        let before = before
            .filter(|problem| problem.line == Some(line))
            .find(|problem| matches!(problem.kind, Kind::Missing | Kind::Late));
        let taken = self.taken(class);
        let journey = match (before, taken.first()) {
            (_, Some(sighting)) => Some(self.at_the_program(sighting, class)),
            // What a program puts before a line stands in no kernel's log.
            (Some(problem), None) => problem
                .journey
                .clone()
                .filter(|journey| journey.cause != Some(Cause::NeverPrinted)),
            (None, None) => None,
        };
        if let Some(because) = journey
            .as_ref()
            .and_then(|journey| journey.because.as_ref())
        {
            sentence += &format!(": {because}");
        }
        let frames = taken.iter().flat_map(|sighting| &sighting.message.frames);
        Problem {
            frames: frames.take(20).copied().collect(),
            nearest: self.nearest(expect, line),
            journey,
            ..Problem::new(Kind::Missing, sentence)
        }
    }

    fn disorder(&self, expect: &Expect) -> Option<Problem> {
        let (event, class) = self.reading.disorder()?;
        let name = |class: usize| shown(&expect.lines[self.reading.matcher.line(class)].pattern);
        let sentence = format!(
            "{} stands before {} in {}",
            name(event.class),
            name(class),
            self.shown()
        );
        Some(Problem {
            line: Some(self.reading.matcher.line(event.class)),
            ..Problem::new(Kind::OutOfOrder, sentence)
        })
    }

    fn others(&self) -> Vec<Problem> {
        let others = self.reading.stream.others.iter().take(MOST_PROBLEMS);
        others
            .map(|number| {
                let sentence = format!(
                    "`{}` is in {}, too, and `exactly` forbids other lines",
                    show_start(self.line(*number), 200),
                    self.shown()
                );
                Problem::new(Kind::OtherLine, sentence)
            })
            .collect()
    }

    fn passed(&self) -> Passed {
        let events = self.reading.stream.events.iter().take(MOST_ARRIVED);
        let arrived = events.map(|event| Arrived {
            line: self.reading.matcher.line(event.class),
            target: None,
            text: show_start(self.line(event.sighting), 1000),
            frames: Vec::new(),
        });
        Passed {
            arrived: arrived.collect(),
        }
    }

    /// The lines that come nearest, of those that hold none that is expected.
    fn nearest(&self, expect: &Expect, line: usize) -> Vec<Nearest> {
        let others = self.reading.stream.others.iter().rev();
        let texts = others.map(|number| (self.line(*number), 0));
        nearest(&expect.lines[line].pattern, texts)
    }
}
