//! The stream between the lab and a QEMU network card: a big-endian length of four bytes before each frame, both ways.

use std::{
    collections::VecDeque,
    io,
    os::{fd::AsRawFd, unix::net},
    sync::Arc,
    task::{Context, Poll},
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv, send},
};
use tokio::{io::Interest, net::UnixStream};

/// The longest frame that QEMU's socket netdev sends (`net/net.h`, `NET_BUFSIZE`).
pub(crate) const LONGEST_FRAME: usize = 4096 + 65536;
/// How many bytes wait for a guest that does not read.
const OUTGOING_LIMIT: usize = 1 << 20;
const INCOMING: usize = 4 * LONGEST_FRAME;
const PREFIX: usize = 4;

/// Our end of a QEMU network card.
///
/// It reads and writes without asking the runtime first, so that what has arrived is seen at once; the runtime is only
/// asked to wake the lab.
pub(crate) struct Wire {
    stream: UnixStream,
    /// Invariant: `incoming[start..end]` was read and not given yet.
    incoming: Box<[u8]>,
    start: usize,
    end: usize,
    outgoing: VecDeque<u8>,
    lost: u64,
}

/// What a guest's wire brought.
#[derive(Debug)]
pub(crate) enum Reading {
    Frame(Arc<[u8]>),
    /// QEMU has closed it, between two frames.
    Closed,
    Broken(WireError),
}

/// What no QEMU sends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("a frame of {0} bytes was announced, and QEMU sends {LONGEST_FRAME} at most")]
    TooLong(u32),
    #[error("it broke off after {had} of the {announced} bytes of a frame")]
    Torn { had: usize, announced: usize },
    #[error("it broke off within the length of a frame")]
    TornLength,
    #[error("reading failed")]
    Read(#[source] io::Error),
}

impl Wire {
    pub(crate) fn new(stream: net::UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: UnixStream::from_std(stream)?,
            incoming: vec![0; INCOMING].into(),
            start: 0,
            end: 0,
            outgoing: VecDeque::new(),
            lost: 0,
        })
    }

    /// How many frames the guest did not take in time.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Takes the next frame. After anything but a frame the wire is not to be read again.
    pub(crate) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Reading> {
        loop {
            match self.take_frame() {
                Ok(Some(frame)) => return Poll::Ready(Reading::Frame(frame)),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Reading::Broken(error)),
            }
            match self.poll_fill(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return Poll::Ready(self.end_of_stream()),
                Poll::Ready(Ok(count)) => self.end += count,
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Reading::Broken(WireError::Read(error)));
                }
            }
        }
    }

    /// Sends a frame, or keeps it until the guest reads, or counts it as lost where too much is kept.
    pub(crate) fn push(&mut self, frame: &[u8]) {
        let Ok(length) = u32::try_from(frame.len()) else {
            return;
        };
        if self.outgoing.len() + PREFIX + frame.len() > OUTGOING_LIMIT {
            self.lost += 1;
            return;
        }
        self.outgoing.extend(length.to_be_bytes());
        self.outgoing.extend(frame);
        self.flush();
    }

    /// Sends what waits, and asks to be woken where that is not all.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) {
        while !self.flush() {
            self.forget_readiness(Interest::WRITABLE);
            if self.stream.poll_write_ready(context).is_pending() {
                return;
            }
        }
    }

    /// Sends what waits; whether that was all.
    fn flush(&mut self) -> bool {
        while !self.outgoing.is_empty() {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(self.stream.as_raw_fd(), self.outgoing.as_slices().0, flags) {
                Ok(count) => drop(self.outgoing.drain(..count)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return false,
                // QEMU is gone, which reading tells.
                Err(_) => self.outgoing.clear(),
            }
        }
        true
    }

    fn take_frame(&mut self) -> Result<Option<Arc<[u8]>>, WireError> {
        let Some(announced) = self.announced() else {
            return Ok(None);
        };
        let length = usize::try_from(announced).unwrap_or(usize::MAX);
        if length > LONGEST_FRAME {
            return Err(WireError::TooLong(announced));
        }
        let Some(frame) = self.incoming[self.start + PREFIX..self.end].get(..length) else {
            return Ok(None);
        };
        let frame = frame.into();
        self.start += PREFIX + length;
        Ok(Some(frame))
    }

    /// The length of the frame that comes next, where it has arrived whole.
    fn announced(&self) -> Option<u32> {
        self.incoming[self.start..self.end]
            .first_chunk()
            .copied()
            .map(u32::from_be_bytes)
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.make_room();
        loop {
            match recv(
                self.stream.as_raw_fd(),
                &mut self.incoming[self.end..],
                MsgFlags::MSG_DONTWAIT,
            ) {
                Ok(count) => return Poll::Ready(Ok(count)),
                // QEMU was ended before it had read what we sent.
                Err(Errno::ECONNRESET) => return Poll::Ready(Ok(0)),
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => self.forget_readiness(Interest::READABLE),
                Err(errno) => return Poll::Ready(Err(errno.into())),
            }
            match self.stream.poll_read_ready(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => {}
            }
        }
    }

    /// Moves what is left to the front where a frame may not fit behind it.
    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.incoming.len() - self.start < PREFIX + LONGEST_FRAME {
            self.incoming.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }

    fn end_of_stream(&self) -> Reading {
        let had = self.end - self.start;
        match self.announced() {
            Some(announced) => {
                let announced = usize::try_from(announced).unwrap_or(usize::MAX);
                Reading::Broken(WireError::Torn {
                    had: had - PREFIX,
                    announced,
                })
            }
            None if had > 0 => Reading::Broken(WireError::TornLength),
            None => Reading::Closed,
        }
    }

    /// Tells the runtime that the stream would block, so that it reports the next change.
    fn forget_readiness(&self, interest: Interest) {
        let would_block = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        // The result is the error that we have just made up.
        let _ = self.stream.try_io(interest, would_block);
    }
}
