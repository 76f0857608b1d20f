//! QEMU's monitor protocol, as much of it as a lab needs.
//!
//! Source: QEMU's `docs/interop/qmp-spec.rst`. Events interleave with replies, so replies are matched by `id`.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    os::fd::{AsRawFd, OwnedFd, RawFd},
    time::Duration,
};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::patience::{Late, Patience};

/// The longest line that a monitor may send.
const LINE_LIMIT: u64 = 4 << 20;
/// How many events are kept for a reader that does not come.
const EVENT_LIMIT: usize = 256;
/// How long QEMU may take for a command: it answers at once, unless it is stopped.
const REPLY_WITHIN: Duration = Duration::from_secs(60);

/// Why the monitor gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// QEMU ended, or was ended, while it was asked.
    #[error("QEMU closed its monitor")]
    Closed,
    /// The connection failed.
    #[error("QEMU's monitor cannot be reached")]
    Connection(#[source] io::Error),
    /// QEMU lives and does not answer.
    #[error("QEMU did not answer `{command}` within {REPLY_WITHIN:?}")]
    Silent {
        /// The command's name.
        command: String,
    },
    /// What came is not QMP.
    #[error("QEMU's monitor sent what is not QMP: `{0}`")]
    Protocol(String),
    /// QEMU refused the command.
    #[error("QEMU refused `{command}`: {description}")]
    Refused {
        /// The command's name.
        command: String,
        /// QEMU's own words.
        description: String,
    },
}

/// A connection to a monitor, past its greeting.
///
/// QEMU reads a monitor one byte at a time, which costs 10 µs each: commands are short.
#[derive(Debug)]
pub struct Qmp {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    line: Vec<u8>,
    next_id: u64,
    events: VecDeque<Value>,
    /// QEMU's version, as its greeting tells it.
    pub(crate) version: Version,
    /// QEMU's process: while it wants a processor and has none, its replies are waited for longer.
    pub(crate) process: Option<u32>,
    /// Why the guest ended its machine, once it has.
    guests_end: Option<String>,
}

/// A command and its arguments, null where it has none.
pub(crate) type Order = (&'static str, Value);

/// The command that every connection begins with.
const NEGOTIATE: Order = ("qmp_capabilities", Value::Null);

/// QEMU's version: major, minor, micro.
pub(crate) type Version = (u64, u64, u64);

impl Qmp {
    /// Takes the greeting, leaves the negotiation of capabilities, and has `orders` executed: all said at once, before
    /// the greeting comes, so that QEMU reads them while it starts.
    pub(crate) async fn connect(stream: UnixStream, orders: &[Order]) -> Result<Self, QmpError> {
        let (reader, writer) = stream.into_split();
        let mut qmp = Self {
            reader: BufReader::new(reader),
            writer,
            line: Vec::new(),
            next_id: 0,
            events: VecDeque::new(),
            version: (0, 0, 0),
            process: None,
            guests_end: None,
        };
        let mut lines = String::new();
        let mut open = Vec::new();
        for (command, arguments) in [&NEGOTIATE].into_iter().chain(orders) {
            let (id, line) = qmp.request(command, arguments.clone());
            lines.push_str(&line);
            open.push((id, *command));
        }
        qmp.send(&lines).await?;
        let greeting = qmp.receive().await?;
        let Some(told) = greeting.get("QMP").map(|told| &told["version"]["qemu"]) else {
            return Err(QmpError::Protocol(greeting.to_string()));
        };
        let number = |name: &str| told[name].as_u64().unwrap_or(0);
        qmp.version = (number("major"), number("minor"), number("micro"));
        for (id, command) in open {
            qmp.reply(id, command).await?;
        }
        Ok(qmp)
    }

    async fn send(&mut self, line: &str) -> Result<(), QmpError> {
        let sent = self.writer.write_all(line.as_bytes()).await;
        sent.map_err(QmpError::Connection)
    }

    /// Executes `command` and waits for its reply.
    pub async fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        let (id, line) = self.request(command, arguments);
        let mut patience = Patience::with(self.process);
        let conversation = async {
            self.send(&line).await?;
            self.reply(id, command).await
        };
        let silent = |Late| QmpError::Silent {
            command: command.to_owned(),
        };
        let replied = patience.within(REPLY_WITHIN, conversation);
        replied.await.map_err(silent)?
    }

    /// Gives QEMU `descriptor` under `name`, for a later command.
    pub(crate) async fn give(&mut self, name: &str, descriptor: OwnedFd) -> Result<(), QmpError> {
        let (id, line) = self.request("getfd", json!({ "fdname": name }));
        let descriptors: [RawFd; 1] = [descriptor.as_raw_fd()];
        let send = || {
            let stream = self.writer.as_ref();
            let text = [IoSlice::new(line.as_bytes())];
            let rights = [ControlMessage::ScmRights(&descriptors)];
            sendmsg::<()>(stream.as_raw_fd(), &text, &rights, MsgFlags::empty(), None)
                .map_err(io::Error::from)
        };
        let sent = self
            .writer
            .as_ref()
            .async_io(tokio::io::Interest::WRITABLE, send)
            .await
            .map_err(QmpError::Connection)?;
        if sent < line.len() {
            return Err(QmpError::Connection(io::ErrorKind::WriteZero.into()));
        }
        let silent = |Late| QmpError::Silent {
            command: "getfd".to_owned(),
        };
        let mut patience = Patience::with(self.process);
        let reply = patience.within(REPLY_WITHIN, self.reply(id, "getfd"));
        reply.await.map_err(silent)?.map(drop)
    }

    /// A command's number and line.
    fn request(&mut self, command: &str, arguments: Value) -> (u64, String) {
        self.next_id += 1;
        let mut request = json!({ "execute": command, "id": self.next_id });
        if !arguments.is_null() {
            request["arguments"] = arguments;
        }
        (self.next_id, format!("{request}\n"))
    }

    async fn reply(&mut self, id: u64, command: &str) -> Result<Value, QmpError> {
        loop {
            let mut reply = self.receive().await?;
            if reply.get("event").is_some() {
                self.keep(reply);
            } else if reply["id"] == id {
                return accepted(command, &mut reply);
            }
        }
    }

    /// Waits for the next event. Cancel safe.
    pub async fn event(&mut self) -> Result<Value, QmpError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let message = self.receive().await?;
            if message.get("event").is_some() {
                self.keep(message);
            }
        }
    }

    /// Waits for the event called `name`, dropping those before it.
    pub(crate) async fn event_named(&mut self, name: &str) -> Result<Value, QmpError> {
        loop {
            let event = self.event().await?;
            if event["event"] == name {
                return Ok(event);
            }
        }
    }

    /// Waits until the guest ends its machine, and says how: QEMU's word for it, `guest-reset`. Cancel safe.
    ///
    /// QEMU tells so before it ends, in whatever way it ends then (7.2 does not end well where it was restored). An error
    /// where the monitor closed first.
    pub async fn guests_end(&mut self) -> Result<String, QmpError> {
        loop {
            if let Some(reason) = &self.guests_end {
                return Ok(reason.clone());
            }
            let message = self.receive().await?;
            if message.get("event").is_some() {
                self.keep(message);
            }
        }
    }

    fn keep(&mut self, event: Value) {
        if event["event"] == "SHUTDOWN" && event["data"]["guest"] == true {
            let reason = event["data"]["reason"].as_str();
            self.guests_end = Some(reason.unwrap_or("guest").to_owned());
        }
        if self.events.len() == EVENT_LIMIT {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Reads one line into a buffer of its own, so that a cancelled read loses nothing.
    async fn receive(&mut self) -> Result<Value, QmpError> {
        let room = LINE_LIMIT - self.line.len() as u64;
        (&mut self.reader)
            .take(room)
            .read_until(b'\n', &mut self.line)
            .await
            .map_err(|error| match error.kind() {
                // It ended with something of ours unread.
                io::ErrorKind::ConnectionReset => QmpError::Closed,
                _ => QmpError::Connection(error),
            })?;
        if self.line.last() != Some(&b'\n') {
            // Less than asked for, and no end of a line: QEMU broke off.
            return Err(if (self.line.len() as u64) < LINE_LIMIT {
                QmpError::Closed
            } else {
                self.garbage()
            });
        }
        let message = serde_json::from_slice(&self.line).map_err(|_| self.garbage())?;
        self.line.clear();
        Ok(message)
    }

    fn garbage(&self) -> QmpError {
        let start = &self.line[..self.line.len().min(200)];
        QmpError::Protocol(start.escape_ascii().to_string())
    }
}

fn accepted(command: &str, reply: &mut Value) -> Result<Value, QmpError> {
    if let Some(error) = reply.get("error") {
        let description = error["desc"]
            .as_str()
            .unwrap_or("without a reason")
            .to_owned();
        return Err(QmpError::Refused {
            command: command.to_owned(),
            description,
        });
    }
    Ok(reply["return"].take())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn fake(lines: &str) -> (Qmp, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        let mut far = far;
        far.write_all(b"{\"QMP\":{}}\n{\"return\":{},\"id\":1}\n")
            .await
            .unwrap();
        let qmp = Qmp::connect(near, &[]).await.unwrap();
        far.write_all(lines.as_bytes()).await.unwrap();
        (qmp, far)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn keeps_an_event_that_comes_before_the_reply() {
        let (mut qmp, _far) = fake("{\"event\":\"STOP\"}\n{\"return\":7,\"id\":2}\n").await;
        assert_eq!(qmp.execute("x", Value::Null).await.unwrap(), 7);
        assert_eq!(qmp.event().await.unwrap()["event"], "STOP");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn tells_a_refusal_in_qemus_words() {
        let (mut qmp, _far) = fake("{\"error\":{\"desc\":\"no such device\"},\"id\":2}\n").await;
        let error = qmp.execute("set_link", Value::Null).await.unwrap_err();
        assert_eq!(error.to_string(), "QEMU refused `set_link`: no such device");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn tells_a_monitor_that_closes_from_one_that_talks_nonsense() {
        let (mut qmp, far) = fake("").await;
        drop(far);
        assert!(matches!(qmp.event().await, Err(QmpError::Closed)));
        let (mut qmp, _far) = fake("SeaBIOS\n").await;
        assert!(matches!(qmp.event().await, Err(QmpError::Protocol(_))));
    }
}
