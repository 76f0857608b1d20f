//! What is wrong with a single datagram.

use std::net::IpAddr;

use crate::{
    netconsole::{Datagram, datagram::Fault, escape::show_start},
    verdict::{attribution::Attribution, finding::Kind},
};

/// Something wrong with one datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) frame: u64,
    pub(crate) kind: Kind,
    /// What makes two of a kind alike: the field's name.
    pub(crate) sort: &'static str,
    pub(crate) sentence: String,
}

/// What netpoll writes into the IP header (`net/core/netpoll.c`, `netpoll_send_udp`).
const TIME_TO_LIVE: u8 = 64;
/// See [`TIME_TO_LIVE`].
const HOP_LIMIT: u8 = 32;

/// How many hops netconsole gives a datagram from `source`.
pub(crate) fn first_hop_limit(source: IpAddr) -> u8 {
    match source {
        IpAddr::V4(_) => TIME_TO_LIVE,
        IpAddr::V6(_) => HOP_LIMIT,
    }
}

/// What is wrong with a datagram by itself, after the one before it, and as one of its target's.
pub(crate) fn troubles(
    frame: u64,
    datagram: &Datagram,
    previous: Option<u16>,
    attribution: Option<&Attribution>,
) -> Vec<Trouble> {
    let trouble = |kind, sort, sentence| Trouble {
        frame,
        kind,
        sort,
        sentence,
    };
    let mut troubles: Vec<_> = datagram
        .faults
        .iter()
        .map(|fault| trouble(fault.into(), field(*fault), fault.to_string()))
        .collect();
    let must = first_hop_limit(datagram.source.ip());
    if datagram.hop_limit != must {
        let sentence = format!(
            "wrong hop limit: {}, netconsole sends {must}",
            datagram.hop_limit
        );
        troubles.push(trouble(Kind::WrongHeader, "hop limit", sentence));
    }
    if datagram.identification.is_some() && previous == datagram.identification {
        let sentence =
            "the same IP identification as the datagram before, netconsole counts it up".to_owned();
        troubles.push(trouble(Kind::WrongHeader, "identification", sentence));
    }
    match attribution {
        None => troubles.push(trouble(Kind::Stray, "stray", stray(datagram))),
        Some(attribution) => troubles.extend(attribution.mismatches.iter().map(|mismatch| {
            let kind = if mismatch.field() == "format" {
                Kind::WrongFormat
            } else {
                Kind::WrongSettings
            };
            trouble(kind, mismatch.field(), mismatch.to_string())
        })),
    }
    troubles
}

/// What is wrong with a datagram by itself: the field and a sentence.
pub(crate) fn faults(datagram: &Datagram) -> impl Iterator<Item = (&'static str, String)> {
    let faults = datagram.faults.iter();
    faults.map(|fault| (field(*fault), fault.to_string()))
}

fn stray(datagram: &Datagram) -> String {
    let Datagram {
        source,
        destination,
        destination_mac,
        payload,
        ..
    } = datagram;
    format!(
        "a datagram that fits no target, from {source} to {destination} at {destination_mac}: `{}`",
        show_start(payload, 60)
    )
}

fn field(fault: Fault) -> &'static str {
    match fault {
        Fault::IpChecksum { .. } => "IP checksum",
        Fault::UdpChecksum { .. } | Fault::NoUdpChecksum => "UDP checksum",
        Fault::IpLength { .. } => "IP length",
        Fault::UdpLength { .. } => "UDP length",
        Fault::IpFragment => "IP fragment",
        Fault::DontFragment => "don't fragment",
        Fault::ReservedFlag => "reserved flag",
        Fault::IpOptions => "IP options",
        Fault::TrafficClass(_) => "traffic class",
        Fault::FlowLabel(_) => "flow label",
        Fault::Trailing(_) => "trailing bytes",
    }
}
