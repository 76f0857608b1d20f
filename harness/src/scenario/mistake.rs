//! Mistakes in a scenario file: each has a place and says what to do about it.

use std::path::Path;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::scenario::tree::{At, Span};

/// One mistake in a scenario file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// What is wrong: a lowercase fragment.
    title: String,
    span: Span,
    /// What is said beside the place.
    label: Option<String>,
    /// Other places that have to do with it.
    context: Vec<(Span, String)>,
    note: Option<String>,
    /// What to do.
    help: Option<String>,
}

/// How many mistakes of one case of a matrix are looked at.
const MOST_OF_A_CASE: usize = 200;

/// The mistakes of one file so far.
#[derive(Debug)]
pub(crate) struct Mistakes<'t> {
    /// The whole file.
    pub(crate) text: &'t str,
    found: Vec<Mistake>,
}

impl Mistake {
    pub(crate) fn at(span: Span, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            span,
            label: None,
            context: Vec::new(),
            note: None,
            help: None,
        }
    }

    /// A mistake in TOML's own syntax.
    pub(crate) fn of_syntax(error: &toml::de::Error, text: &str) -> Self {
        let end = text.len();
        let span = error.span().unwrap_or(end..end);
        let (title, expected) = match error.message().split_once(", expected ") {
            Some((title, expected)) => (title, Some(expected)),
            None => (error.message(), None),
        };
        let mistake = Self::at(span.into(), title);
        match expected {
            Some(expected) => mistake.label(format!("expected {expected}")),
            None => mistake,
        }
    }

    /// A byte that is no text, at `offset` of what it was taken for.
    pub(crate) fn of_encoding(offset: usize) -> Self {
        let end = offset + char::REPLACEMENT_CHARACTER.len_utf8();
        Self::at((offset..end).into(), "a byte that is no UTF-8")
            .help("save the file in UTF-8, as TOML demands")
    }

    /// Says `label` beside the place.
    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Shows another place, with what is there to say of it; nothing where it is no place of the file.
    pub(crate) fn context(mut self, span: Span, label: impl Into<String>) -> Self {
        if span != Span::default() {
            self.context.push((span, label.into()));
        }
        self
    }

    /// Adds a fact.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Adds what to do.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds `did you mean …` where one of `known` is near `word`, else the list of them.
    pub(crate) fn did_you_mean<'k>(
        self,
        word: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        match nearest(word, &known) {
            Some(near) => self.help(format!("did you mean `{near}`?")),
            None if known.is_empty() => self,
            None => self.help(format!("there is {}", list(&known))),
        }
    }

    /// Shows it as the Rust compiler shows its errors; `text` is the file that it was found in, `path` its name.
    pub(crate) fn render(&self, path: &Path, text: &str, renderer: &Renderer) -> String {
        let path = path.to_string_lossy();
        let mut snippet = Snippet::source(text).path(path.as_ref());
        let within = |span: Span| span.start.min(text.len())..span.end.min(text.len());
        for (span, label) in &self.context {
            snippet = snippet.annotation(
                AnnotationKind::Context
                    .span(within(*span))
                    .label(label.as_str()),
            );
        }
        snippet = snippet.annotation(
            AnnotationKind::Primary
                .span(within(self.span))
                .label(self.label.as_deref()),
        );
        let mut group: Group<'_> = Level::ERROR
            .primary_title(self.title.as_str())
            .element(snippet);
        if let Some(note) = &self.note {
            group = group.element(Level::NOTE.message(note.as_str()));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }
}

impl<'t> Mistakes<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self {
            text,
            found: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, mistake: Mistake) {
        self.found.push(mistake);
    }

    /// How many there are so far.
    pub(crate) fn count(&self) -> usize {
        self.found.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Where within `span` the file says `piece`, else `span`.
    pub(crate) fn within(&self, span: Span, piece: &str) -> Span {
        let found = self
            .text
            .get(span.range())
            .and_then(|source| source.find(piece));
        found.map_or(span, |offset| Span {
            start: span.start + offset,
            end: span.start + offset + piece.len(),
        })
    }

    /// All of them, in the file's order, each once.
    pub(crate) fn into_sorted(mut self) -> Vec<Mistake> {
        self.found
            .sort_by(|one, two| (one.span, &one.title).cmp(&(two.span, &two.title)));
        self.found.dedup();
        self.found
    }

    /// Takes over those of one case of a matrix. `name` stands beside what not every case has.
    pub(crate) fn absorb(&mut self, cases: Vec<(String, Vec<Mistake>)>) {
        let total = cases.len();
        if let [(_, _)] = cases.as_slice() {
            return self
                .found
                .extend(cases.into_iter().flat_map(|(_, mistakes)| mistakes));
        }
        let mut seen: Vec<(Mistake, Vec<String>)> = Vec::new();
        for (name, mistakes) in cases {
            for mistake in mistakes.into_iter().take(MOST_OF_A_CASE) {
                match seen.iter_mut().find(|(known, _)| *known == mistake) {
                    Some((_, names)) if names.last() == Some(&name) => {}
                    Some((_, names)) => names.push(name.clone()),
                    None => seen.push((mistake, vec![name.clone()])),
                }
            }
        }
        for (mistake, names) in seen {
            let everywhere = names.len() == total || mistake.note.is_some();
            self.add(if everywhere {
                mistake
            } else {
                mistake.note(format!("in the case {}", list_of_cases(&names)))
            });
        }
    }
}

fn list_of_cases(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [one, others @ ..] => format!("{one} and {} more", others.len()),
    }
}

/// The word of `known` that `word` is most likely meant to be.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase()),
                *candidate,
            )
        })
        .filter(|(distance, candidate)| {
            *distance <= 1 + word.len().max(candidate.len()) / 5 && *distance < candidate.len()
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `a`, `b` and `c`.
pub(crate) fn list(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [one] => format!("`{one}`"),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(|word| format!("`{word}`")).collect();
            format!("{} and `{last}`", first.join(", "))
        }
    }
}

/// A mistake about a name that stands at `name` and is none of `known`.
pub(crate) fn unknown<'k>(
    what: &str,
    name: &At<String>,
    known: impl IntoIterator<Item = &'k str>,
) -> Mistake {
    Mistake::at(name.span, format!("there is no {what} `{}`", name.value))
        .did_you_mean(&name.value, known)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::swapped("lnies", Some("lines"))]
    #[case::missing("expct", Some("expect"))]
    #[case::case("Kmsg", Some("kmsg"))]
    #[case::nothing_like_it("banana", None)]
    #[case::short("x", None)]
    fn finds_the_word_that_was_meant(#[case] word: &str, #[case] meant: Option<&str>) {
        assert_eq!(nearest(word, &["on", "lines", "expect", "kmsg"]), meant);
    }
}
