//! Finds records that a target should have sent and did not.
//!
//! Certain only between two markers that a target sent under the same settings: whatever the log has between them and
//! passes the console level must have been sent, too. Of a kernel that died, so must all that it printed behind the last.

use std::collections::BTreeSet;

use crate::{
    netconsole::{Record, message::Content},
    scenario::NodeIndex,
    verdict::{judge::Judge, log::Log, sighting::Sighting},
};

/// More records than this between two markers may have overrun the kernel's log before they were sent.
const MOST_RECORDS: u64 = 1000;

/// The records that `target` did not send. `sent` are the sequence numbers of those that it did send.
pub(crate) fn unsent<'judge>(
    judge: &'judge Judge,
    (sender, target): (NodeIndex, usize),
    sent: &BTreeSet<u64>,
) -> Vec<&'judge Record> {
    let Some(log) = judge.logs.get(&sender) else {
        return Vec::new();
    };
    let mut lost = Vec::new();
    let mut start: Option<&Sighting> = None;
    let mut disturbed = false;
    for sighting in judge
        .traffic
        .sightings
        .iter()
        .filter(|sighting| sighting.target == Some(target) && sighting.passage.is_none())
    {
        disturbed |= is_disturbed(sighting);
        if sighting.marker.is_none() {
            continue;
        }
        // The marker that ends a replay begins what is live.
        let known = start.filter(|start| !disturbed && start.marker < sighting.marker);
        if let Some(start) = known.filter(|_| !sighting.replayed) {
            lost.extend(
                between(judge, log, sender, (start, sighting))
                    .into_iter()
                    .filter(|record| !sent.contains(&record.header.sequence)),
            );
        }
        start = Some(sighting);
        disturbed = is_disturbed(sighting);
    }
    if let Some(start) = start.filter(|_| !disturbed) {
        lost.extend(
            to_the_end(judge, log, (sender, start), sent.last().copied())
                .into_iter()
                .filter(|record| !sent.contains(&record.header.sequence)),
        );
    }
    lost
}

/// Whether it cannot be told what was sent: the kernel says that it dropped records, or a message is broken.
fn is_disturbed(sighting: &Sighting) -> bool {
    let dropped = matches!(&sighting.message.content, Content::Basic(basic) if basic.dropped > 0);
    dropped || sighting.corrupted || !sighting.message.faults.is_empty()
}

/// The records between two markers of a target that it must have sent.
fn between<'judge>(
    judge: &Judge,
    log: &'judge Log,
    sender: NodeIndex,
    (start, end): (&Sighting, &Sighting),
) -> Vec<&'judge Record> {
    let (Some(to), Some(last)) = (end.marker, end.marker.and_then(|to| log.marker(to))) else {
        return Vec::new();
    };
    if end.entry != start.entry || start.epoch != end.epoch {
        return Vec::new();
    }
    behind(judge, log, sender, (start, to, last))
}

/// The records behind the last marker of a kernel that can print none any more that a target must have sent: all, where
/// it panicked; up to its last words that have come, where it hangs; up to the last that was `sent`, where it went down in
/// order, since it shuts its cards down before it says its last.
fn to_the_end<'judge>(
    judge: &Judge,
    log: &'judge Log,
    (sender, start): (NodeIndex, &Sighting),
    sent: Option<u64>,
) -> Vec<&'judge Record> {
    let now = start.target.and_then(|target| judge.targets.now(target));
    let sends = now.is_some_and(|state| state.enabled && state.carries);
    let current = start
        .entry
        .is_some_and(|entry| judge.targets.is_current(entry));
    let first = start.marker.and_then(|marker| log.marker(marker));
    let last = if !log.is_final {
        start
            .target
            .and_then(|target| judge.last_words_of(sender, target))
    } else if log.after(first).any(Record::is_panic) {
        log.last()
    } else {
        sent
    };
    match last {
        Some(last) if sends && current => behind(
            judge,
            log,
            sender,
            (start, u64::MAX, last.saturating_add(1)),
        ),
        Some(_) | None => Vec::new(),
    }
}

/// The records behind a marker of a target and before the record `last` that it must have sent, up to marker `to`.
fn behind<'judge>(
    judge: &Judge,
    log: &'judge Log,
    sender: NodeIndex,
    (start, to, last): (&Sighting, u64, u64),
) -> Vec<&'judge Record> {
    let (Some(from), Some(entry)) = (start.marker, start.entry) else {
        return Vec::new();
    };
    let Some(mut first) = log.marker(from) else {
        return Vec::new();
    };
    if log.is_final && to == u64::MAX {
        // What a dead kernel's log holds, it held when it was sent.
        first = first.max(last.saturating_sub(MOST_RECORDS));
    }
    let broken = judge
        .targets
        .entry(entry)
        .breaks
        .iter()
        .any(|at| (from + 1..=to).contains(at));
    let readable = first < last && last - first <= MOST_RECORDS && !log.has_gap(first, last - 1);
    if broken || !readable {
        return Vec::new();
    }
    let level = judge.least_console_level(sender, from, to);
    let mut panics = false;
    let records = log
        .after(Some(first))
        .take_while(|record| record.header.sequence < last);
    records
        .filter(|record| {
            panics |= record.is_panic();
            panics || level.is_some_and(|level| record.header.level < level)
        })
        .collect()
}
