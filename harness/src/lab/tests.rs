use std::{
    io::{ErrorKind, Read, Write},
    net::IpAddr,
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, Icmpv4Type, Icmpv6Type, NetSlice,
    PacketBuilder, SlicedPacket, TransportSlice,
};
use rstest::rstest;

use super::*;
use crate::{
    netconsole::MacAddress,
    scenario::{
        Interface, Link, Needs, Role,
        node::{Nic, Receiver, Sender},
    },
};

const DEADLINE: Duration = Duration::from_secs(20);
const BROADCAST: [u8; 6] = [0xff; 6];
const BOX: NodeIndex = NodeIndex(0);
const AGENT: NodeIndex = NodeIndex(1);

/// The MAC of the node with this number.
fn mac(node: u8) -> [u8; 6] {
    [2, 0, 10, 1, 0, node]
}

pub(super) fn sender() -> Role {
    Role::Sender(Sender {
        cpus: 1,
        memory: 128,
        cmdline: None,
        sysctl: Default::default(),
    })
}

pub(super) fn receiver() -> Role {
    Role::Receiver(Receiver {
        program: None,
        ports: vec![6666],
    })
}

/// Nodes on one link, with addresses of both families: 10.1.0.1 and fd00::1, 10.1.0.2 and fd00::2, …
pub(super) fn scenario(nodes: &[(&str, Role)]) -> Scenario {
    let node = |(number, (name, role)): (u8, &(&str, Role))| Node {
        name: (*name).to_owned(),
        role: role.clone(),
        interfaces: vec![Interface {
            link: 0,
            name: "eth0".to_owned(),
            mac: MacAddress(mac(number)),
            addresses: vec![
                format!("10.1.0.{number}/24").parse().unwrap(),
                format!("fd00::{number}/64").parse().unwrap(),
            ],
            nic: Nic::VirtioNetPci,
        }],
        routes: Vec::new(),
    };
    Scenario {
        path: PathBuf::from("test.toml"),
        name: "test".to_owned(),
        title: String::new(),
        nodes: (1..).zip(nodes).map(node).collect(),
        links: vec![Link {
            subnets: vec!["10.1.0.0/24".parse().unwrap(), "fd00::/64".parse().unwrap()],
            nodes: (0..nodes.len()).map(NodeIndex).collect(),
        }],
        targets: Vec::new(),
        needs: Needs::default(),
        known: Vec::new(),
        steps: Vec::new(),
    }
}

/// What QEMU would be.
pub(super) struct Guest(pub(super) UnixStream);

impl Guest {
    pub(super) fn send(&mut self, frame: &[u8]) {
        self.0
            .write_all(&u32::try_from(frame.len()).unwrap().to_be_bytes())
            .unwrap();
        self.0.write_all(frame).unwrap();
    }

    /// The next frame that has arrived already.
    fn receive(&mut self) -> Option<Vec<u8>> {
        self.0.set_nonblocking(true).unwrap();
        let mut length = [0; 4];
        match self.0.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) => panic!("{error}"),
        }
        let mut frame = vec![0; u32::from_be_bytes(length).try_into().unwrap()];
        self.0.read_exact(&mut frame).unwrap();
        self.0.set_nonblocking(false).unwrap();
        Some(frame)
    }
}

fn lab(nodes: &[(&str, Role)]) -> (Lab, Vec<Guest>) {
    let (lab, nics) = Lab::new(&scenario(nodes)).unwrap();
    (lab, nics.into_iter().map(|nic| Guest(nic.socket)).collect())
}

fn pair() -> (Lab, Guest) {
    let (lab, mut guests) = lab(&[("box", sender()), ("agent", receiver())]);
    (lab, guests.remove(0))
}

fn frames(lab: &mut Lab) -> Vec<Frame> {
    std::iter::from_fn(|| lab.try_next())
        .map(|event| match event {
            Event::Frame(frame) => frame,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn udp_frame(destination: [u8; 6], port: u16, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(mac(1), destination)
        .ipv4([10, 1, 0, 1], [10, 1, 0, 2], 64)
        .udp(6665, port);
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).unwrap();
    frame
}

fn arp_request(target: [u8; 4]) -> Vec<u8> {
    let arp = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation::REQUEST,
        &mac(1),
        &[10, 1, 0, 1],
        &[0; 6],
        &target,
    );
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(mac(1), BROADCAST)
        .arp(arp.unwrap())
        .write(&mut frame)
        .unwrap();
    frame
}

/// Tells the observer who 10.1.0.1 and fd00::1 are, as a kernel does by its own questions.
fn introduce(lab: &mut Lab, guest: &mut Guest) {
    guest.send(&arp_request([10, 1, 0, 2]));
    guest.send(&neighbour_solicitation("fd00::2"));
    assert_eq!(frames(lab).len(), 4);
    assert!(guest.receive().is_some() && guest.receive().is_some());
}

fn neighbour_solicitation(target: &str) -> Vec<u8> {
    let IpAddr::V6(target) = target.parse().unwrap() else {
        panic!("{target} is not IPv6")
    };
    let target = target.octets();
    let group = [
        0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, target[13], target[14], target[15],
    ];
    let source = "fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let body = [target.as_slice(), &[1, 1], &mac(1)].concat();
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(
        mac(1),
        [0x33, 0x33, 0xff, target[13], target[14], target[15]],
    )
    .ipv6(source, group, 255)
    .icmpv6_raw(135, 0, [0; 4])
    .write(&mut frame, &body)
    .unwrap();
    frame
}

#[tokio::test]
async fn a_frame_is_numbered_recorded_and_brought_to_the_receiver() {
    let (mut lab, mut guest) = pair();
    let frame = udp_frame(mac(2), 6666, b"last words");
    guest.send(&frame);
    let Event::Frame(first) = tokio::time::timeout(DEADLINE, lab.next()).await.unwrap() else {
        panic!()
    };
    assert_eq!(
        (first.number, first.link, first.node, first.origin),
        (1, 0, BOX, Origin::Guest)
    );
    assert_eq!(
        (first.to.as_slice(), &*first.bytes),
        ([PortIndex(1)].as_slice(), frame.as_slice())
    );
    guest.send(&frame);
    let second = frames(&mut lab).remove(0);
    assert_eq!(second.number, 2);
    assert!(second.time >= first.time);
}

#[rstest]
#[case::its_first([10, 1, 0, 2], true)]
#[case::of_nobody([10, 1, 0, 3], false)]
#[tokio::test]
async fn the_observer_answers_arp(#[case] target: [u8; 4], #[case] answers: bool) {
    let (mut lab, mut guest) = pair();
    guest.send(&arp_request(target));
    let origins: Vec<Origin> = frames(&mut lab).iter().map(|frame| frame.origin).collect();
    assert_eq!(
        origins,
        if answers {
            vec![Origin::Guest, Origin::Observer]
        } else {
            vec![Origin::Guest]
        }
    );
    let reply = guest.receive();
    assert_eq!(reply.is_some(), answers);
    let Some(reply) = reply else { return };
    let packet = SlicedPacket::from_ethernet(&reply).unwrap();
    let Some(NetSlice::Arp(arp)) = packet.net else {
        panic!("{packet:?}")
    };
    assert_eq!(
        (
            arp.operation(),
            arp.sender_hw_addr(),
            arp.sender_protocol_addr()
        ),
        (ArpOperation::REPLY, &mac(2)[..], &target[..])
    );
    assert_eq!((&reply[..6], &reply[6..12]), (&mac(1)[..], &mac(2)[..]));
}

#[tokio::test]
async fn the_observer_answers_echo() {
    let (mut lab, mut guest) = pair();
    // It must know whom to answer.
    guest.send(&arp_request([10, 1, 0, 2]));
    assert_eq!(frames(&mut lab).len(), 2);
    guest.receive();
    let mut request = Vec::new();
    PacketBuilder::ethernet2(mac(1), mac(2))
        .ipv4([10, 1, 0, 1], [10, 1, 0, 2], 64)
        .icmpv4_echo_request(7, 8)
        .write(&mut request, b"are you there?")
        .unwrap();
    guest.send(&request);
    assert_eq!(frames(&mut lab).len(), 2);
    let reply = guest.receive().expect("an answer");
    assert_eq!((&reply[..6], &reply[6..12]), (&mac(1)[..], &mac(2)[..]));
    assert_eq!(
        (&reply[26..30], &reply[30..34]),
        (&[10, 1, 0, 2][..], &[10, 1, 0, 1][..])
    );
    // An echo reply with the request's identifier, number and payload.
    assert_eq!((reply[34], &reply[38..42]), (0, &[0, 7, 0, 8][..]));
    assert_eq!(&reply[42..], b"are you there?");
}

#[rstest]
#[case::global("fd00::2", true)]
#[case::link_local("fe80::aff:fe01:2", true)]
#[case::of_nobody("fd00::3", false)]
#[tokio::test]
async fn the_observer_answers_neighbour_solicitation(#[case] target: &str, #[case] answers: bool) {
    let (mut lab, mut guest) = pair();
    guest.send(&neighbour_solicitation(target));
    assert_eq!(frames(&mut lab).len(), if answers { 2 } else { 1 });
    let reply = guest.receive();
    assert_eq!(reply.is_some(), answers);
    let Some(reply) = reply else { return };
    let packet = SlicedPacket::from_ethernet(&reply).unwrap();
    let Some(TransportSlice::Icmpv6(icmp)) = packet.transport else {
        panic!("{packet:?}")
    };
    assert_eq!(icmp.type_u8(), 136);
    let target: std::net::Ipv6Addr = target.parse().unwrap();
    assert_eq!(
        icmp.payload(),
        [target.octets().as_slice(), &[2, 1], &mac(2)].concat()
    );
}

#[tokio::test]
async fn the_observer_answers_an_echo_of_both_families() {
    let (mut lab, mut guest) = pair();
    introduce(&mut lab, &mut guest);
    let ethernet = || PacketBuilder::ethernet2(mac(1), mac(2));
    let mut frame = Vec::new();
    ethernet()
        .ipv4([10, 1, 0, 1], [10, 1, 0, 2], 64)
        .icmpv4_echo_request(7, 9)
        .write(&mut frame, b"there?")
        .unwrap();
    guest.send(&frame);
    let mut frame = Vec::new();
    let octets = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    ethernet()
        .ipv6(octets("fd00::1"), octets("fd00::2"), 64)
        .icmpv6_echo_request(7, 9)
        .write(&mut frame, b"there?")
        .unwrap();
    guest.send(&frame);
    assert_eq!(frames(&mut lab).len(), 4);
    let (four, six) = (guest.receive().unwrap(), guest.receive().unwrap());
    let Some(TransportSlice::Icmpv4(reply)) = SlicedPacket::from_ethernet(&four).unwrap().transport
    else {
        panic!()
    };
    assert!(
        matches!(reply.icmp_type(), Icmpv4Type::EchoReply(echo) if echo.id == 7 && echo.seq == 9)
    );
    assert_eq!(reply.payload(), b"there?");
    let Some(TransportSlice::Icmpv6(reply)) = SlicedPacket::from_ethernet(&six).unwrap().transport
    else {
        panic!()
    };
    assert!(
        matches!(reply.icmp_type(), Icmpv6Type::EchoReply(echo) if echo.id == 7 && echo.seq == 9)
    );
    assert_eq!(reply.payload(), b"there?");
}

#[rstest]
#[case::a_listening_port(mac(2), 6666, false)]
#[case::a_closed_port(mac(2), 6667, true)]
#[case::a_closed_port_for_all(BROADCAST, 6667, false)]
#[case::of_another_machine(mac(3), 6667, false)]
#[tokio::test]
async fn a_datagram_is_refused_only_where_nobody_listens(
    #[case] destination: [u8; 6],
    #[case] port: u16,
    #[case] refused: bool,
) {
    let (mut lab, mut guest) = pair();
    introduce(&mut lab, &mut guest);
    guest.send(&udp_frame(destination, port, b"hello"));
    frames(&mut lab);
    let reply = guest.receive();
    assert_eq!(reply.is_some(), refused);
    let Some(reply) = reply else { return };
    let Some(TransportSlice::Icmpv4(icmp)) = SlicedPacket::from_ethernet(&reply).unwrap().transport
    else {
        panic!()
    };
    assert_eq!((icmp.type_u8(), icmp.code_u8()), (3, 3));
}

#[tokio::test]
async fn a_switch_floods_first_and_learns() {
    let nodes = [
        ("box", sender()),
        ("agent", receiver()),
        ("other", sender()),
    ];
    let (mut lab, mut guests) = lab(&nodes);
    guests[0].send(&arp_request([10, 1, 0, 2]));
    assert_eq!(
        frames(&mut lab)
            .iter()
            .map(|frame| frame.to.len())
            .collect::<Vec<_>>(),
        [2, 1]
    );
    assert!(guests[1].receive().is_some(), "the question goes to all");
    guests[0].send(&udp_frame(mac(2), 6666, b"quiet"));
    assert_eq!(frames(&mut lab)[0].to, [PortIndex(1)]);
    assert!(
        guests[1].receive().is_none(),
        "what follows goes to the receiver only"
    );
}

#[rstest]
#[case::four_of_a_family("10.1.0.0/24", "10.1.0.1", "10.1.0.2")]
#[case::six("fd00::/64", "fd00::1", "fd00::2")]
#[tokio::test]
async fn a_probe_is_a_datagram_of_the_sender(
    #[case] subnet: &str,
    #[case] source: IpAddr,
    #[case] destination: IpAddr,
) {
    let mut scenario = scenario(&[("box", sender()), ("agent", receiver())]);
    let subnet: ipnet::IpNet = subnet.parse().unwrap();
    for node in &mut scenario.nodes {
        node.interfaces[0]
            .addresses
            .retain(|address| subnet.contains(&address.addr()));
    }
    let (mut lab, _nics) = Lab::new(&scenario).unwrap();
    let number = lab.probe(BOX, AGENT, b"lastwords-probe").unwrap();
    let frame = frames(&mut lab).remove(0);
    assert_eq!(
        (frame.number, frame.node, frame.origin, frame.to.as_slice()),
        (number, BOX, Origin::Probe, [PortIndex(1)].as_slice())
    );
    let packet = SlicedPacket::from_ethernet(&frame.bytes).unwrap();
    assert_eq!(
        (&frame.bytes[..6], &frame.bytes[6..12]),
        (&mac(2)[..], &mac(1)[..])
    );
    let Some(TransportSlice::Udp(udp)) = packet.transport else {
        panic!("{packet:?}")
    };
    assert_eq!(
        (udp.destination_port(), udp.payload()),
        (6666, b"lastwords-probe".as_slice())
    );
    assert!(udp.source_port() >= 49152);
    let (header, expected) = match packet.net.unwrap() {
        NetSlice::Ipv4(ip) => {
            let header = ip.header().to_header();
            assert_eq!(header.calc_header_checksum(), header.header_checksum);
            let checksum = udp
                .to_header()
                .calc_checksum_ipv4(&header, udp.payload())
                .unwrap();
            (
                (
                    IpAddr::from(header.source),
                    IpAddr::from(header.destination),
                ),
                checksum,
            )
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header().to_header();
            let checksum = udp
                .to_header()
                .calc_checksum_ipv6(&header, udp.payload())
                .unwrap();
            (
                (
                    IpAddr::from(header.source),
                    IpAddr::from(header.destination),
                ),
                checksum,
            )
        }
        NetSlice::Arp(arp) => panic!("{arp:?}"),
    };
    assert_eq!((header, udp.checksum()), ((source, destination), expected));
}

#[rstest]
#[case::a_length_beyond_all(&0x4000_0000_u32.to_be_bytes(), "a frame of 1073741824 bytes was announced, and QEMU sends 69632 at most")]
#[case::a_torn_frame(&[0, 0, 0, 20, 1, 2, 3], "it broke off after 3 of the 20 bytes of a frame")]
#[case::a_torn_length(&[0, 0], "it broke off within the length of a frame")]
#[tokio::test]
async fn a_broken_wire_is_told_and_closed(#[case] bytes: &[u8], #[case] sentence: &str) {
    let (mut lab, mut guest) = pair();
    guest.0.write_all(bytes).unwrap();
    drop(guest);
    let Some(Event::Fault(fault)) = lab.try_next() else {
        panic!()
    };
    assert_eq!(
        (fault.to_string(), fault.source.to_string()),
        (
            "the wire of `box:eth0` cannot be read on".to_owned(),
            sentence.to_owned()
        )
    );
    assert!(matches!(
        lab.try_next(),
        Some(Event::PortClosed { node: BOX })
    ));
    assert!(lab.try_next().is_none());
}

#[tokio::test]
async fn frames_come_out_whole_however_they_are_cut() {
    let (mut lab, mut guest) = pair();
    let sent: Vec<Vec<u8>> = [0, 1, 14, 1514, wire::LONGEST_FRAME]
        .map(|length| vec![0xff; length])
        .into();
    let stream: Vec<u8> = sent
        .iter()
        .flat_map(|frame| {
            [
                &u32::try_from(frame.len()).unwrap().to_be_bytes(),
                frame.as_slice(),
            ]
            .concat()
        })
        .collect();
    let mut received = Vec::new();
    for piece in stream.chunks(999) {
        guest.0.write_all(piece).unwrap();
        received.extend(frames(&mut lab).iter().map(|frame| frame.bytes.to_vec()));
    }
    assert_eq!(received, sent);
    drop(guest);
    assert!(matches!(lab.try_next(), Some(Event::PortClosed { .. })));
}

#[tokio::test]
async fn a_guest_that_does_not_read_loses_frames_and_holds_nobody_up() {
    let (mut lab, _guest) = pair();
    let (mut both, mut guests) = self::lab(&[
        ("box", sender()),
        ("other", sender()),
        ("agent", receiver()),
    ]);
    for _ in 0..4000 {
        guests[0].send(&udp_frame(BROADCAST, 6666, &[b'x'; 1000]));
        assert_eq!(frames(&mut both).len(), 1);
    }
    let losses = both.losses();
    assert_eq!(losses.len(), 1);
    assert_eq!(losses[0].place, "other:eth0");
    assert!(
        losses[0].frames > 1000 && losses[0].frames < 4000,
        "{losses:?}"
    );
    let arrived = std::iter::from_fn(|| {
        frames(&mut both);
        guests[1].receive()
    });
    assert_eq!(
        arrived.count(),
        4000 - usize::try_from(losses[0].frames).unwrap()
    );
    assert!(lab.try_next().is_none() && lab.losses().is_empty());
}

#[tokio::test]
async fn the_lab_lives_while_something_else_is_driven() {
    let (mut lab, mut guest) = pair();
    let asked = async {
        guest.send(&arp_request([10, 1, 0, 2]));
        guest.0.set_nonblocking(true).unwrap();
        let mut stream = tokio::net::UnixStream::from_std(guest.0).unwrap();
        let mut reply = [0; 4 + 42];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut reply)
            .await
            .unwrap();
        reply
    };
    let reply = tokio::time::timeout(DEADLINE, lab.drive(asked))
        .await
        .unwrap();
    assert_eq!(reply[4 + 6..4 + 12], mac(2));
    let origins: Vec<Origin> = frames_until_closed(&mut lab);
    assert_eq!(origins, [Origin::Guest, Origin::Observer]);
}

fn frames_until_closed(lab: &mut Lab) -> Vec<Origin> {
    let events = std::iter::from_fn(|| lab.try_next());
    events
        .filter_map(|event| {
            if let Event::Frame(frame) = event {
                Some(frame.origin)
            } else {
                None
            }
        })
        .collect()
}

#[tokio::test]
async fn a_flood_under_drive_is_bounded_and_nothing_of_it_is_lost() {
    let (mut lab, guest) = pair();
    const FRAMES: usize = 3 * WAITING_EVENTS;
    guest.0.set_nonblocking(true).unwrap();
    let mut stream = tokio::net::UnixStream::from_std(guest.0).unwrap();
    let frame = udp_frame(mac(2), 6666, b"x");
    let flood = tokio::spawn(async move {
        for _ in 0..FRAMES {
            let bytes = [
                &u32::try_from(frame.len()).unwrap().to_be_bytes(),
                frame.as_slice(),
            ]
            .concat();
            tokio::io::AsyncWriteExt::write_all(&mut stream, &bytes)
                .await
                .unwrap();
        }
    });
    lab.drive(tokio::time::sleep(Duration::from_millis(200)))
        .await;
    assert!(lab.waiting.len() <= WAITING_EVENTS);
    let mut seen = 0;
    while let Event::Frame(_) = tokio::time::timeout(DEADLINE, lab.next()).await.unwrap() {
        seen += 1;
    }
    assert_eq!(seen, FRAMES);
    flood.await.unwrap();
}

#[tokio::test]
async fn a_flood_leaves_others_their_turn() {
    let (mut lab, guest) = pair();
    guest.0.set_nonblocking(true).unwrap();
    let mut stream = tokio::net::UnixStream::from_std(guest.0).unwrap();
    let frame = udp_frame(mac(2), 6666, b"x");
    let bytes = [
        &u32::try_from(frame.len()).unwrap().to_be_bytes(),
        frame.as_slice(),
    ]
    .concat()
    .repeat(1000);
    let flood = tokio::spawn(async move {
        loop {
            tokio::io::AsyncWriteExt::write_all(&mut stream, &bytes)
                .await
                .unwrap();
        }
    });
    let mut deadline = pin!(tokio::time::sleep(Duration::from_millis(100)));
    let seen = async {
        let mut seen = 0;
        loop {
            tokio::select! {
                _ = lab.next() => seen += 1,
                () = &mut deadline => return seen,
            }
        }
    };
    assert!(tokio::time::timeout(DEADLINE, seen).await.unwrap() > 0);
    flood.abort();
}

#[tokio::test]
async fn a_sender_can_be_plugged_again() {
    let (mut lab, guest) = pair();
    drop(guest);
    assert!(matches!(
        lab.try_next(),
        Some(Event::PortClosed { node: BOX })
    ));
    let mut guest = Guest(lab.plug(BOX).unwrap().remove(0).socket);
    guest.send(&arp_request([10, 1, 0, 2]));
    assert_eq!(frames(&mut lab).len(), 2);
    assert!(guest.receive().is_some());
}
