//! The kernel's log of one sender, as far as it was read.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use crate::{netconsole::Record, verdict::marker::marker_number};

/// The records that were read, in order. It may lag behind the wire, and have gaps where the kernel overwrote records
/// before they were read.
#[derive(Debug, Default)]
pub(crate) struct Log {
    records: BTreeMap<u64, Record>,
    by_time: HashMap<Duration, Vec<u64>>,
    /// The sequence number of each marker's record.
    markers: BTreeMap<u64, u64>,
    size: usize,
    /// Everything that was printed until now was read.
    pub(crate) is_complete: bool,
    /// The kernel is dead, and nothing more will be printed.
    pub(crate) is_final: bool,
    /// More was printed than is kept.
    pub(crate) overflowed: bool,
}

const MOST_RECORDS: usize = 400_000;
const MOST_BYTES: usize = 128 << 20;

impl Log {
    /// Adds a record.
    pub(crate) fn add(&mut self, record: Record, token: &str) {
        self.size += size_of::<Record>() + record.raw.len() + record.text.len() + 64;
        if self.records.len() >= MOST_RECORDS || self.size > MOST_BYTES {
            self.overflowed = true;
            return;
        }
        let sequence = record.header.sequence;
        if let Some(marker) = marker_number(token, &record.text) {
            self.markers.insert(marker, sequence);
        }
        self.by_time
            .entry(record.header.timestamp)
            .or_default()
            .push(sequence);
        self.records.insert(sequence, record);
    }

    pub(crate) fn get(&self, sequence: u64) -> Option<&Record> {
        self.records.get(&sequence)
    }

    /// The records with this timestamp, oldest first.
    pub(crate) fn at(&self, timestamp: Duration) -> impl Iterator<Item = &Record> {
        self.by_time
            .get(&timestamp)
            .into_iter()
            .flatten()
            .filter_map(|sequence| self.records.get(sequence))
    }

    /// The records after this sequence number.
    pub(crate) fn after(&self, sequence: Option<u64>) -> impl Iterator<Item = &Record> {
        let from = sequence.map_or(0, |sequence| sequence.saturating_add(1));
        self.records.range(from..).map(|(_, record)| record)
    }

    /// The sequence number of a marker's record, once it was read.
    pub(crate) fn marker(&self, marker: u64) -> Option<u64> {
        self.markers.get(&marker).copied()
    }

    /// Has a record stand for a marker that the kernel cannot print.
    pub(crate) fn mark(&mut self, marker: u64, sequence: u64) {
        self.markers.insert(marker, sequence);
    }

    /// The last record below a level.
    pub(crate) fn last_below(&self, level: u8) -> Option<u64> {
        let mut records = self.records.iter().rev();
        records
            .find(|(_, record)| record.header.level < level)
            .map(|(sequence, _)| *sequence)
    }

    /// The sequence number of the first marker that is this one or later.
    pub(crate) fn marker_from(&self, marker: u64) -> Option<u64> {
        self.markers
            .range(marker..)
            .next()
            .map(|(_, sequence)| *sequence)
    }

    /// The last sequence number that was read.
    pub(crate) fn last(&self) -> Option<u64> {
        self.records.last_key_value().map(|(sequence, _)| *sequence)
    }

    /// Whether nothing is missing from the very first record to the last that was read.
    pub(crate) fn is_whole(&self) -> bool {
        let gap = self.last().is_none_or(|last| self.has_gap(0, last));
        !gap && !self.overflowed
    }

    /// Whether a record with this timestamp would be here, if it was printed before the last that was read.
    pub(crate) fn reaches_back_to(&self, timestamp: Duration) -> bool {
        let (Some((first, oldest)), Some(last)) = (self.records.first_key_value(), self.last())
        else {
            return false;
        };
        // Timestamps of several CPUs are not quite in order.
        let slack = Duration::from_millis(100);
        let early = *first == 0 || timestamp > oldest.header.timestamp + slack;
        early && !self.overflowed && !self.has_gap(*first, last)
    }

    /// Whether records are missing between two numbers.
    pub(crate) fn has_gap(&self, first: u64, last: u64) -> bool {
        first <= last && self.records.range(first..=last).count() as u64 != last - first + 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(sequences: &[u64]) -> Log {
        let mut log = Log::default();
        for sequence in sequences {
            let text = if *sequence == 7 {
                "lastwords-marker ab 3".to_owned()
            } else {
                format!("line {sequence}")
            };
            log.add(
                Record::parse(format!("6,{sequence},{sequence},-;{text}\n").as_bytes()).unwrap(),
                "ab",
            );
        }
        log
    }

    #[test]
    fn knows_its_gaps_and_its_markers() {
        let log = log(&[4, 5, 7]);
        assert!(log.has_gap(4, 7) && !log.has_gap(4, 5) && !log.has_gap(7, 7));
        assert!(!log.is_whole() && log.last() == Some(7));
        assert_eq!(
            (log.marker(3), log.marker(2), log.marker_from(2)),
            (Some(7), None, Some(7))
        );
        assert_eq!(log.after(Some(4)).count(), 2);
        assert_eq!(log.at(Duration::from_micros(5)).count(), 1);
    }
}
