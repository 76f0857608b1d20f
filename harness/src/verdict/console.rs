//! The console level of a sender over time.

/// The levels that a sender had, as far as the harness knows.
#[derive(Debug, Default)]
pub(crate) struct ConsoleLevels {
    list: Vec<Level>,
}

#[derive(Debug, Clone, Copy)]
struct Level {
    /// The first marker that can only have been sent at it.
    begins_with: u64,
    /// None where something may have changed it that the harness does not know.
    level: Option<u8>,
}

impl ConsoleLevels {
    /// The level changes; `next_marker` is the lowest number of a marker that is still to be sent.
    pub(crate) fn change(&mut self, level: Option<u8>, next_marker: u64) {
        self.list.push(Level {
            begins_with: next_marker,
            level,
        });
    }

    /// A kernel that had booted up to this marker with this level: what was before was another kernel's.
    pub(crate) fn booted(level: Option<u8>, marker: u64) -> Self {
        let begins_with = marker;
        Self {
            list: vec![Level { begins_with, level }],
        }
    }

    /// The level now, where it is known.
    pub(crate) fn now(&self) -> Option<u8> {
        self.list.last()?.level
    }

    /// The least level between two markers (0: the start), changes right behind the first and before the last included;
    /// none where it is not known for all that time.
    pub(crate) fn least(&self, from: u64, to: u64) -> Option<u8> {
        let known = self
            .list
            .iter()
            .rposition(|level| level.begins_with <= from);
        let first = known.or((from == 0 && !self.list.is_empty()).then_some(0))?;
        let relevant = self
            .list
            .get(first..)?
            .iter()
            .take_while(|level| level.begins_with <= to);
        relevant
            .map(|level| level.level)
            .try_fold(u8::MAX, |least, level| Some(least.min(level?)))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::from_the_start(0, 1, Some(4))]
    #[case::one(1, 2, Some(8))]
    #[case::changed_within(2, 3, Some(5))]
    #[case::after(3, 9, Some(5))]
    #[case::unknown(9, 10, None)]
    #[case::known_again(10, 12, Some(7))]
    fn knows_the_least(#[case] from: u64, #[case] to: u64, #[case] least: Option<u8>) {
        let mut levels = ConsoleLevels::default();
        let changes = [(4, 1), (8, 1), (5, 3)];
        changes
            .into_iter()
            .for_each(|(level, marker)| levels.change(Some(level), marker));
        levels.change(None, 10);
        levels.change(Some(7), 10);
        assert_eq!(levels.least(from, to), least);
    }

    #[test]
    fn knows_nothing_that_it_was_not_told() {
        assert_eq!(ConsoleLevels::default().least(0, 5), None);
    }
}
