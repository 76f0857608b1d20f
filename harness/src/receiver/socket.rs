//! Who listens: /proc/net/udp and udp6.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::receiver::order::Socket;

/// The UDP sockets of the namespace that the caller is in.
pub(crate) fn sockets() -> io::Result<Vec<Socket>> {
    let mut sockets = parse(&fs::read_to_string("/proc/net/udp")?);
    // A kernel without IPv6 has none of these.
    let six = fs::read_to_string("/proc/net/udp6").unwrap_or_default();
    sockets.extend(parse(&six));
    Ok(sockets)
}

/// Reads the lines that `net/ipv4/udp.c`, `udp4_format_sock`, prints.
fn parse(table: &str) -> Vec<Socket> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (_, port) = end(words.get(1)?)?;
        let (peer, peer_port) = end(words.get(2)?)?;
        let waiting = words.get(4)?.split_once(':')?.1;
        Some(Socket {
            port,
            peer: (peer_port != 0).then_some((peer, peer_port)),
            waiting: u64::from_str_radix(waiting, 16).ok()?,
            drops: words.last()?.parse().ok()?,
        })
    };
    table.lines().skip(1).filter_map(line).collect()
}

/// `0100000A:1A09`: the address as words of 32 bits in the machine's own order, and the port.
fn end(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::new();
    for word in address.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let address = match bytes.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into(),
        _ => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)).to_canonical(),
    };
    Some((address, port))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn reads_what_the_kernel_prints() {
        let table = concat!(
            "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops            \n",
            " 3387: 00000000:1A0A 0100000A:1A09 01 00000000:00000300 00:00000000 00000000     0        0 107356 2 00000000b8dfb9eb 7        \n",
        );
        let socket = Socket {
            port: 6666,
            peer: Some(("10.0.0.1".parse().unwrap(), 6665)),
            waiting: 768,
            drops: 7,
        };
        assert_eq!(parse(table), [socket]);
    }

    #[rstest]
    #[case::four("0100000A:1A09", "10.0.0.1")]
    #[case::six("B80D0120000000000000000001000000:1A09", "2001:db8::1")]
    #[case::four_in_six("0000000000000000FFFF00000100000A:1A09", "10.0.0.1")]
    fn reads_addresses(#[case] text: &str, #[case] address: &str) {
        assert_eq!(end(text), Some((address.parse().unwrap(), 6665)));
    }
}
