//! `lastwords shell`: a scenario that stops where it is told, and machines that one can use meanwhile.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::AsFd,
    process::{Child, Command, Stdio},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::home::{HELLO, Home, said};

/// A call of `lastwords shell` with a scenario of this text, to which `typed` is typed all at once.
#[track_caller]
fn typed(text: &str, arguments: &[&str], typed: &str, code: i32) -> String {
    let home = Home::shared();
    let path = home.scenario("scenario", text);
    let mut command = home.command();
    command.arg("shell").arg(path).args(arguments);
    let assert = assert_cmd::Command::from_std(command)
        .write_stdin(typed)
        .assert()
        .code(code);
    home.nothing_is_left();
    said(&assert).0
}

#[test]
fn stops_before_the_first_step_with_the_machines_alive() {
    let said = typed(HELLO, &[], "sender cat /proc/1/comm\nlines\nquit\n", 0);
    assert!(said.starts_with("stopped before "), "{said}");
    assert!(
        said.contains("scenario.toml:4:8: kmsg = \"hello\"\n"),
        "{said}"
    );
    assert!(said.contains("machines: sender (guest), receiver (built-in receiver)\n"));
    assert!(said.contains("(lastwords) init\n"), "{said}");
    assert!(!said.contains("receiver | hello"), "{said}");
}

#[test]
fn stops_at_a_line_and_goes_on_when_told() {
    let said = typed(HELLO, &["--at", "5"], "lines\ngo\nquit\n", 0);
    assert!(said.contains(":6:10: expect = \"hello\"\n"), "{said}");
    assert!(said.contains("receiver | hello\n"), "{said}");
    assert!(said.contains("(lastwords) passed\n"), "{said}");
    assert!(
        said.contains("\npassed  work/scenario  debian:6.1  ")
            || said.contains("passed  work/scenario  debian:6.1  ")
    );
}

const FAILS: &str = r#"
title = "Another line arrives"
[[steps]]
kmsg = "hallo"
[[steps]]
expect = { lines = ["hello"], within = "1s" }
"#;

#[test]
fn stops_at_the_failure_with_the_machines_alive() {
    let said = typed(
        FAILS,
        &["--at-failure"],
        "sender dmesg | tail -n 20 | grep -c hallo\nquit\n",
        1,
    );
    assert!(said.starts_with("failed: `hello` did not arrive"), "{said}");
    assert!(said.contains("(lastwords) 1\n"), "{said}");
    assert!(said.contains("failed  work/scenario  debian:6.1"), "{said}");
}

#[test]
fn does_not_stop_where_nothing_fails() {
    let said = typed(HELLO, &["--at-failure"], "", 0);
    assert!(said.starts_with("passed  work/scenario"), "{said}");
}

#[test]
fn a_command_that_fails_says_its_status_and_what_is_no_command_is_told() {
    let said = typed(
        HELLO,
        &[],
        "sender exit 7\nreceiver ls\nnonsense\nsender\n",
        0,
    );
    assert!(said.contains("(lastwords) (status 7)\n"), "{said}");
    assert!(
        said.contains("`receiver` is no machine with a shell"),
        "{said}"
    );
    assert!(
        said.contains("`nonsense` is neither a command nor a node"),
        "{said}"
    );
    assert!(said.contains("a shell wants a terminal"), "{said}");
}

#[test]
fn a_file_with_many_cases_wants_one_chosen() {
    let text = r#"
title = "x"
matrix = { text = ["a", "b"] }
[[steps]]
kmsg = "${text}"
[[steps]]
expect = "${text}"
"#;
    typed(text, &[], "", 2);
    let said = typed(text, &["--filter", "text=b"], "go\n", 0);
    assert!(said.contains("passed  work/scenario[text=b]"), "{said}");
}

/// A terminal with the program at its other end.
struct Session {
    keys: File,
    screen: File,
    child: Child,
}

impl Drop for Session {
    fn drop(&mut self) {
        // One that has ended already cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Session {
    fn begin(mut command: Command) -> Self {
        let size = nix::pty::Winsize {
            ws_row: 33,
            ws_col: 99,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let ends = nix::pty::openpty(Some(&size), None).unwrap();
        let far = || Stdio::from(ends.slave.try_clone().unwrap());
        command.stdin(far()).stdout(far()).stderr(far());
        let child = command.spawn().unwrap();
        Self {
            keys: File::from(ends.master.try_clone().unwrap()),
            screen: File::from(ends.master),
            child,
        }
    }

    /// Types `keys` and reads up to where the screen shows `until`.
    #[track_caller]
    fn types(&mut self, keys: &str, until: &str) -> String {
        self.keys.write_all(keys.as_bytes()).unwrap();
        let mut shown = Vec::new();
        let mut byte = [0];
        while !shown.ends_with(until.as_bytes()) {
            let mut ready = [PollFd::new(self.screen.as_fd(), PollFlags::POLLIN)];
            let in_time = poll(&mut ready, PollTimeout::from(60_000u16)).unwrap() > 0;
            let count = if in_time {
                self.screen.read(&mut byte).unwrap_or(0)
            } else {
                0
            };
            let text = String::from_utf8_lossy(&shown);
            assert!(count > 0, "no {until:?} in what was shown: {text:?}");
            shown.push(byte[0]);
        }
        String::from_utf8_lossy(&shown).into_owned()
    }
}

#[test]
fn a_terminal_gets_a_shell_in_the_guest_that_can_be_left_and_found_again() {
    let home = Home::shared();
    let path = home.scenario("scenario", HELLO);
    let mut command = home.command();
    command.arg("shell").arg(path).env("TERM", "dumb");
    let mut session = Session::begin(command);
    session.types("", "(lastwords) ");
    session.types("sender\n", "sender# ");
    let size = session.types("stty size; echo $((6*7))\n", "42\r\n");
    assert!(size.contains("33 99"), "{size}");
    session.types("left=here\n", "sender# ");
    // Ctrl-C is for what runs in the guest.
    session.types("cat\n", "cat\r\n");
    session.types("\x03", "sender# ");
    session.types("\x1d", "(lastwords) ");
    session.types("step\n", "(lastwords) ");
    session.types("sender\n\n", "sender# ");
    session.types("echo $left-$left\n", "here-here\r\n");
    session.types("exit\n", "(lastwords) ");
    session.types("go\n", "(lastwords) ");
    session.types("quit\n", "passed");
    assert_eq!(session.child.wait().unwrap().code(), Some(0));
    home.nothing_is_left();
}
