//! The module parameter `netconsole=`, read as the kernel reads it.
//!
//! What the kernel takes for right is right here, too: whether it makes sense is not judged.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Range,
    str::FromStr,
};

use schemars::JsonSchema;
use serde::Serialize;

use crate::netconsole::{MacAddress, Settings};

/// The parameter for one target: `[+][r][src-port]@[src-ip]/[dev],[tgt-port]@<tgt-ip>/[tgt-mac]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) extended: bool,
    pub(crate) release: bool,
    pub(crate) local_port: Option<u16>,
    pub(crate) local_ip: Option<IpAddr>,
    /// A name, or from 6.15 on (and in 6.12.91) the interface's Ethernet address.
    pub(crate) dev_name: Option<String>,
    pub(crate) remote_port: Option<u16>,
    pub(crate) remote_ip: IpAddr,
    pub(crate) remote_mac: Option<MacAddress>,
}

/// A parameter that the kernel refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {field} {problem}, at byte {column} of the netconsole parameter")]
pub(crate) struct InvalidParameter {
    pub(crate) field: Field,
    /// Counted from 1, over the whole parameter.
    pub(crate) column: usize,
    pub(crate) problem: Problem,
}

/// A field of the parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Field {
    Extended,
    Release,
    LocalPort,
    LocalIp,
    Device,
    RemotePort,
    RemoteIp,
    RemoteMac,
    Whole,
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The character that ends it does not follow.
    Unended(char),
    NotAPort,
    NotAnAddress,
    /// The two addresses are not both IPv4 or both IPv6.
    OtherFamily,
    NotAMac,
    /// `r` without `+`.
    NeedsExtended,
    /// More than 255 bytes.
    TooLong,
}

/// The kernel keeps no more (`netconsole.c`, `MAX_PARAM_LENGTH`).
pub(crate) const LONGEST: usize = 255;

impl Parameter {
    /// Parses the whole parameter: any number of targets, joined by `;`. An empty parameter has none.
    pub(crate) fn parse_all(text: &str) -> Result<Vec<Self>, InvalidParameter> {
        if text.len() > LONGEST {
            return Err(InvalidParameter {
                field: Field::Whole,
                column: LONGEST + 1,
                problem: Problem::TooLong,
            });
        }
        if text.is_empty() {
            return Ok(Vec::new());
        }
        Self::parse_each(text)
            .into_iter()
            .map(|(_, part)| part)
            .collect()
    }

    /// Parses each target by itself, whatever the others are, and says where it stands.
    pub(crate) fn parse_each(text: &str) -> Vec<(Range<usize>, Result<Self, InvalidParameter>)> {
        if text.is_empty() {
            return Vec::new();
        }
        let start_of = |part: &str| part.as_ptr() as usize - text.as_ptr() as usize;
        text.split(';')
            .map(|part| {
                let reader = Reader {
                    rest: part,
                    column: start_of(part) + 1,
                };
                (
                    start_of(part)..start_of(part) + part.len(),
                    reader.parameter(),
                )
            })
            .collect()
    }

    /// The settings that the kernel ends with. `first_address` gives an interface's first address of the family of
    /// the address that it is given, which the kernel takes where none is named; without one there is no target.
    pub(crate) fn settings(
        &self,
        first_address: impl FnOnce(&str, IpAddr) -> Option<IpAddr>,
    ) -> Option<Settings> {
        let dev_name = self.dev_name.as_deref().unwrap_or(Settings::DEV_NAME);
        Some(Settings {
            local_ip: self
                .local_ip
                .or_else(|| first_address(dev_name, self.remote_ip))?,
            dev_name: dev_name.to_owned(),
            local_port: self.local_port.unwrap_or(Settings::LOCAL_PORT),
            remote_port: self.remote_port.unwrap_or(Settings::REMOTE_PORT),
            remote_ip: self.remote_ip,
            remote_mac: self.remote_mac.unwrap_or(MacAddress::BROADCAST),
            extended: self.extended,
            release: self.release,
            userdata: Default::default(),
        })
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn shown(value: Option<impl ToString>) -> String {
            value.map(|value| value.to_string()).unwrap_or_default()
        }
        let flags = [("+", self.extended), ("r", self.release)]
            .map(|(flag, on)| if on { flag } else { "" })
            .concat();
        write!(
            f,
            "{flags}{}@{}/{}",
            shown(self.local_port),
            shown(self.local_ip),
            shown(self.dev_name.as_ref())
        )?;
        write!(
            f,
            ",{}@{}/{}",
            shown(self.remote_port),
            self.remote_ip,
            shown(self.remote_mac)
        )
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Extended => "flag `+`",
            Self::Release => "flag `r`",
            Self::LocalPort => "source port",
            Self::LocalIp => "source address",
            Self::Device => "interface",
            Self::RemotePort => "target port",
            Self::RemoteIp => "target address",
            Self::RemoteMac => "target MAC",
            Self::Whole => "parameter",
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unended(end) => write!(f, "is not followed by `{end}`"),
            Self::NotAPort => f.write_str("is no port"),
            Self::NotAnAddress => f.write_str("is no IP address"),
            Self::OtherFamily => f.write_str("is of another IP version than the source address"),
            Self::NotAMac => f.write_str("is no Ethernet address"),
            Self::NeedsExtended => f.write_str("needs `+` before it"),
            Self::TooLong => write!(f, "has more than {LONGEST} bytes"),
        }
    }
}

/// Reads one target's part from left to right.
struct Reader<'text> {
    rest: &'text str,
    column: usize,
}

impl<'text> Reader<'text> {
    fn parameter(mut self) -> Result<Parameter, InvalidParameter> {
        let extended = self.flag('+');
        let release_column = self.column;
        let release = self.flag('r');
        if release && !extended {
            return Err(InvalidParameter {
                field: Field::Release,
                column: release_column,
                problem: Problem::NeedsExtended,
            });
        }
        let local_port = self.optional(Field::LocalPort, '@', port)?;
        let local_ip = self.optional(Field::LocalIp, '/', address)?;
        let dev_name = self.optional(Field::Device, ',', |name| Ok(device(name)))?;
        let remote_port = self.optional(Field::RemotePort, '@', port)?;
        let column = self.column;
        let (text, _) = self.until(Field::RemoteIp, '/')?;
        let invalid = |problem| InvalidParameter {
            field: Field::RemoteIp,
            column,
            problem,
        };
        let remote_ip = address(text).map_err(invalid)?;
        if local_ip.is_some_and(|local| local.is_ipv4() != remote_ip.is_ipv4()) {
            return Err(invalid(Problem::OtherFamily));
        }
        let remote_mac = self.mac()?;
        Ok(Parameter {
            extended,
            release,
            local_port,
            local_ip,
            dev_name,
            remote_port,
            remote_ip,
            remote_mac,
        })
    }

    fn flag(&mut self, flag: char) -> bool {
        let rest = self.rest.strip_prefix(flag);
        self.rest = rest.unwrap_or(self.rest);
        self.column += usize::from(rest.is_some());
        rest.is_some()
    }

    /// The text up to `end`, which is taken, too; and the column where it began.
    fn until(&mut self, field: Field, end: char) -> Result<(&'text str, usize), InvalidParameter> {
        let column = self.column;
        let unended = InvalidParameter {
            field,
            column,
            problem: Problem::Unended(end),
        };
        let (text, rest) = self.rest.split_once(end).ok_or(unended)?;
        self.column += text.len() + 1;
        self.rest = rest;
        Ok((text, column))
    }

    /// A field that may be empty.
    fn optional<T>(
        &mut self,
        field: Field,
        end: char,
        parse: fn(&str) -> Result<T, Problem>,
    ) -> Result<Option<T>, InvalidParameter> {
        let (text, column) = self.until(field, end)?;
        if text.is_empty() {
            return Ok(None);
        }
        parse(text).map(Some).map_err(|problem| InvalidParameter {
            field,
            column,
            problem,
        })
    }

    /// The last field. The kernel reads its 17 characters and no more (`lib/net_utils.c`, `mac_pton`).
    fn mac(&self) -> Result<Option<MacAddress>, InvalidParameter> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let invalid = InvalidParameter {
            field: Field::RemoteMac,
            column: self.column,
            problem: Problem::NotAMac,
        };
        self.rest
            .get(..17)
            .and_then(|mac| mac.parse().ok())
            .map(Some)
            .ok_or(invalid)
    }
}

fn port(text: &str) -> Result<u16, Problem> {
    u16::from_str(text).map_err(|_| Problem::NotAPort)
}

/// As `in4_pton` and `in6_pton` do: leading zeros are decimal.
fn address(text: &str) -> Result<IpAddr, Problem> {
    let octet = |part: &str| {
        part.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| part.parse::<u8>().ok())?
    };
    let octets: Option<Vec<u8>> = text.split('.').map(octet).collect();
    if let Some([a, b, c, d]) = octets.as_deref() {
        return Ok(Ipv4Addr::new(*a, *b, *c, *d).into());
    }
    Ipv6Addr::from_str(text)
        .map(IpAddr::V6)
        .map_err(|_| Problem::NotAnAddress)
}

/// An interface's name is cut where the kernel's buffer ends (`IFNAMSIZ`); an Ethernet address is longer.
fn device(text: &str) -> String {
    let mut end = if MacAddress::from_str(text).is_ok() {
        text.len()
    } else {
        text.len().min(15)
    };
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::any, prop_assert_eq, proptest};
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::full("6665@10.0.0.1/eth0,6666@10.0.0.2/02:00:0a:00:00:02")]
    #[case::shortest("@/,@10.0.0.2/")]
    #[case::extended("+@/,@10.0.0.2/")]
    #[case::release("+r1514@10.0.0.1/eth1,1514@10.0.0.2/ff:ff:ff:ff:ff:ff")]
    #[case::ipv6("@fd00::1/eth0,@fd00::2/02:00:0a:00:00:02")]
    #[case::several("+r@/eth0,@10.0.0.2/;@/eth0,@10.0.0.3/")]
    #[case::device_by_mac("@/02:00:0a:00:00:01,@10.0.0.2/")]
    fn reads_back_what_it_writes(#[case] text: &str) {
        assert_eq!(
            Parameter::parse_all(text)
                .unwrap()
                .iter()
                .map(Parameter::to_string)
                .collect::<Vec<_>>()
                .join(";"),
            text
        );
    }

    #[test]
    fn fills_in_what_the_kernel_fills_in() {
        let parameters = Parameter::parse_all("@/,@10.0.0.2/").unwrap();
        let settings = parameters[0]
            .settings(|dev_name, _| (dev_name == "eth0").then(|| "10.0.0.1".parse().unwrap()))
            .unwrap();
        assert_eq!(
            (
                settings.local_port,
                settings.remote_port,
                settings.dev_name.as_str()
            ),
            (6665, 6666, "eth0")
        );
        assert_eq!(
            (settings.local_ip, settings.remote_mac),
            ("10.0.0.1".parse().unwrap(), MacAddress::BROADCAST)
        );
        assert_eq!(parameters[0].settings(|_, _| None), None);
        assert_eq!(Parameter::parse_all(""), Ok(vec![]));
    }

    #[rstest]
    #[case::leading_zeros("@010.0.0.1/,@10.0.0.2/", "@10.0.0.1/,@10.0.0.2/")]
    #[case::more_behind_the_mac(
        "@/,@10.0.0.2/02:00:0a:00:00:02x",
        "@/,@10.0.0.2/02:00:0a:00:00:02"
    )]
    #[case::long_name("@/abcdefghijklmnopqrst,@10.0.0.2/", "@/abcdefghijklmno,@10.0.0.2/")]
    fn takes_what_the_kernel_takes(#[case] text: &str, #[case] as_if: &str) {
        assert_eq!(Parameter::parse_all(text), Parameter::parse_all(as_if));
    }

    #[rstest]
    #[case::nothing_of_it("garbage", Field::LocalPort, 1, Problem::Unended('@'))]
    #[case::local_port("66650000@/,@10.0.0.2/", Field::LocalPort, 1, Problem::NotAPort)]
    #[case::local_ip("@10.0.0.256/,@10.0.0.2/", Field::LocalIp, 2, Problem::NotAnAddress)]
    #[case::device("@10.0.0.1/eth0", Field::Device, 11, Problem::Unended(','))]
    #[case::remote_port("@/eth0,x@10.0.0.2/", Field::RemotePort, 8, Problem::NotAPort)]
    #[case::remote_ip("@/eth0,@10.0.0/", Field::RemoteIp, 9, Problem::NotAnAddress)]
    #[case::no_remote_ip("@/eth0,@/", Field::RemoteIp, 9, Problem::NotAnAddress)]
    #[case::no_slash("@/eth0,@10.0.0.2", Field::RemoteIp, 9, Problem::Unended('/'))]
    #[case::family("@10.0.0.1/eth0,@fd00::1/", Field::RemoteIp, 17, Problem::OtherFamily)]
    #[case::mac("@/eth0,@10.0.0.2/02:00", Field::RemoteMac, 18, Problem::NotAMac)]
    #[case::release("r@/eth0,@10.0.0.2/", Field::Release, 1, Problem::NeedsExtended)]
    #[case::second(
        "@/,@10.0.0.2/;x@/,@10.0.0.2/",
        Field::LocalPort,
        15,
        Problem::NotAPort
    )]
    #[case::ends_with_a_semicolon("@/,@10.0.0.2/;", Field::LocalPort, 15, Problem::Unended('@'))]
    fn refuses(
        #[case] text: &str,
        #[case] field: Field,
        #[case] column: usize,
        #[case] problem: Problem,
    ) {
        assert_eq!(
            Parameter::parse_all(text),
            Err(InvalidParameter {
                field,
                column,
                problem
            })
        );
    }

    #[test]
    fn refuses_more_than_255_bytes() {
        let text = format!("@/,@10.0.0.2/02:00:0a:00:00:02{}", "x".repeat(300));
        assert_eq!(
            Parameter::parse_all(&text).unwrap_err().problem,
            Problem::TooLong
        );
    }

    proptest! {
        #[test]
        fn never_panics(text in any::<String>()) {
            let _ = Parameter::parse_all(&text);
        }

        #[test]
        fn writes_what_it_reads(extended: bool, local_port: Option<u16>, remote_port: Option<u16>, ip: [u8; 16], v6: bool, mac: Option<[u8; 6]>) {
            let remote_ip = if v6 { Ipv6Addr::from(ip).into() } else { Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3]).into() };
            let remote_mac = mac.map(MacAddress);
            let parameter = Parameter { extended, release: extended, local_port, local_ip: None, dev_name: None, remote_port, remote_ip, remote_mac };
            prop_assert_eq!(Parameter::parse_all(&parameter.to_string()), Ok(vec![parameter]));
        }
    }
}
