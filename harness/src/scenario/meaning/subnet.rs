//! Subnets: which ones a link can have, and the addresses that they give to hosts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::scenario::{
    mistake::{Mistake, Mistakes},
    tree::At,
};

/// `subnet` if a link of so many `ends` can have it.
pub(crate) fn check_subnet(
    subnet: &At<IpNet>,
    ends: usize,
    mistakes: &mut Mistakes<'_>,
) -> Option<At<IpNet>> {
    let net = subnet.value;
    if net.trunc() != net {
        let title = format!("{net} is an address of a host, not of a subnet");
        mistakes.add(
            Mistake::at(subnet.span, title).help(format!("the subnet is `\"{}\"`", net.trunc())),
        );
    } else if let Some(reserved) = reserved(&net) {
        mistakes.add(Mistake::at(
            subnet.span,
            format!("{net} is no subnet for hosts: it holds {reserved} addresses"),
        ));
        return None;
    } else if host(&net, ends).is_none() {
        mistakes.add(
            Mistake::at(subnet.span, format!("{net} is too small for {ends} nodes"))
                .help("take a shorter prefix"),
        );
    }
    Some(subnet.with(net.trunc()))
}

/// What is special about the addresses of `net`, if no host may have them.
fn reserved(net: &IpNet) -> Option<&'static str> {
    const RESERVED: [(&str, &str); 6] = [
        ("0.0.0.0/8", "unspecified"),
        ("127.0.0.0/8", "loopback"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/127", "loopback"),
        ("ff00::/8", "multicast"),
    ];
    let special = RESERVED.into_iter().find(|(special, _)| {
        special
            .parse::<IpNet>()
            .is_ok_and(|special| overlap(&special, net))
    });
    special.map(|(_, what)| what)
}

/// Whether two subnets have an address in common.
pub(crate) fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// The `number`th host of `subnet`, counted from 1, if it has as many.
pub(crate) fn host(subnet: &IpNet, number: usize) -> Option<IpNet> {
    let number = u32::try_from(number).ok()?;
    let number = number.checked_sub(u32::from(is_pair(subnet)))?;
    let address: IpAddr = match subnet {
        IpNet::V4(net) => Ipv4Addr::from(u32::from(net.network()).checked_add(number)?).into(),
        IpNet::V6(net) => {
            Ipv6Addr::from(u128::from(net.network()).checked_add(number.into())?).into()
        }
    };
    if !subnet.contains(&address) || special(subnet, address) == Some("broadcast") {
        return None;
    }
    IpNet::new(address, subnet.prefix_len()).ok()
}

/// Whether it is one of the two addresses between two machines, which both are hosts' (RFC 3021, RFC 6164).
fn is_pair(subnet: &IpNet) -> bool {
    subnet.prefix_len() + 1 == subnet.max_prefix_len()
}

/// What an address of `subnet` is, where no host may have it.
pub(crate) fn special(subnet: &IpNet, address: IpAddr) -> Option<&'static str> {
    match subnet {
        _ if is_pair(subnet) => None,
        _ if address == subnet.network() => Some("network"),
        IpNet::V4(net) if address == IpAddr::V4(net.broadcast()) => Some("broadcast"),
        IpNet::V4(_) | IpNet::V6(_) => None,
    }
}
