//! What is true: expectations against what arrived, and what was sent against the kernel's log.
//!
//! Pure: frames, records and targets' settings come in, judgements go out. Nothing here opens a file or a socket,
//! reads a clock, or waits.

pub(crate) mod absence;
pub(crate) mod asked;
pub(crate) mod attribution;
pub(crate) mod audit;
pub(crate) mod complaint;
mod completeness;
pub(crate) mod conclusion;
pub(crate) mod console;
pub(crate) mod contiguity;
pub(crate) mod course;
pub(crate) mod fidelity;
pub(crate) mod finding;
pub(crate) mod flow;
pub(crate) mod journey;
pub(crate) mod judge;
pub(crate) mod log;
pub(crate) mod marker;
pub(crate) mod matcher;
pub(crate) mod nearest;
pub(crate) mod outcome;
pub(crate) mod reading;
pub(crate) mod reception;
pub(crate) mod scene;
pub(crate) mod shortfall;
pub(crate) mod sighting;
pub(crate) mod stream;
pub(crate) mod target;
pub(crate) mod trace;
pub(crate) mod traffic;
pub(crate) mod trouble;
pub(crate) mod userdata;
pub(crate) mod watch;
pub(crate) mod way;
mod whereabouts;
pub(crate) mod written;

pub(crate) use finding::Finding;
pub(crate) use judge::{Ending, Judge, Progress, Proof};
pub(crate) use outcome::Failure;
pub(crate) use scene::{Frame, Scene};
pub(crate) use target::TargetState;

#[cfg(test)]
mod kernel;
#[cfg(test)]
mod routed;
#[cfg(test)]
mod tests;
