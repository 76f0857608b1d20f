//! What a run leaves and says: recordings, reports, and a standard output that holds nothing else.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::home::{HELLO, Home, missing, said};

const FAILS: &str = r#"
title = "Another line arrives"
[[steps]]
kmsg = "hallo"
[[steps]]
expect = { lines = ["hello"], within = "1s" }
"#;

/// All files below a folder, by their paths in it.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found
}

fn outside(home: &Home, text: &str, arguments: &[&str], code: i32) -> PathBuf {
    let out = home.work().join("out");
    let mut all = vec!["--out", out.to_str().unwrap()];
    all.extend(arguments);
    home.play(text, &all).code(code);
    out
}

#[test]
fn a_folder_holds_wires_kernel_log_and_report() {
    let home = Home::shared();
    let out = outside(&home, HELLO, &[], 0);
    let case = "debian-6.1/work/scenario";
    let expected = ["report.json".to_owned(), format!("{case}/kmsg-sender.log")];
    let files = files(&out);
    for file in expected {
        assert!(files.contains(&file), "no {file} in {files:?}");
    }
    let wires = files
        .iter()
        .filter(|file| file.starts_with(&format!("{case}/wire-")));
    assert!(wires.clone().count() > 0, "{files:?}");
    assert!(
        wires.clone().all(|file| file.ends_with(".pcapng")),
        "{files:?}"
    );
    let log = fs::read_to_string(out.join(case).join("kmsg-sender.log")).unwrap();
    assert!(log.lines().any(|line| line.ends_with(";hello")), "{log}");
}

#[test]
fn wires_are_read_by_others() {
    if which::which("tshark").is_err() {
        missing("tshark");
        return;
    }
    let home = Home::shared();
    let out = outside(&home, HELLO, &[], 0);
    let wires = files(&out)
        .into_iter()
        .filter(|file| file.ends_with(".pcapng"));
    let mut lines = Vec::new();
    for wire in wires {
        let output = Command::new("tshark")
            .args(["-n", "-r"])
            .arg(out.join(wire))
            .args([
                "-o",
                "ip.check_checksum:TRUE",
                "-o",
                "udp.check_checksum:TRUE",
            ])
            .args([
                "-Y",
                "udp.port == 6666 && ip.checksum.status == 1 && udp.checksum.status == 1",
            ])
            .args([
                "-T",
                "fields",
                "-e",
                "ip.src",
                "-e",
                "udp.srcport",
                "-e",
                "ip.dst",
                "-e",
                "udp.payload",
            ])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        lines.extend(
            String::from_utf8(output.stdout)
                .unwrap()
                .lines()
                .map(str::to_owned),
        );
    }
    // `] hello` and a newline, behind the time.
    let hello = |line: &&String| {
        line.starts_with("172.16.0.1\t6665\t172.16.0.2\t") && line.ends_with("5d2068656c6c6f0a")
    };
    assert_eq!(lines.iter().filter(hello).count(), 1, "{lines:#?}");
}

#[test]
fn the_report_of_a_folder_is_the_one_on_standard_output() {
    let home = Home::shared();
    let out = home.work().join("out");
    let arguments = ["--format", "json", "--out", out.to_str().unwrap()];
    let (output, _) = said(&home.play(FAILS, &arguments).code(1));
    let printed: Value = serde_json::from_str(&output).unwrap();
    let left: Value = serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(printed, left);
}

/// The names of the keys are what other programs depend on: what goes or changes its meaning raises `schema_version`.
#[test]
fn the_keys_of_a_report_are_stable() {
    let home = Home::shared();
    let (output, _) = said(&home.play(FAILS, &["--format", "json"]).code(1));
    let report: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(report["schema_version"], 1);
    assert_eq!(report["exit_code"], 1);
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        keys(&report),
        "cases duration_seconds exit_code interrupted lastwords leftovers not_run schema_version summary"
    );
    assert_eq!(
        keys(&report["summary"]),
        "error failed flaky known missing n/a passed"
    );
    let case = &report["cases"][0];
    assert_eq!(
        keys(case),
        "arrived backend duration_seconds failure folder kernel name notes seeds timings title verdict"
    );
    assert_eq!(case["verdict"], "failed");
    assert_eq!(keys(&case["failure"]["place"]), "column file line source");
    assert!(Path::new(case["folder"].as_str().unwrap()).is_dir());
}

#[test]
fn what_passes_leaves_nothing_unless_it_is_to_be_kept() {
    let home = Home::new();
    home.play(HELLO, &[]).code(0);
    assert_eq!(files(&home.cache().join("runs")), BTreeSet::new());
    home.play(HELLO, &["--keep"]).code(0);
    let kept = files(&home.cache().join("runs"));
    assert!(
        kept.iter().any(|file| file.ends_with("/kmsg-sender.log")),
        "{kept:?}"
    );
}

#[test]
fn what_fails_leaves_its_recordings_and_says_where() {
    let home = Home::new();
    let (output, _) = said(&home.play(FAILS, &[]).code(1));
    let line = output
        .lines()
        .find_map(|line| line.trim().strip_prefix("recordings "));
    let folder = Path::new(line.unwrap_or_else(|| panic!("{output}")));
    assert!(folder.starts_with(home.cache()), "{output}");
    assert!(folder.join("kmsg-sender.log").is_file(), "{output}");
}

/// The last twenty runs that left something stay.
#[test]
fn recordings_do_not_fill_the_disk() {
    let home = Home::new();
    let runs = home.cache().join("runs");
    for number in 0..30 {
        fs::create_dir_all(runs.join(format!("20200101-0000{number:02}-1/left"))).unwrap();
    }
    home.play(FAILS, &[]).code(1);
    assert_eq!(fs::read_dir(&runs).unwrap().count(), 20);
}

#[test]
fn standard_output_holds_results_and_nothing_else() {
    let home = Home::shared();
    let (output, errors) = said(&home.play(HELLO, &["--timings"]).code(0));
    let lines: Vec<&str> = output.lines().collect();
    let [case, summary] = lines.as_slice() else {
        panic!("two lines, not {output}");
    };
    assert!(
        case.starts_with("passed  work/scenario  debian:6.1  "),
        "{case}"
    );
    assert!(
        summary.starts_with("1 passed, 0 failed, 0 n/a, 0 missing in "),
        "{summary}"
    );
    assert!(
        !output.contains('\x1b') && !errors.contains('\x1b'),
        "{output}{errors}"
    );
    assert!(errors.contains("  start\n"), "{errors}");
}

#[test]
fn tap_is_tap() {
    let home = Home::shared();
    let (output, _) = said(&home.play(HELLO, &["--format", "tap"]).code(0));
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], "TAP version 14");
    assert_eq!(lines[1], "ok 1 - work/scenario debian:6.1");
    assert_eq!(lines.last(), Some(&"1..1"));
}

#[test]
fn arrived_lines_are_shown_where_asked() {
    let home = Home::shared();
    let (output, _) = said(&home.play(HELLO, &["--show-lines"]).code(0));
    assert!(output.contains("\n    | hello\n"), "{output}");
}

#[test]
fn a_reader_that_goes_away_is_no_crash() {
    let home = Home::shared();
    let scenario = home.scenario("hello", HELLO);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = home.command();
    let output = command
        .arg("run")
        .arg(scenario)
        .stdout(writer)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("results cannot be written"), "{errors}");
    home.nothing_is_left();
}

#[test]
fn a_standard_error_that_is_full_changes_no_verdict() {
    let home = Home::shared();
    let scenario = home.scenario("hello", HELLO);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = home.command();
    let output = command
        .arg("run")
        .arg(scenario)
        .stderr(full)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.starts_with("passed  work/hello"), "{text}");
}

#[test]
fn results_that_cannot_be_written_are_no_success() {
    let home = Home::shared();
    let scenario = home.scenario("hello", HELLO);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = home.command();
    let output = command
        .arg("run")
        .arg(scenario)
        .stdout(full)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(
        errors.contains("results cannot be written\n  because No space left"),
        "{errors}"
    );
    home.nothing_is_left();
}
