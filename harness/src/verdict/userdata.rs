//! The lines that a target puts behind a record's own dictionary.

use std::collections::BTreeMap;

use crate::{
    netconsole::{escape::show_start, message::Extended},
    verdict::{
        judge::Judge,
        log::Log,
        sighting::Sighting,
        target::{Entry, sends_alike},
    },
};

/// The lines behind the record's own dictionary, which the kernel's log tells apart; where the record was not read, all
/// but what devices put there (`drivers/base/core.c`, `set_dev_info`).
pub(crate) fn behind_dictionary<'message>(
    judge: &Judge,
    sighting: &Sighting,
    extended: &'message Extended,
) -> Vec<&'message [u8]> {
    let sender = judge.traffic.flows.flow(sighting.flow).heading.from;
    let record = judge
        .logs
        .get(&sender)
        .filter(|_| sighting.boot == judge.traffic.boot_of(sender))
        .and_then(|log| log.get(extended.header.sequence));
    let lines = extended.dictionary_lines();
    match record {
        Some(record) => lines.skip(record.dictionary_lines().count()).collect(),
        None => lines
            .skip_while(|line| line.starts_with(b"SUBSYSTEM=") || line.starts_with(b"DEVICE="))
            .collect(),
    }
}

/// What is wrong with the userdata of a message (`number`) that carries a record (`sequence`), if anything is.
///
/// It must be that of its target, or of one that sends alike; while that changes, the old or the new.
pub(crate) fn wrong(
    judge: &Judge,
    log: &Log,
    (number, sequence): (usize, u64),
    userdata: &[Vec<u8>],
) -> Option<String> {
    let sighting = &judge.traffic.sightings[number];
    let entry = judge.targets.entry(sighting.entry?);
    let possible = |other: &&Entry| {
        let barrier = other.ends_before.and_then(|marker| log.marker_from(marker));
        let behind = !sighting.replayed && barrier.is_some_and(|barrier| sequence > barrier);
        let over = behind || other.over.is_some_and(|over| over <= number);
        let same_sender = other.state.on == entry.state.on;
        same_sender && !over && sends_alike(&other.state.settings, &entry.state.settings)
    };
    let mut are = userdata.to_vec();
    are.sort();
    let possible = judge.targets.all().filter(possible);
    let fitting: Vec<_> = possible
        .map(|other| lines(&other.state.settings.userdata))
        .collect();
    let last = fitting.last()?;
    if !entry.state.settings.extended || fitting.contains(&are) {
        return None;
    }
    Some(format!(
        "its userdata is {}, the target's is {}",
        shown(&are),
        shown(last)
    ))
}

/// The lines of a target's userdata, sorted. A key whose value is empty is left out (`netconsole.c`,
/// `update_userdata`).
fn lines(userdata: &BTreeMap<String, String>) -> Vec<Vec<u8>> {
    let set = userdata.iter().filter(|(_, value)| !value.is_empty());
    let mut lines: Vec<_> = set
        .map(|(key, value)| format!(" {key}={value}").into_bytes())
        .collect();
    lines.sort();
    lines
}

/// Lines, for a sentence.
pub(crate) fn shown(lines: &[Vec<u8>]) -> String {
    let lines: Vec<_> = lines
        .iter()
        .map(|line| format!("`{}`", show_start(line, 200)))
        .collect();
    if lines.is_empty() {
        "none".to_owned()
    } else {
        lines.join(" ")
    }
}
