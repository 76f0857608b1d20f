//! What is going on now, in one line on standard error; nothing where that is no terminal.

use indicatif::{ProgressBar, ProgressStyle};

use crate::report::text;

/// The line of what is going on. It disappears with the value.
pub(crate) struct Progress {
    bar: ProgressBar,
    case: String,
}

impl Progress {
    /// A line for `cases` cases.
    pub(crate) fn new(cases: usize) -> Self {
        let bar = ProgressBar::new(u64::try_from(cases).unwrap_or(u64::MAX));
        // A template that cannot be read leaves indicatif's own style.
        if let Ok(style) = ProgressStyle::with_template("[{pos}/{len}] {wide_msg} {elapsed}") {
            bar.set_style(style);
        }
        Self {
            bar,
            case: String::new(),
        }
    }

    /// A case begins.
    pub(crate) fn begin(&mut self, name: &str, kernel: &str) {
        self.case = format!("{}  {}", text::printable(name), text::printable(kernel));
        self.bar.set_message(self.case.clone());
    }

    /// The case has come to its end.
    pub(crate) fn end(&self) {
        self.bar.inc(1);
    }

    /// Writes something else to the terminal, with the line out of the way.
    pub(crate) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
