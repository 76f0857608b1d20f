//! When interfaces that were brought up carry frames: the kernel says so a moment later.
//!
//! Until it has worked off that a pair has its carrier, an end that was up before throws away what is put in, without a
//! word (`net/core/link_watch.c`; its queue is `noop` until then).

use std::{
    collections::BTreeSet,
    io,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage, State},
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rtnetlink::{
    MulticastGroup,
    sys::{Socket, protocols::NETLINK_ROUTE},
};

use crate::lab::namespace::NamespaceError;

/// How long the kernel may take to work it off, on a machine that is busy with others.
const WITHIN: Duration = Duration::from_secs(120);
/// Room for what changes meanwhile.
const BUFFER: i32 = 1 << 20;

/// Sees which interfaces of a namespace go into operation, from when it is made.
pub(super) struct Watch(Socket);

impl Watch {
    /// Watches the interfaces of the thread's namespace.
    pub(super) fn new() -> Result<Self, NamespaceError> {
        open().map_err(NamespaceError::of("watch the interfaces"))
    }

    /// Waits until all of `names` are in operation. They were brought up since the watch was made.
    pub(super) fn wait(&self, names: &[&str]) -> Result<(), NamespaceError> {
        let mut awaited: BTreeSet<&str> = names.iter().copied().collect();
        let deadline = Instant::now() + WITHIN;
        while !awaited.is_empty() {
            let changed = self.next(deadline).map_err(|error| {
                let names = Vec::from_iter(awaited.iter().copied()).join(", ");
                NamespaceError::of(format!("see {names} in operation"))(error)
            })?;
            if let Some(name) = changed.as_ref().and_then(in_operation) {
                awaited.remove(name);
            }
        }
        Ok(())
    }

    /// What has changed next, if it is an interface.
    fn next(&self, deadline: Instant) -> io::Result<Option<LinkMessage>> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut awaited = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            match poll(&mut awaited, left) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => break,
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let (bytes, _) = self.0.recv_from_full()?;
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes);
        Ok(match message.map_err(io::Error::other)?.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => Some(link),
            _ => None,
        })
    }
}

fn open() -> io::Result<Watch> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.set_rx_buf_sz(BUFFER)?;
    socket.add_membership(MulticastGroup::Link as u32)?;
    Ok(Watch(socket))
}

/// The name of an interface that is in operation.
fn in_operation(link: &LinkMessage) -> Option<&str> {
    let is_up = |attribute: &_| matches!(attribute, LinkAttribute::OperState(State::Up));
    link.attributes.iter().any(is_up).then_some(())?;
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.as_str()),
            _ => None,
        })
}
