//! Which of the lines that did arrive come nearest to one that did not.

use std::collections::HashSet;

use serde::Serialize;
use similar::{ChangeTag, TextDiff};

use crate::{netconsole::escape::show_start, scenario::Pattern};

/// A line that is much like the expected one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Nearest {
    /// Hostile bytes escaped.
    pub(crate) text: String,
    pub(crate) frame: u64,
    /// From 0, nothing in common, to 1.
    pub(crate) likeness: f32,
    /// What makes the expected line this one; only for the best, and only where a literal was expected.
    pub(crate) diff: Vec<Change>,
}

/// A piece of a diff, hostile bytes escaped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Change {
    Same(String),
    /// Expected, and not there.
    Missing(String),
    /// There, and not expected.
    Extra(String),
}

/// How many are shown.
const MOST: usize = 3;
/// How many bytes of a line are compared.
const MOST_BYTES: usize = 400;
/// How many lines are looked at; the latest are the likeliest.
const MOST_LINES: usize = 5000;
/// What is less alike is not worth showing.
const LEAST_LIKENESS: f32 = 0.3;

/// The lines that are most like `pattern`, the best first. `candidates` are texts with their frames, the latest first.
pub(crate) fn nearest<'text>(
    pattern: &Pattern,
    candidates: impl Iterator<Item = (&'text [u8], u64)>,
) -> Vec<Nearest> {
    let wanted = match pattern {
        Pattern::Literal(literal) => literal.as_bytes(),
        Pattern::Regex(regex) => regex.as_str().as_bytes(),
    };
    let wanted_pairs = pairs(wanted);
    let mut best: Vec<(f32, &[u8], u64)> = Vec::new();
    for (text, frame) in candidates.take(MOST_LINES) {
        let likeness = likeness(&wanted_pairs, text);
        if likeness < LEAST_LIKENESS || best.iter().any(|(_, known, _)| *known == text) {
            continue;
        }
        best.push((likeness, text, frame));
        best.sort_by(|one, other| other.0.total_cmp(&one.0));
        best.truncate(MOST);
    }
    let show = |(index, (likeness, text, frame)): (usize, (f32, &[u8], u64))| {
        let wants_diff = index == 0 && matches!(pattern, Pattern::Literal(_));
        let diff = if wants_diff {
            diff(wanted, text)
        } else {
            Vec::new()
        };
        Nearest {
            text: show_start(text, MOST_BYTES),
            frame,
            likeness,
            diff,
        }
    };
    best.into_iter().enumerate().map(show).collect()
}

/// Which bytes stand beside each other.
fn pairs(text: &[u8]) -> HashSet<[u8; 2]> {
    text.windows(2)
        .take(MOST_BYTES)
        .map(|pair| [pair[0].to_ascii_lowercase(), pair[1].to_ascii_lowercase()])
        .collect()
}

/// How much of what is wanted is in `text`, a little less for all that is not wanted.
fn likeness(wanted: &HashSet<[u8; 2]>, text: &[u8]) -> f32 {
    let pairs = pairs(text);
    let common = wanted.intersection(&pairs).count() as f32;
    let held = common / wanted.len().max(1) as f32;
    let dice = 2.0 * common / (wanted.len() + pairs.len()).max(1) as f32;
    0.8 * held + 0.2 * dice
}

fn diff(wanted: &[u8], text: &[u8]) -> Vec<Change> {
    let (wanted, text) = (show_start(wanted, MOST_BYTES), show_start(text, MOST_BYTES));
    let mut changes: Vec<Change> = Vec::new();
    for change in TextDiff::from_words(&wanted, &text).iter_all_changes() {
        let piece = change.value();
        match (changes.last_mut(), change.tag()) {
            (Some(Change::Same(last)), ChangeTag::Equal)
            | (Some(Change::Missing(last)), ChangeTag::Delete)
            | (Some(Change::Extra(last)), ChangeTag::Insert) => last.push_str(piece),
            (_, ChangeTag::Equal) => changes.push(Change::Same(piece.to_owned())),
            (_, ChangeTag::Delete) => changes.push(Change::Missing(piece.to_owned())),
            (_, ChangeTag::Insert) => changes.push(Change::Extra(piece.to_owned())),
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_most_alike_first_with_its_diff() {
        let texts: [&[u8]; 4] = [
            b"usb 1-1: new device",
            b"Floppy drive(s): fd0 is 2.88M AMI BIOS",
            b"Floppy drive(s): fd0 is\x1b 1.4",
            b"x",
        ];
        let pattern = Pattern::Literal("Floppy drive(s): fd0 is 1.44M".to_owned());
        let nearest = nearest(
            &pattern,
            texts.iter().zip(10..).map(|(text, frame)| (*text, frame)),
        );
        assert_eq!(
            nearest
                .iter()
                .map(|nearest| nearest.frame)
                .collect::<Vec<_>>(),
            [12, 11]
        );
        assert_eq!(nearest[0].text, "Floppy drive(s): fd0 is\\x1b 1.4");
        let diff = &nearest[0].diff;
        assert!(
            diff.contains(&Change::Missing("is".to_owned()))
                && diff.contains(&Change::Extra("1.4".to_owned())),
            "{diff:?}"
        );
        assert_eq!(nearest[1].diff, []);
    }
}
