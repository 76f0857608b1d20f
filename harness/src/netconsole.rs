//! netconsole's own syntax and bytes: the module parameter, the configfs attributes, kernel log records, the wire
//! format, and what puts fragments together again.
//!
//! Pure: nothing here opens a file or a socket, or reads a clock.

pub(crate) mod mac;
pub(crate) mod settings;

pub(crate) use mac::MacAddress;
pub(crate) use settings::Settings;
