//! What a case leaves behind: its outcome in words, and its recordings.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use lastwords_vm::kernel::Kernel;

use crate::{
    report::{CaseReport, Diff, FailureReport, Outcome, StepPlace, text::printable},
    run::{
        Error,
        case::{Interrupted, Setting},
        collected,
        loss::spoilt,
        stage::Stage,
        trouble::{Failed, Trouble},
    },
    scenario::{Action, Known, Pattern, Place, Scenario, Step, needs::KernelVersion},
    verdict::Failure,
};

/// How many findings of an audit are told.
const FINDINGS: usize = 5;

/// How many characters of a command are shown.
const COMMAND: usize = 160;

/// What a case came to, after what its file announces.
pub(crate) fn outcome(
    stage: &Stage<'_>,
    kernel: &Kernel,
    played: Result<(), Interrupted<'_>>,
) -> Outcome {
    let scenario = stage.scenario;
    let known = announced(scenario, kernel);
    match (played, known) {
        (Ok(()), None) => Outcome::Passed,
        (Ok(()), Some(known)) => {
            let sentence = format!(
                "it passes, though the file announces that it fails: {}",
                known.because
            );
            Outcome::Failed {
                failure: Box::new(failure(scenario, kernel, None, sentence)),
            }
        }
        (
            Err(Interrupted {
                trouble: Trouble::Error(error),
                ..
            }),
            _,
        ) => Outcome::Error {
            causes: crate::run::case::causes(&error),
        },
        (
            Err(Interrupted {
                step,
                trouble: Trouble::Failed(failed),
            }),
            known,
        ) => {
            let failure = Box::new(failure_of(stage, kernel, step, &failed));
            if let Some(causes) = spoilt(&stage.lab.losses(), &failure.sentence) {
                return Outcome::Error { causes };
            }
            match known {
                Some(known) => Outcome::Known {
                    failure,
                    because: known.because.clone(),
                    link: known.link.clone(),
                },
                None => Outcome::Failed { failure },
            }
        }
    }
}

/// The failure that the file announces for this kernel.
fn announced<'scenario>(
    scenario: &'scenario Scenario,
    kernel: &Kernel,
) -> Option<&'scenario Known> {
    let version = KernelVersion::from_release(&kernel.release)?;
    let here = |known: &&Known| {
        known.kernel.iter().all(|range| range.holds(version))
            && known.backend.as_deref().is_none_or(|name| name == "vm")
    };
    scenario.known.iter().find(here)
}

fn failure(
    scenario: &Scenario,
    kernel: &Kernel,
    step: Option<&Step>,
    sentence: String,
) -> FailureReport {
    FailureReport {
        place: step.map(|step| place(scenario, &step.place)),
        sentence,
        command: again(scenario, kernel),
        ..FailureReport::default()
    }
}

fn place(scenario: &Scenario, place: &Place) -> StepPlace {
    let source = fs::read_to_string(&scenario.path).unwrap_or_default();
    let line = source
        .lines()
        .nth(place.line.saturating_sub(1))
        .unwrap_or_default();
    StepPlace {
        file: scenario.path.clone(),
        line: place.line,
        column: place.column,
        source: line.to_owned(),
    }
}

/// The command that runs just this case again.
fn again(scenario: &Scenario, kernel: &Kernel) -> String {
    let path = shell_word(&scenario.path.display().to_string());
    let filter = match scenario.name.split_once('[') {
        Some(_) => format!(
            " --filter {}",
            shell_word(&format!("{}$", regex::escape(&scenario.name)))
        ),
        None => String::new(),
    };
    let modules: String = kernel
        .modules
        .replacements()
        .map(|module| format!(" --module {}", shell_word(&module.display().to_string())))
        .collect();
    format!(
        "lastwords run {path} --kernel {}{modules}{filter}",
        shell_word(&kernel.name)
    )
}

fn shell_word(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=+@,".contains(&byte);
    if word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn failure_of(
    stage: &Stage<'_>,
    kernel: &Kernel,
    step: Option<&Step>,
    failed: &Failed,
) -> FailureReport {
    let scenario = stage.scenario;
    let mut report = match failed {
        Failed::Expectation(unmet) => expectation(scenario, kernel, step, unmet),
        Failed::Refused(refusal) if step.is_some_and(|step| is_at_a_receiver(scenario, step)) => {
            failure(
                scenario,
                kernel,
                step,
                printable(&format!(
                    "`{}` at {} fails: {}",
                    start_of(&refusal.doing),
                    step.map_or("", |step| &scenario.node(step.on).name),
                    refusal.reason
                )),
            )
        }
        Failed::Refused(refusal) => failure(
            scenario,
            kernel,
            step,
            printable(&format!(
                "the kernel refuses `{}`: {}",
                start_of(&refusal.doing),
                refusal.reason
            )),
        ),
        Failed::NotRefused(sentence) | Failed::Died(sentence) => {
            failure(scenario, kernel, step, sentence.clone())
        }
        Failed::NoTarget { target, said } => {
            let sentence = format!(
                "the module is loaded, and target `{target}` is not there: nothing leaves the sender"
            );
            said_of(failure(scenario, kernel, step, sentence), said)
        }
        Failed::NotLoaded { target, said } => {
            let sentence =
                format!("target `{target}` is not there: the boot has not loaded netconsole");
            said_of(failure(scenario, kernel, step, sentence), said)
        }
        Failed::Audit(findings) => {
            let sentence = findings
                .first()
                .map_or(String::new(), |finding| finding.sentence.clone());
            let mut report = failure(scenario, kernel, None, sentence);
            report.facts = findings
                .iter()
                .skip(1)
                .take(FINDINGS)
                .map(|finding| finding.sentence.clone())
                .collect();
            report
        }
    };
    let target = stage.target.filter(|_| step.is_none());
    if let Some(target) = target.map(|target| &scenario.targets[target])
        && !target.place.span.is_empty()
    {
        report.place = Some(place(scenario, &target.place));
    }
    if let Some(program) = stage
        .receiver
        .and_then(|node| scenario.node(node).program())
    {
        report.place = Some(place(scenario, &program.place));
    }
    let faults = stage.faults.iter().map(|fault| printable(fault));
    let untold: Vec<String> = faults
        .filter(|fault| *fault != printable(&report.sentence))
        .take(FINDINGS)
        .collect();
    report.facts.extend(untold);
    report
}

/// With what the kernel, and the programs of its start, have said.
fn said_of(mut report: FailureReport, said: &[String]) -> FailureReport {
    let facts = said
        .iter()
        .map(|line| format!("the machine says `{}`", printable(line)));
    report.facts = facts.collect();
    report
}

/// Whether a step is done at a receiver, not by the kernel under test.
fn is_at_a_receiver(scenario: &Scenario, step: &Step) -> bool {
    let action = matches!(step.action, Action::Program(_) | Action::Run(_));
    action && scenario.node(step.on).program().is_some()
}

/// The start of a command, so that what came of it is seen, too.
fn start_of(command: &str) -> String {
    match command.char_indices().nth(COMMAND) {
        Some((end, _)) => format!("{}…", &command[..end]),
        None => command.to_owned(),
    }
}

fn expectation(
    scenario: &Scenario,
    kernel: &Kernel,
    step: Option<&Step>,
    unmet: &Failure,
) -> FailureReport {
    let Some(first) = unmet.problems.first() else {
        return failure(
            scenario,
            kernel,
            step,
            "the expectation is not met".to_owned(),
        );
    };
    let mut report = failure(scenario, kernel, step, first.sentence.clone());
    report.expected = step.map(expected).unwrap_or_default();
    report.nearest = first
        .nearest
        .iter()
        .map(|nearest| nearest.text.clone())
        .collect();
    report.diff = first.line.and_then(|line| {
        let closest = first.nearest.first()?;
        Some(Diff {
            expected: report.expected.get(line)?.clone(),
            arrived: closest.text.clone(),
        })
    });
    report.facts = unmet
        .problems
        .iter()
        .skip(1)
        .take(FINDINGS)
        .map(|problem| problem.sentence.clone())
        .chain(unmet.facts.iter().cloned())
        .collect();
    report
}

/// The lines of an expectation, as its file has them.
fn expected(step: &Step) -> Vec<String> {
    let lines = match &step.action {
        Action::Expect(expect) => &expect.lines,
        Action::Absent(absent) => &absent.lines,
        _ => return Vec::new(),
    };
    let shown = lines.iter().map(|line| match &line.pattern {
        Pattern::Literal(text) => printable(text),
        Pattern::Regex(regex) => format!("/{}/", printable(regex.as_str())),
    });
    shown.collect()
}

/// What a reader should know besides the outcome.
pub(crate) fn notes(stage: &Stage<'_>) -> Vec<String> {
    let mut notes: Vec<String> = stage.lab.losses().iter().map(ToString::to_string).collect();
    let left_out = stage.lab.captures().left_out();
    if left_out > 0 {
        notes.push(format!(
            "{left_out} frames were judged and not kept in the recordings: they are limited"
        ));
    }
    for log in stage.logs.values() {
        if log.lost > 0 {
            notes.push("the kernel log was overwritten before it was read; what was lost could not be compared".to_owned());
        }
        if log.left_out > 0 {
            notes.push(format!(
                "{} records of the kernel log were not kept: they are limited",
                log.left_out
            ));
        }
    }
    for guest in &stage.guests {
        if let Some(reason) = &guest.renewed {
            notes.push(reason.clone());
        }
    }
    notes
}

/// Writes the recordings where they are wanted: of what did not pass, or of all. Where they cannot be written the
/// report says so; the verdict stands.
pub(crate) fn keep(
    stage: &Stage<'_>,
    report: &mut CaseReport,
    setting: &Setting,
) -> Option<PathBuf> {
    let passed = matches!(report.outcome, Outcome::Passed | Outcome::Known { .. });
    if passed && !setting.keep {
        return None;
    }
    let folder = setting
        .folder
        .join(file_name(&report.kernel))
        .join(format!("{}{}", report.name, setting.attempt));
    match write(stage, &folder) {
        Ok(()) => Some(folder),
        Err(error) => {
            report.notes.push(crate::run::stage::chain(&error));
            None
        }
    }
}

fn write(stage: &Stage<'_>, folder: &Path) -> Result<(), Error> {
    let wrong = |source: io::Error| Error::Folder {
        path: folder.to_owned(),
        source,
    };
    fs::create_dir_all(folder).map_err(wrong)?;
    stage.lab.captures().write(folder)?;
    for (node, log) in &stage.logs {
        let name = &stage.scenario.node(*node).name;
        fs::write(
            folder.join(format!("kmsg-{}.log", file_name(name))),
            log.records.concat(),
        )
        .map_err(wrong)?;
    }
    for node in stage.receivers.keys() {
        let name = &stage.scenario.node(*node).name;
        collected::write(&stage.judge, *node, &folder.join(file_name(name))).map_err(wrong)?;
    }
    Ok(())
}

/// A name without what would lead elsewhere.
fn file_name(name: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "-_.+=".contains(letter);
    let name: String = name
        .chars()
        .map(|letter| if plain(letter) { letter } else { '-' })
        .collect();
    name.trim_matches('.').to_owned()
}
