//! Results for a person at a terminal: one line for each case, and below it what went wrong.

use std::{
    io::{self, Write},
    path::Path,
};

use anstyle::{AnsiColor, Effects, Style};

use crate::report::{
    CaseReport, FailureReport, Format, MissingNeeds, Outcome, RunReport, StepPlace, diff, text,
};

pub(crate) const PASSED: Style = AnsiColor::Green.on_default();
pub(crate) const FAILED: Style = AnsiColor::Red.on_default().effects(Effects::BOLD);
const ODD: Style = AnsiColor::Yellow.on_default();
const QUIET: Style = Style::new().effects(Effects::DIMMED);

const INDENT: &str = "    ";
/// How long a line is shown; the report in the folder has all of it.
const WIDTH: usize = 160;
/// How many lines of a kind are shown, so that a failure fits a screen.
const LINES: usize = 5;
/// The column of the values: that of the longest label.
const LABEL: usize = "recordings".len();

/// Results for a person. Colours are written always; the writer takes them away where nobody sees them.
pub(crate) struct Human<W> {
    out: W,
    show: Show,
}

/// How much is told of what went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    Verdicts,
    /// Also the lines that arrived.
    Lines,
}

impl<W: Write> Human<W> {
    pub(crate) fn new(out: W, show: Show) -> Self {
        Self { out, show }
    }
}

impl<W: Write> Format for Human<W> {
    fn case(&mut self, case: &CaseReport) -> io::Result<()> {
        let out = &mut self.out;
        write_head(out, case)?;
        if self.show == Show::Lines {
            for line in &case.arrived {
                writeln!(out, "{INDENT}{QUIET}|{QUIET:#} {}", text::printable(line))?;
            }
        }
        if let Outcome::Failed { failure } | Outcome::Flaky { failure, .. } = &case.outcome {
            write_failure(out, failure)?;
            write_folder(out, case.folder.as_deref())?;
            write_labelled(out, "again", &failure.command)?;
        }
        if let Outcome::Error { causes } = &case.outcome {
            write_causes(out, causes)?;
            write_folder(out, case.folder.as_deref())?;
        }
        write_some(out, "notes", &case.notes)?;
        out.flush()
    }

    fn end(&mut self, run: &RunReport) -> io::Result<()> {
        let tally = run.tally();
        for leftover in &run.leftovers {
            writeln!(
                self.out,
                "{ODD}left behind{ODD:#}  {}",
                text::printable(leftover)
            )?;
        }
        if run.demands.missing_needs == MissingNeeds::Fail && tally.missing > 0 {
            writeln!(
                self.out,
                "{ODD}missing{ODD:#} counts as failed, since LASTWORDS_NO_SKIP is set"
            )?;
        }
        if run.not_run > 0 {
            let why = if run.interrupted {
                "interrupted"
            } else {
                "stopped"
            };
            writeln!(
                self.out,
                "{ODD}{why}{ODD:#}  {} cases did not run",
                run.not_run
            )?;
        }
        writeln!(self.out, "{tally} in {}", text::duration(run.duration))?;
        self.out.flush()
    }
}

/// `passed  smoke/floppy  debian:6.1  0.84s`, and the reason where there is a short one.
fn write_head(out: &mut dyn Write, case: &CaseReport) -> io::Result<()> {
    let (style, word) = (style(&case.outcome), case.outcome.word());
    let (name, kernel) = (text::printable(&case.name), text::printable(&case.kernel));
    write!(out, "{style}{word:<6}{style:#}  {name}  {kernel}")?;
    let took = text::duration(case.duration);
    match &case.outcome {
        Outcome::Passed | Outcome::Failed { .. } | Outcome::Error { .. } => {
            writeln!(out, "  {took}")
        }
        Outcome::Flaky { passed, runs, .. } => {
            writeln!(out, "  {took}  {passed} of {runs} runs passed")
        }
        Outcome::NotApplicable { reason } | Outcome::Missing { reason } => {
            write_reason(out, reason)
        }
        Outcome::Known { because, link, .. } => {
            write!(out, "  {took}")?;
            write_reason(out, because)?;
            link.iter()
                .try_for_each(|link| writeln!(out, "{INDENT}{}", text::printable(link)))
        }
    }
}

/// The first line goes behind what was written; the remedy below it.
fn write_reason(out: &mut dyn Write, reason: &str) -> io::Result<()> {
    let mut lines = reason.lines().map(text::printable);
    writeln!(out, "  {}", lines.next().unwrap_or_default())?;
    lines.try_for_each(|line| writeln!(out, "{INDENT}{line}"))
}

fn write_causes(out: &mut dyn Write, causes: &[String]) -> io::Result<()> {
    for (number, cause) in causes.iter().enumerate() {
        let label = if number == 0 { "" } else { "because " };
        for (number, line) in cause.lines().enumerate() {
            let label = if number == 0 { label } else { "" };
            writeln!(
                out,
                "{INDENT}{label}{}",
                text::cut(&text::printable(line), WIDTH)
            )?;
        }
    }
    Ok(())
}

fn write_failure(out: &mut dyn Write, failure: &FailureReport) -> io::Result<()> {
    for line in failure.sentence.lines() {
        writeln!(
            out,
            "{INDENT}{}",
            text::cut(&text::printable(line), 2 * WIDTH)
        )?;
    }
    if let Some(place) = &failure.place {
        write_place(out, place)?;
    }
    match &failure.diff {
        None => {
            write_some(out, "expected", &failure.expected)?;
            write_some(out, "nearest", &failure.nearest)?;
        }
        Some(diff) => {
            // A diff shows the only expected line, and what came nearest to it.
            let expected = failure
                .expected
                .iter()
                .filter(|line| failure.expected.len() > 1 || **line != diff.expected);
            write_some(out, "expected", expected)?;
            diff::write(out, INDENT, diff)?;
            write_some(
                out,
                "nearest",
                failure.nearest.iter().filter(|line| **line != diff.arrived),
            )?;
        }
    }
    write_some(out, "facts", &failure.facts)
}

fn write_place(out: &mut dyn Write, place: &StepPlace) -> io::Result<()> {
    let file = text::printable(&place.file.to_string_lossy());
    writeln!(
        out,
        "{INDENT}{QUIET}at{QUIET:#} {file}:{}:{}",
        place.line, place.column
    )?;
    let source = text::cut(&text::printable(&place.source.replace('\t', " ")), WIDTH);
    writeln!(out, "{INDENT}{QUIET}{} |{QUIET:#} {source}", place.line)
}

fn write_folder(out: &mut dyn Write, folder: Option<&Path>) -> io::Result<()> {
    folder.map_or(Ok(()), |folder| {
        write_labelled(out, "recordings", &folder.to_string_lossy())
    })
}

/// The first lines of a kind, and how many more there are.
fn write_some<'a>(
    out: &mut dyn Write,
    label: &str,
    lines: impl IntoIterator<Item = &'a String>,
) -> io::Result<()> {
    let mut label = label;
    let mut lines = lines.into_iter();
    for line in lines.by_ref().take(LINES) {
        write_labelled(out, label, &text::cut(&text::printable(line), WIDTH))?;
        label = "";
    }
    match lines.count() {
        0 => Ok(()),
        more => write_labelled(out, label, &format!("… and {more} more")),
    }
}

fn write_labelled(out: &mut dyn Write, label: &str, value: &str) -> io::Result<()> {
    writeln!(
        out,
        "{INDENT}{QUIET}{label:<LABEL$}{QUIET:#} {}",
        text::printable(value)
    )
}

fn style(outcome: &Outcome) -> Style {
    match outcome {
        Outcome::Passed => PASSED,
        Outcome::Failed { .. } | Outcome::Flaky { .. } | Outcome::Error { .. } => FAILED,
        Outcome::Known { .. } | Outcome::Missing { .. } => ODD,
        Outcome::NotApplicable { .. } => QUIET,
    }
}
