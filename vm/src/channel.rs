//! The guest channel: JSON lines between the program and its own copy that runs as PID 1 in a guest.
//!
//! Each question carries a number, and its answer carries it again: an answer that comes late is told from the one that
//! is awaited, and what other programs of the guest write to the port is told from both. The far end is a guest, so
//! nothing that comes is believed: lines are limited, and what does not read is an error.

use std::collections::VecDeque;

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// What PID 1 says first, once it can be asked.
pub(crate) const READY: &str = "lastwords-ready";
/// The longest answer that a guest may give.
const LINE_LIMIT: u64 = 64 << 20;
/// How many of the lines before the first answer are kept, and how much of each.
const CONSOLE_LINES: usize = 25;
/// See [`CONSOLE_LINES`].
const CONSOLE_WIDTH: usize = 300;

/// Why a guest gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// QEMU ended while the guest was asked.
    #[error("the guest is gone: its channel closed")]
    Closed,
    /// The connection failed.
    #[error("the guest's channel failed")]
    Connection(#[source] std::io::Error),
    /// What came is no answer.
    #[error(
        "the guest broke the channel's protocol: it sent `{0}`\n(its first serial port is the channel: neither its console nor a program may use it)"
    )]
    Protocol(String),
}

/// The host's end of a guest's channel.
#[derive(Debug)]
pub struct Channel {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    line: Vec<u8>,
    /// The number of the last question.
    asked: u64,
    /// What came before PID 1 was ready, its end.
    console: VecDeque<String>,
}

impl Channel {
    pub(crate) fn new(stream: UnixStream) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            reader: BufReader::new(reader),
            writer,
            line: Vec::new(),
            asked: 0,
            console: VecDeque::new(),
        }
    }

    /// Waits until PID 1 says that it is ready. Firmware, and a kernel that has its console there, may write to the
    /// port before that. Cancel safe.
    pub(crate) async fn ready(&mut self) -> Result<(), ChannelError> {
        loop {
            let line = self.receive().await?;
            let ready = line.ends_with(READY.as_bytes());
            let text = String::from_utf8_lossy(&line[..line.len().min(CONSOLE_WIDTH)]).into_owned();
            self.line.clear();
            if ready {
                return Ok(());
            }
            if self.console.len() == CONSOLE_LINES {
                self.console.pop_front();
            }
            self.console.push_back(text);
        }
    }

    /// What came before PID 1 was ready: its last lines.
    pub(crate) fn console(&self) -> Vec<String> {
        let lines = self.console.iter().map(|line| line.trim_end().to_owned());
        lines.filter(|line| !line.is_empty()).collect()
    }

    /// Sends a question; its answer is to be taken with [`Channel::answer`].
    pub async fn ask<Q: Serialize>(&mut self, question: &Q) -> Result<(), ChannelError> {
        self.asked += 1;
        let mut line = format!("{} ", self.asked).into_bytes();
        serde_json::to_writer(&mut line, question)
            .map_err(|error| ChannelError::Connection(error.into()))?;
        line.push(b'\n');
        self.writer
            .write_all(&line)
            .await
            .map_err(ChannelError::Connection)
    }

    /// Asks PID 1 for a sign of life. It is what answers, not its program.
    pub(crate) async fn pulse(&mut self) -> Result<(), ChannelError> {
        self.asked += 1;
        let line = format!("{} \n", self.asked);
        self.writer
            .write_all(line.as_bytes())
            .await
            .map_err(ChannelError::Connection)?;
        self.answer::<()>().await
    }

    /// Waits for the answer to the last question; those to earlier ones are dropped. Cancel safe: cancelled and called
    /// again it goes on where it was.
    pub async fn answer<A: DeserializeOwned>(&mut self) -> Result<A, ChannelError> {
        let asked = self.asked;
        loop {
            let numbered = split(self.receive().await?).map(|(number, answer)| {
                let awaited = (number == asked).then(|| serde_json::from_slice(answer).ok());
                (number, awaited.flatten())
            });
            match numbered {
                Some((number, _)) if number < asked => self.line.clear(),
                Some((_, Some(answer))) => {
                    self.line.clear();
                    return Ok(answer);
                }
                _ => return Err(self.garbage()),
            }
        }
    }

    async fn receive(&mut self) -> Result<&[u8], ChannelError> {
        let room = LINE_LIMIT.saturating_sub(self.line.len() as u64);
        (&mut self.reader)
            .take(room)
            .read_until(b'\n', &mut self.line)
            .await
            .map_err(ChannelError::Connection)?;
        match self.line.as_slice() {
            [line @ .., b'\n'] => Ok(line.strip_suffix(b"\r").unwrap_or(line)),
            // Less than asked for, and no end of a line: what broke off is no answer.
            _ if (self.line.len() as u64) < LINE_LIMIT => Err(ChannelError::Closed),
            _ => Err(self.garbage()),
        }
    }

    fn garbage(&self) -> ChannelError {
        let start = &self.line[..self.line.len().min(200)];
        ChannelError::Protocol(start.escape_ascii().to_string())
    }
}

/// A line's number, and what follows it.
pub(crate) fn split(line: &[u8]) -> Option<(u64, &[u8])> {
    let blank = line.iter().position(|byte| *byte == b' ')?;
    let number = std::str::from_utf8(&line[..blank]).ok()?.parse().ok()?;
    Some((number, &line[blank + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Channel, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        (Channel::new(near), far)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn drops_the_late_answer_to_an_earlier_question() {
        let (mut channel, mut far) = pair();
        channel.ask(&"slow").await.unwrap();
        channel.ask(&"quick").await.unwrap();
        far.write_all(b"1 \"late\"\n2 \"prompt\"\n").await.unwrap();
        assert_eq!(channel.answer::<String>().await.unwrap(), "prompt");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn believes_no_line_that_is_no_answer() {
        for line in ["\"forged\"\n", "7 \"forged\"\n", "1 nonsense\n", "\n"] {
            let (mut channel, mut far) = pair();
            channel.ask(&"question").await.unwrap();
            far.write_all(line.as_bytes()).await.unwrap();
            let answer = channel.answer::<String>().await;
            assert!(
                matches!(answer, Err(ChannelError::Protocol(_))),
                "{line:?}: {answer:?}"
            );
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn keeps_the_last_lines_before_it_is_ready() {
        let (mut channel, mut far) = pair();
        let mut said: String = (0..100)
            .map(|number| format!("line {number}\r\n"))
            .collect();
        said.push_str("noise lastwords-ready\n");
        far.write_all(said.as_bytes()).await.unwrap();
        channel.ready().await.unwrap();
        assert_eq!(channel.console().len(), CONSOLE_LINES);
        assert_eq!(channel.console().last().unwrap(), "line 99");
    }
}
