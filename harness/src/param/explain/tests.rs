//! Parameters on a machine of two cards, explained.

use std::net::IpAddr;

use rstest::rstest;

use crate::param::{
    Severity,
    finding::is_wrong,
    machine::{Kernel, Neighbour, Own, Support},
};

use super::*;

/// eth0 with 10.1.0.1/24 and fd01::1/64, eth1 with 10.9.0.1/24, br0 with the port eth2; the gateway is 10.1.0.254.
fn machine(release: &str) -> Machine {
    let card = |index: u32, name: &str, networks: &[&str]| Interface {
        index,
        name: name.to_owned(),
        ethernet: true,
        resolves: true,
        up: true,
        carrier: true,
        mac: Some(format!("02:00:00:00:00:{index:02x}").parse().unwrap()),
        addresses: networks
            .iter()
            .map(|network| {
                let network: ipnet::IpNet = network.parse().unwrap();
                Own {
                    address: network.addr(),
                    network,
                    temporary: false,
                }
            })
            .collect(),
        ..Interface::default()
    };
    let mut port = card(4, "eth2", &[]);
    port.master = Some(5);
    let mut bridge = card(5, "br0", &["10.5.0.1/24"]);
    bridge.kind = Some("bridge".to_owned());
    Machine {
        kernel: Kernel {
            release: release.to_owned(),
            netconsole: Support::Module,
            dynamic: Some(true),
            loaded: false,
            console_level: Some(8),
            targets: Vec::new(),
        },
        interfaces: vec![
            card(2, "eth0", &["10.1.0.1/24", "fd01::1/64"]),
            card(3, "eth1", &["10.9.0.1/24"]),
            port,
            bridge,
        ],
        neighbours: vec![Neighbour {
            interface: 2,
            address: ip("10.1.0.7"),
            mac: "02:00:0a:01:00:07".parse().unwrap(),
        }],
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// As the kernel would answer: by the target's interface, through 10.1.0.254 for what is in no network.
fn look_up<'machine>(parameter: &Parameter, machine: &'machine Machine) -> LookedUp<'machine> {
    let interface = machine.device(parameter);
    let on_link = interface.and_then(|interface| interface.network_of(parameter.remote_ip));
    let gateway = on_link.is_none().then(|| ip("10.1.0.254"));
    LookedUp {
        interface,
        way: interface.map(|interface| {
            Ok(Way {
                interface: interface.index,
                named: true,
                source: None,
                gateway,
                route: None,
                rivals: Vec::new(),
                mac: Some("02:00:0a:01:00:fe".parse().unwrap()),
            })
        }),
    }
}

fn explain(text: &str, release: &str) -> Explanation {
    let machine = machine(release);
    let draft = Draft::new(text);
    let looked_up: Vec<LookedUp<'_>> = draft
        .targets()
        .map(|target| match target {
            Some(parameter) => look_up(parameter, &machine),
            None => LookedUp {
                interface: None,
                way: None,
            },
        })
        .collect();
    draft.explain(&machine, &looked_up)
}

/// The findings as `code at what is marked`.
#[track_caller]
fn check_on(release: &str, text: &str, expected: &[(&str, &str)]) {
    let explanation = explain(text, release);
    let found: Vec<(&str, &str)> = explanation
        .findings
        .iter()
        .map(|located| {
            let span = located.span.clone().unwrap_or_default();
            (located.finding.code, &text[span])
        })
        .collect();
    assert_eq!(found, expected, "{:#?}", explanation.findings);
}

#[rstest]
#[case::gateway("6665@10.1.0.1/eth0,6666@10.2.0.2/02:00:0a:01:00:fe")]
#[case::defaults("@/,@10.2.0.2/02:00:0a:01:00:fe")]
#[case::options("options netconsole netconsole=+@/eth0,@fd02::1/02:00:0a:01:00:fe\n")]
#[case::release("+r@/eth0,@10.2.0.2/02:00:0a:01:00:fe")]
#[case::two("@/,@10.2.0.2/02:00:0a:01:00:fe;@/eth1,@10.9.0.2/02:00:0a:01:00:fe")]
#[case::device_by_mac("@/02:00:00:00:00:02,@10.2.0.2/02:00:0a:01:00:fe")]
fn has_nothing_against_what_is_right(#[case] text: &str) {
    check_on("6.12.117", text, &[]);
}

#[rstest]
#[case::no_interface("@/eth7,@10.2.0.2/02:00:0a:01:00:fe", &[("no-such-interface", "eth7")])]
#[case::long_name(
    "@/a-name-of-more-than-15,@10.2.0.2/02:00:0a:01:00:fe",
    &[("no-such-interface", "a-name-of-more-than-15")]
)]
#[case::foreign_source("@10.9.0.1/eth0,@10.2.0.2/02:00:0a:01:00:fe", &[("foreign-source", "10.9.0.1")])]
#[case::no_source("@/eth1,@fd09::2/02:00:0a:01:00:fe", &[("no-source", "")])]
#[case::bridge_port("@10.5.0.1/eth2,@10.5.0.2/02:00:0a:01:00:fe", &[("foreign-source", "10.5.0.1"), ("slave", "eth2")])]
#[case::other_mac("@/,@10.2.0.2/02:00:0a:01:00:07", &[("other-mac", "02:00:0a:01:00:07")])]
#[case::own_mac("@/,@10.2.0.2/02:00:00:00:00:02", &[("other-mac", "02:00:00:00:00:02")])]
#[case::broadcast_behind_a_gateway("@/,@10.2.0.2/", &[("broadcast-mac", "")])]
#[case::broadcast("@/,@10.1.0.2/", &[("broadcast-mac", "")])]
#[case::port_zero("0@/,@10.2.0.2/02:00:0a:01:00:fe", &[("port-zero", "0")])]
#[case::multicast("@/,@224.0.0.1/", &[("no-receiver", "224.0.0.1")])]
#[case::port("@/,70000@10.2.0.2/", &[("syntax", "70000")])]
#[case::address("@/,@10.2.0/", &[("syntax", "10.2.0")])]
#[case::no_address("@/,@/", &[("syntax", "")])]
#[case::families("@10.1.0.1/,@fd00::2/", &[("syntax", "fd00::2")])]
#[case::mac("@/,@10.2.0.2/02:00", &[("syntax", "02:00")])]
#[case::garbage("garbage", &[("syntax", "garbage")])]
#[case::release_alone("r@/,@10.2.0.2/", &[("syntax", "r")])]
#[case::second("@/,@10.1.0.2/02:00:0a:01:00:fe;x@/,@10.2.0.2/", &[("syntax", "x")])]
#[case::empty("", &[("empty", "")])]
fn marks_what_is_wrong(#[case] text: &str, #[case] expected: &[(&str, &str)]) {
    check_on("6.12.117", text, expected);
}

#[rstest]
#[case::release("6.1.192", "+r@/,@10.2.0.2/02:00:0a:01:00:fe", &[("release", "r")])]
#[case::device_by_mac(
    "6.12.90",
    "@/02:00:00:00:00:02,@10.2.0.2/02:00:0a:01:00:fe",
    &[("device-by-mac", "02:00:00:00:00:02")]
)]
fn knows_what_a_kernel_cannot(
    #[case] release: &str,
    #[case] text: &str,
    #[case] expected: &[(&str, &str)],
) {
    check_on(release, text, expected);
}

#[test]
fn says_what_becomes_of_garbage() {
    let said = |release| explain("garbage", release).findings[0].finding.text.clone();
    assert!(said("6.10.0").contains("loads without a word"));
    assert!(said("6.9.0").contains("modprobe fails"));
}

#[test]
fn says_whose_a_mac_is() {
    let explanation = explain("@/,@10.2.0.2/02:00:0a:01:00:07", "6.1.0");
    let finding = &explanation.findings[0].finding;
    assert!(
        finding.text.ends_with("it is that of 10.1.0.7"),
        "{finding:?}"
    );
    let help = finding.help.as_deref().unwrap();
    assert_eq!(
        help,
        "it should be 02:00:0a:01:00:fe, the gateway 10.1.0.254's"
    );
}

#[test]
fn counts_the_bytes() {
    let one = "6665@10.1.0.1/eth0,6666@10.1.0.2/02:00:0a:01:00:fe";
    let text = [one; 6].join(";");
    let explanation = explain(&text, "6.1.0");
    let located = &explanation.findings[0];
    assert_eq!(located.finding.code, "too-long");
    assert_eq!(located.span, Some(255..text.len()));
    assert_eq!(explanation.targets.len(), 6);
}

#[test]
fn fills_in_the_defaults() {
    let explanation = explain("@/,@10.1.0.2/", "6.1.0");
    let values: Vec<_> = explanation.targets[0]
        .fields
        .iter()
        .map(|meaning| (meaning.text.as_deref(), meaning.value.as_deref()))
        .collect();
    let expected = [
        (None, None),
        (None, Some("6665")),
        (None, Some("10.1.0.1")),
        (None, Some("eth0")),
        (None, Some("6666")),
        (Some("10.1.0.2"), Some("10.1.0.2")),
        (None, Some("ff:ff:ff:ff:ff:ff")),
    ];
    assert_eq!(values, expected);
    let findings = explanation.findings.iter().map(|located| &located.finding);
    assert!(!is_wrong(findings.clone()));
    assert!(
        findings
            .into_iter()
            .all(|one| one.severity == Severity::Note)
    );
}

proptest::proptest! {
    #[test]
    fn never_panics(text in proptest::prelude::any::<String>()) {
        explain(&text, "6.12.0");
    }

    #[test]
    fn never_panics_on_what_is_nearly_one(text in "[+r]{0,2}[0-9@/a-f:.,;\" ]{0,40}") {
        let explanation = explain(&text, "6.1.0");
        for located in &explanation.findings {
            let _ = located.span.clone().map(|span| &text[span]);
        }
    }
}
