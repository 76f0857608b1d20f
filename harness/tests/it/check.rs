//! `lastwords check`: whatever lies about in a folder, it says what is wrong with it, soon, and boots nothing.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use rstest::rstest;

use crate::home::{HELLO, Home, program, said};

#[track_caller]
fn check(home: &Home, code: i32) -> (String, String) {
    said(&home.run(["check", "."]).code(code))
}

#[test]
fn a_folder_is_searched_for_what_can_be_a_scenario() {
    let home = Home::without_kernels();
    home.scenario("one", HELLO);
    fs::create_dir_all(home.work().join("folder.toml/deeper")).unwrap();
    fs::write(home.work().join("folder.toml/deeper/two.toml"), HELLO).unwrap();
    fs::write(home.work().join("notes.txt"), "no scenario").unwrap();
    symlink("loop", home.work().join("loop")).unwrap();
    symlink(".", home.work().join("itself")).unwrap();
    symlink("/nonexistent", home.work().join("nowhere.toml")).unwrap();
    mkfifo(&home.work().join("pipe.toml"), Mode::S_IRWXU).unwrap();
    let (output, _) = check(&home, 0);
    assert_eq!(output, "2 files, 2 cases, no mistakes\n");
}

#[rstest]
#[case::with_a_byte_order_mark("\u{feff}title = 'x'\nsteps = [{ kmsg = 'a' }]\n")]
#[case::with_carriage_returns("title = 'x'\r\nsteps = [{ kmsg = 'a' }]\r\n")]
#[case::without_a_last_newline("title = 'x'\nsteps = [{ kmsg = 'a' }]")]
fn a_file_of_another_editor_is_read(#[case] text: &str) {
    let home = Home::without_kernels();
    home.scenario("one", text);
    check(&home, 0);
}

#[rstest]
#[case::bytes_that_are_no_text(b"title = \"\xff\xfe\"\n".to_vec(), "a byte that is no UTF-8\n --> ./hostile.toml:1:10")]
#[case::another_encoding(b"\xff\xfet\0i\0".to_vec(), "a byte that is no UTF-8\n --> ./hostile.toml:1:1")]
#[case::a_nul(b"title = \"a\0b\"\n".to_vec(), "./hostile.toml:1:11")]
#[case::lists_in_lists([b"x = ".to_vec(), vec![b'['; 100_000], vec![b']'; 100_000]].concat(), "recursion")]
#[case::keys_in_keys([b"a.".repeat(50_000), b"b = 1\n".to_vec()].concat(), "recursion")]
#[case::more_than_any_scenario_has(b"[[steps]]\nkmsg = 'a'\n".repeat(500_000), "is larger than 256 KiB")]
#[case::mistakes_without_end((0..10_000).flat_map(|key| format!("key{key} = 1\n").into_bytes()).collect(), "and 9902 more in ./hostile.toml\n\n10002 mistakes in 1 file")]
fn a_hostile_file_is_named_soon(#[case] bytes: Vec<u8>, #[case] sentence: &str) {
    let home = Home::without_kernels();
    fs::write(home.work().join("hostile.toml"), bytes).unwrap();
    let (_, errors) = check(&home, 2);
    assert!(errors.contains(sentence), "{errors}");
    assert!(errors.len() < 100_000, "{} bytes are said", errors.len());
}

#[rstest]
#[case::a_pipe("pipe.toml", "`pipe.toml` is neither a file nor a folder")]
#[case::a_device("/dev/zero", "`/dev/zero` is neither a file nor a folder")]
#[case::nothing(
    "nothing.toml",
    "`nothing.toml` cannot be read\n  because No such file"
)]
#[case::a_loop("loop.toml", "`loop.toml` cannot be read\n  because Too many levels")]
#[case::a_secret(
    "secret.toml",
    "`secret.toml` cannot be read\n  because Permission denied"
)]
#[case::an_empty_folder("empty", "there is no scenario file (*.toml) in `empty`")]
fn a_path_that_is_no_scenario_is_named(#[case] path: &str, #[case] sentence: &str) {
    let home = Home::without_kernels();
    mkfifo(&home.work().join("pipe.toml"), Mode::S_IRWXU).unwrap();
    symlink("loop.toml", home.work().join("loop.toml")).unwrap();
    let secret = home.scenario("secret", HELLO);
    fs::set_permissions(secret, fs::Permissions::from_mode(0o000)).unwrap();
    fs::create_dir(home.work().join("empty")).unwrap();
    let (_, errors) = said(&home.run(["check", path]).code(2));
    assert!(errors.contains(sentence), "{errors}");
}

/// A file that is right on one machine is right on every machine.
#[test]
fn nothing_but_the_file_is_looked_at() {
    let home = Home::without_kernels();
    let text = r#"
title = "Of things that are not here"
needs = { kernel = ">=99", module = "no_such_module", program = "no-such-program" }
[nodes]
sender = { role = "sender" }
receiver = { role = "receiver", program = "syslog-ng", config = "no/such/file.conf" }
[[steps]]
run = { command = ["no-such-command"], programs = ["no-such-program"], files = { "/x" = "no-such-file" } }
[[steps]]
load = "no_such_module"
[[steps]]
expect = { line = "x", file = "/no/such/file" }
"#;
    let scenario = home.scenario("elsewhere", text);
    let mut command = home.command();
    command.arg("check").arg(scenario).env("PATH", "");
    assert_cmd::Command::from_std(command).assert().code(0);
}

#[test]
fn all_mistakes_of_all_files_are_told_at_once() {
    let home = Home::without_kernels();
    home.scenario("a", "title = 'a'\n[[steps]]\nkmgs = 'x'\n");
    fs::write(home.work().join("b.toml"), b"\xff").unwrap();
    home.scenario("c", "titel = 'c'\n");
    let (_, errors) = check(&home, 2);
    for place in ["./a.toml:3:1", "./b.toml:1:1", "./c.toml:1:1"] {
        assert!(errors.contains(place), "{errors}");
    }
    assert!(errors.ends_with("4 mistakes in 3 files\n"), "{errors}");
}

/// Processor time, so that a busy machine does not matter. The aim is 0.1 s; a slow machine may take twice that, and
/// without optimisation it is another program.
#[test]
fn a_thousand_files_are_checked_in_a_moment() {
    let home = Home::without_kernels();
    let most = if cfg!(debug_assertions) { 5.0 } else { 0.2 };
    for number in 0..1000 {
        let text = include_str!("../../../scenarios/targets/many.toml");
        home.scenario(&number.to_string(), text);
    }
    let mut shell = std::process::Command::new("sh");
    home.settle(&mut shell);
    let script = "\"$0\" check . && times";
    let timed = shell.args(["-c", script]).arg(program()).output().unwrap();
    let output = String::from_utf8(timed.stdout).unwrap();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], "1000 files, 2000 cases, no mistakes");
    let taken: f64 = lines[2].split(' ').map(seconds).sum();
    assert!(taken < most, "it took {taken} s: {output}");
}

/// The seconds of a time as `times` of a shell prints it: `0m0.080000s`.
fn seconds(time: &str) -> f64 {
    let (minutes, seconds) = time.trim_end_matches('s').split_once('m').unwrap();
    minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
}
