//! Which cases run, in which order, how often, and what of them waits for its turn.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    process::Stdio,
    time::{Duration, Instant},
};

use assert_cmd::assert::Assert;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::home::{HELLO, Home, qemu_major, said};

/// Takes long, and passes.
const SLOW: &str = r#"
title = "A line arrives after a while"
[[steps]]
run = ["sleep", "2"]
[[steps]]
kmsg = "hello"
[[steps]]
expect = "hello"
"#;
const FAILS: &str = r#"
title = "Never printed"
[[steps]]
kmsg = "hello"
[[steps]]
expect = { lines = ["goodbye"], within = "1s" }
"#;

/// The names of the cases, as they were told.
fn told(assert: &Assert) -> Vec<String> {
    let (output, _) = said(assert);
    let is_case = |line: &&str| {
        ["passed  ", "failed  "]
            .iter()
            .any(|word| line.starts_with(word))
    };
    let cases = output.lines().filter(is_case);
    cases
        .map(|line| line.split_whitespace().nth(1).unwrap().to_owned())
        .collect()
}

#[test]
fn results_keep_the_order_of_the_files() {
    let home = Home::new();
    for (name, text) in [("a", SLOW), ("b", HELLO), ("c", SLOW), ("d", HELLO)] {
        home.scenario(name, text);
    }
    for arguments in [["run", ".", "--jobs", "2"], ["run", ".", "--jobs", "2"]] {
        assert_eq!(told(&home.run(arguments).code(0)), ["a", "b", "c", "d"]);
    }
    assert_eq!(
        told(
            &home
                .run(["run", ".", "--jobs", "2", "--shuffle", "5"])
                .code(0)
        ),
        ["a", "b", "c", "d"]
    );
    let times = fs::read(home.cache().join("times.json")).unwrap();
    let times: Value = serde_json::from_slice(&times).unwrap();
    assert!(
        times["debian:6.1 a"].as_u64() > times["debian:6.1 b"].as_u64(),
        "{times}"
    );
}

#[test]
fn what_is_remembered_of_the_last_run_may_be_torn() {
    let home = Home::shared();
    let private = Home::new();
    drop(home);
    fs::write(
        private.cache().join("times.json"),
        "{\"debian:6.1 scenario\": 7",
    )
    .unwrap();
    private.play(HELLO, &["--jobs", "2"]).code(0);
    let times = fs::read(private.cache().join("times.json")).unwrap();
    serde_json::from_slice::<Value>(&times).unwrap();
}

/// With one job the first failure ends the run before another case begins, so the only case told is the first that began.
#[test]
fn a_seed_gives_the_same_order_again() {
    let home = Home::shared();
    for name in ["a", "b", "c", "d", "e"] {
        home.scenario(name, FAILS);
    }
    let first = |seed: &str| {
        let arguments = ["run", ".", "--jobs", "1", "--fail-fast", "--shuffle", seed];
        told(&home.run(arguments).code(1))
    };
    let firsts: BTreeSet<Vec<String>> = ["1", "2", "3", "4", "5"].map(first).into();
    assert!(firsts.iter().all(|told| told.len() == 1), "{firsts:?}");
    assert!(firsts.len() > 1, "{firsts:?}");
    assert_eq!(first("2"), first("2"));
}

#[test]
fn a_seed_of_chance_is_told() {
    let home = Home::shared();
    let assert = home.play(HELLO, &["--format", "json", "--shuffle"]).code(0);
    let (output, errors) = said(&assert);
    let report: Value = serde_json::from_str(&output).unwrap();
    let seed = &report["cases"][0]["seeds"]["shuffle"];
    assert!(
        errors.contains(&format!("lastwords: shuffled by `--shuffle {seed}`\n")),
        "{errors}"
    );
}

/// A QEMU that tells its kernel when it is started for the first time.
fn with_a_first_time(home: &Home) -> std::process::Command {
    let folder = home.path().join("bin");
    fs::create_dir_all(&folder).unwrap();
    let qemu = which::which("qemu-system-x86_64").unwrap();
    let qemu = qemu.display();
    let script = format!(
        "#!/bin/bash\n\
         {only_says_its_version}\n\
         if [ ! -e {marker} ]; then touch {marker}; set -- \"${{@/#panic=-1/first-time panic=-1}}\"; fi\n\
         exec {qemu} \"$@\"\n",
        // Where QEMU is old it is started once more at first, and this start is for nothing else.
        only_says_its_version = if qemu_major() < 8 {
            format!(r#"[[ " $* " == *" -cpu max "* ]] && exec {qemu} "$@""#)
        } else {
            String::new()
        },
        marker = home.path().join("started").display(),
    );
    let program = folder.join("qemu-system-x86_64");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = home.command();
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", folder.display()));
    command
}

const NOT_THE_FIRST_TIME: &str = r#"
title = "Fails the first time"
[[steps]]
run = ["grep", "-v", "first-time", "/proc/cmdline"]
"#;

#[rstest::rstest]
#[case::fails(&["--retries", "2"], 1, "1 flaky")]
#[case::passes_where_asked(&["--retries", "2", "--flaky", "pass"], 0, "1 flaky")]
#[case::is_not_run_again(&["--retries", "0"], 1, "1 failed")]
fn a_case_that_passes_when_it_is_run_again_is_flaky(
    #[case] arguments: &[&str],
    #[case] code: i32,
    #[case] word: &str,
) {
    let home = Home::shared();
    let scenario = home.scenario("scenario", NOT_THE_FIRST_TIME);
    let mut command = with_a_first_time(&home);
    command
        .arg("run")
        .arg(scenario)
        .arg("--cold")
        .args(arguments);
    let assert = assert_cmd::Command::from_std(command).assert().code(code);
    let (output, _) = said(&assert);
    assert!(output.lines().last().unwrap().contains(word), "{output}");
    if word == "1 flaky" {
        assert!(output.contains("1 of 2 runs passed"), "{output}");
        // Why it failed at first is shown, too.
        assert!(output.contains("first-time"), "{output}");
    }
    home.nothing_is_left();
}

#[test]
fn what_always_fails_has_failed() {
    let home = Home::shared();
    let (output, _) = said(
        &home
            .play(FAILS, &["--retries", "2", "--flaky", "pass"])
            .code(1),
    );
    assert!(output.contains("1 failed"), "{output}");
}

#[test]
fn each_run_of_a_case_leaves_its_own_recordings() {
    let home = Home::shared();
    let out = home.work().join("out");
    let arguments = ["--repeat", "2", "--retries", "1", "--jobs", "2", "--out"];
    let arguments: Vec<&str> = arguments
        .into_iter()
        .chain([out.to_str().unwrap()])
        .collect();
    home.play(FAILS, &arguments).code(1);
    let folders = fs::read_dir(out.join("debian-6.1/work")).unwrap();
    let names: BTreeSet<String> = folders
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected = [
        "scenario",
        "scenario.retry1",
        "scenario.run2",
        "scenario.run2.retry1",
    ];
    assert_eq!(names, expected.map(str::to_owned).into());
}

#[test]
fn the_next_guest_waits_for_its_turn() {
    let home = Home::shared();
    let (output, errors) = said(
        &home
            .play(HELLO, &["--repeat", "3", "--jobs", "1", "--timings"])
            .code(0),
    );
    assert!(output.contains("3 passed"), "{output}");
    assert!(errors.contains("ready before its turn"), "{errors}");
}

#[test]
fn guests_that_wait_end_with_the_run() {
    let home = Home::shared();
    home.scenario("a", FAILS);
    for name in ["b", "c"] {
        home.scenario(name, HELLO);
    }
    let (output, _) = said(&home.run(["run", ".", "--jobs", "1", "--fail-fast"]).code(1));
    assert!(
        output.contains("stopped  2 cases did not run\n0 passed, 1 failed"),
        "{output}"
    );
}

#[test]
fn guests_that_wait_end_with_an_interrupt() {
    let home = Home::shared();
    let scenario = home.scenario(
        "slow",
        &SLOW
            .replace("\"2\"", "\"600\"")
            .replace("run = [", "within = \"1h\"\nrun = ["),
    );
    let mut run = home
        .command()
        .arg("run")
        .arg(&scenario)
        .args(["--jobs", "1", "--repeat", "3"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while home.guests() < 2 {
        assert!(start.elapsed() < Duration::from_secs(120), "no guest waits");
        std::thread::yield_now();
    }
    kill(
        Pid::from_raw(i32::try_from(run.id()).unwrap()),
        Signal::SIGINT,
    )
    .unwrap();
    let lines: Vec<String> = BufReader::new(run.stdout.take().unwrap())
        .lines()
        .map(|line| line.unwrap())
        .collect();
    assert_eq!(run.wait().unwrap().code(), Some(3), "{lines:?}");
    assert!(
        lines
            .iter()
            .any(|line| line == "interrupted  2 cases did not run"),
        "{lines:?}"
    );
    home.nothing_is_left();
}
