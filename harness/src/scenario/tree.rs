//! A scenario file as a tree of values, each with its place, the values of a matrix case filled in.
//!
//! What the keys mean is not known here: see [`crate::scenario::read`].

use std::{borrow::Cow, ops::Range};

use toml::{
    Spanned,
    de::{DeInteger, DeTable, DeValue},
};

use crate::scenario::{matrix::Case, mistake::Mistakes};

/// The bytes of a file that something covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Something and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// A value of the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'t> {
    Text(Cow<'t, str>),
    /// Numbers beyond an `i128` are cut down to its limits; no key takes one as large.
    Integer(i128),
    Float,
    Boolean(bool),
    Time,
    Array(Vec<At<Value<'t>>>),
    Table(Table<'t>),
    /// A `${…}` that names nothing: noted already, so nobody says anything of it again.
    Unfilled,
}

/// A table of the file, its entries in the file's order.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Table<'t> {
    pub(crate) entries: Vec<(At<Cow<'t, str>>, At<Value<'t>>)>,
}

impl Span {
    /// The bytes as a range.
    pub(crate) fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self {
            start: range.start,
            end: range.end,
        }
    }
}

impl<T> At<T> {
    pub(crate) fn new(value: T, span: impl Into<Span>) -> Self {
        Self {
            value,
            span: span.into(),
        }
    }

    /// The same place with another value.
    pub(crate) fn with<U>(&self, value: U) -> At<U> {
        At {
            value,
            span: self.span,
        }
    }
}

impl Value<'_> {
    /// What it is, for messages: `a text`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "an integer",
            Self::Float => "a number with a fraction",
            Self::Boolean(_) => "a boolean",
            Self::Time => "a date or time",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
            Self::Unfilled => "nothing",
        }
    }
}

/// Reads the tree out of a parsed file, with the values of `case` in place of `${…}`.
pub(crate) fn grow<'t>(
    table: &'t Spanned<DeTable<'t>>,
    case: &Case<'t>,
    mistakes: &mut Mistakes<'_>,
) -> At<Value<'t>> {
    At::new(
        Value::Table(branch(table.get_ref(), case, mistakes)),
        table.span(),
    )
}

/// The value of `value` alone, nothing filled in.
pub(crate) fn leaf<'t>(value: &'t Spanned<DeValue<'t>>) -> At<Value<'t>> {
    let kind = match value.get_ref() {
        DeValue::String(text) => Value::Text(Cow::Borrowed(text)),
        DeValue::Integer(number) => Value::Integer(integer(number)),
        DeValue::Float(_) => Value::Float,
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Datetime(_) => Value::Time,
        DeValue::Array(array) => Value::Array(array.iter().map(leaf).collect()),
        DeValue::Table(table) => Value::Table(Table {
            entries: in_order(table)
                .map(|(key, value)| (key, leaf(value)))
                .collect(),
        }),
    };
    At::new(kind, value.span())
}

fn branch<'t>(table: &'t DeTable<'t>, case: &Case<'t>, mistakes: &mut Mistakes<'_>) -> Table<'t> {
    Table {
        entries: in_order(table)
            .map(|(key, value)| (key, twig(value, case, mistakes)))
            .collect(),
    }
}

fn twig<'t>(
    value: &'t Spanned<DeValue<'t>>,
    case: &Case<'t>,
    mistakes: &mut Mistakes<'_>,
) -> At<Value<'t>> {
    let kind = match value.get_ref() {
        DeValue::String(text) => case.fill(text, value.span().into(), mistakes),
        DeValue::Array(array) => Value::Array(
            array
                .iter()
                .map(|value| twig(value, case, mistakes))
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(branch(table, case, mistakes)),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            leaf(value).value
        }
    };
    At::new(kind, value.span())
}

/// The parser sorts keys by name; a scenario's nodes and matrix have the file's order.
fn in_order<'t>(
    table: &'t DeTable<'t>,
) -> impl Iterator<Item = (At<Cow<'t, str>>, &'t Spanned<DeValue<'t>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries.into_iter().map(|(key, value)| {
        (
            At::new(Cow::Borrowed(key.get_ref().as_ref()), key.span()),
            value,
        )
    })
}

fn integer(number: &DeInteger<'_>) -> i128 {
    let limit = if number.as_str().starts_with('-') {
        i128::MIN
    } else {
        i128::MAX
    };
    i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(limit)
}
