//! A client of QEMU's gdbstub: stops a machine where one of its processors comes to an address, changes its registers and
//! its memory. To be spoken to only while the machine stands still, since every byte stops it; it is made to go on through
//! the monitor.
//!
//! Source: "GDB Remote Serial Protocol" in gdb's manual, and QEMU's `gdbstub.c`. The stub listens on a socket pair that
//! QEMU is given through its monitor, so a machine that needs no debugger is started without one, restored or not.

use std::{io, os::unix::net::UnixStream as StdUnixStream, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

use crate::qmp::{Qmp, QmpError};

/// How long the stub may take for a packet.
const REPLY_WITHIN: Duration = Duration::from_secs(60);
/// The longest packet that is taken (`MAX_PACKET_LENGTH` is 4096).
const MOST_BYTES: usize = 16 << 10;

/// How it tells of a stop: with a signal, or of a machine that ended.
const STOPS: [char; 4] = ['S', 'T', 'W', 'X'];
/// A stop at an address that is watched (`GDB_SIGNAL_TRAP`).
const TRAPPED: &str = "T05";

/// Why a machine could not be changed from outside.
#[derive(Debug, thiserror::Error)]
pub enum DebuggerError {
    /// The monitor did not start the stub.
    #[error(transparent)]
    Monitor(#[from] QmpError),
    /// QEMU refused to start it.
    #[error("QEMU starts no gdbstub: {0}")]
    NotStarted(String),
    /// The connection failed.
    #[error("QEMU's gdbstub cannot be reached")]
    Connection(#[from] io::Error),
    /// It gave no answer, or none that is to be understood.
    #[error("QEMU's gdbstub did not do `{packet}`: {answer}")]
    Refused {
        /// What was asked.
        packet: String,
        /// What came.
        answer: String,
    },
}

/// A register of an x86-64 processor, by gdb's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Register {
    /// The second argument of a function.
    Rsi = 4,
    /// The first argument of a function.
    Rdi = 5,
    /// The end of its stack.
    Rsp = 7,
    /// Where it goes on.
    Rip = 16,
    /// Among others, whether it takes interrupts.
    Eflags = 17,
}

impl Register {
    /// Its size in bytes.
    fn size(self) -> usize {
        match self {
            Self::Rsi | Self::Rdi | Self::Rsp | Self::Rip => 8,
            Self::Eflags => 4,
        }
    }
}

/// A machine with a debugger.
#[derive(Debug)]
pub struct Debugger {
    stream: UnixStream,
    /// What has come and is not yet taken.
    pending: Vec<u8>,
}

impl Debugger {
    /// Stops the machine and takes hold of it.
    pub(crate) async fn attach(qmp: &mut Qmp) -> Result<Self, DebuggerError> {
        let (near, far) = StdUnixStream::pair()?;
        near.set_nonblocking(true)?;
        let stream = UnixStream::from_std(near)?;
        qmp.give("debugger", far.into()).await?;
        let address = json!({ "type": "fd", "data": { "str": "debugger" } });
        let socket = json!({ "type": "socket", "data": { "addr": address, "server": false } });
        let chardev = json!({ "id": "debugger", "backend": socket });
        qmp.execute("chardev-add", chardev).await?;
        let command = json!({ "command-line": "gdbserver chardev:debugger" });
        let said = qmp.execute("human-monitor-command", command).await?;
        let said = said.as_str().unwrap_or_default().trim().to_owned();
        if said.starts_with("Could not") {
            return Err(DebuggerError::NotStarted(said));
        }
        let pending = Vec::new();
        let mut debugger = Self { stream, pending };
        // Single registers are for a client that has read their description; a piece of it will do.
        debugger.ask("qXfer:features:read:target.xml:0,10").await?;
        Ok(debugger)
    }

    /// Has the machine stop when a processor comes to `address`.
    pub async fn watch(&mut self, address: u64) -> Result<(), DebuggerError> {
        self.order(&format!("Z0,{address:x},1")).await
    }

    /// Takes [`Debugger::watch`] back.
    pub async fn unwatch(&mut self, address: u64) -> Result<(), DebuggerError> {
        self.order(&format!("z0,{address:x},1")).await
    }

    /// Waits until the machine stops where it is watched. Cancel safe.
    pub async fn stopped(&mut self) -> Result<(), DebuggerError> {
        while !self.packet().await?.starts_with(TRAPPED) {}
        Ok(())
    }

    /// Reads the code at an address of the processor that stopped.
    pub async fn read(&mut self, address: u64, length: usize) -> Result<Vec<u8>, DebuggerError> {
        let packet = format!("m{address:x},{length:x}");
        let answer = self.ask(&packet).await?;
        let bytes = unhex(&answer).filter(|bytes| bytes.len() == length);
        bytes.ok_or_else(|| refused(&packet, &answer))
    }

    /// Writes to an address of the processor that stopped, its code, too.
    pub async fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), DebuggerError> {
        let (length, bytes) = (bytes.len(), hex(bytes));
        self.order(&format!("M{address:x},{length:x}:{bytes}"))
            .await
    }

    /// Sets a register of the processor that stopped.
    pub async fn set(&mut self, register: Register, value: u64) -> Result<(), DebuggerError> {
        let value = hex(&value.to_le_bytes()[..register.size()]);
        self.order(&format!("P{:x}={value}", register as u8)).await
    }

    /// A register of the processor that stopped.
    pub async fn register(&mut self, register: Register) -> Result<u64, DebuggerError> {
        let packet = format!("p{:x}", register as u8);
        let answer = self.ask(&packet).await?;
        let mut value = [0; 8];
        let bytes = unhex(&answer).filter(|bytes| bytes.len() == register.size());
        let bytes = bytes.ok_or_else(|| refused(&packet, &answer))?;
        value[..bytes.len()].copy_from_slice(&bytes);
        Ok(u64::from_le_bytes(value))
    }

    async fn order(&mut self, packet: &str) -> Result<(), DebuggerError> {
        match self.ask(packet).await? {
            answer if answer == "OK" => Ok(()),
            answer => Err(refused(packet, &answer)),
        }
    }

    async fn ask(&mut self, packet: &str) -> Result<String, DebuggerError> {
        let line = format!("${packet}#{:02x}", checksum(packet.as_bytes()));
        self.stream.write_all(line.as_bytes()).await?;
        let answer = async {
            loop {
                let answer = self.packet().await?;
                // It tells of every stop of the machine, whoever stopped it.
                if !answer.starts_with(STOPS) {
                    return Ok(answer);
                }
            }
        };
        let late = |_| refused(packet, &format!("nothing within {REPLY_WITHIN:?}"));
        timeout(REPLY_WITHIN, answer).await.map_err(late)?
    }

    /// The next packet. It is not acknowledged: an acknowledgement too many would stop the machine, and the next packet
    /// does as well. Cancel safe.
    async fn packet(&mut self) -> Result<String, DebuggerError> {
        loop {
            if let Some((packet, end)) = first_packet(&self.pending) {
                self.pending.drain(..end);
                return Ok(packet);
            }
            if self.pending.len() > MOST_BYTES {
                return Err(refused("", "more than a packet holds"));
            }
            if self.stream.read_buf(&mut self.pending).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }
}

/// The first whole packet, and where it ends. Acknowledgements before it are skipped.
fn first_packet(bytes: &[u8]) -> Option<(String, usize)> {
    let start = bytes.iter().position(|byte| *byte == b'$')? + 1;
    let length = bytes[start..].iter().position(|byte| *byte == b'#')?;
    let end = start + length + 3;
    let packet = String::from_utf8_lossy(&bytes[start..start + length]).into_owned();
    (bytes.len() >= end).then_some((packet, end))
}

fn refused(packet: &str, answer: &str) -> DebuggerError {
    let answer = answer.chars().take(200).collect();
    let packet = packet.chars().take(40).collect();
    DebuggerError::Refused { packet, answer }
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn fake(said: &[u8]) -> (Debugger, UnixStream) {
        let (stream, mut far) = UnixStream::pair().unwrap();
        far.write_all(said).await.unwrap();
        let pending = Vec::new();
        (Debugger { stream, pending }, far)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn speaks_as_gdb_does() {
        let (mut debugger, mut far) =
            fake(b"$T02thread:01;#04+$OK#9a+$0f0B#00$T02thread:01;#04$T05thread:02;#08$OK#9a")
                .await;
        debugger.set(Register::Rdi, 0x1234).await.unwrap();
        assert_eq!(debugger.read(0xff, 2).await.unwrap(), [0x0f, 0x0b]);
        debugger.stopped().await.unwrap();
        debugger.unwatch(1).await.unwrap();
        let mut asked = [0; 42];
        far.read_exact(&mut asked).await.unwrap();
        let said = String::from_utf8_lossy(&asked).into_owned();
        assert_eq!(said, "$P5=3412000000000000#cc$mff,2#97$z0,1,1#64");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn tells_a_refusal_and_an_end() {
        let (mut debugger, far) = fake(b"+$E14#aa").await;
        let error = debugger.write(0x10, &[1]).await.unwrap_err().to_string();
        assert_eq!(error, "QEMU's gdbstub did not do `M10,1:01`: E14");
        drop(far);
        let error = debugger.watch(0x10).await.unwrap_err();
        assert!(matches!(error, DebuggerError::Connection(_)), "{error}");
    }
}
