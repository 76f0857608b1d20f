//! Where in a scenario file something stands.

use std::{fmt, ops::Range};

/// A place in a scenario file, for messages: counted from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// The bytes of the file that it covers.
    pub(crate) span: Range<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}
