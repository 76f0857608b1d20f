//! `sequence = "contiguous"`: whether records are missing between the first and the last expected line.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    netconsole::{Record, escape::show_start},
    scenario::NodeIndex,
    verdict::{
        conclusion::End, finding::Kind, judge::Judge, log::Log, outcome::Problem, stream::Stream,
        watch::Watch,
    },
};

/// The records that pass the console level and did not come.
pub(crate) fn gaps(judge: &Judge, watch: &Watch, end: &End) -> Vec<Problem> {
    let gap = |stream: &Stream| {
        let (kind, sentence) = gap(judge, stream, end)?;
        Some(Problem {
            target: Some(stream.targets[0]),
            ..Problem::new(kind, sentence)
        })
    };
    watch.streams.iter().filter_map(gap).collect()
}

fn gap(judge: &Judge, stream: &Stream, end: &End) -> Option<(Kind, String)> {
    let sender = judge.targets.now(stream.targets[0])?.on;
    let name = judge.scene.name(sender);
    let Some(log) = judge.logs.get(&sender).filter(|log| !log.is_empty()) else {
        return Some((Kind::Unproven, format!("{name}'s kernel log was not read")));
    };
    let numbered = numbered(judge, stream);
    let expected: BTreeSet<u64> = stream
        .events
        .iter()
        .filter_map(|event| numbered.get(&event.sighting).copied())
        .collect();
    let (first, last) = (*expected.first()?, *expected.last()?);
    if log.has_gap(first, last) {
        let sentence = format!("{name}'s kernel log lacks records between {first} and {last}");
        return Some((Kind::Unproven, sentence));
    }
    let came: BTreeSet<u64> = numbered.into_values().collect();
    let Some(level) = least_level(judge, sender, end) else {
        return Some((
            Kind::Unproven,
            "the console level is not known for all of that time".to_owned(),
        ));
    };
    let lost = lost(judge, log, (first, last), |record| {
        record.header.level < level && !came.contains(&record.header.sequence)
    })?;
    let text = show_start(&lost.text, 200);
    let sentence = format!(
        "record {} did not come between {first} and {last}: `{text}`",
        lost.header.sequence
    );
    Some((Kind::SequenceGap, sentence))
}

/// The sequence number of each message of a stream. Basic messages have none of their own: of records that are alike to
/// the microsecond, as early boot has them, each stands for one message.
fn numbered(judge: &Judge, stream: &Stream) -> BTreeMap<usize, u64> {
    let events = stream.events.iter().map(|event| event.sighting);
    let sightings: BTreeSet<usize> = events.chain(stream.others.iter().copied()).collect();
    let mut taken = BTreeSet::new();
    let mut numbered = BTreeMap::new();
    for number in sightings {
        let candidates = judge.sequences(&judge.traffic.sightings[number]);
        let free = candidates
            .into_iter()
            .find(|sequence| !taken.contains(sequence));
        if let Some(sequence) = free {
            taken.insert(sequence);
            numbered.insert(number, sequence);
        }
    }
    numbered
}

fn least_level(judge: &Judge, sender: NodeIndex, end: &End) -> Option<u8> {
    let from = judge.since_boot(sender, end.window.marker.unwrap_or(0));
    judge.least_console_level(sender, from, end.marker.unwrap_or(u64::MAX))
}

/// The first record between two, no marker, that is lost.
fn lost<'log>(
    judge: &Judge,
    log: &'log Log,
    (first, last): (u64, u64),
    is_lost: impl Fn(&Record) -> bool,
) -> Option<&'log Record> {
    let between = log
        .after(Some(first))
        .take_while(|record| record.header.sequence < last);
    between
        .filter(|record| !judge.is_marker(&record.text))
        .find(|record| is_lost(record))
}
