use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use rstest::rstest;

use super::*;
use crate::report::{
    human::{Human, Show},
    json::Json,
    tap::Tap,
};

fn case(name: &str, outcome: Outcome) -> CaseReport {
    CaseReport {
        name: name.to_owned(),
        title: "Loading the floppy module shows on the remote agent".to_owned(),
        kernel: "debian:6.1".to_owned(),
        backend: "vm".to_owned(),
        outcome,
        duration: Duration::from_millis(840),
        timings: vec![Timing {
            what: "boot".to_owned(),
            took: Duration::from_millis(76),
        }],
        folder: None,
        arrived: vec![
            "Floppy drive(s): fd0 is 1.44M".to_owned(),
            "FDC 0 is a S82078B\x1b[2J".to_owned(),
        ],
        seeds: BTreeMap::from([("impair".to_owned(), 7)]),
        notes: Vec::new(),
    }
}

fn failure() -> Box<FailureReport> {
    Box::new(FailureReport {
        place: Some(StepPlace {
            file: PathBuf::from("scenarios/smoke/floppy.toml"),
            line: 31,
            column: 1,
            source: "expect = { at = \"agent\", lines = [\"Floppy drive(s): fd0 is 2.88M\"], within = \"5s\" }".to_owned(),
        }),
        sentence: "`Floppy drive(s): fd0 is 2.88M` was never printed".to_owned(),
        expected: vec!["Floppy drive(s): fd0 is 2.88M".to_owned()],
        nearest: vec!["Floppy drive(s): fd0 is 1.44M".to_owned(), "FDC 0 is a S82078B\x1b[2J".to_owned()],
        diff: Some(Diff {
            expected: "Floppy drive(s): fd0 is 2.88M".to_owned(),
            arrived: "Floppy drive(s): fd0 is 1.44M".to_owned(),
        }),
        facts: (1..=7).map(|number| format!("fact {number}")).collect(),
        command: "lastwords run scenarios/smoke/floppy.toml --kernel debian:6.1".to_owned(),
    })
}

/// One case of each kind.
fn cases() -> Vec<CaseReport> {
    let because = "netconsole prints nothing of a panic that reboots".to_owned();
    let mut cases = vec![
        case("smoke/floppy", Outcome::Passed),
        case("smoke/fails", Outcome::Failed { failure: failure() }),
        case(
            "panic/reboot",
            Outcome::Known {
                failure: failure(),
                because,
                link: Some("a#link".to_owned()),
            },
        ),
        case(
            "smoke/sometimes",
            Outcome::Flaky {
                passed: 2,
                runs: 3,
                failure: failure(),
            },
        ),
        case(
            "extended/release",
            Outcome::NotApplicable {
                reason: "needs kernel >=6.9, and this is 6.1.175".to_owned(),
            },
        ),
        case(
            "smoke/qemu",
            Outcome::Missing {
                reason: "QEMU is not there\n(install `qemu-system-x86`)".to_owned(),
            },
        ),
        case(
            "smoke/torn",
            Outcome::Error {
                causes: vec![
                    "cannot boot `debian:6.1`".to_owned(),
                    "no kernel\n(fetch \x07 it again)".to_owned(),
                ],
            },
        ),
    ];
    cases[1].folder = Some(PathBuf::from("out/smoke/fails"));
    cases[1].notes = vec!["3 frames to `box:eth0` were dropped".to_owned()];
    cases
}

fn run(cases: Vec<CaseReport>) -> RunReport {
    RunReport {
        cases,
        duration: Duration::from_millis(3200),
        leftovers: vec!["cannot remove `/tmp/x`".to_owned()],
        interrupted: false,
        not_run: 0,
        demands: Demands::default(),
    }
}

fn told<'a, F: Format>(
    run: &RunReport,
    out: &'a mut Vec<u8>,
    format: impl FnOnce(&'a mut Vec<u8>) -> F,
) {
    let mut format = format(out);
    for case in &run.cases {
        format.case(case).unwrap();
    }
    format.end(run).unwrap();
}

fn human(run: &RunReport, show: Show) -> String {
    let mut out = Vec::new();
    told(run, &mut out, |out| Human::new(out, show));
    String::from_utf8(anstream::adapter::strip_bytes(&out).into_vec()).unwrap()
}

#[test]
fn people_see_a_line_for_each_case_and_what_went_wrong() {
    insta::assert_snapshot!(human(&run(cases()), Show::Verdicts));
}

#[test]
fn people_see_what_arrived_where_they_ask_for_it() {
    let mut run = run(cases().drain(..1).collect());
    run.leftovers.clear();
    insta::assert_snapshot!(human(&run, Show::Lines));
}

#[test]
fn what_counts_as_failed_is_said() {
    let mut run = run(vec![cases().swap_remove(5)]);
    run.demands.missing_needs = MissingNeeds::Fail;
    assert!(
        human(&run, Show::Verdicts)
            .contains("missing counts as failed, since LASTWORDS_NO_SKIP is set\n")
    );
}

#[test]
fn a_failure_fits_a_screen_and_moves_no_cursor() {
    let mut failure = *failure();
    let hostile = "\x1b[31mkernel\n".repeat(500);
    failure.sentence.push_str(&hostile.replace('\n', ""));
    failure.expected = vec![hostile.clone(); 100];
    failure.nearest = vec![hostile.clone(); 100];
    failure.diff = Some(Diff {
        expected: hostile.clone(),
        arrived: hostile,
    });
    let mut case = case(
        "smoke/\x1b[2J",
        Outcome::Failed {
            failure: Box::new(failure),
        },
    );
    case.arrived = Vec::new();
    let text = human(&run(vec![case]), Show::Verdicts);
    assert!(text.lines().count() <= 30, "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() < 340),
        "{text}"
    );
    assert!(!text.contains('\x1b'));
}

#[test]
fn colours_are_there_for_a_terminal() {
    let mut out = Vec::new();
    told(&run(cases().drain(..1).collect()), &mut out, |out| {
        Human::new(out, Show::Verdicts)
    });
    assert!(
        out.starts_with(b"\x1b[32mpassed\x1b[0m  smoke/floppy  debian:6.1  0.84s\n"),
        "{out:?}"
    );
}

#[test]
fn programs_see_one_document() {
    let mut out = Vec::new();
    told(&run(cases()), &mut out, Json::new);
    let document = String::from_utf8(out).unwrap();
    insta::assert_snapshot!(document.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
}

#[test]
fn harnesses_see_a_test_for_each_case() {
    let mut out = Vec::new();
    told(&run(cases()), &mut out, |out| {
        Tap::new(out, Demands::default())
    });
    insta::assert_snapshot!(String::from_utf8(out).unwrap());
}

#[test]
fn harnesses_see_an_empty_plan_and_a_missing_need_that_fails() {
    let mut out = Vec::new();
    told(
        &RunReport {
            leftovers: Vec::new(),
            ..run(Vec::new())
        },
        &mut out,
        |out| Tap::new(out, Demands::default()),
    );
    assert_eq!(out, b"TAP version 14\n1..0\n");
    let mut out = Vec::new();
    told(&run(vec![cases().swap_remove(5)]), &mut out, |out| {
        Tap::new(out, STRICT)
    });
    assert!(out.starts_with(b"TAP version 14\nnot ok 1 - smoke/qemu debian:6.1\n"));
}

const STRICT: Demands = Demands {
    missing_needs: MissingNeeds::Fail,
    flaky: FlakyCases::Fail,
};

#[test]
fn a_flaky_case_passes_where_that_is_asked_for() {
    let mut run = run(vec![cases().swap_remove(FLAKY)]);
    run.demands.flaky = FlakyCases::Pass;
    assert_eq!(run.exit().code(), 0);
    let mut out = Vec::new();
    told(&run, &mut out, |out| Tap::new(out, run.demands));
    assert!(out.starts_with(b"TAP version 14\nok 1 - "), "{out:?}");
}

const PASSED: usize = 0;
const FAILED: usize = 1;
const KNOWN: usize = 2;
const FLAKY: usize = 3;
const NOT_APPLICABLE: usize = 4;
const MISSING: usize = 5;
const ERROR: usize = 6;

#[rstest]
#[case::all_is_well(&[PASSED, PASSED], 0, 0)]
#[case::some_did_not_run(&[PASSED, NOT_APPLICABLE], 0, 0)]
#[case::some_could_not_run(&[PASSED, MISSING], 0, 1)]
#[case::announced(&[KNOWN], 0, 0)]
#[case::failed(&[PASSED, FAILED, NOT_APPLICABLE], 1, 1)]
#[case::failed_sometimes(&[FLAKY], 1, 1)]
#[case::no_verdict_outweighs_a_failure(&[FAILED, ERROR, PASSED], 3, 3)]
#[case::nothing_at_all(&[], 4, 4)]
#[case::nothing_ran(&[NOT_APPLICABLE, NOT_APPLICABLE], 4, 4)]
#[case::nothing_could_run(&[NOT_APPLICABLE, MISSING], 4, 1)]
fn the_exit_code_is(#[case] outcomes: &[usize], #[case] skipping: u8, #[case] failing: u8) {
    let mut run = run(outcomes
        .iter()
        .map(|index| cases().swap_remove(*index))
        .collect());
    assert_eq!(run.exit().code(), skipping);
    run.demands.missing_needs = MissingNeeds::Fail;
    assert_eq!(run.exit().code(), failing);
}

#[test]
fn a_run_that_was_cut_short_is_no_success() {
    let mut run = run(vec![cases().swap_remove(PASSED)]);
    run.interrupted = true;
    assert_eq!(run.exit().code(), 0, "the signal came after the last case");
    run.not_run = 1;
    assert_eq!(run.exit().code(), 3);
}

#[test]
fn the_worst_exit_code_wins() {
    let mut all = [
        Exit::Failed,
        Exit::Usage,
        Exit::Success,
        Exit::NothingRan,
        Exit::NoVerdict,
    ];
    all.sort();
    assert_eq!(all.map(Exit::code), [0, 4, 1, 3, 2]);
}
