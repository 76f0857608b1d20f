//! Where in a scenario file something stands.

use std::{fmt, ops::Range};

use crate::scenario::tree::Span;

/// A place in a scenario file, for messages: counted from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// The bytes of the file that it covers.
    pub(crate) span: Range<usize>,
}

impl Place {
    /// The place of the bytes `span` of `text`.
    pub(crate) fn of(text: &str, span: Span) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            span: span.range(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::start(0, "1:1")]
    #[case::after_two_bytes_of_one_character(2, "1:2")]
    #[case::second_line(4, "2:1")]
    #[case::end(5, "2:2")]
    fn counts_lines_and_characters(#[case] start: usize, #[case] place: &str) {
        assert_eq!(
            Place::of("éa\nb", Span { start, end: start }).to_string(),
            place
        );
    }
}
