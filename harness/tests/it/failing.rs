//! Scenarios that must come out failed: one for each kind of thing that can be wrong, with exactly what is said of it.
//!
//! `LASTWORDS_ACCEPT=1 cargo test failing` writes down what is said now.

use std::{env, fs, path::Path, sync::LazyLock};

use assert_cmd::Command;
use regex::{Captures, Regex};
use rstest::rstest;

use crate::home::{Home, KERNEL};

/// For what [`KERNEL`] cannot do.
const NEWER_KERNEL: &str = "debian:6.12";

#[rstest]
fn comes_out_failed(#[files("tests/data/failing/*.toml")] path: std::path::PathBuf) {
    let text = fs::read_to_string(&path).unwrap();
    let said = failure_of(&path, &text);
    let golden = path.with_extension("stdout");
    if env::var_os("LASTWORDS_ACCEPT").is_some() {
        fs::write(&golden, &said).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    assert_eq!(said, expected, "not what {} has", golden.display());
}

/// What the program says of a scenario that fails, without what differs from run to run.
fn failure_of(path: &Path, text: &str) -> String {
    let home = Home::shared();
    let file = path.file_name().unwrap();
    fs::copy(path, home.work().join(file)).unwrap();
    let kernel = if text.contains("needs = { kernel = ") {
        NEWER_KERNEL
    } else {
        KERNEL
    };
    let mut command = home.command();
    command
        .arg("run")
        .arg(file)
        .args(["--kernel", kernel, "--out", "out", "--retries", "0"]);
    let assert = Command::from_std(command).assert().code(1);
    home.nothing_is_left();
    let said = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    steady(&said)
}

/// Durations, sequence numbers, times and releases by name.
fn steady(said: &str) -> String {
    static CHANGING: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(concat!(
            r"(?m)(?P<duration>(?:\d+m )?\d+(?:\.\d+)?m?s)$",
            r"|(?P<record>(?:record|between|and) \d+)",
            r"|(?P<time>\[? *\d+\.\d{6}\])",
            r"|(?P<date>\d{4}-\d\d-\d\dT[0-9:.]+\+00:00|\d{4}/\d\d/\d\d [0-9:]{8}|[A-Z][a-z]{2} [ \d]\d [0-9:]{8})",
            r"|(?P<datagrams>\d+ datagrams)",
            r"|(?P<release>\d+\.\d+\.\d+[-+.0-9a-z]*-amd64)",
        ))
        .unwrap()
    });
    let name = |found: &Captures<'_>| {
        let (word, _) = found[0].split_once(' ').unwrap_or_default();
        ["duration", "record", "time", "date", "datagrams", "release"]
            .into_iter()
            .find(|name| found.name(name).is_some())
            .map_or_else(String::new, |name| match name {
                "record" => format!("{word} N"),
                "datagrams" => "N datagrams".to_owned(),
                other => other.to_uppercase(),
            })
    };
    CHANGING.replace_all(said, name).into_owned()
}

#[test]
fn what_differs_from_run_to_run_has_a_name() {
    let said = "failed  a  debian:6.1  1.23s\n    record 9 did not come between 8 and 10: `[    5.000001] x`\n0 passed in 1m 02s\n";
    let steadied = "failed  a  debian:6.1  DURATION\n    record N did not come between N and N: `TIME x`\n0 passed in DURATION\n";
    assert_eq!(steady(said), steadied);
}
