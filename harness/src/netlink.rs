//! Questions to the kernel's rtnetlink, one after the other, and what it tells of itself.
//!
//! The socket waits, and nothing else is done meanwhile. In a restored guest all code runs for the first time, and to
//! translate it is what takes time: a connection with tasks and channels costs several times as much there.

use std::{
    collections::VecDeque,
    io,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_MULTIPART, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use rtnetlink::{
    MulticastGroup,
    sys::{Socket, protocols::NETLINK_ROUTE},
};

/// Room for what the kernel tells while nobody listens, in bytes.
const BUFFER: i32 = 1 << 20;
/// Lengths within a datagram are rounded up to this (`NLMSG_ALIGNTO`, include/uapi/linux/netlink.h).
const ALIGNMENT: usize = 4;

/// A connection to the rtnetlink of the thread's network namespace.
pub(crate) struct Netlink {
    socket: Socket,
    asked: u32,
    /// What the kernel told of itself while it was asked something.
    told: VecDeque<RouteNetlinkMessage>,
}

impl Netlink {
    /// Connects; the kernel tells from now on what happens in these groups.
    pub(crate) fn new(groups: &[MulticastGroup]) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        if !groups.is_empty() {
            socket.set_rx_buf_sz(BUFFER)?;
        }
        for group in groups {
            socket.add_membership(*group as u32)?;
        }
        Ok(Self {
            socket,
            asked: 0,
            told: VecDeque::new(),
        })
    }

    /// Asks, with flags such as `NLM_F_DUMP` or `NLM_F_ACK`, and gives all that is answered. Fails with the kernel's errno.
    pub(crate) fn ask(
        &mut self,
        question: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.asked += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.asked;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(question));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answers = Vec::new();
        loop {
            let messages = self.receive()?;
            for message in messages {
                if self.take(message, flags, &mut answers)? {
                    return Ok(answers);
                }
            }
        }
    }

    /// Files one message while an answer is awaited; says whether that is complete.
    fn take(
        &mut self,
        message: NetlinkMessage<RouteNetlinkMessage>,
        flags: u16,
        answers: &mut Vec<RouteNetlinkMessage>,
    ) -> io::Result<bool> {
        let is_answer = message.header.sequence_number == self.asked;
        let continues = message.header.flags & NLM_F_MULTIPART != 0 || flags & NLM_F_DUMP != 0;
        match message.payload {
            NetlinkPayload::InnerMessage(told) if !is_answer => self.told.push_back(told),
            _ if !is_answer => {}
            NetlinkPayload::InnerMessage(answer) => {
                answers.push(answer);
                return Ok(!continues);
            }
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
            NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(true),
            _ => {}
        }
        Ok(false)
    }

    /// Waits for what the kernel tells next in its groups; an error of the kind `TimedOut` after the deadline.
    pub(crate) fn next(&mut self, deadline: Instant) -> io::Result<RouteNetlinkMessage> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Ok(told);
            }
            self.wait(deadline)?;
            for message in self.receive()? {
                if let NetlinkPayload::InnerMessage(told) = message.payload {
                    self.told.push_back(told);
                }
            }
        }
    }

    fn wait(&self, deadline: Instant) -> io::Result<()> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up: a wait of no milliseconds would be none.
            let left = left + Duration::from_millis(u64::from(!left.is_zero()));
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut awaited = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut awaited, left) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// The messages of one datagram.
    fn receive(&self) -> io::Result<Vec<NetlinkMessage<RouteNetlinkMessage>>> {
        let (bytes, _) = self.socket.recv_from_full()?;
        let mut rest = bytes.as_slice();
        let mut messages = Vec::new();
        while !rest.is_empty() {
            let message = NetlinkMessage::deserialize(rest).map_err(io::Error::other)?;
            let length = (message.header.length as usize).next_multiple_of(ALIGNMENT);
            rest = rest.get(length..).unwrap_or_default();
            messages.push(message);
        }
        Ok(messages)
    }
}
