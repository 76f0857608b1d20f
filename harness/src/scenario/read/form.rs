//! Texts that have a form: durations, addresses, sizes, kernel versions, errno names, regular expressions.

use std::{borrow::Cow, time::Duration};

use jiff::SignedDuration;
use nix::errno;
use regex_syntax::hir::{Class, Hir, HirKind};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::scenario::{
    mistake::{Mistake, Mistakes, nearest},
    needs::{KernelRange, can_hold},
    read::Read,
    tree::{At, Span, Value},
};

/// A type that is written as a text of its own form.
pub(crate) trait Form: Sized {
    /// What it is: `a duration`.
    const WHAT: &'static str;
    /// What it looks like.
    const LIKE: &'static str;

    /// Reads it, or says what is wrong with it as it stands in the file.
    fn parse(text: &str) -> Result<Self, Fault>;
}

/// What is wrong with a text that should have a form.
#[derive(Default)]
pub(crate) struct Fault {
    title: Option<String>,
    /// Which bytes of the text are wrong.
    part: Option<(usize, usize)>,
    help: Option<String>,
}

/// Makes forms readable from a file.
macro_rules! forms {
    ($($type:ty)*) => { $(
        impl Read for $type {
            fn expected() -> String {
                <Self as Form>::WHAT.to_owned()
            }

            fn fits(value: &Value<'_>) -> bool {
                matches!(value, Value::Text(_))
            }

            fn read(value: &At<Value<'_>>, mistakes: &mut Mistakes<'_>) -> Option<Self> {
                let Value::Text(text) = &value.value else { return None };
                let read = <Self as Form>::parse(text);
                read.map_err(|fault| {
                    let mistake = fault.mistake::<Self>(text, value.span, mistakes.text);
                    mistakes.add(mistake);
                }).ok()
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string" })
            }
        }
    )* };
}

pub(crate) use forms;

forms!(Wait Memory KernelRanges ErrnoName Expression);

/// How long something may take. Invariant: more than nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait(pub(crate) Duration);

impl Form for Wait {
    const WHAT: &'static str = "a duration";
    const LIKE: &'static str = "`\"5s\"`, `\"250ms\"` or `\"1m 30s\"`";

    fn parse(text: &str) -> Result<Self, Fault> {
        let duration = text
            .parse::<SignedDuration>()
            .map_err(|_| Fault::default())?;
        let duration = Duration::try_from(duration).map_err(|_| Fault::default())?;
        if duration.is_zero() {
            return Err(Fault::titled(format!("`{text}` is no time to wait")));
        }
        Ok(Self(duration))
    }
}

/// A guest's memory in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory(pub(crate) u32);

impl Form for Memory {
    const WHAT: &'static str = "an amount of memory";
    const LIKE: &'static str = "`\"256M\"` or `\"1G\"`";

    fn parse(text: &str) -> Result<Self, Fault> {
        let (digits, unit) = text.split_at(
            text.find(|character: char| !character.is_ascii_digit())
                .unwrap_or(text.len()),
        );
        let number: u32 = digits.parse().map_err(|_| Fault::default())?;
        let mebibytes = match unit {
            "M" => Some(number),
            "G" => number.checked_mul(1024),
            _ => return Err(Fault::default()),
        };
        match mebibytes {
            Some(mebibytes @ 32..=65536) => Ok(Self(mebibytes)),
            _ => Err(Fault {
                help: Some("a guest may have 32M to 64G".to_owned()),
                ..Fault::titled(format!("`{text}` is no memory for a guest"))
            }),
        }
    }
}

/// Ranges of kernel versions that must all hold. Invariant: not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KernelRanges(pub(crate) Vec<KernelRange>);

impl Form for KernelRanges {
    const WHAT: &'static str = "a range of kernel versions";
    const LIKE: &'static str = "`\">=6.9, <7.3\"`";

    fn parse(text: &str) -> Result<Self, Fault> {
        let mut ranges = Vec::new();
        let mut offset = 0;
        for piece in text.split(',') {
            let start = offset + piece.len() - piece.trim_start().len();
            let piece_alone = piece.trim();
            let range = piece_alone.parse().map_err(|_| match piece_alone {
                "" => Fault::default(),
                _ => Fault {
                    title: Some(format!("`{piece_alone}` is not {}", Self::WHAT)),
                    part: Some((start, start + piece_alone.len())),
                    help: Some(format!("write it as {}", Self::LIKE)),
                },
            })?;
            ranges.push(range);
            offset += piece.len() + 1;
        }
        if !can_hold(&ranges) {
            return Err(Fault::titled(format!(
                "no kernel version can be in `{text}`"
            )));
        }
        Ok(Self(ranges))
    }
}

/// The name of an error number, `ENOSPC`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ErrnoName(pub(crate) String);

impl Form for ErrnoName {
    const WHAT: &'static str = "the name of an error";
    const LIKE: &'static str = "`\"ENOSPC\"`, or `true` for any error";

    fn parse(text: &str) -> Result<Self, Fault> {
        // The highest number of a name on x86 is 133; 524 is the kernel's own, which netpoll gives to programs as it is.
        let names: Vec<String> = (1..=133)
            .map(|number| format!("{:?}", errno::Errno::from_raw(number)))
            .collect();
        let mut names: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| *name != "UnknownErrno")
            .collect();
        names.push("ENOTSUPP");
        if names.contains(&text) {
            return Ok(Self(text.to_owned()));
        }
        let help = nearest(text, &names).map(|name| format!("did you mean `{name}`?"));
        Err(Fault {
            help,
            ..Fault::default()
        })
    }
}

/// A regular expression over bytes. Invariant: it compiles, and matches no empty text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expression(pub(crate) String);

impl Form for Expression {
    const WHAT: &'static str = "a regular expression";
    const LIKE: &'static str = "`'^FDC 0 is a '`";

    fn parse(text: &str) -> Result<Self, Fault> {
        let parsed = regex_syntax::ParserBuilder::new()
            .utf8(false)
            .build()
            .parse(text);
        let hir = parsed.map_err(|error| Fault::of_expression(&error))?;
        if hir.properties().minimum_len() == Some(0) {
            return Err(Fault {
                help: Some("let it demand at least one character".to_owned()),
                ..Fault::titled(format!(
                    "`{text}` matches the empty text, so it would match everything"
                ))
            });
        }
        // Syntax is not all: a counted repetition may be too large to compile. To try takes up to 40 ms.
        if states(&hir) > SURELY_SMALL && regex::bytes::Regex::new(text).is_err() {
            return Err(Fault::titled(
                "the regular expression is too large".to_owned(),
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// So many states take a third of what a compiled expression may (10 MiB, `RegexBuilder::size_limit`), at 64 bytes each.
const SURELY_SMALL: usize = 50_000;

/// How many states an expression has at most when it is compiled: a range of characters has four bytes, each two states.
fn states(hir: &Hir) -> usize {
    let sum = |parts: &[Hir]| parts.iter().map(states).fold(1, usize::saturating_add);
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Class(Class::Unicode(class)) => 8 * class.ranges().len(),
        HirKind::Class(Class::Bytes(class)) => 1 + class.ranges().len(),
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min.saturating_add(1));
            states(&repetition.sub)
                .saturating_add(1)
                .saturating_mul(times as usize)
        }
        HirKind::Capture(capture) => states(&capture.sub).saturating_add(2),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => sum(parts),
    }
}

impl Fault {
    fn titled(title: String) -> Self {
        Self {
            title: Some(title),
            ..Self::default()
        }
    }

    fn of_expression(error: &regex_syntax::Error) -> Self {
        let (what, span) = match error {
            regex_syntax::Error::Parse(error) => (error.kind().to_string(), Some(error.span())),
            regex_syntax::Error::Translate(error) => (error.kind().to_string(), Some(error.span())),
            _ => (error.to_string(), None),
        };
        let part = span.map(|span| (span.start.offset, span.end.offset));
        Self {
            title: Some(format!("the regular expression is wrong: {what}")),
            part,
            help: None,
        }
    }

    /// The mistake; `text` stands at `span`.
    pub(crate) fn mistake<F: Form>(self, text: &str, span: Span, file: &str) -> Mistake {
        let span = self
            .part
            .and_then(|part| piece(file, span, text, part))
            .unwrap_or(span);
        let like = format!("write it as {}", F::LIKE);
        let (title, help) = match self.title {
            Some(title) => (title, self.help),
            None if text.is_empty() => (format!("an empty text is not {}", F::WHAT), Some(like)),
            None => (
                format!("`{text}` is not {}", F::WHAT),
                Some(self.help.unwrap_or(like)),
            ),
        };
        let mistake = Mistake::at(span, title);
        match help {
            Some(help) => mistake.help(help),
            None => mistake,
        }
    }
}

/// Where the bytes `part` of `text` stand in `file`, unless escapes hide them.
fn piece(file: &str, span: Span, text: &str, part: (usize, usize)) -> Option<Span> {
    let start = span.start + file.get(span.range())?.find(text)?;
    Some(Span {
        start: start + part.0,
        end: start + part.1,
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// What is not compiled when it is read is compiled later, where it must not fail.
    #[rstest]
    #[case::a_long_line(r".{975}")]
    #[case::as_many_as_are_surely_small(r"a.{2900}")]
    #[case::words(r"\w{7}")]
    #[case::counted_twice(r"(?:a{150}){160}")]
    #[case::bytes(r"(?-u:[\x00-\x1f\x80-\xff]{12000})")]
    fn what_is_surely_small_compiles(#[case] text: &str) {
        let hir = regex_syntax::ParserBuilder::new()
            .utf8(false)
            .build()
            .parse(text)
            .unwrap();
        assert!(states(&hir) <= SURELY_SMALL, "{}", states(&hir));
        assert!(regex::bytes::Regex::new(text).is_ok());
    }

    #[rstest]
    #[case::many_words(r"\w{5000}")]
    #[case::counted_three_times(r"(?:(?:.{100}){100}){100}")]
    fn what_is_too_large_is_refused(#[case] text: &str) {
        assert!(Expression::parse(text).is_err());
    }
}
