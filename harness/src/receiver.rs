//! Real receivers: a program in a namespace and a place of its own, and what it writes there.
//!
//! The program's keeper is this program again ([`keeper`]), inside; [`Receiver`] is its end outside. Nothing is judged
//! here, and no network is built: whoever did has its namespace.

pub(crate) mod keeper;
pub(crate) mod order;
mod place;
mod socket;
pub(crate) mod supply;

use std::{
    collections::HashMap,
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as StdStream},
    process::Stdio,
    time::Duration,
};

use tokio::{
    net::UnixStream,
    process::{Child, Command},
    time::{Instant, timeout_at},
};

use crate::{
    lab::{namespace::NamespaceError, room::Room},
    receiver::order::{Answer, Ended, Order, Plan, Report, first, send},
    scenario::expectation::Source,
};

/// What may be read of a receiver's files, all together, in bytes and in lines; what is more is not judged.
const MOST: usize = 64 << 20;
const MOST_LINES: usize = 1_000_000;
/// How long a keeper may take for what it does at once.
const AT_ONCE: Duration = Duration::from_secs(30);

/// Why a receiver cannot be asked any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiverError {
    #[error("a receiver's program has no room")]
    Room(#[from] NamespaceError),
    #[error("cannot make a stream to a receiver's keeper")]
    Stream(#[source] io::Error),
    #[error("a receiver's keeper is gone")]
    Gone(#[source] io::Error),
    #[error("a receiver's keeper did not answer within {0:?}")]
    Silent(Duration),
    #[error("a receiver's place could not be made: {0}")]
    Place(String),
    #[error("a receiver's keeper answered with `{0}`, which is no answer to what was asked")]
    Answer(String),
}

/// What happened at a receiver.
#[derive(Debug)]
pub(crate) enum Happening {
    /// The program has ended by itself.
    Ended(Ended),
    /// A file is another one, or begins anew.
    Anew(Source),
    /// A file gained something.
    Gained(Source, Vec<u8>),
}

/// A receiver's keeper, from outside.
pub(crate) struct Receiver {
    stream: UnixStream,
    /// What came and is not yet a whole message.
    bytes: Vec<u8>,
    files: HashMap<Source, u32>,
    happenings: Vec<Happening>,
    read: usize,
    lines: usize,
    keeper: Child,
    room: Room,
}

impl Receiver {
    /// Starts a keeper in `room`, and has it make the place that `plan` says.
    pub(crate) async fn new(room: Room, plan: &Plan) -> Result<Self, ReceiverError> {
        let (ours, theirs) = StdStream::pair().map_err(ReceiverError::Stream)?;
        ours.set_nonblocking(true).map_err(ReceiverError::Stream)?;
        let stream = UnixStream::from_std(ours).map_err(ReceiverError::Stream)?;
        let mut command = Command::new("/proc/self/exe");
        command
            .arg(keeper::ARGUMENT)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let keeper = room.spawn(command)?;
        let mut receiver = Self {
            stream,
            bytes: Vec::new(),
            files: HashMap::from([(Source::Printed, 0)]),
            happenings: Vec::new(),
            read: 0,
            lines: 0,
            keeper,
            room,
        };
        send(&mut receiver.stream, plan)
            .await
            .map_err(ReceiverError::Gone)?;
        match receiver.answer(AT_ONCE).await? {
            Answer::Done => Ok(receiver),
            Answer::Refused(reason) => Err(ReceiverError::Place(reason)),
            other => Err(ReceiverError::Answer(format!("{other:?}"))),
        }
    }

    /// Gives an order and waits for its answer, `within` and what a keeper takes for it besides.
    pub(crate) async fn order(
        &mut self,
        order: &Order,
        within: Duration,
    ) -> Result<Answer, ReceiverError> {
        send(&mut self.stream, order)
            .await
            .map_err(ReceiverError::Gone)?;
        self.answer(within + AT_ONCE).await
    }

    /// Has a file followed from now on, if it is not yet.
    pub(crate) async fn follow(&mut self, source: &Source) -> Result<(), ReceiverError> {
        let Source::File(path) = source else {
            return Ok(());
        };
        if self.files.contains_key(source) {
            return Ok(());
        }
        let file = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        self.files.insert(source.clone(), file);
        let path = path.clone();
        self.order(&Order::Follow { file, path }, AT_ONCE)
            .await
            .map(drop)
    }

    /// Waits for what happens next. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Happening, ReceiverError> {
        loop {
            if !self.happenings.is_empty() {
                return Ok(self.happenings.remove(0));
            }
            if let Some(answer) = self.take().map_err(ReceiverError::Gone)? {
                return Err(ReceiverError::Answer(format!("{answer:?}")));
            }
            if self.happenings.is_empty() {
                self.read().await.map_err(ReceiverError::Gone)?;
            }
        }
    }

    /// What has happened meanwhile.
    pub(crate) fn happened(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.happenings)
    }

    /// Whether more was written than is read.
    pub(crate) fn is_full(&self) -> bool {
        self.read > MOST || self.lines > MOST_LINES
    }

    /// All that runs in its place, by the machine's own numbers.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.room.processes()
    }

    /// Ends the keeper, and with it everything in its place.
    pub(crate) async fn end(mut self) -> Result<(), NamespaceError> {
        self.room.kill();
        // It is dead, or as good as dead.
        let _ = self.keeper.wait().await;
        self.room.down().await
    }

    async fn answer(&mut self, within: Duration) -> Result<Answer, ReceiverError> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(answer) = self.take().map_err(ReceiverError::Gone)? {
                return Ok(answer);
            }
            match timeout_at(deadline, self.read()).await {
                Ok(read) => read.map_err(ReceiverError::Gone)?,
                Err(_) => return Err(ReceiverError::Silent(within)),
            }
        }
    }

    /// Reads what is there. Cancel safe.
    async fn read(&mut self) -> io::Result<()> {
        loop {
            self.stream.readable().await?;
            match self.stream.try_read_buf(&mut self.bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes all whole messages up to the first answer, which it gives.
    fn take(&mut self) -> io::Result<Option<Answer>> {
        let mut taken = 0;
        let mut answer = None;
        while answer.is_none()
            && let Some((report, gained, length)) = first(&self.bytes[taken..])?
        {
            taken += length;
            match report {
                Report::Answer(given) => answer = Some(given),
                Report::Ended(ended) => self.happenings.push(Happening::Ended(ended)),
                Report::Anew { file } => self.happen(file, Happening::Anew),
                Report::Gained { file, .. } => {
                    self.read += gained.len();
                    self.lines += memchr::memchr_iter(b'\n', &gained).count();
                    if !self.is_full() {
                        self.happen(file, |source| Happening::Gained(source, gained));
                    }
                }
            }
        }
        self.bytes.drain(..taken);
        Ok(answer)
    }

    fn happen(&mut self, file: u32, happening: impl FnOnce(Source) -> Happening) {
        let source = self.files.iter().find(|(_, number)| **number == file);
        if let Some((source, _)) = source {
            self.happenings.push(happening(source.clone()));
        }
    }
}
