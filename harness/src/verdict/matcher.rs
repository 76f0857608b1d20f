//! Which of an expectation's lines a message holds.
//!
//! A message holds a line if its text does (with `raw`: one of its datagrams' payloads). One exception makes bursts
//! tell their lines apart: a literal that lies wholly within a longer expected literal of the same message does not
//! count there, so that `line 10` is no second `line 1`.

use aho_corasick::AhoCorasick;
use regex::bytes::Regex;

use crate::{
    netconsole::{Message, Record},
    scenario::{Line, Pattern},
};

/// The lines of an expectation, made ready for many messages. Lines that are written alike are one class.
#[derive(Debug)]
pub(crate) struct Matcher {
    text: Side,
    raw: Side,
    /// By line: its class.
    classes: Vec<usize>,
    /// By class: the first line that has it.
    first_lines: Vec<usize>,
}

/// What is looked for in texts, or in payloads.
#[derive(Debug, Default)]
struct Side {
    searcher: Option<AhoCorasick>,
    /// By the searcher's pattern: the class.
    literals: Vec<usize>,
    regexes: Vec<(usize, Regex)>,
}

/// A class that a message holds, and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Hit {
    start: usize,
    end: usize,
    class: usize,
}

impl Matcher {
    /// Makes lines ready.
    pub(crate) fn new(lines: &[Line]) -> Self {
        let mut matcher = Self {
            text: Side::default(),
            raw: Side::default(),
            classes: Vec::new(),
            first_lines: Vec::new(),
        };
        let mut known = std::collections::HashMap::new();
        let mut literals: [Vec<&str>; 2] = Default::default();
        for (index, line) in lines.iter().enumerate() {
            let (literal, pattern) = match &line.pattern {
                Pattern::Literal(literal) => (true, literal.as_str()),
                Pattern::Regex(regex) => (false, regex.as_str()),
            };
            let class = *known
                .entry((line.raw, literal, pattern))
                .or_insert_with(|| {
                    let class = matcher.first_lines.len();
                    matcher.first_lines.push(index);
                    let side = if line.raw {
                        &mut matcher.raw
                    } else {
                        &mut matcher.text
                    };
                    match &line.pattern {
                        Pattern::Literal(literal) => {
                            side.literals.push(class);
                            literals[usize::from(line.raw)].push(literal);
                        }
                        Pattern::Regex(regex) => side.regexes.push((class, regex.regex().clone())),
                    }
                    class
                });
            matcher.classes.push(class);
        }
        let [text, raw] = literals;
        matcher.text.searcher = searcher(&text);
        matcher.raw.searcher = searcher(&raw);
        matcher
    }

    /// How many different lines there are.
    pub(crate) fn class_count(&self) -> usize {
        self.first_lines.len()
    }

    /// The class of a line.
    pub(crate) fn class(&self, line: usize) -> usize {
        self.classes[line]
    }

    /// The first line of a class.
    pub(crate) fn line(&self, class: usize) -> usize {
        self.first_lines[class]
    }

    /// The classes that a message holds, in the order in which they stand in it; each once.
    pub(crate) fn find(&self, message: &Message) -> Vec<usize> {
        let mut classes = self.text.find(&message.text);
        if !self.raw.is_empty() {
            for payload in &message.payloads {
                for class in self.raw.find(payload) {
                    if !classes.contains(&class) {
                        classes.push(class);
                    }
                }
            }
        }
        classes
    }

    /// The classes that a line of text holds, in the order in which they stand in it; each once.
    pub(crate) fn find_in(&self, text: &[u8]) -> Vec<usize> {
        self.text.find(text)
    }

    /// Where in a text the first of all lines begins.
    pub(crate) fn first_in(&self, text: &[u8]) -> Option<usize> {
        self.text.hits(text).first().map(|hit| hit.start)
    }

    /// Whether a text holds the class, whatever else it holds.
    pub(crate) fn holds(&self, class: usize, text: &[u8]) -> bool {
        self.text.find(text).contains(&class)
    }

    /// Whether a record holds the class, be it looked for in texts or in payloads.
    pub(crate) fn holds_somewhere(&self, class: usize, record: &Record) -> bool {
        let side = if self.is_raw(class) {
            &self.raw
        } else {
            &self.text
        };
        side.find(&record.text).contains(&class)
            || (self.is_raw(class) && side.find(&record.raw).contains(&class))
    }

    /// Whether a class is looked for in payloads.
    pub(crate) fn is_raw(&self, class: usize) -> bool {
        self.raw.literals.contains(&class) || self.raw.regexes.iter().any(|(raw, _)| *raw == class)
    }
}

impl Side {
    fn is_empty(&self) -> bool {
        self.literals.is_empty() && self.regexes.is_empty()
    }

    fn find(&self, haystack: &[u8]) -> Vec<usize> {
        let hits = self.hits(haystack);
        let mut classes = Vec::with_capacity(hits.len());
        for hit in hits {
            if !classes.contains(&hit.class) {
                classes.push(hit.class);
            }
        }
        classes
    }

    /// In the order in which they begin.
    fn hits(&self, haystack: &[u8]) -> Vec<Hit> {
        let mut hits: Vec<Hit> = match &self.searcher {
            Some(searcher) => searcher
                .find_overlapping_iter(haystack)
                .map(|found| Hit {
                    start: found.start(),
                    end: found.end(),
                    class: self.literals[found.pattern().as_usize()],
                })
                .collect(),
            None => Vec::new(),
        };
        if hits.len() > 1 {
            drop_covered(&mut hits);
        }
        for (class, regex) in &self.regexes {
            hits.extend(regex.find(haystack).map(|found| Hit {
                start: found.start(),
                end: found.end(),
                class: *class,
            }));
        }
        hits.sort();
        hits
    }
}

/// Drops the hits that lie wholly within a longer one.
fn drop_covered(hits: &mut Vec<Hit>) {
    hits.sort_by_key(|hit| (hit.start, std::cmp::Reverse(hit.end)));
    let mut reach = 0;
    let mut widest: Option<Hit> = None;
    hits.retain(|hit| {
        let covered = widest
            .is_some_and(|wide| hit.end <= reach && (hit.start, hit.end) != (wide.start, wide.end));
        if hit.end > reach {
            reach = hit.end;
            widest = Some(*hit);
        }
        !covered
    });
}

fn searcher(literals: &[&str]) -> Option<AhoCorasick> {
    // Fails only beyond 2^31 states, which no scenario file has.
    if literals.is_empty() {
        None
    } else {
        AhoCorasick::new(literals).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use rstest::rstest;

    use super::*;
    use crate::scenario::expectation::Expression;

    fn line(pattern: &str) -> Line {
        let (raw, pattern) = match pattern.strip_prefix("raw:") {
            Some(pattern) => (true, pattern),
            None => (false, pattern),
        };
        let pattern = match pattern.strip_prefix('~') {
            Some(regex) => Pattern::Regex(Expression::new(regex.to_owned())),
            None => Pattern::Literal(pattern.to_owned()),
        };
        Line {
            pattern,
            raw,
            times: NonZeroU32::MIN,
        }
    }

    #[rstest]
    #[case::one(&["a"], "xax", &[0])]
    #[case::none(&["a"], "x", &[])]
    #[case::twice_in_one_is_one(&["a"], "aa", &[0])]
    #[case::longer_wins(&["line 1", "line 10"], "line 10", &[1])]
    #[case::shorter_alone(&["line 1", "line 10"], "line 1", &[0])]
    #[case::both_stand_there(&["line 1", "line 10"], "line 10\nline 1", &[1, 0])]
    #[case::in_the_middle(&["b", "abc"], "abc", &[1])]
    #[case::overlap_is_no_cover(&["ab", "bc"], "abc", &[0, 1])]
    #[case::three(&["a", "ab", "abc"], "abc ab a", &[2, 1, 0])]
    #[case::regex_counts_also_within(&["~^a", "abc"], "abc", &[0, 1])]
    #[case::alike_are_one_class(&["a", "b", "a"], "b a", &[1, 0])]
    #[case::raw(&["raw:] a", "a"], "a", &[1, 0])]
    #[case::raw_only(&["raw:b"], "a", &[])]
    #[case::regex_over_bytes(&["~(?-u)\\xff"], "\u{0}", &[])]
    fn finds(#[case] patterns: &[&str], #[case] text: &str, #[case] classes: &[usize]) {
        let lines: Vec<_> = patterns.iter().map(|pattern| line(pattern)).collect();
        let payload = format!(
            "[    1.000000] {}\n",
            text.replace('\n', "\n[    1.000000] ")
        );
        let message = Message::basic(vec![payload.into_bytes()], vec![1], Vec::new());
        assert_eq!(Matcher::new(&lines).find(&message), classes);
    }
}
