//! Kernels that do not come up: the run ends in time, and shows what their consoles say.

use rstest::rstest;

use crate::home::{Home, said};

fn booting(cmdline: &str) -> String {
    format!(
        r#"
title = "Never comes up"
[nodes]
box = {{ role = "sender", cmdline = "{cmdline}" }}
agent = {{ role = "receiver" }}
[[steps]]
run = ["sleep", "0"]
"#
    )
}

#[rstest]
fn a_kernel_that_panics_shows_its_last_lines(#[values("--cold", "--jobs=1")] how: &str) {
    let home = Home::new();
    let scenario = booting("rdinit=/nonexistent");
    let assert = home.play(&scenario, &[how]).code(3);
    let (output, _) = said(&assert);
    for sentence in [
        "error   work/scenario  debian:6.1",
        "the kernel did not come up: it ended its machine, as a kernel does that panics",
        "its console ends with",
        "Kernel panic - not syncing: VFS: Unable to mount root fs",
    ] {
        assert!(output.contains(sentence), "no `{sentence}` in {output}");
    }
}

#[rstest]
fn a_kernel_that_hangs_is_not_waited_for_longer_than_was_asked(
    #[values("--cold", "--jobs=1")] how: &str,
) {
    let home = Home::new();
    // PID 1 is a program that does nothing for long; the kernel hands it the word that it does not know.
    let scenario = booting("rdinit=/usr/bin/sleep 10000");
    let assert = home.play(&scenario, &[how, "--boot-within", "8s"]).code(3);
    let (output, _) = said(&assert);
    for sentence in [
        "the kernel did not come up: PID 1 did not answer within 8s",
        "Run /usr/bin/sleep as init process",
    ] {
        assert!(output.contains(sentence), "no `{sentence}` in {output}");
    }
}

#[test]
fn a_kernel_that_has_its_console_on_the_channel_is_told_so() {
    let home = Home::new();
    let assert = home.play(&booting("console=ttyS0 loglevel=8"), &["--cold"]);
    let (output, _) = said(&assert);
    let code = assert.get_output().status.code();
    assert!(matches!(code, Some(1 | 3)), "{output}");
    let sentence =
        "its first serial port is the channel: neither its console nor a program may use it";
    assert!(output.contains(sentence), "{output}");
}

#[test]
fn a_deadline_is_a_duration() {
    let home = Home::without_kernels();
    let assert = home.run(["run", "x.toml", "--boot-within", "soon"]).code(2);
    let (_, errors) = said(&assert);
    assert!(
        errors.contains("it is no duration like `90s` or `3m`"),
        "{errors}"
    );
}
