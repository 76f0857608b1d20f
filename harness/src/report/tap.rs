//! Results in the Test Anything Protocol, version 14.
//!
//! `n/a` and `missing` are skipped tests, `known` is a TODO test; what the protocol has no word for stands in the YAML
//! block below the test.

use std::io::{self, Write};

use crate::report::{
    CaseReport, Demands, FlakyCases, Format, MissingNeeds, Outcome, RunReport, text,
};

/// A TAP stream: a test for each case as it comes, the plan at the end.
pub(crate) struct Tap<W> {
    out: W,
    demands: Demands,
    told: usize,
}

impl<W: Write> Tap<W> {
    pub(crate) fn new(out: W, demands: Demands) -> Self {
        Self {
            out,
            demands,
            told: 0,
        }
    }

    fn begin(&mut self) -> io::Result<()> {
        if self.told == 0 {
            writeln!(self.out, "TAP version 14")
        } else {
            Ok(())
        }
    }

    fn is_ok(&self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Passed | Outcome::NotApplicable { .. } => true,
            Outcome::Missing { .. } => self.demands.missing_needs == MissingNeeds::Skip,
            Outcome::Flaky { .. } => self.demands.flaky == FlakyCases::Pass,
            Outcome::Failed { .. } | Outcome::Known { .. } | Outcome::Error { .. } => false,
        }
    }
}

impl<W: Write> Format for Tap<W> {
    fn case(&mut self, case: &CaseReport) -> io::Result<()> {
        self.begin()?;
        self.told += 1;
        let ok = self.is_ok(&case.outcome);
        let (word, name) = (
            if ok { "ok" } else { "not ok" },
            escape(&format!("{} {}", case.name, case.kernel)),
        );
        write!(self.out, "{word} {} - {name}", self.told)?;
        match &case.outcome {
            Outcome::NotApplicable { reason } => {
                write!(self.out, " # SKIP n/a: {}", escape(reason))?;
            }
            Outcome::Missing { reason } if ok => {
                write!(self.out, " # SKIP missing: {}", escape(reason))?;
            }
            Outcome::Known { because, .. } => {
                write!(self.out, " # TODO known: {}", escape(because))?;
            }
            Outcome::Passed
            | Outcome::Failed { .. }
            | Outcome::Missing { .. }
            | Outcome::Flaky { .. }
            | Outcome::Error { .. } => {}
        }
        writeln!(self.out)?;
        write_block(&mut self.out, case)?;
        self.out.flush()
    }

    fn end(&mut self, run: &RunReport) -> io::Result<()> {
        self.begin()?;
        for leftover in &run.leftovers {
            writeln!(self.out, "# left behind: {}", escape(leftover))?;
        }
        if run.interrupted {
            writeln!(self.out, "Bail out! interrupted")?;
        }
        writeln!(self.out, "1..{}", self.told)?;
        self.out.flush()
    }
}

/// The YAML block.
fn write_block(out: &mut dyn Write, case: &CaseReport) -> io::Result<()> {
    writeln!(out, "  ---")?;
    write_field(out, "verdict", case.outcome.word())?;
    writeln!(out, "  duration_ms: {}", case.duration.as_millis())?;
    match &case.outcome {
        Outcome::Missing { reason } => write_field(out, "message", reason)?,
        Outcome::Error { causes } => write_field(out, "message", &causes.join(": "))?,
        Outcome::Passed
        | Outcome::Failed { .. }
        | Outcome::Known { .. }
        | Outcome::Flaky { .. }
        | Outcome::NotApplicable { .. } => {}
    }
    if let Some(failure) = case.outcome.failure() {
        write_field(out, "message", &failure.sentence)?;
        if let Some(place) = &failure.place {
            write_field(
                out,
                "at",
                &format!("{}:{}:{}", place.file.display(), place.line, place.column),
            )?;
        }
        write_field(out, "again", &failure.command)?;
    }
    if let Some(folder) = &case.folder {
        write_field(out, "recordings", &folder.to_string_lossy())?;
    }
    writeln!(out, "  ...")
}

/// A JSON string is a YAML string.
fn write_field(out: &mut dyn Write, name: &str, value: &str) -> io::Result<()> {
    writeln!(
        out,
        "  {name}: {}",
        serde_json::Value::from(text::printable(&value.replace('\n', " ")))
    )
}

/// Text of one line in which no directive begins.
fn escape(text: &str) -> String {
    text::printable(&text.replace('\n', " "))
        .replace('\\', "\\\\")
        .replace('#', "\\#")
}
