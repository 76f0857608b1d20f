//! A message that was seen on the wire.

use std::time::Duration;

use crate::{
    netconsole::Message,
    verdict::{finding::Kind, trouble::Trouble},
};

/// A message as a sender put it on the wire, or as a router sent it on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sighting {
    pub(crate) message: Message,
    /// When its last datagram came.
    pub(crate) time: Duration,
    /// The number of the flow in which its sender sent it.
    pub(crate) flow: usize,
    /// The number of the target's state; none where it fits none.
    pub(crate) entry: Option<usize>,
    /// The scenario's index of the target.
    pub(crate) target: Option<usize>,
    /// A registration replayed it from the log.
    pub(crate) replayed: bool,
    /// Counts the boots of its sender.
    pub(crate) boot: u32,
    /// Counts the registrations of its target.
    pub(crate) epoch: u32,
    /// The number of the marker that it is.
    pub(crate) marker: Option<u64>,
    /// What is wrong with its datagrams.
    pub(crate) troubles: Vec<Trouble>,
    /// No receiver takes it.
    pub(crate) corrupted: bool,
    /// The number of the flow in which a router sent it on; none where it is as the sender sent it.
    pub(crate) passage: Option<usize>,
    /// The sighting that a router sent on with it.
    pub(crate) copy_of: Option<usize>,
}

impl Sighting {
    /// Whether both are copies of one message.
    pub(crate) fn is_same_message(&self, other: &Self) -> bool {
        self.target == other.target && self.message.payloads == other.message.payloads
    }

    /// All that is wrong with it by itself.
    pub(crate) fn wrongs(&self) -> impl Iterator<Item = (Kind, String)> {
        let faults = self
            .message
            .faults
            .iter()
            .filter(|_| !self.corrupted)
            .map(|fault| (Kind::from(fault), fault.to_string()));
        self.troubles
            .iter()
            .map(|trouble| (trouble.kind, trouble.sentence.clone()))
            .chain(faults)
    }
}
