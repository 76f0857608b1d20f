//! Markers of a kernel that can print none: the last record of its log, read from outside, stands for one.
//!
//! Netconsole keeps the order of lines, so when the last words have arrived, whatever was printed before them has arrived
//! or will not.

use crate::{scenario::NodeIndex, verdict::Judge};

impl Judge {
    /// The kernel of a sender is dead, and its log was read to the end.
    pub(crate) fn log_is_final(&mut self, sender: NodeIndex) {
        let log = self.logs.entry(sender).or_default();
        log.is_complete = true;
        log.is_final = true;
    }

    /// Has the last words of a sender stand for a marker: the last record that was read and passes its console level.
    pub(crate) fn last_words_mark(&mut self, sender: NodeIndex, marker: u64) {
        self.marker_is_sent(marker);
        let Some(words) = self.last_words(sender) else {
            return;
        };
        self.last_words.insert((sender, marker), words);
        self.logs.entry(sender).or_default().mark(marker, words);
    }

    /// Whether a sender's last words have come from all its targets that send to `at`.
    pub(crate) fn has_last_words(&self, sender: NodeIndex, at: NodeIndex) -> bool {
        let Some(words) = self.last_words(sender) else {
            return true;
        };
        let aimed = self.targets.all_now().filter(|(_, state)| {
            state.on == sender && state.to == at && state.enabled && state.carries
        });
        aimed
            .into_iter()
            .all(|(target, _)| self.has_come(target, words))
    }

    /// Whether the expectation's marker, or what stands for it, came from every target.
    pub(crate) fn has_markers(
        &self,
        watch: &crate::verdict::watch::Watch,
        marker: Option<u64>,
    ) -> bool {
        let gone = |target: &usize| {
            self.targets
                .now(*target)
                .is_some_and(|state| self.gone.contains(&state.on))
        };
        watch.streams.iter().all(|stream| {
            if stream.targets.iter().all(gone) {
                return true;
            }
            let words = stream.targets.first().and_then(|target| {
                let sender = self.targets.now(*target)?.on;
                self.last_words.get(&(sender, marker?))
            });
            match words {
                Some(words) => stream
                    .targets
                    .iter()
                    .all(|target| self.has_come(*target, *words)),
                None => stream.markers >= stream.copies,
            }
        })
    }

    /// How often a marker, or what stands for it, was seen of a target.
    pub(crate) fn marks(&self, target: usize, marker: u64) -> u32 {
        let sender = self.targets.now(target).map(|state| state.on);
        let words = sender.and_then(|sender| self.last_words.get(&(sender, marker)));
        match words {
            Some(words) => u32::from(self.has_come(target, *words)),
            None => self.traffic.markers(target, marker),
        }
    }

    /// The latest record of a sender that stood for a marker and has come from this target.
    pub(crate) fn last_words_of(&self, sender: NodeIndex, target: usize) -> Option<u64> {
        let of_it = self.last_words.range((sender, 0)..=(sender, u64::MAX));
        let mut words = of_it.map(|(_, words)| *words).rev();
        words.find(|words| self.has_come(target, *words))
    }

    fn last_words(&self, sender: NodeIndex) -> Option<u64> {
        let levels = self.console_levels.get(&sender);
        let level = levels.and_then(|levels| levels.now()).unwrap_or(u8::MAX);
        self.logs.get(&sender)?.last_below(level)
    }

    /// Whether a record was seen of a target, or of one that sends the very same.
    fn has_come(&self, target: usize, sequence: u64) -> bool {
        let twins = self.targets.twins(target);
        let mut sightings = self.traffic.sightings.iter().rev();
        sightings.any(|sighting| {
            let of_it = sighting
                .target
                .is_some_and(|of| of == target || twins.contains(&of));
            of_it && self.sequences(sighting).contains(&sequence)
        })
    }
}
