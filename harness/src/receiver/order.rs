//! What is said between the harness and a receiver's keeper: orders one way, reports the other.
//!
//! A message is its length in four bytes, least first, and JSON. What a file gained follows its report as it is.

use std::{io, net::IpAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::unix::OwnedReadHalf,
};

/// The longest message.
const LONGEST: u32 = 4 << 20;

/// What a keeper is to make of its place before anything else.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The machine's name.
    pub(crate) hostname: String,
    /// Where the program was unpacked, if it is not installed: its other files are there, too.
    pub(crate) prefix: Option<PathBuf>,
    /// Files to write, by their paths in the place.
    pub(crate) files: Vec<(PathBuf, Vec<u8>)>,
    /// A file and what is appended to it.
    pub(crate) append: Option<(PathBuf, String)>,
    /// The machine's PATH and where daemons are.
    pub(crate) path: String,
}

/// What a keeper is asked to do. Each order has one answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Starts the program and waits until it says that it is ready, or listens on all `ports`.
    Start {
        command: String,
        ports: Vec<u16>,
        within: Duration,
    },
    /// Stops the program and all that it has started.
    Stop { kill: bool },
    /// Runs a command beside the program.
    Run {
        command: Vec<String>,
        within: Duration,
    },
    /// Tells from now on what a file holds and gains. `file` is its number in reports.
    Follow { file: u32, path: PathBuf },
    /// Tells who listens.
    Sockets,
    /// Waits until nothing waits in any UDP socket and everybody sleeps, if that is soon.
    Rest,
    /// Tells which files of text there are that a program has written.
    Written,
}

/// What came of an order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    /// The program ended before it was ready.
    Ended(Ended),
    /// Something else stood in the way.
    Refused(String),
    Ran(crate::kernel::request::Ran),
    Sockets(Vec<Socket>),
    Rest(Rest),
    Written(Vec<PathBuf>),
}

/// What a receiver still has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Rest {
    /// Something waits in a socket.
    Behind,
    /// Nothing waits in any socket, but somebody does not sleep.
    Read,
    /// Nothing waits in any socket, and everybody sleeps.
    Asleep,
}

/// What a keeper tells.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Report {
    Answer(Answer),
    /// The program has ended by itself.
    Ended(Ended),
    /// A file is another one, or begins anew.
    Anew {
        file: u32,
    },
    /// A file gained so many bytes, which follow.
    Gained {
        file: u32,
        length: u32,
    },
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// `status 1`, `signal 9`.
    pub(crate) status: String,
    /// The last lines of its standard error.
    pub(crate) said: Vec<String>,
}

/// A UDP socket, as /proc/net/udp and udp6 have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Socket {
    pub(crate) port: u16,
    /// The only one that it takes datagrams from; none: it takes all.
    pub(crate) peer: Option<(IpAddr, u16)>,
    /// What waits in it, in bytes.
    pub(crate) waiting: u64,
    /// What found no room in it.
    pub(crate) drops: u64,
}

/// Sends a message.
pub(crate) async fn send(
    to: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    to.write_all(&length.to_le_bytes()).await?;
    to.write_all(&bytes).await
}

/// Reads a message.
pub(crate) async fn receive<T: for<'de> Deserialize<'de>>(
    from: &mut (impl AsyncRead + Unpin),
) -> io::Result<T> {
    let length = from.read_u32_le().await?;
    if length > LONGEST {
        return Err(io::Error::other(format!("a message of {length} bytes")));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    from.read_exact(&mut bytes).await?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// The next message of a stream of which `bytes` came already. Cancel safe.
pub(crate) async fn next<T: for<'de> Deserialize<'de>>(
    from: &OwnedReadHalf,
    bytes: &mut Vec<u8>,
) -> io::Result<T> {
    loop {
        if let Some(json) = whole(bytes)? {
            let end = 4 + json.len();
            let message = serde_json::from_slice(json)?;
            bytes.drain(..end);
            return Ok(message);
        }
        // The stream may be said to be readable though nothing is there.
        from.readable().await?;
        match from.try_read_buf(bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// The first message in `bytes`, where all of it is there.
fn whole(bytes: &[u8]) -> io::Result<Option<&[u8]>> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length);
    if length > LONGEST {
        return Err(io::Error::other(format!("a message of {length} bytes")));
    }
    Ok(rest.get(..usize::try_from(length).unwrap_or_default()))
}

/// The first message in `bytes`, with what follows it, and how long all of it is; none where it is not all there yet.
pub(crate) fn first(bytes: &[u8]) -> io::Result<Option<(Report, Vec<u8>, usize)>> {
    let Some(json) = whole(bytes)? else {
        return Ok(None);
    };
    let report: Report = serde_json::from_slice(json)?;
    let gained = match &report {
        Report::Gained { length, .. } => usize::try_from(*length).unwrap_or_default(),
        Report::Answer(_) | Report::Ended(_) | Report::Anew { .. } => 0,
    };
    let begin = 4 + json.len();
    let end = begin + gained;
    Ok(bytes
        .get(begin..end)
        .map(|gained| (report, gained.to_vec(), end)))
}
