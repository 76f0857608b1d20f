//! What the language's page says of a whole run, seen from outside on a real kernel.

use std::{fs, os::unix::fs::PermissionsExt};

use assert_cmd::Command;
use rstest::rstest;

use crate::home::{HELLO, Home, said};

/// A file that a step copies, and a script that says its folder, both beside the scenario and not where the program runs.
#[test]
fn paths_start_at_the_scenarios_folder() {
    let home = Home::shared();
    let folder = home.work().join("deep/er");
    fs::create_dir_all(&folder).unwrap();
    fs::write(home.work().join("piece.txt"), "of the working folder").unwrap();
    fs::write(folder.join("piece.txt"), "of the scenario's folder").unwrap();
    let script = folder.join("../script.sh");
    fs::write(&script, "#!/bin/sh\ncat /etc/piece.txt\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let text = r#"
title = "Files come from beside the scenario"
targets = []
[[steps]]
run = { command = ["sh", "-c", "/opt/script"], programs = ["sh", "cat"], files = { "/etc/piece.txt" = "piece.txt", "/opt/script" = "../script.sh" }, prints = "of the scenario's folder" }
"#;
    home.scenario("deep/er/files", text);
    home.run(["run", "deep/er/files.toml"]).code(0);
}

/// PID 1 mounts file systems of its own there.
#[rstest]
#[case::tmp("/tmp/deep/piece.txt")]
#[case::run("/run/piece.txt")]
fn files_are_found_where_they_were_put(#[case] place: &str) {
    let home = Home::shared();
    fs::write(home.work().join("piece.txt"), "found").unwrap();
    let text = format!(
        r#"
title = "A file below a mount"
targets = []
[[steps]]
run = {{ command = ["cat", "{place}"], files = {{ "{place}" = "piece.txt" }}, prints = "found" }}
"#
    );
    home.play(&text, &[]).code(0);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let home = Home::shared();
    let text = r#"
title = "A file of nobody"
targets = []
[[steps]]
run = { command = ["cat", "/x"], files = { "/x" = "no-such-file" } }
"#;
    let (output, _) = said(&home.play(text, &[]).code(3));
    let place = home.work().join("no-such-file");
    let sentence = format!("`{}` cannot be used", place.display());
    assert!(output.contains(&sentence), "{output}");
}

#[rstest]
#[case::an_older_kernel(
    r#"kernel = "<6""#,
    4,
    "n/a     work/scenario  debian:6.1  needs kernel <6, this is 6.1."
)]
#[case::this_kernel(r#"kernel = ">=6.1, <6.2""#, 0, "passed  work/scenario")]
#[case::one_range_of_two(
    r#"kernel = ">=6, <6.1""#,
    4,
    "n/a     work/scenario  debian:6.1  needs kernel <6.1"
)]
#[case::an_option_that_is_off(
    r#"config = ["CONFIG_NETCONSOLE", "NETDEVSIM"]"#,
    4,
    "needs CONFIG_NETDEVSIM, which 6.1."
)]
#[case::an_option_that_is_on(r#"config = "NETCONSOLE_DYNAMIC""#, 0, "passed  work/scenario")]
#[case::a_module_of_nobody(
    r#"module = "no_such_module""#,
    4,
    "needs module `no_such_module`, which 6.1."
)]
#[case::a_module(r#"module = ["floppy", "loop"]"#, 0, "passed  work/scenario")]
#[case::a_program_of_nobody(
    r#"program = "no-such-program""#,
    4,
    "missing  work/scenario  debian:6.1  needs program `no-such-program`"
)]
#[case::a_program(r#"program = ["sh"]"#, 0, "passed  work/scenario")]
#[case::a_kernel_of_its_own("own-kernel = true", 0, "passed  work/scenario")]
fn each_need_is_looked_at(#[case] need: &str, #[case] code: i32, #[case] start: &str) {
    let home = Home::shared();
    let text = format!("needs = {{ {need} }}{HELLO}");
    let (output, _) = said(&home.play(&text, &[]).code(code));
    assert!(output.contains(start), "{output}");
}

/// What the scenario runs by itself is needed, too.
#[test]
fn a_command_that_this_machine_lacks_is_missing() {
    let home = Home::shared();
    let text = "title = 'x'\n[[steps]]\nrun = ['no-such-program', '-x']\n";
    let (output, _) = said(&home.play(text, &[]).code(4));
    assert!(
        output.contains("missing  work/scenario  debian:6.1  needs program `no-such-program`"),
        "{output}"
    );
}

#[rstest]
#[case::here(
    r#"kernel = ">=6.1", backend = "vm", because = "so it is""#,
    0,
    "known   work/scenario"
)]
#[case::everywhere(r#"because = "so it is""#, 0, "known   work/scenario")]
#[case::on_other_kernels(r#"kernel = ">=7", because = "so it is""#, 1, "failed  work/scenario")]
#[case::on_another_backend(
    r#"backend = "netns", because = "so it is""#,
    1,
    "failed  work/scenario"
)]
fn a_known_failure_is_known_only_where_it_was_announced(
    #[case] known: &str,
    #[case] code: i32,
    #[case] start: &str,
) {
    let home = Home::shared();
    let text = format!(
        "title = 'x'\nknown = [{{ {known} }}]\n[[steps]]\nkmsg = 'a'\n[[steps]]\nexpect = {{ line = 'b', within = '1s' }}\n"
    );
    let (output, _) = said(&home.play(&text, &[]).code(code));
    assert!(output.starts_with(start), "{output}");
}

/// The cases of a matrix, by their names.
#[test]
fn a_case_is_called_by_its_file_and_its_values() {
    let home = Home::shared();
    fs::create_dir_all(home.work().join("some/folder")).unwrap();
    let text = "title = 'x'\nmatrix = { level = [0, 3] }\n[[steps]]\nkmsg = { text = 'a', level = '${level}' }\n[[steps]]\nexpect = 'a'\n";
    home.scenario("some/folder/file", text);
    let mut command = home.command();
    command.args(["run", ".", "--jobs", "1", "--format", "json"]);
    let assert = Command::from_std(command).assert().code(0);
    let (output, _) = said(&assert);
    for name in ["some/folder/file[level=0]", "some/folder/file[level=3]"] {
        assert!(output.contains(&format!("\"{name}\"")), "{output}");
    }
}
