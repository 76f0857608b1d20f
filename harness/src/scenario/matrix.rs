//! `matrix`: one scenario for each combination of values, and `${…}` that stands for them.

use std::{borrow::Cow, collections::BTreeSet};

use toml::{Spanned, de::DeTable};

use crate::scenario::{
    mistake::{Mistake, Mistakes, unknown},
    tree::{At, Span, Value, leaf},
};

/// More cases than this are a mistake, not a wish.
const MOST_CASES: usize = 1000;

/// One combination of the values of a matrix.
#[derive(Debug, Clone, Default)]
pub(crate) struct Case<'t> {
    values: Vec<(&'t str, Value<'t>)>,
}

impl<'t> Case<'t> {
    /// `[via=modprobe,nic=e1000]`, nothing where there is no matrix.
    pub(crate) fn name(&self) -> String {
        if self.values.is_empty() {
            return String::new();
        }
        let pairs: Vec<String> = self
            .values
            .iter()
            .map(|(key, value)| format!("{key}={}", text_of(value).unwrap_or_default()))
            .collect();
        format!("[{}]", pairs.join(","))
    }

    /// `text` with the case's values in place of `${…}`. A text that is nothing else takes the value's type.
    pub(crate) fn fill(&self, text: &'t str, span: Span, mistakes: &mut Mistakes<'_>) -> Value<'t> {
        if !text.contains("${") {
            return Value::Text(Cow::Borrowed(text));
        }
        let pieces = pieces(text);
        if let [Piece::Name(name)] = pieces.as_slice() {
            return self.value(name, span, mistakes).unwrap_or(Value::Unfilled);
        }
        let mut filled = Some(String::new());
        for piece in pieces {
            let text = match piece {
                Piece::Text(text) => Some(Cow::Borrowed(text)),
                Piece::Name(name) => self
                    .value(name, span, mistakes)
                    .and_then(|value| text_of(&value)),
            };
            filled = filled.zip(text).map(|(filled, text)| filled + &text);
        }
        filled.map_or(Value::Unfilled, |filled| Value::Text(Cow::Owned(filled)))
    }

    fn and(&self, name: &'t str, value: &Value<'t>) -> Self {
        let mut case = self.clone();
        case.values.push((name, value.clone()));
        case
    }

    fn value(&self, name: &str, span: Span, mistakes: &mut Mistakes<'_>) -> Option<Value<'t>> {
        let value = self.values.iter().find(|(key, _)| *key == name);
        if value.is_none() {
            let here = mistakes.within(span, &format!("${{{name}}}"));
            let known = self.values.iter().map(|(key, _)| *key);
            let mistake = unknown("matrix key", &At::new(name.to_owned(), here), known);
            mistakes.add(
                mistake.note(
                    "`${…}` stands for a value of the file's `matrix`; `$${` is a plain `${`",
                ),
            );
        }
        value.map(|(_, value)| value.clone())
    }
}

enum Piece<'t> {
    Text(&'t str),
    Name(&'t str),
}

/// Takes a text apart into what stands for itself and the names of `${…}`.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            pieces.push(Piece::Text(&rest[..start - 1]));
            pieces.push(Piece::Text("${"));
            rest = &rest[start + 2..];
            continue;
        }
        let Some(length) = rest[start..].find('}') else {
            break;
        };
        pieces.push(Piece::Text(&rest[..start]));
        pieces.push(Piece::Name(&rest[start + 2..start + length]));
        rest = &rest[start + length + 1..];
    }
    pieces.push(Piece::Text(rest));
    pieces.retain(|piece| !matches!(piece, Piece::Text("")));
    pieces
}

/// A value within a text; `None` where it is none.
fn text_of<'t>(value: &Value<'t>) -> Option<Cow<'t, str>> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string().into()),
        Value::Boolean(boolean) => Some(boolean.to_string().into()),
        // No value of a matrix, and noted when the matrix is read.
        Value::Float | Value::Time | Value::Array(_) | Value::Table(_) | Value::Unfilled => None,
    }
}

/// The cases of a file, in the file's order, the last key turning fastest; one empty case where there is no matrix.
pub(crate) fn cases<'t>(
    file: &'t Spanned<DeTable<'t>>,
    mistakes: &mut Mistakes<'_>,
) -> Vec<Case<'t>> {
    let Some(matrix) = file.get_ref().get("matrix") else {
        return vec![Case::default()];
    };
    let matrix = leaf(matrix);
    let Value::Table(table) = &matrix.value else {
        mistakes.add(
            Mistake::at(
                matrix.span,
                format!("expected a table, found {}", matrix.value.kind()),
            )
            .help("write it as `matrix = { via = [\"modprobe\", \"configfs\"] }`"),
        );
        return vec![Case::default()];
    };
    if table.entries.is_empty() {
        mistakes.add(
            Mistake::at(matrix.span, "the matrix is empty")
                .help("leave it out, or give it a key with values"),
        );
    }
    let no_case = vec![Case::default()];
    table.entries.iter().fold(no_case, |cases, (key, values)| {
        multiplied(&cases, (key, values), mistakes)
    })
}

/// The cases with each value of a further key. Where it has none to go on with, they are as many as before.
fn multiplied<'t>(
    cases: &[Case<'t>],
    (key, values): (&At<Cow<'t, str>>, &At<Value<'t>>),
    mistakes: &mut Mistakes<'_>,
) -> Vec<Case<'t>> {
    let Cow::Borrowed(name) = key.value else {
        return cases.to_vec();
    };
    let mut values = values_of(&key.with(name), values, mistakes);
    if cases.len().saturating_mul(values.len()) > MOST_CASES {
        let title = format!("the matrix makes more than {MOST_CASES} cases");
        mistakes.add(Mistake::at(key.span, title));
        values.clear();
    }
    if values.is_empty() {
        values.push(Value::Unfilled);
    }
    let with_each = |case: &Case<'t>| {
        values
            .iter()
            .map(|value| case.and(name, value))
            .collect::<Vec<_>>()
    };
    cases.iter().flat_map(with_each).collect()
}

/// The values of one key, and the mistakes in them.
fn values_of<'t>(
    key: &At<&str>,
    values: &At<Value<'t>>,
    mistakes: &mut Mistakes<'_>,
) -> Vec<Value<'t>> {
    let name = key.value;
    if !mistakes.text.contains(&format!("${{{name}}}")) {
        let title = format!("`{name}` is not used: its cases would all be the same");
        let help = format!("write `\"${{{name}}}\"` where its value belongs");
        mistakes.add(Mistake::at(key.span, title).help(help));
    }
    let Value::Array(list) = &values.value else {
        let title = format!("expected a list of values, found {}", values.value.kind());
        mistakes.add(Mistake::at(values.span, title));
        return Vec::new();
    };
    if list.is_empty() {
        let title = format!("`{name}` has no value");
        mistakes.add(Mistake::at(values.span, title).help("give it at least one, or leave it out"));
    }
    let mut seen = BTreeSet::new();
    for value in list {
        let title = match text_of(&value.value) {
            Some(text) if seen.insert(text.clone()) => continue,
            Some(text) => format!("`{text}` stands twice in `{name}`"),
            None => format!(
                "expected a text, an integer or a boolean, found {}",
                value.value.kind()
            ),
        };
        mistakes.add(Mistake::at(value.span, title));
    }
    list.iter().map(|value| value.value.clone()).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing_to_fill("plain $ and {}", Value::Text("plain $ and {}".into()))]
    #[case::within("a ${word} b", Value::Text("a x b".into()))]
    #[case::twice("${word}${number}", Value::Text("x3".into()))]
    #[case::whole("${number}", Value::Integer(3))]
    #[case::escaped("$${word}", Value::Text("${word}".into()))]
    #[case::never_closed("${word", Value::Text("${word".into()))]
    fn fills_in_the_values_of_a_case(#[case] text: &'static str, #[case] filled: Value<'static>) {
        let case = Case {
            values: vec![
                ("word", Value::Text("x".into())),
                ("number", Value::Integer(3)),
            ],
        };
        assert_eq!(
            case.fill(text, Span::default(), &mut Mistakes::new("")),
            filled
        );
    }
}
