//! The guest channel: JSON lines between the program and its own copy that runs as PID 1 in a guest.
//!
//! The far end is a guest, so nothing that comes is believed: lines are limited, and what does not read is an error.

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
    #[error("the guest broke the channel's protocol: it sent `{0}`")]
    Protocol(String),
}

/// The host's end of a guest's channel.
#[derive(Debug)]
pub struct Channel {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    line: Vec<u8>,
    /// Answers that are still to come to questions whose asker has gone away.
    unheard: usize,
}

impl Channel {
    pub(crate) fn new(stream: UnixStream) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            reader: BufReader::new(reader),
            writer,
            line: Vec::new(),
            unheard: 0,
        }
    }

    /// Waits until PID 1 says that it is ready. Firmware may write to the port before that.
    pub(crate) async fn ready(&mut self) -> Result<(), ChannelError> {
        loop {
            let line = self.receive().await?;
            let ready = line.ends_with(READY.as_bytes());
            self.line.clear();
            if ready {
                return Ok(());
            }
        }
    }

    /// Sends a question; its answer is to be taken with [`Channel::answer`].
    pub async fn ask<Q: Serialize>(&mut self, question: &Q) -> Result<(), ChannelError> {
        let mut line =
            serde_json::to_vec(question).map_err(|error| ChannelError::Connection(error.into()))?;
        line.push(b'\n');
        self.writer
            .write_all(&line)
            .await
            .map_err(ChannelError::Connection)?;
        self.unheard += 1;
        Ok(())
    }

    /// Waits for the answer to the last question. Cancel safe: cancelled and called again it goes on where it was.
    pub async fn answer<A: DeserializeOwned>(&mut self) -> Result<A, ChannelError> {
        loop {
            let answer = serde_json::from_slice(self.receive().await?);
            let answer = answer.map_err(|_| self.garbage());
            self.line.clear();
            self.unheard = self.unheard.saturating_sub(1);
            if self.unheard == 0 || answer.is_err() {
                return answer;
            }
        }
    }

    async fn receive(&mut self) -> Result<&[u8], ChannelError> {
        let room = LINE_LIMIT.saturating_sub(self.line.len() as u64);
        let read = (&mut self.reader)
            .take(room)
            .read_until(b'\n', &mut self.line)
            .await;
        let read = read.map_err(ChannelError::Connection)?;
        match self.line.as_slice() {
            [line @ .., b'\n'] => Ok(line.strip_suffix(b"\r").unwrap_or(line)),
            _ if read == 0 && room > 0 => Err(ChannelError::Closed),
            _ => Err(self.garbage()),
        }
    }

    fn garbage(&self) -> ChannelError {
        let start = &self.line[..self.line.len().min(200)];
        ChannelError::Protocol(start.escape_ascii().to_string())
    }
}
