//! The course of one target's messages through the kernel's log: each record once, one after the other.

use std::collections::HashMap;

use crate::{
    netconsole::Message,
    verdict::{attribution::Form, sighting::Sighting},
};

/// One target's messages of one form along one way, since its registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Lane {
    pub(crate) target: usize,
    flow: usize,
    form: Form,
    epoch: u32,
}

/// How far a lane is.
#[derive(Debug, Default)]
pub(crate) struct Course {
    /// The sequence number of the message before.
    pub(crate) last: Option<u64>,
    /// How often each record came.
    pub(crate) counts: HashMap<u64, u64>,
    /// What must follow where a message was cut right behind a newline.
    pub(crate) rest: Option<Vec<u8>>,
}

/// Where a record leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    On,
    /// It came more often than there are targets that send it.
    Again,
    Back {
        from: u64,
    },
}

impl Lane {
    pub(crate) fn of(target: usize, sighting: &Sighting) -> Self {
        let form = match sighting.message.header() {
            None => Form::Basic,
            Some(header) if header.release.is_some() => Form::Release,
            Some(_) => Form::Extended,
        };
        Self {
            target,
            flow: sighting.flow,
            form,
            epoch: sighting.epoch,
        }
    }
}

impl Course {
    /// A record came.
    pub(crate) fn step(&mut self, sequence: u64, copies: u64) -> Step {
        let count = self.counts.entry(sequence).or_default();
        *count += 1;
        let again = *count > copies;
        match self.last.replace(sequence) {
            _ if again => Step::Again,
            Some(last) if last > sequence => Step::Back { from: last },
            Some(_) | None => Step::On,
        }
    }

    /// Whether a message is the rest that must follow; none where nothing must.
    pub(crate) fn continue_with(&mut self, message: &Message) -> Option<bool> {
        let rest = self.rest.take()?;
        let bytes = message.payloads.concat();
        let Some(still) = rest.strip_prefix(bytes.as_slice()) else {
            return Some(false);
        };
        if !still.is_empty() {
            self.rest = Some(still.to_vec());
        }
        Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_goes_on_and_not_back() {
        let mut course = Course::default();
        let steps: Vec<_> = [4, 4, 7, 7, 7, 5]
            .map(|sequence| course.step(sequence, 2))
            .into();
        assert_eq!(
            steps,
            [
                Step::On,
                Step::On,
                Step::On,
                Step::On,
                Step::Again,
                Step::Back { from: 7 }
            ]
        );
    }
}
