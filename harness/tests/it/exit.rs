//! Exit codes, and which cases run how often.

use rstest::rstest;

use crate::home::{HELLO, Home, said};

/// Nothing of the kernel's is expected: the line was never printed.
const FAILS: &str = r#"
title = "Never printed"
[[steps]]
kmsg = "hello"
[[steps]]
expect = { lines = ["goodbye"], within = "1s" }
"#;
const NOT_APPLICABLE: &str = r#"
title = "For a kernel to come"
needs = { kernel = ">=99" }
[[steps]]
kmsg = "hello"
"#;
const MISSING: &str = r#"
title = "For another machine"
needs = { program = "no-such-program-anywhere" }
[[steps]]
kmsg = "hello"
"#;
const ERROR: &str = r#"
title = "Never comes up"
[nodes]
sender = { role = "sender", cmdline = "rdinit=/nonexistent" }
receiver = { role = "receiver" }
[[steps]]
kmsg = "hello"
"#;
const MISTAKEN: &str = "title = \"Mistaken\"\n[[steps]]\nkmgs = \"hello\"\n";

/// `0 passed` and so on, as the last line has it; the exit code.
#[rstest]
#[case::success(&[HELLO], 0, "1 passed, 0 failed, 0 n/a, 0 missing in ")]
#[case::some_are_left_out(&[HELLO, NOT_APPLICABLE, MISSING], 0, "1 passed, 0 failed, 1 n/a, 1 missing in ")]
#[case::a_verdict_failed(&[HELLO, FAILS], 1, "1 passed, 1 failed, 0 n/a, 0 missing in ")]
#[case::no_verdict(&[HELLO, FAILS, ERROR], 3, "1 passed, 1 failed, 1 without a verdict, 0 n/a, 0 missing in ")]
#[case::nothing_ran(&[NOT_APPLICABLE, MISSING], 4, "0 passed, 0 failed, 1 n/a, 1 missing in ")]
fn the_exit_code_follows_from_all_cases(
    #[case] scenarios: &[&str],
    #[case] code: i32,
    #[case] summary: &str,
) {
    let home = Home::shared();
    for (number, text) in scenarios.iter().enumerate() {
        home.scenario(&format!("case{number}"), text);
    }
    let (output, _) = said(&home.run(["run", "."]).code(code));
    let last = output.lines().last().unwrap();
    assert!(last.starts_with(summary), "{output}");
}

#[test]
fn reasons_are_given_for_what_is_left_out() {
    let home = Home::shared();
    home.scenario("later", NOT_APPLICABLE);
    home.scenario("other", MISSING);
    let (output, _) = said(&home.run(["run", "."]).code(4));
    let mut lines = output.lines();
    let later = lines.next().unwrap();
    assert!(
        later.starts_with("n/a     later  debian:6.1  needs kernel >=99, this is 6.1."),
        "{output}"
    );
    let other = "missing  other  debian:6.1  needs program `no-such-program-anywhere`, which is not on the PATH";
    assert_eq!(lines.next(), Some(other));
}

/// As Debian's users have it, who have no /usr/sbin in their PATH.
#[test]
fn programs_are_found_where_administrators_have_them() {
    let home = Home::shared();
    let text = HELLO.replace(
        "[[steps]]\nkmsg",
        "needs = { program = \"modprobe\" }\n[[steps]]\nkmsg",
    );
    let scenario = home.scenario("needs", &text);
    let mut command = home.command();
    command
        .arg("run")
        .arg(scenario)
        .env("PATH", "/usr/bin:/bin");
    assert_cmd::Command::from_std(command).assert().code(0);
}

#[rstest]
#[case::set("1", 1)]
#[case::set_to_nothing("", 4)]
#[case::set_to_no("0", 4)]
fn nothing_may_be_missing_where_nothing_is_skipped(#[case] value: &str, #[case] code: i32) {
    let home = Home::shared();
    let scenario = home.scenario("other", MISSING);
    let mut command = home.command();
    command
        .arg("run")
        .arg(scenario)
        .env("LASTWORDS_NO_SKIP", value);
    assert_cmd::Command::from_std(command).assert().code(code);
}

#[test]
fn what_the_kernel_cannot_have_is_no_failure_either() {
    let home = Home::shared();
    let scenario = home.scenario("later", NOT_APPLICABLE);
    let mut command = home.command();
    command
        .arg("run")
        .arg(scenario)
        .env("LASTWORDS_NO_SKIP", "1");
    assert_cmd::Command::from_std(command).assert().code(4);
}

#[rstest]
#[case::no_command(&[], "Usage: lastwords")]
#[case::an_unknown_option(&["run", ".", "--frist"], "unexpected argument '--frist'")]
#[case::no_scenario(&["run"], "required arguments were not provided")]
#[case::no_such_file(&["run", "nowhere.toml"], "`nowhere.toml` cannot be read\n  because No such file or directory")]
#[case::an_empty_folder(&["run", "empty"], "there is no scenario file (*.toml) in `empty`")]
#[case::a_mistake(&["run", "bad"], "kmgs")]
#[case::a_mistake_checked(&["check", "bad"], "1 mistake in 1 file")]
#[case::a_filter_that_is_none(&["run", "good", "--filter", "("], "`--filter` is no regular expression")]
#[case::a_filter_that_leaves_nothing(&["run", "good", "--filter", "x"], "no case is left: none of 1 matches `--filter`")]
#[case::no_kernel_by_its_words(&["run", "good", "--kernel", "debian:"], "`debian:` names no kernel")]
fn usage_and_mistakes_are_told_apart(#[case] arguments: &[&str], #[case] sentence: &str) {
    let home = Home::without_kernels();
    for (folder, text) in [("good", HELLO), ("bad", MISTAKEN)] {
        std::fs::create_dir(home.work().join(folder)).unwrap();
        home.scenario(&format!("{folder}/one"), text);
    }
    std::fs::create_dir(home.work().join("empty")).unwrap();
    let mut command = home.command();
    command.args(arguments);
    let assert = assert_cmd::Command::from_std(command).assert().code(2);
    let (output, errors) = said(&assert);
    assert_eq!(output, "");
    assert!(errors.contains(sentence), "{errors}");
    home.nothing_is_left();
}

#[test]
fn a_mistake_in_one_file_keeps_all_from_running() {
    let home = Home::shared();
    home.scenario("good", HELLO);
    home.scenario("bad", MISTAKEN);
    let (output, errors) = said(&home.run(["run", "."]).code(2));
    assert_eq!(output, "");
    assert!(errors.contains("bad.toml:3:1"), "{errors}");
}

#[test]
fn each_case_runs_as_often_as_asked() {
    let home = Home::shared();
    let (output, _) = said(&home.play(HELLO, &["--repeat", "3"]).code(0));
    let passed = output
        .lines()
        .filter(|line| line.starts_with("passed  "))
        .count();
    assert_eq!(passed, 3, "{output}");
}

#[test]
fn the_first_failure_ends_the_run_where_asked() {
    let home = Home::shared();
    let arguments = ["--repeat", "5", "--jobs", "1", "--fail-fast"];
    let (output, _) = said(&home.play(FAILS, &arguments).code(1));
    assert!(
        output.contains("stopped  4 cases did not run\n0 passed, 1 failed"),
        "{output}"
    );
}

#[test]
fn only_what_matches_the_filter_runs() {
    let home = Home::shared();
    home.scenario("one", HELLO);
    home.scenario("two", FAILS);
    let (output, _) = said(&home.run(["run", ".", "--filter", "^on"]).code(0));
    assert!(output.starts_with("passed  one  debian:6.1"), "{output}");
    assert_eq!(output.lines().count(), 2, "{output}");
}

#[test]
fn the_backend_can_be_named() {
    let home = Home::shared();
    home.play(HELLO, &["--backend", "vm"]).code(0);
}
