//! What `lastwords param` knows: which parameter logs to an address, why, what a given parameter means on a machine,
//! and the traps on the way.
//!
//! Pure: whoever asks the kernel fills in a [`Machine`] and a [`Way`]; nothing here opens a file or a socket.

pub(crate) mod device;
pub(crate) mod document;
pub(crate) mod explain;
pub(crate) mod finding;
pub(crate) mod machine;
pub(crate) mod proposal;
pub(crate) mod shell;
pub(crate) mod support;
pub(crate) mod way;
pub(crate) mod wrapping;

pub(crate) use explain::Explanation;
pub(crate) use finding::{Finding, Severity};
pub(crate) use machine::{Interface, Machine};
pub(crate) use proposal::Proposal;
pub(crate) use way::{NoWay, Way};
