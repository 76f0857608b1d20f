//! What is judged of lines that come over a router, with a make-believe kernel and router.

use rstest::rstest;

use crate::{
    netconsole::MacAddress,
    scenario::{Interface, Role},
    verdict::{
        finding::Kind,
        journey::Cause,
        kernel::{AGENT, Kernel, OTHER, absent, expect},
        target::TargetState,
    },
};

pub(crate) const GATEWAY: MacAddress = MacAddress([2, 0, 0, 0, 0, 3]);
const AGENTS: MacAddress = MacAddress([2, 0, 0, 1, 0, 2]);
const BEYOND: MacAddress = MacAddress([2, 0, 0, 1, 0, 3]);

/// box on link 0, gw on both, agent on link 1.
fn kernel(change: fn(&mut TargetState)) -> Kernel {
    let mut kernel = Kernel::new();
    let nodes = &mut kernel.judge.scene.nodes;
    let beyond = |name: &str, mac, host: u8| Interface {
        link: 1,
        name: name.to_owned(),
        mac,
        addresses: vec![
            format!("10.0.1.{host}/24").parse().unwrap(),
            format!("fd01::{host}/64").parse().unwrap(),
        ],
        nic: Default::default(),
    };
    nodes[OTHER.0].name = "gw".to_owned();
    nodes[OTHER.0].role = Role::Router;
    nodes[OTHER.0].interfaces.push(beyond("eth1", BEYOND, 3));
    nodes[AGENT.0].interfaces = vec![beyond("eth0", AGENTS, 2)];
    kernel.forward = Some(forward);
    kernel.add(|state| {
        state.settings.remote_ip = "10.0.1.2".parse().unwrap();
        state.settings.remote_mac = GATEWAY;
    });
    change(&mut kernel.targets[0]);
    let state = kernel.targets[0].clone();
    kernel.judge.target(0, state);
    kernel
}

/// What a router makes of a frame.
fn forward(frame: &[u8]) -> Vec<Vec<u8>> {
    if frame[..6] != GATEWAY.0 {
        return Vec::new();
    }
    let mut copy = frame.to_vec();
    copy[..6].copy_from_slice(&AGENTS.0);
    copy[6..12].copy_from_slice(&BEYOND.0);
    if copy[12..14] == [0x86, 0xdd] {
        copy[21] -= 1;
        return vec![copy];
    }
    copy[22] -= 1;
    let header = etherparse::Ipv4Header::from_slice(&copy[14..]).unwrap().0;
    copy[24..26].copy_from_slice(&header.calc_header_checksum().to_be_bytes());
    vec![copy]
}

fn print_all(kernel: &mut Kernel) {
    kernel.print("before");
    kernel.print("two\nlines");
    kernel.print(&"long ".repeat(200));
    kernel.print("after");
}

fn found(kernel: &mut Kernel) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = kernel.audit().iter().map(|finding| finding.kind).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

#[rstest]
#[case::basic(|_: &mut TargetState| {})]
#[case::extended(|state: &mut TargetState| state.settings.extended = true)]
#[case::ipv6(|state: &mut TargetState| {
    state.settings.local_ip = "fd00::1".parse().unwrap();
    state.settings.remote_ip = "fd01::2".parse().unwrap();
})]
fn lines_arrive_over_a_router(#[case] change: fn(&mut TargetState)) {
    let mut kernel = kernel(change);
    print_all(&mut kernel);
    kernel
        .expect(&expect(&["before", "lines", "long long", "after"]))
        .unwrap();
    assert_eq!(found(&mut kernel), []);
}

/// What is replayed before the marker leaves may come over the router behind it.
#[test]
fn a_copy_is_replayed_where_what_it_is_a_copy_of_was() {
    let mut kernel = kernel(|_| {});
    kernel.print("again");
    kernel.expect(&expect(&["again"])).unwrap();
    kernel.register();
    let failure = kernel.expect(&expect(&["again"])).unwrap_err();
    assert!(
        failure.to_string().contains("only in a replay"),
        "{failure}"
    );
}

#[rstest]
#[case::lost(|_: &[u8]| Vec::new(), Kind::Missing)]
#[case::twice(|frame: &[u8]| [forward(frame), forward(frame)].concat(), Kind::Duplicate)]
#[case::changed(|frame: &[u8]| {
    let mut copies = forward(frame);
    for copy in &mut copies {
        // The checksum stays right: it does not know places.
        let end = copy.len() - 1;
        copy.swap(end - 3, end - 5);
    }
    copies
}, Kind::Missing)]
fn a_router_that_does_harm_is_noticed(
    #[case] forward: fn(&[u8]) -> Vec<Vec<u8>>,
    #[case] kind: Kind,
) {
    let mut kernel = kernel(|_| {});
    kernel.forward = Some(forward);
    kernel.print("the line is here");
    let failure = kernel.expect(&expect(&["the line is here"])).unwrap_err();
    assert!(
        failure.problems.iter().any(|problem| problem.kind == kind),
        "{failure:#?}"
    );
}

#[rstest]
#[case::without_lowering_the_hop_limit(|copy: &mut Vec<u8>| {
    copy[22] += 1;
    let header = etherparse::Ipv4Header::from_slice(&copy[14..]).unwrap().0;
    copy[24..26].copy_from_slice(&header.calc_header_checksum().to_be_bytes());
}, "a hop limit of 64, and not 63")]
#[case::from_the_senders_mac(|copy: &mut Vec<u8>| copy[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]), "the MACs 02:00:00:00:00:01 and 02:00:00:01:00:02")]
#[case::with_the_old_checksum(|copy: &mut Vec<u8>| copy[25] ^= 1, "IP")]
fn a_router_must_forward_as_routers_do(#[case] change: fn(&mut Vec<u8>), #[case] sentence: &str) {
    let mut kernel = kernel(|_| {});
    kernel.forward = None;
    kernel.print("line");
    let frame = {
        let settings = kernel.targets[0].settings.clone();
        kernel.frame_of(&settings, b"[    9.000000] line\n")
    };
    let mut copy = forward(&frame).remove(0);
    change(&mut copy);
    kernel.judge.frame(&crate::verdict::Frame {
        number: 99,
        time: Default::default(),
        link: 1,
        from: OTHER,
        bytes: copy,
    });
    let findings = kernel.audit();
    let said = findings.iter().find(|finding| {
        finding.kind == Kind::WrongHeader
            && finding.sentence.starts_with("gw sent a datagram on with")
            && finding.sentence.contains(sentence)
    });
    assert!(said.is_some(), "{findings:#?}");
}

#[rstest]
#[case::the_agents_mac(
    AGENTS,
    "not-my-mac",
    "destination MAC 02:00:00:01:00:02 is agent's, gw's is 02:00:00:00:00:03"
)]
#[case::nobodys_mac(MacAddress([2, 9, 9, 9, 9, 9]), "not-my-mac", "is nobody's, gw's is")]
#[case::broadcast(MacAddress::BROADCAST, "not-my-mac", "is everybody's, gw's is")]
fn a_wrong_mac_loses_the_line_before_the_router(
    #[case] mac: MacAddress,
    #[case] cause: &str,
    #[case] sentence: &str,
) {
    let mut kernel = kernel(|_| {});
    kernel.targets[0].settings.remote_mac = mac;
    kernel.set(0, |_| {});
    kernel.print("line");
    let mut wanted = absent(&["line"]);
    wanted.lost = Some(OTHER);
    wanted.because = Some(cause.to_owned());
    kernel.absent(&wanted).unwrap();
    let failure = kernel.expect(&expect(&["line"])).unwrap_err();
    let journey = failure.problems[0].journey.as_ref().unwrap();
    assert_eq!(journey.cause, Some(Cause::NotMyMac));
    assert!(failure.to_string().contains(sentence), "{failure}");
}

#[test]
fn a_router_that_drops_a_line_saw_it_last() {
    let mut kernel = kernel(|_| {});
    kernel.forward = Some(|_| Vec::new());
    kernel.print("line");
    let failure = kernel.expect(&expect(&["line"])).unwrap_err();
    let journey = failure.problems[0].journey.clone().unwrap();
    assert_eq!((journey.lost.as_deref(), journey.cause), (Some("gw"), None));
    assert_eq!(
        journey.because.as_deref(),
        Some("gw got it and did not send it on")
    );
}

/// gw has no way back to the sender: as routers do, it is not asked to send on what comes from there.
#[test]
fn a_router_without_a_way_back_filters_lines_out() {
    let mut kernel = kernel(|_| {});
    let near = &mut kernel.judge.scene.nodes[OTHER.0].interfaces[0];
    near.addresses = vec!["10.7.0.3/24".parse().unwrap()];
    kernel.forward = Some(|_| Vec::new());
    kernel.print("line");
    let failure = kernel.expect(&expect(&["line"])).unwrap_err();
    let journey = failure.problems[0].journey.clone().unwrap();
    assert_eq!(
        (journey.lost.as_deref(), journey.cause),
        (Some("gw"), Some(Cause::Filtered))
    );
}

#[test]
fn no_router_sends_on_what_comes_from_a_link_local_address() {
    let mut kernel = kernel(|state| {
        state.settings.local_ip = "fe80::1".parse().unwrap();
        state.settings.remote_ip = "fd01::2".parse().unwrap();
    });
    kernel.forward = Some(|_| Vec::new());
    kernel.print("line");
    let failure = kernel.expect(&expect(&["line"])).unwrap_err();
    let journey = failure.problems[0].journey.clone().unwrap();
    assert_eq!(journey.cause, Some(Cause::WrongSource));
}
