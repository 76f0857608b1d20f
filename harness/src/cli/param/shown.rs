//! The answers of `lastwords param` for people.

use std::{
    io::{self, Write},
    ops::Range,
};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::param::{
    Explanation, Finding, Proposal, Severity,
    explain::{Meaning, Target},
};

/// Prints what logs to the receiver, then what is to be known.
pub(crate) fn proposal(proposal: &Proposal) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{}\n", proposal.reason)?;
    section(
        &mut out,
        "The parameter:",
        [&format!("netconsole={}", proposal.parameter)],
    )?;
    if let Some(modprobe) = &proposal.modprobe {
        section(&mut out, "Now:", [modprobe])?;
    }
    for file in &proposal.files {
        let what = if file.append {
            "one more line of"
        } else {
            "in"
        };
        let title = format!("At every boot, {what} {}:", file.path);
        section(&mut out, &title, [&file.line])?;
    }
    let title = if proposal.modprobe.is_some() {
        "Or on the kernel's command line, where what loads modules reads it:"
    } else {
        "On the kernel's command line:"
    };
    section(&mut out, title, [&proposal.cmdline])?;
    section(&mut out, "Or through configfs:", &proposal.configfs)?;
    let renderer = renderer();
    for finding in &proposal.findings {
        writeln!(out, "{}\n", rendered(finding, None, &renderer))?;
    }
    Ok(())
}

/// Prints what each field means, then what is wrong.
pub(crate) fn explanation(explanation: &Explanation) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    let several = explanation.targets.len() > 1;
    for (number, target) in explanation.targets.iter().enumerate() {
        if several {
            writeln!(out, "Target {}: {}", number + 1, target.text)?;
        }
        meanings(&mut out, target)?;
    }
    let renderer = renderer();
    for located in &explanation.findings {
        let place = located
            .span
            .clone()
            .map(|span| (explanation.text.as_str(), span));
        writeln!(out, "{}\n", rendered(&located.finding, place, &renderer))?;
    }
    let is_wrong = crate::param::finding::is_wrong(
        explanation.findings.iter().map(|located| &located.finding),
    );
    if !is_wrong {
        writeln!(out, "Nothing is wrong with it here.")?;
    }
    Ok(())
}

fn section<T: AsRef<str>>(
    out: &mut impl Write,
    title: &str,
    lines: impl IntoIterator<Item = T>,
) -> io::Result<()> {
    writeln!(out, "{title}")?;
    for line in lines {
        writeln!(out, "    {}", line.as_ref())?;
    }
    writeln!(out)
}

/// A table: what is written, which field it is, what the kernel takes, and what that is here.
fn meanings(out: &mut impl Write, target: &Target) -> io::Result<()> {
    let written = |meaning: &Meaning| meaning.text.clone().unwrap_or_else(|| "-".to_owned());
    let width = target
        .fields
        .iter()
        .map(|meaning| written(meaning).chars().count())
        .max()
        .unwrap_or_default();
    for meaning in &target.fields {
        let name = name(meaning);
        let taken = match (&meaning.text, &meaning.value) {
            (None, Some(value)) => format!("left out, so {value}: "),
            _ => String::new(),
        };
        writeln!(
            out,
            "  {:width$}  {name:14}  {taken}{}",
            written(meaning),
            meaning.meaning
        )?;
    }
    if let Some(reason) = &target.reason {
        writeln!(out, "  {reason}")?;
    }
    if !target.fields.is_empty() {
        writeln!(out)?;
    }
    Ok(())
}

fn name(meaning: &Meaning) -> String {
    use crate::netconsole::parameter::Field;
    match meaning.field {
        Field::Extended | Field::Release => "format".to_owned(),
        field => field.to_string(),
    }
}

/// A finding as the Rust compiler shows its own, with its place where it has one.
fn rendered(finding: &Finding, place: Option<(&str, Range<usize>)>, renderer: &Renderer) -> String {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let title = level.primary_title(finding.text.as_str());
    let mut group = match &place {
        Some((text, span)) => {
            let snippet: Snippet<'_, _> = Snippet::source(*text);
            title.element(snippet.annotation(AnnotationKind::Primary.span(span.clone())))
        }
        None => Group::with_title(title),
    };
    if let Some(help) = &finding.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

/// In colour on a terminal.
fn renderer() -> Renderer {
    if anstream::AutoStream::choice(&io::stdout()) == anstream::ColorChoice::Never {
        Renderer::plain()
    } else {
        Renderer::styled()
    }
}
