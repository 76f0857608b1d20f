//! Hostile text made fit for a terminal, and how times are written.
//!
//! What a kernel sent may hold anything: escape sequences, half characters, marks that turn the direction of writing.

use std::{fmt::Write as _, time::Duration};

/// `text` without what moves a terminal's cursor, colours it, or hides or reorders its characters.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            push_byte(&mut shown, character.into());
        } else if is_deceptive(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// At most `width` characters of `text`; what is cut off is told by an ellipsis.
pub(crate) fn cut(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        None => text.to_owned(),
        Some(_) => text
            .chars()
            .take(width.saturating_sub(1))
            .chain(['…'])
            .collect(),
    }
}

/// `0.84s`, `12.3s`, `2m 05s`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 9.995 {
        format!("{seconds:.2}s")
    } else if seconds < 59.95 {
        format!("{seconds:.1}s")
    } else {
        let seconds = duration.as_millis().saturating_add(500) / 1000;
        format!("{}m {:02}s", seconds / 60, seconds % 60)
    }
}

fn push_byte(text: &mut String, byte: u32) {
    // Writing to a string cannot fail.
    let _ = write!(text, "\\x{byte:02x}");
}

/// Format characters that a reader does not see, and ends of line that are no control characters.
fn is_deceptive(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("Floppy drive(s): fd0", "Floppy drive(s): fd0")]
    #[case::unicode("Grüße \u{1f427}", "Grüße \u{1f427}")]
    #[case::escape_sequence("\x1b[2J\x07", "\\x1b[2J\\x07")]
    #[case::newline("one\ntwo\r\t\x7f\0", "one\\x0atwo\\x0d\\x09\\x7f\\x00")]
    #[case::control_in_two_bytes("\u{9b}31m", "\\x9b31m")]
    #[case::reversed("\u{202e}drow", "\\u{202e}drow")]
    #[case::nothing("", "")]
    fn shows(#[case] text: &str, #[case] expected: &str) {
        let shown = printable(text);
        assert_eq!(shown, expected);
        assert_eq!(printable(&shown), expected, "shown twice");
    }

    #[rstest]
    #[case::shorter("ab", "ab")]
    #[case::as_long("äbc", "äbc")]
    #[case::longer("äbcd", "äb…")]
    fn cuts(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(cut(text, 3), expected);
    }

    #[rstest]
    #[case(840, "0.84s")]
    #[case(9_994, "9.99s")]
    #[case(9_996, "10.0s")]
    #[case(59_960, "1m 00s")]
    #[case(125_400, "2m 05s")]
    fn writes_durations(#[case] millis: u64, #[case] expected: &str) {
        assert_eq!(duration(Duration::from_millis(millis)), expected);
    }
}
