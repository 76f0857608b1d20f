use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::*;
use crate::scenario::node::Nic;

const MAC: [u8; 6] = [2, 0, 10, 1, 0, 2];
const PEER: [u8; 6] = [2, 0, 10, 1, 0, 1];

fn interface(mac: [u8; 6], addresses: &[&str]) -> Interface {
    Interface {
        link: 0,
        name: "eth0".to_owned(),
        mac: MacAddress(mac),
        addresses: addresses
            .iter()
            .map(|address| address.parse().unwrap())
            .collect(),
        nic: Nic::VirtioNetPci,
    }
}

fn observer() -> Observer {
    Observer::new(
        &interface(MAC, &["10.1.0.2/24", "fd00::2/64"]),
        &[],
        &[6666],
    )
    .unwrap()
}

/// Frames of every kind that the observer looks into, to be broken.
fn seeds() -> Vec<Vec<u8>> {
    let ethernet = || PacketBuilder::ethernet2(PEER, MAC);
    let four = || ethernet().ipv4([10, 1, 0, 1], [10, 1, 0, 2], 64);
    let octets = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
    let six = || ethernet().ipv6(octets("fd00::1"), octets("fd00::2"), 255);
    let written = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = Vec::new();
        write(&mut frame);
        frame
    };
    let arp = [
        &[0xff; 6][..],
        &PEER,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &PEER,
        &[10, 1, 0, 1],
        &[0; 6],
        &[10, 1, 0, 2],
    ]
    .concat();
    let solicitation = [octets("fd00::2").as_slice(), &[1, 1], &PEER].concat();
    vec![
        arp,
        written(&|frame| {
            four()
                .icmpv4_echo_request(1, 2)
                .write(frame, b"payload")
                .unwrap();
        }),
        written(&|frame| four().udp(6665, 7).write(frame, b"payload").unwrap()),
        written(&|frame| {
            six()
                .icmpv6_echo_request(1, 2)
                .write(frame, b"payload")
                .unwrap();
        }),
        written(&|frame| {
            six()
                .icmpv6_raw(135, 0, [0; 4])
                .write(frame, &solicitation)
                .unwrap();
        }),
        written(&|frame| six().udp(6665, 7).write(frame, b"payload").unwrap()),
    ]
}

#[test]
fn the_link_local_address_follows_from_the_mac() {
    assert_eq!(link_local(MacAddress(MAC)).to_string(), "fe80::aff:fe01:2");
}

#[test]
fn impossible_addresses_are_refused() {
    let error = |interface| Observer::new(&interface, &[], &[]).unwrap_err().to_string();
    assert_eq!(
        error(interface([1, 0, 0, 0, 0, 1], &[])),
        "01:00:00:00:00:01 is an address of many machines"
    );
    assert_eq!(
        error(interface(MAC, &["224.0.0.1/8"])),
        "224.0.0.1 is an address of many machines, or of none"
    );
    let many = [1, 2, 3, 4, 5, 6, 7, 8].map(|host| format!("10.1.0.{host}/24"));
    let many = interface(MAC, &many.each_ref().map(String::as_str));
    assert!(error(many).starts_with("8 addresses are more than the observer can have on one link"));
}

proptest! {
    #[test]
    fn no_frame_harms_the_observer(
        seed in 0..6_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        length in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut observer = observer();
        for frame in seeds() {
            observer.receive(&frame, Duration::ZERO);
        }
        let mut frame = seeds().swap_remove(seed);
        for (place, value) in changes {
            let place = place.index(frame.len());
            frame[place] = value;
        }
        if cut {
            frame.truncate(length.index(frame.len()));
        }
        prop_assert!(observer.receive(&frame, Duration::from_secs(1)).len() <= 1);
    }

    #[test]
    fn no_noise_harms_the_observer(frame in prop::collection::vec(any::<u8>(), 0..2000)) {
        observer().receive(&frame, Duration::ZERO);
    }
}
