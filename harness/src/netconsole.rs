//! netconsole's own syntax and bytes: the module parameter, the configfs attributes, kernel log records, the wire
//! format, and what puts fragments together again.
//!
//! Pure: nothing here opens a file or a socket, or reads a clock.

pub(crate) mod assembly;
pub(crate) mod datagram;
pub(crate) mod escape;
pub(crate) mod header;
pub(crate) mod mac;
pub(crate) mod message;
pub(crate) mod parameter;
pub(crate) mod prefix;
pub(crate) mod print;
pub(crate) mod record;
pub(crate) mod settings;
pub(crate) mod words;

pub(crate) use assembly::Assembly;
pub(crate) use datagram::Datagram;
pub(crate) use header::Header;
pub(crate) use mac::MacAddress;
pub(crate) use message::Message;
pub(crate) use parameter::Parameter;
pub(crate) use record::Record;
pub(crate) use settings::Settings;
