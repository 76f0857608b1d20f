//! The lines of an expectation.

use std::num::NonZeroU32;

use crate::scenario::{
    Line, Lines, Pattern,
    expectation::Expression,
    meaning::{step::times, value},
    mistake::{Mistake, Mistakes},
    read::{Either, Many},
    tree::{At, Span},
    written::{
        self,
        expectation::{OneLine, Short},
    },
};

/// What holds for every line that does not say so itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Common {
    pub(crate) times: NonZeroU32,
    pub(crate) raw: bool,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            times: NonZeroU32::MIN,
            raw: false,
        }
    }
}

/// The lines of `expect` in short.
pub(crate) fn short(short: &At<Short>, mistakes: &mut Mistakes<'_>) -> Option<Lines> {
    match &short.value {
        Either::One(text) => many(
            Some(&short.with(Many(vec![short.with(Either::One(text.clone()))]))),
            Common::default(),
            mistakes,
        ),
        Either::Other(lines) => many(
            Some(&short.with(Many(lines.clone()))),
            Common::default(),
            mistakes,
        ),
    }
}

/// The lines of `line` or `lines`.
pub(crate) fn long(
    keys: (Option<&At<Many<OneLine>>>, Option<&At<OneLine>>),
    common: Common,
    mistakes: &mut Mistakes<'_>,
) -> Option<Lines> {
    match keys {
        (None, Some(line)) => self::line(line, common, mistakes).map(|line| vec![line]),
        (lines, _) => many(lines, common, mistakes),
    }
}

fn many(
    lines: Option<&At<Many<OneLine>>>,
    common: Common,
    mistakes: &mut Mistakes<'_>,
) -> Option<Lines> {
    let lines = lines?;
    if lines.value.0.is_empty() {
        no_lines(lines.span, mistakes);
    }
    lines
        .value
        .0
        .iter()
        .map(|line| self::line(line, common, mistakes))
        .collect()
}

fn no_lines(span: Span, mistakes: &mut Mistakes<'_>) {
    mistakes.add(
        Mistake::at(span, "no line is expected, so nothing would be proven")
            .help("name at least one line"),
    );
}

fn line(line: &At<OneLine>, common: Common, mistakes: &mut Mistakes<'_>) -> Option<Line> {
    match &line.value {
        Either::One(text) => literal(&line.with(text.clone()), mistakes).map(|pattern| Line {
            pattern,
            raw: common.raw,
            times: common.times,
        }),
        Either::Other(table) => Some(Line {
            pattern: pattern(table, mistakes)?,
            raw: value(table.raw.as_ref()).unwrap_or(common.raw),
            times: table
                .times
                .as_ref()
                .map_or(common.times, |count| times(count.value)),
        }),
    }
}

fn pattern(table: &written::expectation::Line, mistakes: &mut Mistakes<'_>) -> Option<Pattern> {
    match (&table.regex, &table.text) {
        (Some(regex), _) => Some(Pattern::Regex(Expression::new(regex.value.0.clone()))),
        (None, Some(text)) => literal(text, mistakes),
        (None, None) => None,
    }
}

fn literal(text: &At<String>, mistakes: &mut Mistakes<'_>) -> Option<Pattern> {
    if text.value.is_empty() {
        let mistake = Mistake::at(
            text.span,
            "an empty text is in every line, so it would match everything",
        );
        mistakes.add(mistake.help("write a piece of the line that is expected"));
    }
    (!text.value.is_empty()).then(|| Pattern::Literal(text.value.clone()))
}
