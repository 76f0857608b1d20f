//! The keeper of a receiver: this program again, in the receiver's room. It makes the place, starts and stops
//! the program in it, and tells what the program writes.
//!
//! It ends when the harness does, and with it ends everything in the place.

mod follow;
mod rest;
mod wrote;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::{Pid, pipe},
};
use tokio::{
    net::{UnixDatagram, UnixStream, unix::OwnedWriteHalf},
    process::{Child, Command},
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    kernel::command,
    receiver::{
        keeper::follow::Followed,
        order::{Answer, Ended, Order, Plan, Report, next, receive, send},
        place::{self, COMPLAINED, KERNEL_LOG, NOTIFY, PRINTED, WORK},
        socket::sockets,
    },
};

/// The only argument of a keeper.
pub(crate) const ARGUMENT: &str = "--keep-receiver";
/// How long a program may take to stop when it is asked to.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// How often it is looked whether a program listens: no kernel tells of it.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How many lines of a program that ended are told, of how many bytes at the end.
const LAST_LINES: usize = 8;
const LAST_BYTES: u64 = 8 << 10;

/// Serves the harness on standard input until it is gone. Never comes back.
pub(crate) fn serve() -> ! {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    // Whoever waits for an answer sees the end of the stream; there is nobody else to tell.
    let status = match runtime.map(|runtime| runtime.block_on(keep())) {
        Ok(Ok(())) => 0,
        Ok(Err(_)) | Err(_) => 1,
    };
    std::process::exit(status)
}

async fn keep() -> io::Result<()> {
    let stdin = io::stdin().as_fd().try_clone_to_owned()?;
    let stream = std::os::unix::net::UnixStream::from(stdin);
    stream.set_nonblocking(true)?;
    let (mut orders, mut reports) = UnixStream::from_std(stream)?.into_split();
    let plan: Plan = receive(&mut orders).await?;
    let keeper = match place::make(&plan) {
        Ok(()) => Keeper::new(plan.path, reports),
        Err(error) => {
            let refused = Answer::Refused(chain(&error));
            return send(&mut reports, &Report::Answer(refused)).await;
        }
    };
    let mut keeper = keeper?;
    keeper.answer(Answer::Done).await?;
    let mut bytes = Vec::new();
    loop {
        tokio::select! {
            order = next(&orders, &mut bytes) => {
                let answer = keeper.obey(order?).await?;
                keeper.answer(answer).await?;
            }
            changed = keeper.followed.changed() => {
                changed?;
                keeper.tell().await?;
            }
            status = ended(&mut keeper.child) => {
                keeper.tell().await?;
                keeper.child = None;
                send(&mut keeper.reports, &Report::Ended(told(status?))).await?;
            }
        }
    }
}

/// Waits for the end of the program, for ever where there is none.
async fn ended(child: &mut Option<Child>) -> io::Result<ExitStatus> {
    match child {
        Some(child) => child.wait().await,
        None => std::future::pending().await,
    }
}

struct Keeper {
    path: String,
    reports: OwnedWriteHalf,
    followed: Followed,
    notify: UnixDatagram,
    child: Option<Child>,
    /// Nothing is ever typed on a program's terminal.
    keyboard: (OwnedFd, OwnedFd),
    /// Held open, so that whoever opens it to read does not wait for a writer.
    _kernel_log: File,
}

impl Keeper {
    fn new(path: String, reports: OwnedWriteHalf) -> io::Result<Self> {
        for file in [PRINTED, COMPLAINED] {
            File::create(file)?;
        }
        Ok(Self {
            path,
            reports,
            followed: Followed::new()?,
            notify: UnixDatagram::bind(NOTIFY)?,
            child: None,
            keyboard: pipe()?,
            _kernel_log: OpenOptions::new().read(true).write(true).open(KERNEL_LOG)?,
        })
    }

    async fn answer(&mut self, answer: Answer) -> io::Result<()> {
        self.tell().await?;
        send(&mut self.reports, &Report::Answer(answer)).await
    }

    /// Tells what the followed files gained.
    async fn tell(&mut self) -> io::Result<()> {
        self.followed.tell(&mut self.reports).await
    }

    async fn obey(&mut self, order: Order) -> io::Result<Answer> {
        Ok(match order {
            Order::Start {
                command,
                ports,
                within,
            } => match self.start(&command, &ports, within).await {
                Ok(answer) => answer,
                Err(error) => Answer::Refused(error.to_string()),
            },
            Order::Stop { kill } => {
                self.stop(kill).await;
                Answer::Done
            }
            Order::Run { command, within } => match command::run(&command, within).await {
                Ok(ran) => Answer::Ran(ran),
                Err(refusal) => Answer::Refused(refusal.reason),
            },
            Order::Follow { file, path } => {
                self.followed.add(file, place::at(&path));
                Answer::Done
            }
            Order::Sockets => Answer::Sockets(sockets()?),
            Order::Rest => Answer::Rest(rest::rest().await),
            Order::Written => Answer::Written(wrote::files()),
        })
    }

    async fn start(&mut self, line: &str, ports: &[u16], within: Duration) -> io::Result<Answer> {
        if self.child.is_some() {
            return Ok(Answer::Refused("it runs already".to_owned()));
        }
        while self.notify.try_recv(&mut [0; 256]).is_ok() {}
        let child = self.spawn(line)?;
        let child = self.child.insert(child);
        let ready = ready(child, &self.notify, ports);
        match timeout(within, ready).await {
            Ok(Ok(None)) => Ok(Answer::Done),
            Ok(Ok(Some(status))) => {
                self.child = None;
                kill_all();
                Ok(Answer::Ended(told(status)))
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(Answer::Refused(not_listening(ports, within)?)),
        }
    }

    fn spawn(&self, line: &str) -> io::Result<Child> {
        let append = |path| OpenOptions::new().append(true).open(path);
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", line])
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", WORK)
            .env("LC_ALL", "C.UTF-8")
            .env("NOTIFY_SOCKET", NOTIFY)
            .current_dir(WORK)
            .stdin(Stdio::from(self.keyboard.0.try_clone()?))
            .stdout(append(PRINTED)?)
            .stderr(append(COMPLAINED)?)
            .process_group(0);
        command.spawn()
    }

    async fn stop(&mut self, kill: bool) {
        if let Some(mut child) = self.child.take() {
            let group = child.id().and_then(|id| i32::try_from(id).ok());
            if let Some(group) = group.map(Pid::from_raw).filter(|_| !kill) {
                // Whatever stands in the way, `kill_all` does not.
                let _ = killpg(group, Signal::SIGTERM);
                let _ = timeout(STOP_WITHIN, child.wait()).await;
            }
            kill_all();
            let _ = child.wait().await;
        }
        kill_all();
    }
}

/// Kills everybody in the room but the first process and ourselves.
fn kill_all() {
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
}

/// Waits until a program says that it is ready, or listens on all ports; or for its end.
async fn ready(
    child: &mut Child,
    notify: &UnixDatagram,
    ports: &[u16],
) -> io::Result<Option<ExitStatus>> {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = [0; 4096];
    loop {
        tokio::select! {
            status = child.wait() => return status.map(Some),
            length = notify.recv(&mut said) => {
                let said = String::from_utf8_lossy(&said[..length?]).into_owned();
                if said.lines().any(|line| line == "READY=1") {
                    return Ok(None);
                }
            }
            _ = looks.tick() => {
                let sockets = sockets()?;
                let listens = |port: &u16| sockets.iter().any(|socket| socket.port == *port);
                if !ports.is_empty() && ports.iter().all(listens) {
                    return Ok(None);
                }
            }
        }
    }
}

fn not_listening(ports: &[u16], within: Duration) -> io::Result<String> {
    let wanted: Vec<String> = ports.iter().map(u16::to_string).collect();
    let mut found: Vec<u16> = sockets()?.iter().map(|socket| socket.port).collect();
    found.sort_unstable();
    found.dedup();
    let found: Vec<String> = found.iter().map(u16::to_string).collect();
    let found = match found.as_slice() {
        [] => "it listens on no UDP port".to_owned(),
        found => format!("it listens on UDP port {}", found.join(", ")),
    };
    Ok(format!(
        "it does not listen on UDP port {} after {within:?}: {found}",
        wanted.join(", ")
    ))
}

/// How a program ended, and what it said last.
fn told(status: ExitStatus) -> Ended {
    let status = match (status.code(), status.signal()) {
        (Some(code), _) => format!("status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no status".to_owned(),
    };
    // What a receiver prints is what it received.
    let mut said = last_lines(COMPLAINED);
    said.drain(..said.len().saturating_sub(LAST_LINES));
    Ended { status, said }
}

/// The lines at the end of a file.
fn last_lines(path: &str) -> Vec<String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = fs::metadata(path)?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LAST_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = String::from_utf8_lossy(&read().unwrap_or_default()).into_owned();
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(str::to_owned)
        .collect()
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    match causes.as_slice() {
        [] => error.to_string(),
        causes => format!("{error}: {}", causes.join(": ")),
    }
}
