//! The kernel under test: what can be asked of it, and who does it.
//!
//! One [`Request`] enum says it all. [`local`] does what a request says on the kernel it runs on; in a guest that
//! is PID 1's work, which is the same program ([`agent`]).

pub(crate) mod agent;
pub(crate) mod child;
pub(crate) mod command;
pub(crate) mod configfs;
pub(crate) mod disk;
pub(crate) mod interface;
pub(crate) mod local;
pub(crate) mod log;
pub(crate) mod machine;
pub(crate) mod module;
pub(crate) mod neighbour;
mod processor;
pub(crate) mod renewal;
pub(crate) mod request;
pub(crate) mod route;
pub(crate) mod startup;
pub(crate) mod symbol;
pub(crate) mod terminal;

pub(crate) use request::{Answer, Refusal, Request};
