//! The program is killed or interrupted at any moment: nothing is left behind, and the next run passes.

use std::{
    io::Read,
    os::unix::process::ExitStatusExt,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rstest::rstest;

use crate::home::{HELLO, Home};

/// How many cases an interrupted run has before it.
const REPEAT: &str = "40";

fn start(home: &Home, arguments: &[&str]) -> Child {
    let scenario = home.scenario("hello", HELLO);
    let mut command = home.command();
    command.arg("run").arg(scenario).args(arguments);
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

/// Moments that look random and are the same in every run: 30 between 0 and 3 s.
fn moments() -> impl Iterator<Item = Duration> {
    (0..30_u64).map(|number| Duration::from_millis(number * 7919 % 3001))
}

/// Waits without sleeping for what cannot be awaited: a moment.
fn let_pass(moment: Duration, child: &mut Child) {
    let start = Instant::now();
    while start.elapsed() < moment && child.try_wait().unwrap().is_none() {
        thread::yield_now();
    }
}

#[test]
fn sigkill_at_any_moment_leaves_nothing() {
    let home = Home::new();
    for moment in moments() {
        let mut child = start(&home, &["--repeat", "1000"]);
        let_pass(moment, &mut child);
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "after {moment:?}");
        home.all_end(Duration::from_secs(20));
        home.no_file_is_left();
    }
    home.play(HELLO, &[]).code(0);
    let half_made = std::fs::read_dir(home.cache().join("tmp")).unwrap();
    let names: Vec<_> = half_made.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["gate"]);
}

#[rstest]
#[case::ctrl_c(Signal::SIGINT)]
#[case::terminate(Signal::SIGTERM)]
#[case::hang_up(Signal::SIGHUP)]
fn a_signal_ends_the_run_in_order(#[case] signal: Signal, #[values("--cold", "--keep")] how: &str) {
    let home = Home::new();
    let mut child = start(&home, &["--repeat", REPEAT, "--jobs", "2", how]);
    home.process("qemu-system-x86_64", Duration::from_secs(60));
    send(&child, signal);
    let mut output = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut output)
        .unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(3), "{output}");
    home.nothing_is_left();
    assert!(output.contains("interrupted  "), "{output}");
    let passed = output
        .lines()
        .filter(|line| line.starts_with("passed"))
        .count();
    assert!(passed <= 2, "{output}");
    assert!(
        output.contains(&format!("\n{passed} passed, 0 failed")),
        "{output}"
    );
    home.play(HELLO, &[]).code(0);
}

#[test]
fn a_second_ctrl_c_ends_it_at_once() {
    let home = Home::new();
    let mut child = start(&home, &["--repeat", REPEAT, "--cold"]);
    home.process("qemu-system-x86_64", Duration::from_secs(60));
    send(&child, Signal::SIGINT);
    send(&child, Signal::SIGINT);
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(3));
    home.all_end(Duration::from_secs(20));
    home.no_file_is_left();
}

/// Who waits for a template that another run is making can be interrupted, too.
#[test]
fn ctrl_c_ends_the_waiting_for_another_run() {
    let home = Home::new();
    let maker = start(&home, &[]);
    let qemu = home.process("qemu-system-x86_64", Duration::from_secs(60));
    kill(Pid::from_raw(qemu.id.try_into().unwrap()), Signal::SIGSTOP).unwrap();
    let mut waiting = start(&home, &[]);
    waits_for_a_lock(&waiting);
    send(&waiting, Signal::SIGINT);
    assert_eq!(waiting.wait().unwrap().code(), Some(3));
    kill(Pid::from_raw(qemu.id.try_into().unwrap()), Signal::SIGCONT).unwrap();
    let output = maker.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    home.nothing_is_left();
}

/// Waits until a thread of `child` waits for a file's lock, as the kernel tells in /proc/locks.
fn waits_for_a_lock(child: &Child) {
    let id = child.id().to_string();
    let waits = |line: &str| line.contains("->") && line.split_whitespace().any(|word| word == id);
    let start = Instant::now();
    while !std::fs::read_to_string("/proc/locks")
        .unwrap()
        .lines()
        .any(waits)
    {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "it does not wait"
        );
        thread::yield_now();
    }
}
