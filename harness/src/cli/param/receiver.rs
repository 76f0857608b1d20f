//! Names of receivers and of targets, as the command line has them.

use std::net::IpAddr;

use crate::param::way::why_no_receiver;

/// Where to log to, as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Receiver {
    pub(crate) address: IpAddr,
    /// What stands behind the `%`.
    pub(crate) link: Option<String>,
}

/// An address, for link-local ones with `%` and the link.
pub(crate) fn receiver(text: &str) -> Result<Receiver, String> {
    let (address, link) = match text.split_once('%') {
        Some((address, link)) => (address, Some(link.to_owned())),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| {
        "it is no IP address (netconsole knows no names: `getent hosts NAME` tells the address)"
    })?;
    if let Some((why, help)) = why_no_receiver(address) {
        return Err(format!("it is {why} ({help})"));
    }
    let is_link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    match &link {
        Some(link) if link.is_empty() => Err("no link stands behind the `%`".to_owned()),
        Some(_) if !is_link_local => {
            Err("only a link-local address has a link (`--interface` names one)".to_owned())
        }
        _ => Ok(Receiver { address, link }),
    }
}

/// What a folder of configfs can be called; `cmdline…` are the kernel's own.
pub(crate) fn target_name(text: &str) -> Result<String, &'static str> {
    let is_name = !text.is_empty()
        && text.len() <= 255
        && !text.starts_with('.')
        && !text.contains(['/', '\0', '\n']);
    if !is_name {
        Err("it is no name of a folder")
    } else if text.starts_with("cmdline") {
        Err("names that begin with `cmdline` are the kernel's own")
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::ipv4("10.0.0.2", Some("10.0.0.2"))]
    #[case::ipv6("fd00::2", Some("fd00::2"))]
    #[case::link_local("fe80::2%eth0", Some("fe80::2"))]
    #[case::needs_its_link_later("fe80::2", Some("fe80::2"))]
    #[case::name("loghost", None)]
    #[case::nothing("", None)]
    #[case::port("10.0.0.2:6666", None)]
    #[case::multicast("224.0.0.1", None)]
    #[case::multicast_ipv6("ff02::1%eth0", None)]
    #[case::broadcast("255.255.255.255", None)]
    #[case::unspecified("::", None)]
    #[case::loopback("127.0.0.1", None)]
    #[case::loopback_ipv6("::1", None)]
    #[case::mapped("::ffff:10.0.0.2", None)]
    #[case::link_of_a_global_address("fd00::2%eth0", None)]
    #[case::empty_link("fe80::2%", None)]
    fn takes_addresses_of_machines(#[case] text: &str, #[case] expected: Option<&str>) {
        let address = receiver(text).ok().map(|one| one.address.to_string());
        assert_eq!(address.as_deref(), expected);
    }

    #[rstest]
    #[case::plain("target1", true)]
    #[case::reserved("cmdline0", false)]
    #[case::path("a/b", false)]
    #[case::hidden("..", false)]
    #[case::empty("", false)]
    fn takes_names_of_folders(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(target_name(text).is_ok(), expected);
    }
}
