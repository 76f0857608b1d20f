//! Judges an `absent` once its waiting is over.

use crate::{
    netconsole::escape::show_start,
    scenario::{Absent, NodeIndex},
    verdict::{
        conclusion::{End, shown},
        finding::Kind,
        journey::Journey,
        judge::{Ending, Judge},
        outcome::{Failure, Passed, Problem},
        stream::Stream,
        trace::{has_expired, trace},
        watch::Watch,
    },
};

/// The lines that arrived and must not: which, and in which sighting.
pub(crate) fn arrived(judge: &Judge, watch: &Watch) -> Vec<(usize, usize)> {
    let events = watch
        .streams
        .iter()
        .flat_map(|stream| &stream.events)
        .map(|event| (event.class, event.sighting));
    let strangers = watch.strangers.iter().flat_map(|number| {
        let classes = watch
            .matcher
            .find(&judge.traffic.sightings[*number].message);
        classes.into_iter().map(|class| (class, *number))
    });
    events.chain(strangers).collect()
}

/// Judges what a watch has seen. `settled`: the probe came through behind the marker, or a line arrived.
pub(crate) fn judge(
    judge: &Judge,
    absent: &Absent,
    watch: &Watch,
    end: &End,
    settled: bool,
) -> Result<Passed, Failure> {
    let pattern = |class: usize| shown(&absent.lines[watch.matcher.line(class)].pattern);
    let problem = |(class, number): (usize, usize)| {
        let sighting = &judge.traffic.sightings[number];
        let text = show_start(&sighting.message.text, 200);
        Problem {
            line: Some(watch.matcher.line(class)),
            target: sighting.target,
            frames: sighting.message.frames.clone(),
            ..Problem::new(
                Kind::Arrived,
                format!("{} must be absent, and arrived: `{text}`", pattern(class)),
            )
        }
    };
    let mut problems: Vec<Problem> = arrived(judge, watch)
        .into_iter()
        .take(20)
        .map(problem)
        .collect();
    let settled = settled || is_used_up(judge, watch, end);
    if problems.is_empty() && !settled && end.ending != Ending::Listened {
        let sentence = "the marker or the probe behind it did not come through, so that the lines may still be on their way";
        problems.push(Problem::new(Kind::Unproven, sentence.to_owned()));
    }
    let classes = 0..watch.matcher.class_count();
    problems.extend(
        classes
            .clone()
            .filter_map(|class| never_printed(judge, watch, end, (class, pattern(class)))),
    );
    if problems.is_empty() {
        problems.extend(classes.flat_map(|class| {
            other_causes(judge, absent, (watch, end), (class, pattern(class)), None)
        }));
    }
    if problems.is_empty() {
        Ok(Passed::default())
    } else {
        Err(problems.into())
    }
}

/// Whether all lines went in circles until their hops were used up: the probe does, too, where it goes that way.
fn is_used_up(judge: &Judge, watch: &Watch, end: &End) -> bool {
    let mut lines = (0..watch.matcher.class_count())
        .flat_map(|class| watch.streams.iter().map(move |stream| (class, stream)));
    !watch.streams.is_empty()
        && lines.all(|(class, stream)| has_expired(judge, (watch, end), stream, class))
}

/// What is wrong if a line died elsewhere (`lost_later`: behind the wire), or of something else, than the scenario says.
pub(crate) fn other_causes(
    judge: &Judge,
    absent: &Absent,
    (watch, end): (&Watch, &End),
    (class, shown): (usize, String),
    lost_later: Option<Journey>,
) -> Vec<Problem> {
    let streams: Vec<Option<&Stream>> = match watch.streams.is_empty() {
        true => vec![None],
        false => watch.streams.iter().map(Some).collect(),
    };
    let problem = |stream: Option<&Stream>| {
        let journey = lost_later
            .clone()
            .unwrap_or_else(|| trace(judge, watch, end, stream, class));
        let cause = journey
            .cause
            .map_or("an unknown cause".to_owned(), |cause| cause.to_string());
        let because = absent.because.as_ref().filter(|because| **because != cause);
        let must_be_lost = absent.lost.map(|node| judge.scene.name(node));
        let lost = must_be_lost.filter(|name| journey.lost.as_deref() != Some(name));
        let is_lost = journey.lost.as_deref().unwrap_or("nobody knows where");
        let sentence = match (because, lost) {
            (None, None) => return None,
            (Some(because), None) => format!("{shown} died of {cause}, expected {because}"),
            (None, Some(lost)) => format!("{shown} died at {is_lost}, expected {lost}"),
            (Some(because), Some(lost)) => {
                format!("{shown} died of {cause} at {is_lost}, expected {because} at {lost}")
            }
        };
        let sentence = match &journey.because {
            Some(because) => format!("{sentence}: {because}"),
            None => sentence,
        };
        let target = stream.map(|stream| stream.targets[0]);
        let line = Some(watch.matcher.line(class));
        Some(Problem {
            line,
            target,
            journey: Some(journey),
            ..Problem::new(Kind::OtherCause, sentence)
        })
    };
    streams.into_iter().filter_map(problem).collect()
}

/// What is wrong if the senders' logs do not hold the line as often as it must be absent.
pub(crate) fn never_printed(
    judge: &Judge,
    watch: &Watch,
    end: &End,
    (class, shown): (usize, String),
) -> Option<Problem> {
    let senders = judge.senders(watch);
    let must = watch.places.times[class];
    let is = senders
        .iter()
        .map(|sender| printed(judge, watch, end, (*sender, class)))
        .sum();
    if is >= must {
        return None;
    }
    let names: Vec<_> = senders
        .iter()
        .map(|sender| judge.scene.name(*sender))
        .collect();
    let how = if is == 0 {
        "it was never printed".to_owned()
    } else {
        format!("it was printed {is} times, expected {must}")
    };
    let whole = |sender: &NodeIndex| judge.logs.get(sender).is_some_and(|log| log.is_complete);
    let unread = if end.ending == Ending::Listened && !senders.iter().all(whole) {
        ", as far as its log could be read"
    } else {
        ""
    };
    let sentence = format!(
        "{shown} is not in the kernel log of {}: {how}{unread}",
        names.join(" and ")
    );
    let line = Some(watch.matcher.line(class));
    Some(Problem {
        line,
        expected: Some(must),
        seen: Some(is),
        ..Problem::new(Kind::NeverPrinted, sentence)
    })
}

/// How many records of the sender's log hold the line, since the receiver's last expectation.
fn printed(judge: &Judge, watch: &Watch, end: &End, (sender, class): (NodeIndex, usize)) -> u64 {
    let records = judge
        .records_since(sender, end.window.marker)
        .filter(|record| !judge.is_marker(&record.text));
    records
        .filter(|record| watch.matcher.holds_somewhere(class, record))
        .count() as u64
}
