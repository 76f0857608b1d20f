//! An expected line beside what arrived, with marks where they differ.

use std::{
    io::{self, Write},
    time::Duration,
};

use anstyle::Style;
use similar::{ChangeTag, TextDiff};

use crate::report::{
    Diff,
    human::{FAILED, PASSED},
    text,
};

/// How long a line is shown.
const WIDTH: usize = 140;
/// How much before the first difference is shown of a longer one.
const BEFORE: usize = 40;
/// Lines less alike than this are shown without marks, which would be all over them.
const ALIKE: f32 = 0.5;
/// What is compared at most of each; a message of netconsole has 1 000 bytes, each shown as up to four characters.
const COMPARED: usize = 4096;
const DEADLINE: Duration = Duration::from_millis(200);

/// One line of a diff: pieces of text, and whether the other line has them, too.
type Pieces = Vec<(bool, String)>;

/// Writes both lines, the expected one first, and below each that differs a line of marks.
pub(crate) fn write(out: &mut dyn Write, indent: &str, diff: &Diff) -> io::Result<()> {
    let expected = text::cut(&text::printable(&diff.expected), COMPARED);
    let arrived = text::cut(&text::printable(&diff.arrived), COMPARED);
    let (expected, arrived) = compare(&expected, &arrived);
    let skipped = common_start(&expected, &arrived).saturating_sub(BEFORE);
    write_line(out, indent, '-', PASSED, &window(expected, skipped))?;
    write_line(out, indent, '+', FAILED, &window(arrived, skipped))
}

fn compare(expected: &str, arrived: &str) -> (Pieces, Pieces) {
    let diff = TextDiff::configure()
        .timeout(DEADLINE)
        .diff_chars(expected, arrived);
    if diff.ratio() < ALIKE {
        return (
            vec![(true, expected.to_owned())],
            vec![(true, arrived.to_owned())],
        );
    }
    let (mut old, mut new) = (Pieces::new(), Pieces::new());
    for change in diff.iter_all_changes() {
        match change.tag() {
            ChangeTag::Equal => {
                push(&mut old, true, change.value());
                push(&mut new, true, change.value());
            }
            ChangeTag::Delete => push(&mut old, false, change.value()),
            ChangeTag::Insert => push(&mut new, false, change.value()),
        }
    }
    (old, new)
}

fn push(pieces: &mut Pieces, same: bool, text: &str) {
    match pieces.last_mut() {
        Some((last, piece)) if *last == same => piece.push_str(text),
        _ => pieces.push((same, text.to_owned())),
    }
}

/// How many characters both begin with.
fn common_start(expected: &Pieces, arrived: &Pieces) -> usize {
    match (expected.as_slice(), arrived.as_slice()) {
        ([(true, _)], [(true, _)]) => 0,
        ([(true, start), ..], [(true, other), ..]) => start
            .chars()
            .zip(other.chars())
            .take_while(|(one, two)| one == two)
            .count(),
        _ => 0,
    }
}

/// What fits of a line from its character `skipped` on.
fn window(pieces: Pieces, skipped: usize) -> Pieces {
    let mut left = skipped;
    let mut room = WIDTH;
    let mut shown = Pieces::new();
    if skipped > 0 {
        push(&mut shown, true, "…");
    }
    for (same, piece) in pieces {
        let length = piece.chars().count();
        let piece: String = piece.chars().skip(left).take(room + 1).collect();
        left = left.saturating_sub(length);
        push(&mut shown, same, &text::cut(&piece, room));
        room = room.saturating_sub(piece.chars().count());
        if room == 0 {
            break;
        }
    }
    shown
}

fn write_line(
    out: &mut dyn Write,
    indent: &str,
    sign: char,
    style: Style,
    pieces: &Pieces,
) -> io::Result<()> {
    write!(out, "{indent}{style}{sign}{style:#} ")?;
    for (same, piece) in pieces {
        let style = if *same { Style::new() } else { style };
        write!(out, "{style}{piece}{style:#}")?;
    }
    writeln!(out)?;
    let mark = |(same, piece): &(bool, String)| {
        if *same { " " } else { "^" }.repeat(piece.chars().count())
    };
    let marks: String = pieces.iter().map(mark).collect();
    let marks = marks.trim_end();
    if marks.is_empty() {
        Ok(())
    } else {
        writeln!(out, "{indent}  {marks}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expected: &str, arrived: &str, shown: &[&str]) {
        let mut out = Vec::new();
        let diff = Diff {
            expected: expected.to_owned(),
            arrived: arrived.to_owned(),
        };
        write(&mut out, "", &diff).unwrap();
        let text = anstream::adapter::strip_bytes(&out).into_vec();
        assert_eq!(
            String::from_utf8(text).unwrap().lines().collect::<Vec<_>>(),
            shown
        );
    }

    #[test]
    fn marks_what_differs() {
        check(
            "fd0 is 1.44M",
            "fd0 is 2.88M",
            &[
                "- fd0 is 1.44M",
                "         ^ ^^",
                "+ fd0 is 2.88M",
                "         ^ ^^",
            ],
        );
        check(
            "loading",
            "loading twice",
            &["- loading", "+ loading twice", "         ^^^^^^"],
        );
    }

    #[test]
    fn does_not_mark_what_is_another_line_altogether() {
        check(
            "FDC 0 is a",
            "usb 1-1: 24",
            &["- FDC 0 is a", "+ usb 1-1: 24"],
        );
    }

    #[test]
    fn shows_the_place_of_the_first_difference_in_a_long_line() {
        let (expected, arrived) = (
            "x".repeat(900) + "1",
            "x".repeat(900) + "2" + &"y".repeat(300),
        );
        let before = "x".repeat(BEFORE);
        check(
            &expected,
            &arrived,
            &[
                &format!("- …{before}1"),
                &format!("{}^", " ".repeat(BEFORE + 3)),
                &format!("+ …{before}2{}…", "y".repeat(WIDTH - BEFORE - 2)),
                &format!("{}{}", " ".repeat(BEFORE + 3), "^".repeat(WIDTH - BEFORE)),
            ],
        );
    }

    #[test]
    fn makes_hostile_text_harmless() {
        check(
            "a\x1b[2J",
            "a\x1b[2Jb",
            &["- a\\x1b[2J", "+ a\\x1b[2Jb", "          ^"],
        );
    }
}
