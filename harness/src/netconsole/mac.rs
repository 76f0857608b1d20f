//! Ethernet addresses, written as netconsole writes them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct MacAddress(pub(crate) [u8; 6]);

/// A text that is no Ethernet address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no Ethernet address\n(six pairs of hexadecimal digits, as in `02:00:0a:01:00:02`)"
)]
pub(crate) struct InvalidMac(String);

impl MacAddress {
    /// netconsole's default remote MAC (`netconsole.c`, `alloc_and_init`).
    pub(crate) const BROADCAST: Self = Self([0xff; 6]);

    /// Whether frames for this address go to many: broadcast or multicast.
    pub(crate) fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddress {
    type Err = InvalidMac;

    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        let invalid = || InvalidMac(text.to_owned());
        let mut bytes = [0; 6];
        let mut pairs = text.split(':');
        for byte in &mut bytes {
            let pair = pairs.next().ok_or_else(invalid)?;
            if pair.len() != 2 || !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(invalid());
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| invalid())?;
        }
        if pairs.next().is_some() {
            return Err(invalid());
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for MacAddress {
    type Error = InvalidMac;

    fn try_from(text: String) -> Result<Self, InvalidMac> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::lower("02:00:0a:01:00:02")]
    #[case::broadcast("ff:ff:ff:ff:ff:ff")]
    fn reads_back_what_it_writes(#[case] text: &str) {
        assert_eq!(text.parse::<MacAddress>().unwrap().to_string(), text);
    }

    #[rstest]
    #[case::empty("")]
    #[case::five("02:00:0a:01:00")]
    #[case::seven("02:00:0a:01:00:02:03")]
    #[case::sign("+2:00:0a:01:00:02")]
    #[case::dashes("02-00-0a-01-00-02")]
    #[case::not_hexadecimal("02:00:0g:01:00:02")]
    fn refuses(#[case] text: &str) {
        assert!(text.parse::<MacAddress>().is_err());
    }
}
