//! A parameter, field by field: what it means on a machine, and what is wrong with it.

mod check;
mod meaning;

use std::ops::Range;

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    netconsole::{
        Parameter,
        parameter::{Field, InvalidParameter, LONGEST, Problem},
    },
    param::{
        Finding, Interface, Machine, NoWay, Way, support,
        wrapping::{self, Found},
    },
};

/// How a target's part of the parameter is built.
const SYNTAX: &str = "[+][r][PORT]@[ADDRESS]/[INTERFACE],[PORT]@ADDRESS/[MAC]";

/// A parameter, read and judged.
#[derive(Debug, Clone)]
pub(crate) struct Explanation {
    /// What was given.
    pub(crate) text: String,
    /// Where the parameter's value stands in it.
    pub(crate) value: Range<usize>,
    pub(crate) targets: Vec<Target>,
    pub(crate) findings: Vec<Located>,
}

/// One target of a parameter.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Target {
    /// As it is written.
    pub(crate) text: String,
    /// Empty where the kernel cannot read it.
    pub(crate) fields: Vec<Meaning>,
    /// On whose MAC it should be.
    pub(crate) reason: Option<String>,
}

/// One field and what it means here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Meaning {
    pub(crate) field: Field,
    /// As it is written; none where it is left out.
    pub(crate) text: Option<String>,
    /// What the kernel takes.
    pub(crate) value: Option<String>,
    pub(crate) meaning: String,
}

/// A finding and where in the text its field stands.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Located {
    #[serde(flatten)]
    pub(crate) finding: Finding,
    /// Which target it is about, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<usize>,
    /// Bytes of what was given, counted from 0.
    pub(crate) span: Option<Range<usize>>,
}

/// A parameter that was read but not yet judged: what it says decides what is looked up.
#[derive(Debug)]
pub(crate) struct Draft {
    text: String,
    found: Found,
    parts: Vec<(Range<usize>, Result<Parameter, InvalidParameter>)>,
}

/// What was looked up for one target.
#[derive(Debug)]
pub(crate) struct LookedUp<'machine> {
    pub(crate) interface: Option<&'machine Interface>,
    /// None where nothing could be asked for.
    pub(crate) way: Option<Result<Way, NoWay>>,
}

impl Draft {
    /// Reads what a user gives.
    pub(crate) fn new(text: &str) -> Self {
        let found = wrapping::find(text);
        let parts = Parameter::parse_each(&text[found.value.clone()]);
        Self {
            text: text.to_owned(),
            found,
            parts,
        }
    }

    /// The targets that can be read, in order; none for one that cannot.
    pub(crate) fn targets(&self) -> impl Iterator<Item = Option<&Parameter>> {
        self.parts.iter().map(|(_, part)| part.as_ref().ok())
    }

    /// Judges it. `looked_up` has one entry for each target.
    pub(crate) fn explain(self, machine: &Machine, looked_up: &[LookedUp<'_>]) -> Explanation {
        let mut findings = self.about_the_whole();
        let mut targets = Vec::new();
        let offset = self.found.value.start;
        let value = &self.text[self.found.value.clone()];
        for (number, ((range, part), looked_up)) in self.parts.iter().zip(looked_up).enumerate() {
            let text = &value[range.clone()];
            let start = offset + range.start;
            let mut add = |finding: Finding, span: Range<usize>| {
                findings.push(Located {
                    finding,
                    target: Some(number + 1),
                    span: Some(span),
                });
            };
            let (fields, reason) = match part {
                Ok(parameter) => {
                    let place = |field| {
                        let span = meaning::span(text, field);
                        start + span.start..start + span.end
                    };
                    for finding in check::findings(parameter, machine, looked_up) {
                        let span = finding.field.map_or(start..start + text.len(), place);
                        add(finding, span);
                    }
                    let fields = meaning::fields(text, parameter, machine, looked_up);
                    (fields, reason(parameter, machine, looked_up))
                }
                Err(invalid) => {
                    let span = culprit(value, invalid);
                    let finding = syntax(value, &span, invalid, machine);
                    add(finding, offset + span.start..offset + span.end);
                    (Vec::new(), None)
                }
            };
            targets.push(Target {
                text: text.to_owned(),
                fields,
                reason,
            });
        }
        findings.extend(support::findings(&machine.kernel).into_iter().map(nowhere));
        Explanation {
            text: self.text,
            value: self.found.value,
            targets,
            findings,
        }
    }

    fn about_the_whole(&self) -> Vec<Located> {
        let mut findings: Vec<Located> = self
            .found
            .findings
            .iter()
            .map(|(span, finding)| Located {
                finding: finding.clone(),
                target: None,
                span: Some(span.clone()),
            })
            .collect();
        let length = self.found.value.len();
        if length > LONGEST {
            let text = format!("the parameter has {length} bytes, the kernel takes {LONGEST}");
            let help = "modprobe fails (ENOSPC); leave fields to their defaults, or use configfs";
            let end = self.found.value.end;
            findings.push(Located {
                finding: Finding::error("too-long", text).help(help),
                target: None,
                span: Some(self.found.value.start + LONGEST..end),
            });
        }
        if length == 0 {
            let finding = Finding::error("empty", "the parameter is empty: it has no target");
            findings.push(nowhere(finding.help(format!("write {SYNTAX}"))));
        }
        findings
    }
}

fn nowhere(finding: Finding) -> Located {
    Located {
        finding,
        target: None,
        span: None,
    }
}

fn reason(parameter: &Parameter, machine: &Machine, looked_up: &LookedUp<'_>) -> Option<String> {
    let way = looked_up.way.as_ref()?.as_ref().ok()?;
    way.mac?;
    Some(way.reason(parameter.remote_ip, machine))
}

/// The bytes of the value that a syntax error is about: at least one, or the place behind the end.
fn culprit(value: &str, invalid: &InvalidParameter) -> Range<usize> {
    let start = (invalid.column - 1).min(value.len());
    let rest = &value[start..];
    let ends: &[char] = match (invalid.field, invalid.problem) {
        (_, Problem::Unended(_)) => &[';'],
        (Field::LocalPort | Field::RemotePort, _) => &['@', ';'],
        (Field::LocalIp | Field::RemoteIp, _) => &['/', ';'],
        (Field::Device, _) => &[',', ';'],
        (Field::Release, _) => return start..start + 1,
        _ => &[';'],
    };
    let length = rest.find(ends).unwrap_or(rest.len());
    start..start + length
}

fn syntax(
    value: &str,
    span: &Range<usize>,
    invalid: &InvalidParameter,
    machine: &Machine,
) -> Finding {
    let (field, written) = (invalid.field, &value[span.clone()]);
    let text = match invalid.problem {
        Problem::NotAPort if written.parse::<u64>().is_ok() => {
            format!("the {field} {written} is too large: ports end at 65535")
        }
        Problem::NotAnAddress if written.is_empty() => format!("the {field} is missing"),
        Problem::Unended(_) | Problem::NeedsExtended => format!("the {field} {}", invalid.problem),
        Problem::NotAPort
        | Problem::NotAnAddress
        | Problem::OtherFamily
        | Problem::NotAMac
        | Problem::TooLong => format!("the {field} `{written}` {}", invalid.problem),
    };
    let fate = support::of_a_bad_target(&machine.kernel);
    Finding::error("syntax", format!("{text} ({fate})"))
        .about(field)
        .help(format!("a target is written {SYNTAX}"))
}

#[cfg(test)]
mod tests;
