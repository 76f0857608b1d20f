//! When interfaces that were brought up carry frames: the kernel says so a moment later.
//!
//! Until it has worked off that a pair has its carrier, an end that was up before throws away what is put in, without a
//! word (`net/core/link_watch.c`; its queue is `noop` until then).

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage, State},
};
use rtnetlink::MulticastGroup;

use crate::{lab::namespace::NamespaceError, netlink::Netlink};

/// How long the kernel may take to work it off, on a machine that is busy with others.
const WITHIN: Duration = Duration::from_secs(120);

/// Sees which interfaces of a namespace go into operation, from when it is made.
pub(super) struct Watch(Netlink);

impl Watch {
    /// Watches the interfaces of the thread's namespace.
    pub(super) fn new() -> Result<Self, NamespaceError> {
        let netlink = Netlink::new(&[MulticastGroup::Link]);
        netlink
            .map(Self)
            .map_err(NamespaceError::of("watch the interfaces"))
    }

    /// Waits until all of `names` are in operation. They were brought up since the watch was made.
    pub(super) fn wait(&mut self, names: &[&str]) -> Result<(), NamespaceError> {
        let mut awaited: BTreeSet<&str> = names.iter().copied().collect();
        let deadline = Instant::now() + WITHIN;
        while !awaited.is_empty() {
            let told = self.0.next(deadline).map_err(|error| {
                let names = Vec::from_iter(awaited.iter().copied()).join(", ");
                NamespaceError::of(format!("see {names} in operation"))(error)
            })?;
            if let RouteNetlinkMessage::NewLink(link) = &told
                && let Some(name) = in_operation(link)
            {
                awaited.remove(name);
            }
        }
        Ok(())
    }
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
