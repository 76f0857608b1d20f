//! Packed things: compressed streams and Debian packages, read with bounded memory.

pub(crate) mod compression;
pub(crate) mod deb;
