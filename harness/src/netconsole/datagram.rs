//! Ethernet frames as UDP datagrams, with all that is wrong about them.
//!
//! Headers are held against what netpoll writes (`net/core/netpoll.c`, `netpoll_send_udp`): no options, no IP
//! fragments, type of service 0, every length and checksum filled in. Whose datagram it is, is judged elsewhere.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use etherparse::{
    EtherType, Ethernet2HeaderSlice, IpNumber, Ipv4HeaderSlice, Ipv6HeaderSlice,
    SingleVlanHeaderSlice, UdpHeaderSlice, checksum::Sum16BitWords,
};

use crate::netconsole::MacAddress;

/// A UDP datagram in its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Datagram<'frame> {
    pub(crate) source_mac: MacAddress,
    pub(crate) destination_mac: MacAddress,
    /// The identifier of an 802.1Q tag.
    pub(crate) vlan: Option<u16>,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    /// IPv4's time to live.
    pub(crate) hop_limit: u8,
    /// IPv4 only.
    pub(crate) identification: Option<u16>,
    pub(crate) payload: &'frame [u8],
    pub(crate) faults: Vec<Fault>,
}

/// Why a frame is no datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotUdp {
    /// Errors, groups, neighbour discovery and the like: a kernel sends it by itself.
    #[error("not UDP")]
    Other,
    /// It says or asks who has an address.
    #[error("ARP")]
    Arp,
    /// A kernel sends it only for programs.
    #[error("what programs send")]
    OfPrograms,
    /// Neither: nothing in a kernel under test sends it.
    #[error("of a kind that no kernel sends by itself")]
    Strange,
    /// It says that it is IP, and its headers are none.
    #[error("broken headers")]
    Broken,
}

impl NotUdp {
    /// What a packet of another protocol is: a kernel resolves addresses, tells errors, joins groups.
    fn of(protocol: IpNumber, packet: &[u8]) -> Self {
        match (protocol, packet.first()) {
            // Echo requests.
            (IpNumber::ICMP, Some(8)) | (IpNumber::IPV6_ICMP, Some(128)) => Self::OfPrograms,
            (IpNumber::TCP, _) => Self::OfPrograms,
            (
                IpNumber::ICMP
                | IpNumber::IPV6_ICMP
                | IpNumber::IGMP
                | IpNumber::IPV6_HEADER_HOP_BY_HOP,
                _,
            ) => Self::Other,
            _ => Self::Strange,
        }
    }
}

/// What is wrong with a datagram by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    IpChecksum {
        is: u16,
        computed: u16,
    },
    UdpChecksum {
        is: u16,
        computed: u16,
    },
    /// A zero: sent without checksum.
    NoUdpChecksum,
    /// The IP header promises more than the frame holds.
    IpLength {
        says: usize,
        holds: usize,
    },
    /// The UDP length is not what IP leaves for it.
    UdpLength {
        says: usize,
        holds: usize,
    },
    IpFragment,
    DontFragment,
    /// The bit of IPv4's flags that is always clear.
    ReservedFlag,
    IpOptions,
    /// Type of service, or IPv6's traffic class, is not 0.
    TrafficClass(u8),
    FlowLabel(u32),
    /// Bytes behind the datagram that are no Ethernet padding.
    Trailing(usize),
}

impl Fault {
    /// Whether an IP stack throws the datagram away for it.
    pub(crate) fn is_fatal(self) -> bool {
        match self {
            Self::IpChecksum { .. }
            | Self::UdpChecksum { .. }
            | Self::IpLength { .. }
            | Self::UdpLength { .. } => true,
            Self::NoUdpChecksum
            | Self::IpFragment
            | Self::DontFragment
            | Self::ReservedFlag
            | Self::IpOptions
            | Self::TrafficClass(_)
            | Self::FlowLabel(_)
            | Self::Trailing(_) => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IpChecksum { is, computed } => write!(
                f,
                "wrong IP checksum: {is:#06x}, it must be {computed:#06x}"
            ),
            Self::UdpChecksum { is, computed } => write!(
                f,
                "wrong UDP checksum: {is:#06x}, it must be {computed:#06x}"
            ),
            Self::NoUdpChecksum => f.write_str("no UDP checksum, netconsole always fills it in"),
            Self::IpLength { says, holds } => {
                write!(f, "wrong IP length: {says} bytes, the frame holds {holds}")
            }
            Self::UdpLength { says, holds } => write!(
                f,
                "wrong UDP length: {says} bytes, the packet holds {holds}"
            ),
            Self::IpFragment => f.write_str("an IP fragment, netconsole never fragments"),
            Self::DontFragment => {
                f.write_str("the don't-fragment flag is set, netconsole leaves it clear")
            }
            Self::ReservedFlag => f.write_str("the reserved flag is set, it must be clear"),
            Self::IpOptions => f.write_str("IP options, netconsole sends none"),
            Self::TrafficClass(is) => write!(f, "traffic class {is:#04x}, netconsole sends 0"),
            Self::FlowLabel(is) => write!(f, "flow label {is:#07x}, netconsole sends 0"),
            Self::Trailing(bytes) => {
                write!(f, "{bytes} bytes behind the datagram that are no padding")
            }
        }
    }
}

/// Ethernet's shortest frame, without its checksum: shorter ones are padded.
const SHORTEST_FRAME: usize = 60;

impl<'frame> Datagram<'frame> {
    /// Parses a frame. Total: any bytes give a datagram with its faults, or the reason why they are none.
    pub(crate) fn parse(frame: &'frame [u8]) -> Result<Self, NotUdp> {
        let ethernet = Ethernet2HeaderSlice::from_slice(frame).map_err(|_| NotUdp::Strange)?;
        let mut packet = &frame[ethernet.slice().len()..];
        let mut kind = ethernet.ether_type();
        let mut vlan = None;
        if kind == EtherType::VLAN_TAGGED_FRAME {
            let tag = SingleVlanHeaderSlice::from_slice(packet).map_err(|_| NotUdp::Broken)?;
            vlan = Some(tag.vlan_identifier().value());
            kind = tag.ether_type();
            packet = &packet[tag.slice().len()..];
        }
        let mut datagram = match kind {
            EtherType::IPV4 => Self::parse_ipv4(packet),
            EtherType::IPV6 => Self::parse_ipv6(packet),
            EtherType::ARP => Err(NotUdp::Arp),
            _ => Err(NotUdp::Strange),
        }?;
        datagram.source_mac = MacAddress(ethernet.source());
        datagram.destination_mac = MacAddress(ethernet.destination());
        datagram.vlan = vlan;
        datagram.check_padding(frame);
        Ok(datagram)
    }

    fn parse_ipv4(packet: &'frame [u8]) -> Result<Self, NotUdp> {
        let header = Ipv4HeaderSlice::from_slice(packet).map_err(|_| NotUdp::Broken)?;
        if header.protocol() != IpNumber::UDP {
            let packet = &packet[header.slice().len()..];
            return Err(NotUdp::of(header.protocol(), packet));
        }
        let mut faults = ipv4_faults(&header);
        let (says, holds) = (usize::from(header.total_len()), packet.len());
        if says > holds || says < header.slice().len() {
            faults.push(Fault::IpLength { says, holds });
        }
        if header.fragments_offset().value() != 0 {
            return Err(NotUdp::Broken);
        }
        let segment = &packet[header.slice().len()..says.clamp(header.slice().len(), holds)];
        let addresses = (
            IpAddr::V4(header.source_addr()),
            IpAddr::V4(header.destination_addr()),
        );
        let pseudo = Sum16BitWords::new()
            .add_4bytes(header.source())
            .add_4bytes(header.destination());
        let mut datagram = Self::parse_udp(segment, addresses, pseudo, faults)?;
        datagram.hop_limit = header.ttl();
        datagram.identification = Some(header.identification());
        Ok(datagram)
    }

    fn parse_ipv6(packet: &'frame [u8]) -> Result<Self, NotUdp> {
        let header = Ipv6HeaderSlice::from_slice(packet).map_err(|_| NotUdp::Broken)?;
        if header.next_header() != IpNumber::UDP {
            let packet = &packet[header.slice().len()..];
            return Err(NotUdp::of(header.next_header(), packet));
        }
        let mut faults = Vec::new();
        if header.traffic_class() != 0 {
            faults.push(Fault::TrafficClass(header.traffic_class()));
        }
        if header.flow_label().value() != 0 {
            faults.push(Fault::FlowLabel(header.flow_label().value()));
        }
        let start = header.slice().len();
        let (says, holds) = (usize::from(header.payload_length()), packet.len() - start);
        if says > holds {
            faults.push(Fault::IpLength { says, holds });
        }
        let segment = &packet[start..start + says.min(holds)];
        let addresses = (
            IpAddr::V6(header.source_addr()),
            IpAddr::V6(header.destination_addr()),
        );
        let pseudo = Sum16BitWords::new()
            .add_16bytes(header.source())
            .add_16bytes(header.destination());
        let mut datagram = Self::parse_udp(segment, addresses, pseudo, faults)?;
        datagram.hop_limit = header.hop_limit();
        Ok(datagram)
    }

    /// Parses what IP carries; `pseudo` is the sum of the addresses.
    fn parse_udp(
        segment: &'frame [u8],
        addresses: (IpAddr, IpAddr),
        pseudo: Sum16BitWords,
        mut faults: Vec<Fault>,
    ) -> Result<Self, NotUdp> {
        let header = UdpHeaderSlice::from_slice(segment).map_err(|_| NotUdp::Broken)?;
        let (says, holds) = (usize::from(header.length()), segment.len());
        if says != holds {
            faults.push(Fault::UdpLength { says, holds });
        } else if header.checksum() == 0 {
            faults.push(Fault::NoUdpChecksum);
        } else {
            // Nothing that is summed up here is longer than IP's 16-bit length says.
            let sum = pseudo
                .add_2bytes([0, IpNumber::UDP.0])
                .add_2bytes(header.length().to_be_bytes());
            let computed = sum
                .add_slice(&segment[..6])
                .add_slice(&segment[8..])
                .to_ones_complement_with_no_zero()
                .to_be();
            if computed != header.checksum() {
                faults.push(Fault::UdpChecksum {
                    is: header.checksum(),
                    computed,
                });
            }
        }
        Ok(Self {
            source_mac: MacAddress::BROADCAST,
            destination_mac: MacAddress::BROADCAST,
            vlan: None,
            source: SocketAddr::new(addresses.0, header.source_port()),
            destination: SocketAddr::new(addresses.1, header.destination_port()),
            hop_limit: 0,
            identification: None,
            payload: &segment[8..says.clamp(8, holds)],
            faults,
        })
    }

    /// Whether the frame ends with its datagram, or with zeros up to Ethernet's shortest frame.
    fn check_padding(&mut self, frame: &[u8]) {
        if self
            .faults
            .iter()
            .any(|fault| matches!(fault, Fault::IpLength { .. } | Fault::UdpLength { .. }))
        {
            return;
        }
        let end = self.payload.as_ptr_range().end as usize - frame.as_ptr() as usize;
        let trailing = &frame[end..];
        let padding = frame.len() <= SHORTEST_FRAME && trailing.iter().all(|byte| *byte == 0);
        if !trailing.is_empty() && !padding {
            self.faults.push(Fault::Trailing(trailing.len()));
        }
    }
}

fn ipv4_faults(header: &Ipv4HeaderSlice) -> Vec<Fault> {
    let mut faults = Vec::new();
    let bytes = header.slice();
    let sum = Sum16BitWords::new()
        .add_slice(&bytes[..10])
        .add_slice(&bytes[12..]);
    let (is, computed) = (header.header_checksum(), sum.ones_complement().to_be());
    if is != computed {
        faults.push(Fault::IpChecksum { is, computed });
    }
    if !header.options().is_empty() {
        faults.push(Fault::IpOptions);
    }
    if bytes[1] != 0 {
        faults.push(Fault::TrafficClass(bytes[1]));
    }
    if header.more_fragments() || header.fragments_offset().value() != 0 {
        faults.push(Fault::IpFragment);
    }
    if header.dont_fragment() {
        faults.push(Fault::DontFragment);
    }
    if bytes[6] & 0x80 != 0 {
        faults.push(Fault::ReservedFlag);
    }
    faults
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;
    use proptest::{prelude::any, proptest};
    use rstest::rstest;

    use super::*;

    const TEXT: &[u8] = b"[   12.882688] Floppy drive(s): fd0 is 1.44M\n";

    fn ipv4(payload: &[u8]) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4(
            [10, 0, 0, 1],
            [10, 0, 0, 2],
            64,
        );
        finish(builder.udp(6665, 6666), payload)
    }

    fn ipv6(payload: &[u8]) -> Vec<u8> {
        let one = "fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets();
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv6(one, [0xfd; 16], 32);
        finish(builder.udp(6665, 6666), payload)
    }

    fn finish(
        builder: etherparse::PacketBuilderStep<etherparse::UdpHeader>,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut frame = Vec::new();
        builder.write(&mut frame, payload).unwrap();
        // The builder sets don't-fragment, netpoll does not.
        if frame[12] == 8 {
            frame[20] = 0;
            sum_up(&mut frame);
        }
        frame
    }

    /// A packet of another protocol.
    fn ipv4_of(protocol: u8) -> Vec<u8> {
        let mut frame = ipv4(TEXT);
        frame[23] = protocol;
        sum_up(&mut frame);
        frame
    }

    /// Makes the IPv4 checksum right again.
    fn sum_up(frame: &mut [u8]) {
        frame[24..26].fill(0);
        let sum = Sum16BitWords::new()
            .add_slice(&frame[14..34])
            .ones_complement();
        frame[24..26].copy_from_slice(&sum.to_ne_bytes());
    }

    #[rstest]
    #[case::ipv4(ipv4(TEXT), "10.0.0.1:6665", 64, Some(0))]
    #[case::ipv6(ipv6(TEXT), "[fd00::1]:6665", 32, None)]
    fn parses(
        #[case] frame: Vec<u8>,
        #[case] source: &str,
        #[case] hop_limit: u8,
        #[case] identification: Option<u16>,
    ) {
        let datagram = Datagram::parse(&frame).unwrap();
        assert_eq!(datagram.faults, []);
        assert_eq!(datagram.payload, TEXT);
        assert_eq!(datagram.source, source.parse().unwrap());
        assert_eq!(datagram.destination.port(), 6666);
        assert_eq!(datagram.source_mac.to_string(), "02:00:00:00:00:01");
        assert_eq!(
            (datagram.hop_limit, datagram.identification, datagram.vlan),
            (hop_limit, identification, None)
        );
    }

    #[test]
    fn takes_zeros_up_to_the_shortest_frame_for_padding() {
        let mut frame = ipv4(b"x\n");
        frame.resize(60, 0);
        assert_eq!(Datagram::parse(&frame).unwrap().faults, []);
        assert_eq!(Datagram::parse(&frame).unwrap().payload, b"x\n");
        frame[59] = 1;
        assert_eq!(
            Datagram::parse(&frame).unwrap().faults,
            [Fault::Trailing(16)]
        );
        frame.resize(61, 0);
        assert_eq!(
            Datagram::parse(&frame).unwrap().faults,
            [Fault::Trailing(17)]
        );
    }

    #[rstest]
    #[case::options(|frame: &mut Vec<u8>| { frame[14] = 0x46; frame.splice(34..34, [1, 1, 1, 1]); frame[17] += 4; }, Fault::IpOptions)]
    #[case::type_of_service(|frame: &mut Vec<u8>| frame[15] = 0x10, Fault::TrafficClass(0x10))]
    #[case::more_fragments(|frame: &mut Vec<u8>| frame[20] = 0x20, Fault::IpFragment)]
    #[case::dont_fragment(|frame: &mut Vec<u8>| frame[20] = 0x40, Fault::DontFragment)]
    #[case::reserved_flag(|frame: &mut Vec<u8>| frame[20] = 0x80, Fault::ReservedFlag)]
    #[case::ip_length(|frame: &mut Vec<u8>| frame[17] += 1, Fault::IpLength { says: 74, holds: 73 })]
    #[case::udp_length(|frame: &mut Vec<u8>| frame[39] -= 1, Fault::UdpLength { says: 52, holds: 53 })]
    #[case::no_udp_checksum(|frame: &mut Vec<u8>| frame[40..42].fill(0), Fault::NoUdpChecksum)]
    #[case::trailing(|frame: &mut Vec<u8>| frame.push(0), Fault::Trailing(1))]
    fn finds_what_is_wrong(#[case] break_it: fn(&mut Vec<u8>), #[case] fault: Fault) {
        let mut frame = ipv4(TEXT);
        break_it(&mut frame);
        let options = usize::from(frame[14] == 0x46) * 4;
        frame[24..26].fill(0);
        let sum = Sum16BitWords::new()
            .add_slice(&frame[14..34 + options])
            .ones_complement();
        frame[24..26].copy_from_slice(&sum.to_ne_bytes());
        assert!(
            Datagram::parse(&frame).unwrap().faults.contains(&fault),
            "{:?}",
            Datagram::parse(&frame)
        );
    }

    #[rstest]
    #[case::ip_checksum(24, true)]
    #[case::source_address(29, true)]
    #[case::udp_checksum(41, true)]
    #[case::payload(50, true)]
    #[case::identification_counts(19, true)]
    fn a_flipped_bit_is_fatal(#[case] at: usize, #[case] fatal: bool) {
        let mut frame = ipv4(TEXT);
        frame[at] ^= 4;
        assert_eq!(
            Datagram::parse(&frame)
                .unwrap()
                .faults
                .iter()
                .any(|fault| fault.is_fatal()),
            fatal
        );
    }

    #[test]
    fn a_flipped_bit_of_ipv6_is_fatal() {
        let mut frame = ipv6(TEXT);
        frame[70] ^= 4;
        assert!(matches!(
            Datagram::parse(&frame).unwrap().faults[..],
            [Fault::UdpChecksum { .. }]
        ));
        let mut frame = ipv6(TEXT);
        frame[15] = 0x10;
        frame[16] = 7;
        assert_eq!(
            Datagram::parse(&frame).unwrap().faults,
            [Fault::TrafficClass(1), Fault::FlowLabel(0x700)]
        );
    }

    #[test]
    fn reads_the_tag_of_a_vlan() {
        let mut frame = ipv4(TEXT);
        frame.splice(12..12, [0x81, 0x00, 0x00, 42]);
        let datagram = Datagram::parse(&frame).unwrap();
        assert_eq!(
            (datagram.vlan, datagram.payload, datagram.faults),
            (Some(42), TEXT, vec![])
        );
    }

    #[rstest]
    #[case::arp(&[&[0xff; 12], [8, 6].as_slice(), &[0; 28]].concat(), NotUdp::Arp)]
    #[case::short(&[0; 5], NotUdp::Strange)]
    #[case::another_type(&[&[0xff; 12], [0x88, 0xb5].as_slice(), &[0; 28]].concat(), NotUdp::Strange)]
    #[case::icmp(&ipv4_of(1), NotUdp::Other)]
    #[case::tcp(&ipv4_of(6), NotUdp::OfPrograms)]
    #[case::another_protocol(&ipv4_of(253), NotUdp::Strange)]
    #[case::short_ip(&[&[0xff; 12], [8, 0].as_slice(), &[0x45; 5]].concat(), NotUdp::Broken)]
    fn tells_what_is_no_datagram(#[case] frame: &[u8], #[case] reason: NotUdp) {
        assert_eq!(Datagram::parse(frame), Err(reason));
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, at in any::<proptest::sample::Index>(), byte: u8, cut in any::<proptest::sample::Index>()) {
            let _ = Datagram::parse(&bytes);
            for mut frame in [ipv4(TEXT), ipv6(TEXT)] {
                let at = at.index(frame.len());
                frame[at] = byte;
                let _ = Datagram::parse(&frame);
                frame.truncate(cut.index(frame.len()));
                let _ = Datagram::parse(&frame);
            }
        }
    }
}
