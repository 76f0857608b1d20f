//! Values that are one word of a few.

use crate::scenario::{
    mistake::{Mistake, Mistakes, list},
    read::Read,
    tree::{At, Value},
};

/// One word of a few. Its JSON Schema is the type's own.
pub(crate) trait Word: Copy + 'static {
    /// What such a word says, for messages: `role`.
    const WHAT: &'static str;
    /// All of them.
    const WORDS: &'static [(&'static str, Self)];

    /// The word as it is written.
    fn name(self) -> &'static str
    where
        Self: PartialEq,
    {
        Self::WORDS
            .iter()
            .find(|(_, word)| *word == self)
            .map_or("", |(name, _)| name)
    }
}

impl<W: Word> Read for W {
    fn expected() -> String {
        let words: Vec<&str> = W::WORDS.iter().map(|(word, _)| *word).collect();
        match words.as_slice() {
            [one] => format!("`\"{one}\"`"),
            words => format!("one of {}", list(words).replace(" and ", " or ")),
        }
    }

    fn fits(value: &Value<'_>) -> bool {
        matches!(value, Value::Text(_))
    }

    fn read(value: &At<Value<'_>>, mistakes: &mut Mistakes<'_>) -> Option<Self> {
        let Value::Text(text) = &value.value else {
            return None;
        };
        let found = W::WORDS.iter().find(|(word, _)| word == text);
        if found.is_none() {
            let title = format!("`{text}` is no {}", W::WHAT);
            mistakes.add(
                Mistake::at(value.span, title)
                    .did_you_mean(text, W::WORDS.iter().map(|(word, _)| *word)),
            );
        }
        found.map(|(_, word)| *word)
    }
}
