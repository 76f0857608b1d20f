//! A QEMU that is not there, too old, broken, silent, or killed under the guest.

use std::{fs, os::unix::fs::PermissionsExt, process::Stdio, time::Duration};

use assert_cmd::assert::Assert;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rstest::rstest;

use crate::home::{HELLO, Home, qemu_major, said};

/// Speaks QMP on the descriptor that `-chardev socket,id=monitor,fd=N` names, as a QEMU 4.0 would.
const OLD: &str = r#"#!/bin/bash
for word; do case $word in socket,id=monitor,fd=*) fd=${word##*=};; esac; done
echo '{"QMP": {"version": {"qemu": {"micro": 1, "minor": 0, "major": 4}, "package": ""}, "capabilities": ["oob"]}}' >&$fd
read -r line <&$fd; echo '{"return": {}, "id": 1}' >&$fd
read -r line <&$fd
"#;

/// Knows no `-netdev socket,fd=`, as it would have been long ago.
const OLDER: &str = r#"#!/bin/sh
[ "$1" = --version ] && echo 'QEMU emulator version 2.11.1(Debian 1:2.11+dfsg-1)' && exit
echo "qemu-system-x86_64: Property '.vmport' not found" >&2
exit 1
"#;

const BROKEN: &str = r#"#!/bin/sh
[ "$1" = --version ] && echo 'QEMU emulator version 7.2.22 (Debian 1:7.2)' && exit
echo 'qemu-system-x86_64: could not load PC BIOS' >&2
exit 1
"#;

const SILENT: &str = "#!/bin/sh\necho 'waiting for Godot' >&2\nexec sleep 1000\n";

const BABBLING: &str = r#"#!/bin/bash
for word; do case $word in socket,id=monitor,fd=*) fd=${word##*=};; esac; done
echo 'SeaBIOS (version 1.16.2)' >&$fd
exec sleep 1000
"#;

/// Runs with `script` in the place of QEMU.
fn with(home: &Home, script: &str, arguments: &[&str]) -> Assert {
    let folder = home.path().join("bin");
    fs::create_dir_all(&folder).unwrap();
    let program = folder.join("qemu-system-x86_64");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let scenario = home.scenario("hello", HELLO);
    let mut command = home.command();
    command
        .arg("run")
        .arg(scenario)
        .args(arguments)
        .env("PATH", path);
    let assert = assert_cmd::Command::from_std(command)
        .timeout(Duration::from_secs(60))
        .assert();
    home.nothing_is_left();
    assert
}

#[test]
fn that_is_not_installed_is_named_with_the_remedy() {
    let home = Home::new();
    let scenario = home.scenario("hello", HELLO);
    let mut command = home.command();
    command
        .arg("run")
        .arg(scenario)
        .env("PATH", home.path().join("empty"));
    let assert = assert_cmd::Command::from_std(command).assert().code(3);
    assert.stdout("").stderr(
        "lastwords: `qemu-system-x86_64` is not on the PATH\n(install it: `apt-get install qemu-system-x86`)\n",
    );
}

#[rstest]
#[case::by_its_monitor(OLD, "QEMU 4.0.1 is too old\n    (install QEMU 6.0 or later)")]
#[case::by_its_arguments(OLDER, "QEMU 2.11.1 is too old\n    (install QEMU 6.0 or later)")]
#[case::that_dies_at_once(
    BROKEN,
    "QEMU ended (exit status: 1): qemu-system-x86_64: could not load PC BIOS"
)]
#[case::that_stays_silent(SILENT, "QEMU's monitor did not answer within 2s: waiting for Godot")]
#[case::that_speaks_no_qmp(
    BABBLING,
    "QEMU's monitor sent what is not QMP: `SeaBIOS (version 1.16.2)"
)]
fn that_is_of_no_use_ends_without_a_verdict(
    #[case] script: &str,
    #[case] sentence: &str,
    #[values("--cold", "--jobs=1")] how: &str,
) {
    let home = Home::new();
    let assert = with(&home, script, &[how, "--boot-within", "2s"]).code(3);
    let (output, _) = said(&assert);
    assert!(output.contains(sentence), "{output}");
    assert!(
        output.contains("0 passed, 0 failed, 1 without a verdict"),
        "{output}"
    );
}

/// A machine that ran out of memory kills QEMU: nothing is said about the kernel then.
#[test]
fn that_is_killed_under_the_guest_ends_without_a_verdict() {
    let home = Home::shared();
    let scenario = home.scenario(
        "sleeping",
        r#"
title = "A program that sleeps"
[[steps]]
run = { command = ["sleep", "1000"], programs = ["sleep"] }
within = "100s"
"#,
    );
    let mut command = home.command();
    let running = command
        .args(["run", "--timings"])
        .arg(scenario)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let qemu = home.process("qemu-system-x86_64", Duration::from_secs(60));
    kill(Pid::from_raw(qemu.id.try_into().unwrap()), Signal::SIGKILL).unwrap();
    let output = running.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("QEMU ended (signal: 9 (SIGKILL))"), "{text}");
    home.nothing_is_left();
}

/// QEMU's CMPXCHG16B corrupts flags before 8.0, and a guest whose kernel used it hung once in a hundred.
#[test]
fn an_old_emulator_does_not_offer_an_instruction_that_it_gets_wrong() {
    let offered = if qemu_major() < 8 { "0" } else { "1" };
    let home = Home::shared();
    let text = format!(
        r#"
title = "CMPXCHG16B"
[[steps]]
run = {{ command = ["sh", "-c", "grep -c -w cx16 /proc/cpuinfo; true"], programs = ["grep"], prints = "{offered}" }}
"#
    );
    home.play(&text, &[]).code(0);
    home.play(&text, &["--cold"]).code(0);
}
