//! Guests that mean harm, or are past meaning anything: never a pass, never a hang, never without bounds.

use std::{
    fs,
    process::{Output, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use rstest::rstest;

use crate::home::{Home, said};

/// How much memory the program may take, whatever a guest does.
const MEMORY: u64 = 1 << 30;
/// How much it may leave on disk.
const DISK: u64 = 256 << 20;

/// A scenario that runs a shell script in the guest and then expects a line that nobody prints.
fn script(script: &str, within: &str) -> String {
    format!(
        r#"
title = "A guest that means harm"
[nodes]
sender = {{ role = "sender", sysctl = {{ "kernel.printk_devkmsg" = "on" }} }}
receiver = {{ role = "receiver" }}
[[steps]]
console-level = 8
[[steps]]
run = {{ command = ["sh", "-c", '''{script}'''], programs = ["cat", "sleep", "bash"] }}
within = "{within}"
[[steps]]
expect = {{ lines = ["never"], within = "2s" }}
"#
    )
}

#[rstest]
#[case::that_panics(
    "echo c > /proc/sysrq-trigger",
    "5s",
    "the kernel died: `Kernel panic - not syncing: sysrq triggered crash`"
)]
#[case::that_switches_itself_off(
    "echo o > /proc/sysrq-trigger; sleep 100",
    "20s",
    "the machine ended"
)]
#[case::that_resets_itself("echo b > /proc/sysrq-trigger", "20s", "the machine ended")]
#[case::that_hangs("sleep 1000", "2s", "still running after 2s")]
#[case::whose_program_fails("exit 7", "5s", "it ended with status 7")]
#[case::that_writes_to_the_channel(
    "echo garbage > /dev/ttyS0; sleep 100",
    "5s",
    "the guest broke the channel's protocol: it sent `garbage"
)]
#[case::that_forges_answers(
    r#"while :; do echo "{\"Ok\":\"done\"}"; done > /dev/ttyS0"#,
    "5s",
    "the guest broke the channel's protocol"
)]
#[case::that_never_ends_a_line_on_the_channel("cat /dev/zero > /dev/ttyS0", "5s", "")]
#[case::that_eats_its_memory("a=x; while :; do a=$a$a; done", "60s", "")]
#[case::that_prints_what_was_never_logged(
    "bash -c \"echo never > /dev/udp/172.16.0.2/6666\"",
    "5s",
    ""
)]
fn fails(#[case] harm: &str, #[case] within: &str, #[case] sentence: &str) {
    let home = Home::shared();
    let out = home.work().join("out");
    let assert = home.play(&script(harm, within), &["--out", out.to_str().unwrap()]);
    let (output, _) = said(&assert.code(1));
    assert!(output.contains(sentence), "{output}");
    assert!(output.contains("0 passed, 1 failed"), "{output}");
}

/// Runs and watches how much memory the program takes at most.
fn watched(home: &Home, text: &str) -> (Output, u64) {
    let scenario = home.scenario("scenario", text);
    let out = home.work().join("out");
    let mut command = home.command();
    command.arg("run").arg(scenario).arg("--out").arg(out);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(child.wait_with_output().unwrap()));
    let mut most = 0;
    for _ in 0..2400 {
        match receiver.recv_timeout(Duration::from_millis(100)) {
            Ok(output) => return (output, most),
            Err(RecvTimeoutError::Timeout) => most = most.max(peak(&status)),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    panic!("it does not end");
}

fn peak(status: &str) -> u64 {
    let status = fs::read_to_string(status).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) << 10
}

fn size(folder: &std::path::Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            size(&path)
        } else {
            entry.metadata().unwrap().len()
        }
    });
    sizes.sum()
}

#[rstest]
#[case::to_the_log("while :; do echo flood; done > /dev/kmsg")]
#[case::to_the_log_in_long_lines(
    "a=0123456789; a=$a$a$a$a$a$a$a$a$a; while :; do echo $a$a$a$a$a$a$a$a$a$a; done > /dev/kmsg"
)]
#[case::from_a_background_program("(while :; do echo flood; done > /dev/kmsg) & exit 0")]
#[case::to_the_network(
    "while :; do bash -c \"while :; do echo x > /dev/udp/172.16.0.2/9999; done\"; done"
)]
fn that_sends_without_end_is_bounded(#[case] harm: &str) {
    let home = Home::shared();
    let (output, memory) = watched(&home, &script(harm, "10s"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let disk = size(&home.work());
    assert!(memory < MEMORY, "{} MB of memory", memory >> 20);
    assert!(disk < DISK, "{} MB of disk", disk >> 20);
    home.nothing_is_left();
}
