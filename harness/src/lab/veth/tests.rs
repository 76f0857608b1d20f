use std::time::Duration;

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};

use crate::{
    lab::{
        Event, Frame, Lab, Origin,
        tests::{Guest, receiver, scenario, sender},
        veth::{furnish, hub},
    },
    scenario::{Interface, Link, Node, NodeIndex, Role, Scenario},
};

const DEADLINE: Duration = Duration::from_secs(20);

/// Whether tests may make namespaces; where not, they say so.
#[expect(clippy::print_stderr, reason = "a test that cannot run says so")]
pub(in crate::lab) fn has_namespaces() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        assert!(
            std::env::var_os("LASTWORDS_NO_SKIP").is_none(),
            "this test needs root"
        );
        eprintln!("left out: this test needs root");
    }
    is_root
}

/// box 10.1.0.1 - gw 10.1.0.2, 10.2.0.2 - agent 10.2.0.1; with IPv6 alike.
fn routed() -> Scenario {
    let mut scenario = scenario(&[("box", sender()), ("agent", receiver())]);
    let interface = |link: usize, name: &str, host: u8| Interface {
        link,
        name: name.to_owned(),
        mac: format!("02:00:0a:0{}:00:0{host}", link + 1)
            .parse()
            .unwrap(),
        addresses: vec![
            format!("10.{}.0.{host}/24", link + 1).parse().unwrap(),
            format!("fd00:{}::{host}/64", link + 1).parse().unwrap(),
        ],
        ..scenario.nodes[0].interfaces[0].clone()
    };
    let (own, others) = (interface(0, "eth0", 1), interface(1, "eth0", 1));
    let gateway = Node {
        name: "gw".to_owned(),
        role: Role::Router,
        interfaces: vec![interface(0, "eth0", 2), interface(1, "eth1", 2)],
        routes: Vec::new(),
    };
    scenario.nodes[0].interfaces = vec![own];
    scenario.nodes[1].interfaces = vec![others];
    scenario.nodes.push(gateway);
    scenario.links = [0, 1]
        .map(|link| Link {
            subnets: vec![format!("10.{}.0.0/24", link + 1).parse().unwrap()],
            nodes: vec![NodeIndex(link), NodeIndex(2)],
        })
        .into();
    scenario
}

async fn until(lab: &mut Lab, mut enough: impl FnMut(&Frame) -> bool) -> Vec<Frame> {
    let mut seen = Vec::new();
    loop {
        let event = tokio::time::timeout(DEADLINE, lab.next()).await;
        let frame = match event.unwrap_or_else(|_| panic!("{seen:#?}")) {
            Event::Frame(frame) => frame,
            other => panic!("{other:?}"),
        };
        let is_last = enough(&frame);
        seen.push(frame);
        if is_last {
            return seen;
        }
    }
}

fn datagram(number: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 10, 1, 0, 1], [2, 0, 10, 1, 0, 2])
        .ipv4([10, 1, 0, 1], [10, 2, 0, 1], 64)
        .udp(6665, 6666)
        .write(&mut frame, &number.to_be_bytes())
        .unwrap();
    frame
}

/// The number in a datagram of the router's, which is as a router makes it.
fn forwarded(frame: &Frame) -> Option<u16> {
    let packet = SlicedPacket::from_ethernet(&frame.bytes).unwrap();
    let Some(TransportSlice::Udp(udp)) = &packet.transport else {
        return None;
    };
    let Some(NetSlice::Ipv4(ip)) = &packet.net else {
        return None;
    };
    if frame.link == 0 {
        return None;
    }
    assert_eq!(ip.header().ttl(), 63);
    let header = ip.header().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    assert_eq!(
        (&frame.bytes[..6], &frame.bytes[6..12]),
        (&[2, 0, 10, 2, 0, 1][..], &[2, 0, 10, 2, 0, 2][..])
    );
    Some(u16::from_be_bytes(udp.payload().try_into().unwrap()))
}

#[tokio::test]
async fn a_router_forwards_in_order_and_loses_nothing() {
    const COUNT: u16 = 2000;
    if !has_namespaces() {
        return;
    }
    let (mut lab, mut nics) = Lab::new(&routed()).unwrap();
    let mut guest = Guest(nics.remove(0).socket);
    let mut numbers = Vec::new();
    let sending = std::thread::spawn(move || {
        (0..COUNT).for_each(|number| guest.send(&datagram(number)));
        guest
    });
    let frames = until(&mut lab, |frame| {
        numbers.extend(forwarded(frame));
        numbers.len() == usize::from(COUNT)
    })
    .await;
    assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>());
    let of_the_router = |frame: &&Frame| frame.node == NodeIndex(2);
    assert!(
        frames
            .iter()
            .filter(of_the_router)
            .all(|frame| frame.origin == Origin::Machine)
    );
    assert_eq!(lab.losses(), []);
    drop(sending.join().unwrap());
}

/// What a node says itself has its checksum, and a VLAN tag stays where it was.
#[tokio::test]
async fn frames_come_whole_out_of_a_namespace() {
    if !has_namespaces() {
        return;
    }
    let scenario = routed();
    let (mut lab, _nics) = Lab::new(&scenario).unwrap();
    let network = lab.network(NodeIndex(2)).unwrap();
    let send = || {
        let socket = std::net::UdpSocket::bind("10.2.0.2:5000").unwrap();
        socket.send_to(b"hello", "10.2.0.1:6666").unwrap();
        Ok(())
    };
    network.enter(send).unwrap();
    let mut datagram = None;
    until(&mut lab, |frame| {
        let packet = SlicedPacket::from_ethernet(&frame.bytes).unwrap();
        let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) =
            (&packet.net, &packet.transport)
        else {
            return false;
        };
        let header = udp.to_header();
        let right = header.calc_checksum_ipv4(&ip.header().to_header(), udp.payload());
        assert_eq!(Ok(header.checksum), right);
        datagram = Some(frame.clone());
        true
    })
    .await;
    assert!(datagram.is_some());
}

/// Nobody reads what a node floods its link with.
#[tokio::test]
async fn what_the_kernel_drops_is_counted() {
    const COUNT: usize = 40_000;
    if !has_namespaces() {
        return;
    }
    let (mut lab, _nics) = Lab::new(&routed()).unwrap();
    let flood = || {
        let socket = std::net::UdpSocket::bind("10.2.0.2:5000").unwrap();
        socket.set_broadcast(true).unwrap();
        let sent = (0..COUNT).filter(|_| socket.send_to(&[b'x'; 1400], "10.2.0.255:6666").is_ok());
        Ok(sent.count())
    };
    let sent = lab.network(NodeIndex(2)).unwrap().enter(flood).unwrap();
    let losses = lab.losses();
    assert!(
        losses.iter().all(|loss| loss.spoils_verdicts()),
        "{losses:?}"
    );
    let lost: u64 = losses.iter().map(|loss| loss.frames).sum();
    let is_of_the_flood = |frame: &Frame| frame.bytes.len() == 14 + 20 + 8 + 1400;
    let arrived = std::iter::from_fn(|| lab.try_next())
        .filter(|event| matches!(event, Event::Frame(frame) if is_of_the_flood(frame)))
        .count();
    assert!(lost > 0);
    // What IPv6 says by itself may be among the lost.
    let all = arrived + usize::try_from(lost).unwrap();
    assert!(
        (sent..sent + 50).contains(&all),
        "{arrived} arrived of {sent}: {losses:?}"
    );
}

#[tokio::test]
async fn reverse_paths_are_checked_as_debian_has_it() {
    if !has_namespaces() {
        return;
    }
    let (network, _ends) = furnish(&routed().nodes[2], &hub().unwrap(), 0).unwrap();
    let read = || {
        let read = |name: &str| {
            let text = std::fs::read_to_string(format!("/proc/sys/net/{name}")).unwrap();
            text.trim().to_owned()
        };
        let names = ["ipv4/conf/all/rp_filter", "ipv4/conf/eth0/rp_filter"];
        Ok((names.map(read), read("ipv6/conf/eth1/forwarding")))
    };
    let (filters, forwarding) = network.enter(read).unwrap();
    assert_eq!(
        (filters, forwarding.as_str()),
        (["0".to_owned(), "2".to_owned()], "1")
    );
}

#[tokio::test]
async fn a_node_whose_name_is_too_long_for_the_kernel_has_its_sentence() {
    if !has_namespaces() {
        return;
    }
    let mut scenario = routed();
    let gateway = &mut scenario.nodes[2];
    gateway.interfaces[0].name = "an-interface-of-27-letters".to_owned();
    let error = furnish(gateway, &hub().unwrap(), 0).err().unwrap();
    assert_eq!(
        error.to_string(),
        "cannot make the veth pair of an-interface-of-27-letters"
    );
}
