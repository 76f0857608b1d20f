//! Child processes that do not outlive this one, and what they print, in bounded memory.

use std::{
    io::{self, Read},
    os::unix::process::CommandExt,
    process::{Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, killpg},
    },
    unistd::{Pid, getppid},
};

use crate::error::{Error, Result};

/// The most of a child's output that is kept.
const OUTPUT_LIMIT: u64 = 1 << 20;

/// How often progress is looked at while a child works.
const GLANCE: Duration = Duration::from_millis(100);

/// A child that makes no progress for so long is ended. (apt-get waits for ever where the disk fills up under it.)
const STALL: Duration = Duration::from_secs(120);

/// A child that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// What it printed, on both streams.
    pub(crate) output: String,
}

impl Ended {
    /// The last lines that it printed, for a message.
    pub(crate) fn last_lines(&self) -> String {
        last_lines(&self.output)
    }
}

fn last_lines(output: &str) -> String {
    let lines: Vec<&str> = output
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let start = lines.len().saturating_sub(6);
    lines[start..].join("\n")
}

/// Lets the system kill the child as soon as this process is dead.
pub(crate) fn dies_with_us(command: &mut Command) -> &mut Command {
    let parent = nix::unistd::getpid();
    let bind = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have died before the call above.
        if getppid() == parent {
            Ok(())
        } else {
            Err(io::Error::other("the parent is gone"))
        }
    };
    // SAFETY: between fork and exec the closure only makes the system calls prctl and getppid and allocates nothing
    // unless it fails.
    unsafe { command.pre_exec(bind) }
}

/// Runs a command to its end. Meanwhile, `glance` is called now and then, and returns a number that changes as long as
/// the child gets on with its work; one that does not for long is ended.
pub(crate) fn run(command: Command, glance: &dyn Fn() -> u64) -> Result<Ended> {
    run_patiently(command, glance, STALL)
}

fn run_patiently(
    mut command: Command,
    glance: &dyn Fn() -> u64,
    patience: Duration,
) -> Result<Ended> {
    let shown = show(&command);
    let spawn = |source| Error::Spawn {
        command: shown.clone(),
        source,
    };
    let (reader, writer) = io::pipe().map_err(spawn)?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().map_err(spawn)?)
        .stderr(writer)
        .process_group(0);
    let mut child = dies_with_us(&mut command).spawn().map_err(spawn)?;
    // The command holds the writing ends; the output ends only when they are closed.
    drop(command);
    let (sender, receiver) = mpsc::channel();
    let (output, is_stalled) = thread::scope(|scope| {
        scope.spawn(move || sender.send(drain(reader)));
        let mut patience = Patience::new(patience);
        let mut is_stalled = false;
        loop {
            match receiver.recv_timeout(GLANCE) {
                Ok(output) => return (output, is_stalled),
                Err(mpsc::RecvTimeoutError::Timeout) if patience.is_over(glance()) => {
                    is_stalled = true;
                    // Its own children hold the pipe, too.
                    let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return (String::new(), is_stalled),
            }
        }
    });
    let status = child.wait().map_err(spawn)?;
    if is_stalled {
        let output = output.as_str();
        return Err(Error::Stalled {
            command: shown,
            said: last_lines(output),
        });
    }
    Ok(Ended { status, output })
}

/// Waits for a number to change.
struct Patience {
    limit: Duration,
    last: u64,
    since: Instant,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            last: 0,
            since: Instant::now(),
        }
    }

    fn is_over(&mut self, now: u64) -> bool {
        if now != self.last {
            self.last = now;
            self.since = Instant::now();
        }
        self.since.elapsed() > self.limit
    }
}

/// Reads to the end, and keeps the beginning.
fn drain(mut reader: io::PipeReader) -> String {
    let mut output = Vec::new();
    let _ = (&mut reader).take(OUTPUT_LIMIT).read_to_end(&mut output);
    let _ = io::copy(&mut reader, &mut io::sink());
    String::from_utf8_lossy(&output).into_owned()
}

/// A command as one can paste it.
pub(crate) fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quote = |word: &std::ffi::OsStr| {
        let word = word.to_string_lossy();
        let is_plain =
            |letter: char| letter.is_ascii_alphanumeric() || "-_./:=,+@%".contains(letter);
        if !word.is_empty() && word.chars().all(is_plain) {
            word.into_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    words.map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_streams_and_the_status_are_kept() {
        let ended = run(shell("echo out; echo err >&2; exit 3"), &|| 0).unwrap();
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!(ended.last_lines(), "out\nerr");
    }

    #[test]
    fn endless_output_is_cut() {
        let ended = run(shell("yes | head -c 3000000"), &|| 0).unwrap();
        assert_eq!(ended.output.len() as u64, OUTPUT_LIMIT);
    }

    #[test]
    fn a_child_that_does_not_get_on_is_ended_with_its_children() {
        let patience = Duration::from_millis(300);
        let error = run_patiently(shell("echo busy; sleep 1000 & wait"), &|| 0, patience);
        let error = error.unwrap_err().to_string();
        assert!(error.ends_with("it says:\nbusy"), "{error}");
    }

    #[test]
    fn a_command_is_shown_as_one_can_paste_it() {
        assert_eq!(show(&shell("it's")), r"sh -c 'it'\''s'");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run(Command::new("/nonexistent/program"), &|| 0).unwrap_err();
        assert_eq!(error.to_string(), "cannot start `/nonexistent/program`");
    }
}
