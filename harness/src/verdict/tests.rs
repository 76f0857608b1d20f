//! What is judged, with a make-believe kernel: for each kind of check a kernel that is broken so.

use rstest::rstest;

use crate::{
    netconsole::{MacAddress, Settings},
    scenario::{
        Expect,
        expectation::{Format, Release},
    },
    verdict::{
        Progress,
        finding::Kind,
        journey::Cause,
        kernel::{BOX, Kernel, OTHER, absent, expect},
        marker::Probes,
    },
};

#[track_caller]
fn check(kernel: &mut Kernel, expect: &Expect, kind: Option<Kind>) -> String {
    match (kernel.expect(expect), kind) {
        (Ok(_), None) => String::new(),
        (Err(failure), Some(kind)) => {
            assert!(
                failure.problems.iter().any(|problem| problem.kind == kind),
                "{failure:#?}"
            );
            failure.to_string()
        }
        (outcome, kind) => panic!("expected {kind:?}: {outcome:#?}"),
    }
}

#[track_caller]
fn found(kernel: &mut Kernel, kinds: &[Kind]) {
    let mut found: Vec<Kind> = kernel.audit().iter().map(|finding| finding.kind).collect();
    found.sort();
    found.dedup();
    assert_eq!(found, kinds, "{:#?}", kernel.audit());
}

#[rstest]
#[case::basic(Kernel::basic())]
#[case::extended(Kernel::extended())]
#[case::release(Kernel::with(|state| (state.settings.extended, state.settings.release) = (true, true)))]
#[case::broadcast(Kernel::with(|state| state.settings.remote_mac = MacAddress::BROADCAST))]
#[case::ipv6(Kernel::with(|state| {
    state.settings.local_ip = "fd00::1".parse().unwrap();
    state.settings.remote_ip = "fd00::2".parse().unwrap();
}))]
#[case::userdata(Kernel::with(|state| {
    state.settings.extended = true;
    state.settings.userdata.insert("key".to_owned(), "value".to_owned());
}))]
fn a_sound_kernel_passes(#[case] mut kernel: Kernel) {
    kernel.print("before");
    kernel.print("Floppy drive(s): fd0 is 1.44M");
    kernel.print("two\nlines\\and \u{1} bytes");
    kernel.print(&"long ".repeat(200));
    kernel.print("after");
    check(
        &mut kernel,
        &expect(&["fd0 is 1.44M", "lines\\and", "long long", "after"]),
        None,
    );
    found(&mut kernel, &[]);
}

#[test]
fn a_burst_tells_its_lines_apart() {
    let mut kernel = Kernel::basic();
    let lines: Vec<String> = (1..=120).map(|number| format!("line {number}")).collect();
    lines.iter().for_each(|line| kernel.print(line));
    check(
        &mut kernel,
        &expect(&lines.iter().map(String::as_str).collect::<Vec<_>>()),
        None,
    );
}

#[test]
fn several_targets_each_must_bring_every_line() {
    let mut kernel = Kernel::extended();
    kernel.add(|state| state.settings.local_port = 6664);
    kernel.add(|state| state.settings.local_port = 6664);
    kernel.print("a");
    check(&mut kernel, &expect(&["a"]), None);
    kernel.print("b");
    kernel.targets[2].enabled = false;
    kernel.print("c");
    let sentence = check(&mut kernel, &expect(&["b", "c"]), Some(Kind::Missing));
    assert!(
        sentence.starts_with("`c` arrived once from `target2` and `target3`, expected 2 times"),
        "{sentence}"
    );
}

/// A kernel that is broken in what it sends, so that the expectation fails.
#[rstest]
#[case::lost(Kernel::basic(), |payloads: &mut Vec<Vec<u8>>| payloads.clear(), Kind::Missing)]
#[case::twice(Kernel::basic(), |payloads: &mut Vec<Vec<u8>>| payloads.push(payloads[0].clone()), Kind::Duplicate)]
#[case::twice_extended(Kernel::extended(), |payloads: &mut Vec<Vec<u8>>| payloads.push(payloads[0].clone()), Kind::Duplicate)]
#[case::no_newline(Kernel::basic(), |payloads: &mut Vec<Vec<u8>>| { payloads[0].pop(); }, Kind::Truncated)]
#[case::no_newline_extended(Kernel::extended(), |payloads: &mut Vec<Vec<u8>>| { payloads[0].pop(); }, Kind::Truncated)]
#[case::no_second_prefix(Kernel::basic(), |payloads: &mut Vec<Vec<u8>>| payloads[0].extend(b"x\n"), Kind::Glued)]
#[case::glued(Kernel::basic(), |payloads: &mut Vec<Vec<u8>>| payloads[0].extend(b"[    9.000000] x\n"), Kind::Glued)]
#[case::basic_instead(Kernel::extended(), |payloads: &mut Vec<Vec<u8>>| payloads[0] = b"[    1.000000] wanted\n".to_vec(), Kind::WrongFormat)]
#[case::extended_instead(Kernel::basic(), |payloads: &mut Vec<Vec<u8>>| payloads[0] = b"12,1,2,-;wanted\n".to_vec(), Kind::WrongFormat)]
#[case::release_unasked(Kernel::extended(), |payloads: &mut Vec<Vec<u8>>| { payloads[0].splice(0..0, *b"6.1.0,"); }, Kind::WrongFormat)]
#[case::needless_fragment(Kernel::extended(), |payloads: &mut Vec<Vec<u8>>| payloads[0] = b"12,1,2,-,ncfrag=0/7;wanted\n".to_vec(), Kind::BrokenFragments)]
#[case::half_a_fragment(Kernel::extended(), |payloads: &mut Vec<Vec<u8>>| payloads[0] = b"12,1,2,-,ncfrag=0/9;wanted\n".to_vec(), Kind::FragmentLost)]
#[case::other_text(Kernel::basic(), |payloads: &mut Vec<Vec<u8>>| payloads[0] = b"[    1.000000] want\n".to_vec(), Kind::Missing)]
fn notices_broken_messages(
    #[case] mut kernel: Kernel,
    #[case] break_it: fn(&mut Vec<Vec<u8>>),
    #[case] kind: Kind,
) {
    kernel.break_payloads = break_it;
    kernel.print("wanted");
    check(&mut kernel, &expect(&["wanted"]), Some(kind));
}

/// Makes the IPv4 checksum right again, so that nothing else is wrong.
fn sum_up(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let sum = etherparse::checksum::Sum16BitWords::new()
        .add_slice(&frame[14..34])
        .ones_complement();
    frame[24..26].copy_from_slice(&sum.to_ne_bytes());
}

#[rstest]
#[case::time_to_live(|frame: &mut Vec<u8>| { frame[22] = 63; sum_up(frame); }, Kind::WrongHeader)]
#[case::type_of_service(|frame: &mut Vec<u8>| { frame[15] = 4; sum_up(frame); }, Kind::WrongHeader)]
#[case::dont_fragment(|frame: &mut Vec<u8>| { frame[20] = 0x40; sum_up(frame); }, Kind::WrongHeader)]
#[case::reserved_flag(|frame: &mut Vec<u8>| { frame[20] = 0x80; sum_up(frame); }, Kind::WrongHeader)]
#[case::no_udp_checksum(|frame: &mut Vec<u8>| frame[40..42].fill(0), Kind::WrongHeader)]
#[case::trailing(|frame: &mut Vec<u8>| frame.extend([0; 30]), Kind::WrongHeader)]
#[case::ip_checksum(|frame: &mut Vec<u8>| frame[24] ^= 1, Kind::Missing)]
#[case::udp_checksum(|frame: &mut Vec<u8>| frame[40] ^= 1, Kind::Missing)]
#[case::payload(|frame: &mut Vec<u8>| frame[60] ^= 1, Kind::Missing)]
#[case::source_mac(|frame: &mut Vec<u8>| frame[11] = 9, Kind::WrongSettings)]
#[case::broadcast(|frame: &mut Vec<u8>| frame[..6].fill(0xff), Kind::WrongSettings)]
#[case::other_mac(|frame: &mut Vec<u8>| frame[5] = 3, Kind::Missing)]
#[case::tagged(|frame: &mut Vec<u8>| { frame.splice(12..12, [0x81, 0, 0, 42]); }, Kind::Missing)]
fn notices_broken_frames(
    #[case] break_it: fn(&mut Vec<u8>),
    #[case] kind: Kind,
    #[values(false, true)] extended: bool,
) {
    let mut kernel = if extended {
        Kernel::extended()
    } else {
        Kernel::basic()
    };
    kernel.print("before");
    let record = kernel.log(12, "wanted");
    let frames = capture(&mut kernel, &record);
    for mut frame in frames {
        break_it(&mut frame);
        kernel.put(frame);
    }
    check(&mut kernel, &expect(&["wanted"]), Some(kind));
    let findings = kernel.audit();
    assert!(!findings.is_empty());
}

/// The frames that a record is sent in, without sending them.
fn capture(kernel: &mut Kernel, record: &crate::netconsole::Record) -> Vec<Vec<u8>> {
    let settings = kernel.targets[0].settings.clone();
    let payload = if settings.extended {
        record.raw.clone()
    } else {
        let style = crate::netconsole::prefix::Style {
            timestamp: true,
            ..Default::default()
        };
        crate::netconsole::print::print(record, style, 2048)
    };
    vec![kernel.frame_of(&settings, &payload)]
}

#[rstest]
#[case::local_port(|settings: &mut Settings| settings.local_port = 6664, Kind::WrongSettings)]
#[case::remote_port(|settings: &mut Settings| settings.remote_port = 6667, Kind::Missing)]
#[case::local_ip(|settings: &mut Settings| settings.local_ip = "10.0.0.9".parse().unwrap(), Kind::WrongSettings)]
#[case::remote_ip(|settings: &mut Settings| settings.remote_ip = "10.0.0.3".parse().unwrap(), Kind::Missing)]
#[case::remote_mac(|settings: &mut Settings| settings.remote_mac = MacAddress([2, 0, 0, 0, 0, 3]), Kind::Missing)]
#[case::broadcast(|settings: &mut Settings| settings.remote_mac = MacAddress::BROADCAST, Kind::WrongSettings)]
#[case::format(|settings: &mut Settings| settings.extended = true, Kind::WrongFormat)]
fn notices_other_settings(#[case] break_it: fn(&mut Settings), #[case] kind: Kind) {
    let mut kernel = Kernel::basic();
    kernel.break_settings = break_it;
    kernel.print("wanted");
    check(&mut kernel, &expect(&["wanted"]), Some(kind));
    let findings = kernel.audit();
    assert!(
        findings
            .iter()
            .any(|finding| matches!(finding.kind, Kind::WrongSettings | Kind::WrongFormat)),
        "{findings:#?}"
    );
}

#[test]
fn notices_a_second_copy_to_elsewhere() {
    let mut kernel = Kernel::basic();
    kernel.break_frames = |frames| {
        let mut copy = frames[0].clone();
        copy[19] = 0x77;
        copy[33] = 3;
        copy[5] = 3;
        copy[40..42].fill(0);
        sum_up(&mut copy);
        frames.push(copy);
    };
    kernel.print("wanted");
    check(&mut kernel, &expect(&["wanted"]), None);
    found(&mut kernel, &[Kind::WrongSettings, Kind::WrongHeader]);
}

#[test]
fn notices_a_datagram_that_fits_no_target() {
    let mut kernel = Kernel::basic();
    kernel.print("wanted");
    let settings = Settings {
        local_port: 1,
        remote_port: 2,
        remote_ip: "10.0.0.3".parse().unwrap(),
        ..kernel.targets[0].settings.clone()
    };
    let frame = kernel.frame_of(&settings, b"[    1.000000] wanted\n");
    kernel.put(frame);
    check(&mut kernel, &expect(&["wanted"]), None);
    found(&mut kernel, &[Kind::Stray]);
    assert_eq!(kernel.audit()[0].count, 1);
    let frame = kernel.frame_of(&settings, b"what no program runs to send");
    kernel.put(frame);
    assert_eq!(kernel.audit()[0].count, 2);
}

#[test]
fn a_program_on_a_sender_sends_what_it_likes() {
    let mut kernel = Kernel::basic();
    kernel.judge.scene.busy.extend([BOX]);
    let settings = Settings {
        remote_ip: "10.0.0.99".parse().unwrap(),
        remote_port: 53,
        local_port: 40_000,
        ..kernel.targets[0].settings.clone()
    };
    let frame = kernel.frame_of(&settings, b"what some program sends");
    kernel.put(frame);
    kernel.print("wanted");
    check(&mut kernel, &expect(&["wanted"]), None);
    found(&mut kernel, &[]);
}

/// Frames that carry a line away beside the one that is judged.
#[rstest]
#[case::another_type(|frame: &mut Vec<u8>| { frame.splice(12..14, [0x88, 0xb5]); })]
#[case::two_tags(|frame: &mut Vec<u8>| { frame.splice(12..12, [0x88, 0xa8, 0, 42]); })]
#[case::another_protocol(|frame: &mut Vec<u8>| { frame[23] = 253; sum_up(frame); })]
#[case::tcp(|frame: &mut Vec<u8>| { frame[23] = 6; sum_up(frame); })]
#[case::an_echo_request(|frame: &mut Vec<u8>| { frame[23] = 1; frame[34] = 8; sum_up(frame); })]
#[case::arp_for_another(|frame: &mut Vec<u8>| arp(frame, [10, 0, 0, 2]))]
fn notices_lines_that_leave_as_no_udp(#[case] change: fn(&mut Vec<u8>)) {
    beside_a_line(change, &[Kind::Stray]);
}

/// Frames that a kernel sends by itself.
#[rstest]
#[case::arp_for_itself(|frame: &mut Vec<u8>| arp(frame, [10, 0, 0, 1]))]
#[case::arp_without_an_address(|frame: &mut Vec<u8>| arp(frame, [0, 0, 0, 0]))]
#[case::an_error(|frame: &mut Vec<u8>| { frame[23] = 1; frame[34] = 3; sum_up(frame); })]
fn takes_what_a_kernel_sends_by_itself(#[case] change: fn(&mut Vec<u8>)) {
    beside_a_line(change, &[]);
}

/// Makes a frame an ARP reply of the box that this is its address.
fn arp(frame: &mut Vec<u8>, address: [u8; 4]) {
    let box_mac: [u8; 6] = frame[6..12].try_into().unwrap();
    frame.truncate(12);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    frame.extend(box_mac);
    frame.extend(address);
    frame.resize(60, 0);
}

#[track_caller]
fn beside_a_line(change: fn(&mut Vec<u8>), kinds: &[Kind]) {
    let mut kernel = Kernel::basic();
    let settings = kernel.targets[0].settings.clone();
    let mut frame = kernel.frame_of(&settings, b"[    1.000000] wanted\n");
    change(&mut frame);
    kernel.print("wanted");
    kernel.put(frame);
    check(&mut kernel, &expect(&["wanted"]), None);
    found(&mut kernel, kinds);
}

#[test]
fn notices_a_repeated_identification() {
    let mut kernel = Kernel::basic();
    kernel.break_frames = |frames| {
        frames[0][19] = 7;
        frames[0][18] = 9;
        sum_up(&mut frames[0]);
    };
    kernel.print("a");
    kernel.print("b");
    check(&mut kernel, &expect(&["a", "b"]), Some(Kind::WrongHeader));
}

#[test]
fn order_counts_unless_it_is_freed() {
    for order in [crate::scenario::Order::Given, crate::scenario::Order::Any] {
        let mut kernel = Kernel::basic();
        kernel.print("b");
        kernel.print("a");
        let any = order == crate::scenario::Order::Any;
        let expectation = Expect {
            order,
            ..expect(&["a", "b"])
        };
        check(
            &mut kernel,
            &expectation,
            (!any).then_some(Kind::OutOfOrder),
        );
    }
}

#[test]
fn exactly_forbids_other_lines_but_not_markers() {
    let mut kernel = Kernel::basic();
    kernel.print("a");
    kernel.send_marker();
    kernel.print("b");
    check(
        &mut kernel,
        &Expect {
            exactly: true,
            ..expect(&["a", "b"])
        },
        None,
    );
    kernel.print("a");
    kernel.print("other");
    let sentence = check(
        &mut kernel,
        &Expect {
            exactly: true,
            ..expect(&["a"])
        },
        Some(Kind::OtherLine),
    );
    assert_eq!(
        sentence,
        "`other` arrived, too, and `exactly` forbids other lines"
    );
}

#[test]
fn an_expectation_begins_where_the_one_before_ended() {
    let mut kernel = Kernel::basic();
    kernel.print("a");
    check(&mut kernel, &expect(&["a"]), None);
    kernel.print("b");
    let sentence = check(&mut kernel, &expect(&["a", "b"]), Some(Kind::Missing));
    assert_eq!(
        sentence,
        "`a` did not arrive: it is not in box's kernel log"
    );
}

#[test]
fn a_message_in_two_expectations_of_two_receivers_counts_for_its_own() {
    let mut kernel = Kernel::basic();
    kernel.add(|state| {
        state.to = OTHER;
        state.settings.remote_ip = "10.0.0.3".parse().unwrap();
        state.settings.remote_mac = MacAddress([2, 0, 0, 0, 0, 3]);
    });
    kernel.print("a");
    check(&mut kernel, &expect(&["a"]), None);
    check(
        &mut kernel,
        &Expect {
            at: OTHER,
            ..expect(&["a"])
        },
        None,
    );
}

#[test]
fn what_is_replayed_counts_only_where_it_is_asked_for() {
    let mut kernel = Kernel::basic();
    kernel.log(6, "early");
    kernel.register();
    kernel.print("late");
    let sentence = check(&mut kernel, &expect(&["early"]), Some(Kind::Missing));
    assert!(sentence.contains("only in a replay"), "{sentence}");
    let mut kernel = Kernel::basic();
    kernel.log(6, "early");
    kernel.register();
    kernel.print("late");
    check(
        &mut kernel,
        &Expect {
            replay: true,
            ..expect(&["early", "late"])
        },
        None,
    );
    kernel.register();
    kernel.print("later");
    check(&mut kernel, &expect(&["later"]), None);
    found(&mut kernel, &[]);
}

#[rstest]
#[case::console_level(|kernel: &mut Kernel| kernel.set_console_level(4), Cause::ConsoleLevel, "its level 4 does not pass the console level 4")]
#[case::never_printed(|kernel: &mut Kernel| { kernel.judge.log_is_complete(BOX); }, Cause::NeverPrinted, "")]
#[case::disabled(|kernel: &mut Kernel| kernel.set(0, |state| state.enabled = false), Cause::TargetDisabled, "target `target1` is disabled")]
#[case::no_carrier(|kernel: &mut Kernel| kernel.set(0, |state| state.carries = false), Cause::NoCarrier, "box's eth0 is down or without carrier")]
#[case::mac(|kernel: &mut Kernel| kernel.set(0, |state| state.settings.remote_mac = MacAddress([2, 0, 0, 0, 0, 3])), Cause::NotMyMac,
    "agent does not take it: destination MAC 02:00:00:00:00:03 is not its own 02:00:00:00:00:02")]
#[case::address(|kernel: &mut Kernel| kernel.set(0, |state| state.settings.remote_ip = "10.0.0.9".parse().unwrap()), Cause::WrongAddress,
    "agent does not take it: destination address 10.0.0.9 is not its own")]
#[case::port(|kernel: &mut Kernel| kernel.set(0, |state| state.settings.remote_port = 6667), Cause::WrongPort,
    "agent does not take it: it does not listen on port 6667")]
fn tells_where_a_line_was_lost(
    #[case] prepare: fn(&mut Kernel),
    #[case] cause: Cause,
    #[case] because: &str,
) {
    let mut kernel = Kernel::basic();
    prepare(&mut kernel);
    if cause != Cause::NeverPrinted {
        kernel.print("wanted");
    }
    let failure = kernel.expect(&expect(&["wanted"])).unwrap_err();
    let journey = failure.problems[0].journey.clone().unwrap();
    assert_eq!(journey.cause, Some(cause), "{failure:#?}");
    assert!(journey.because.unwrap().contains(because), "{failure}");
}

#[test]
fn shows_the_nearest_lines() {
    let mut kernel = Kernel::basic();
    kernel.print("Floppy drive(s): fd0 is 2.88M AMI BIOS");
    kernel.print("something else");
    let failure = kernel
        .expect(&expect(&["Floppy drive(s): fd0 is 1.44M"]))
        .unwrap_err();
    assert_eq!(
        failure.problems[0].nearest[0].text,
        "Floppy drive(s): fd0 is 2.88M AMI BIOS"
    );
}

/// What a sender has sent may still be on its way when another's probe has come through.
#[test]
fn an_absence_waits_for_the_probes_of_all_senders() {
    let mut kernel = Kernel::basic();
    let absence = absent(&["quiet"]);
    kernel.judge.absent(&absence, None, None);
    let marker = Some(kernel.send_marker());
    kernel.send_probe();
    let mut progress = |last| {
        let probes = Some(Probes::new(1, last));
        kernel.judge.absent(&absence, marker, probes)
    };
    assert_eq!(progress(1), Progress::Settled);
    assert_eq!(progress(2), Progress::AwaitsProbe);
}

#[test]
fn what_is_absent_must_have_been_printed_and_must_not_arrive() {
    let mut kernel = Kernel::basic();
    kernel.set_console_level(4);
    kernel.print("quiet");
    assert_eq!(kernel.absent(&absent(&["quiet"])).map(|_| ()), Ok(()));
    let failure = kernel.absent(&absent(&["never"])).unwrap_err();
    assert_eq!(failure.problems[0].kind, Kind::NeverPrinted, "{failure}");
    kernel.set_console_level(8);
    kernel.print("loud");
    let failure = kernel.absent(&absent(&["loud"])).unwrap_err();
    assert_eq!(failure.problems[0].kind, Kind::Arrived, "{failure}");
    check(&mut kernel, &expect(&["loud"]), None);
}

#[rstest]
#[case::disabled(|kernel: &mut Kernel| kernel.set(0, |state| state.enabled = false))]
#[case::no_carrier(|kernel: &mut Kernel| kernel.set(0, |state| state.carries = false))]
#[case::port(|kernel: &mut Kernel| kernel.set(0, |state| state.settings.remote_port = 6667))]
#[case::mac(|kernel: &mut Kernel| kernel.set(0, |state| state.settings.remote_mac = MacAddress([2, 0, 0, 0, 0, 3])))]
fn absent_passes_where_nothing_can_arrive(#[case] prepare: fn(&mut Kernel)) {
    let mut kernel = Kernel::basic();
    prepare(&mut kernel);
    kernel.print("nobody will read this");
    assert_eq!(
        kernel
            .absent(&absent(&["nobody will read this"]))
            .map(|_| ()),
        Ok(())
    );
    found(&mut kernel, &[]);
}

#[test]
fn a_target_that_goes_on_after_it_was_disabled_is_found() {
    let mut kernel = Kernel::basic();
    kernel.judge.target(
        0,
        crate::verdict::TargetState {
            enabled: false,
            ..kernel.targets[0].clone()
        },
    );
    kernel.send_marker();
    found(&mut kernel, &[Kind::TargetDisabled]);
}

#[test]
fn a_target_that_keeps_its_old_settings_is_found() {
    let mut kernel = Kernel::basic();
    let mut state = kernel.targets[0].clone();
    state.settings.local_port = 7000;
    kernel.judge.target(0, state);
    kernel.send_marker();
    found(&mut kernel, &[Kind::WrongSettings]);
}

#[rstest]
#[case::format(|expect: &mut Expect| expect.asked.format = Some(Format::Extended), None)]
#[case::other_format(|expect: &mut Expect| expect.asked.format = Some(Format::Basic), Some(Kind::WrongFormat))]
#[case::level(|expect: &mut Expect| expect.asked.level = Some(4), None)]
#[case::other_level(|expect: &mut Expect| expect.asked.level = Some(5), Some(Kind::WrongLevel))]
#[case::facility(|expect: &mut Expect| expect.asked.facility = Some(1), None)]
#[case::other_facility(|expect: &mut Expect| expect.asked.facility = Some(0), Some(Kind::WrongFacility))]
#[case::no_release(|expect: &mut Expect| expect.asked.release = Some(Release::Absent), None)]
#[case::release(|expect: &mut Expect| expect.asked.release = Some(Release::Running), Some(Kind::WrongRelease))]
#[case::fragments(|expect: &mut Expect| expect.asked.fragments = Some(2.try_into().unwrap()), Some(Kind::WrongFragments))]
#[case::datagrams(|expect: &mut Expect| expect.asked.datagrams = Some(1.try_into().unwrap()), None)]
#[case::userdata(|expect: &mut Expect| expect.asked.userdata = Some([("a".to_owned(), "b".to_owned())].into()), None)]
#[case::no_userdata(|expect: &mut Expect| expect.asked.userdata = Some([].into()), Some(Kind::WrongUserdata))]
#[case::source_port(|expect: &mut Expect| expect.asked.source_port = Some(6664), Some(Kind::WrongSettings))]
#[case::source(|expect: &mut Expect| expect.asked.source = Some("10.0.0.1".parse().unwrap()), None)]
#[case::other_source(|expect: &mut Expect| expect.asked.source = Some("10.0.0.2".parse().unwrap()), Some(Kind::WrongSettings))]
#[case::mac(|expect: &mut Expect| expect.asked.destination_mac = Some(crate::scenario::RemoteMac::Address(MacAddress::BROADCAST)), Some(Kind::WrongSettings))]
#[case::contiguous(|expect: &mut Expect| expect.asked.contiguous = true, None)]
fn judges_what_is_asked(#[case] ask: fn(&mut Expect), #[case] kind: Option<Kind>) {
    let mut kernel = Kernel::with(|state| {
        state.settings.extended = true;
        state
            .settings
            .userdata
            .insert("a".to_owned(), "b".to_owned());
    });
    kernel.print("first");
    kernel.print("between");
    kernel.print("last");
    let mut expectation = expect(&["first", "last"]);
    ask(&mut expectation);
    check(&mut kernel, &expectation, kind);
}

#[rstest]
#[case::passes_the_level(6, Some(Kind::SequenceGap))]
#[case::stays_away(7, None)]
fn contiguous_notices_a_record_that_was_not_sent(
    #[case] level: u32,
    #[case] kind: Option<Kind>,
    #[values(false, true)] extended: bool,
) {
    let mut kernel = if extended {
        Kernel::extended()
    } else {
        Kernel::basic()
    };
    kernel.set_console_level(7);
    kernel.print("first");
    kernel.log(level, "lost");
    kernel.print("last");
    let mut expectation = expect(&["first", "last"]);
    expectation.asked.contiguous = true;
    check(&mut kernel, &expectation, kind);
}

#[test]
fn a_flood_is_judged_line_by_line() {
    let mut kernel = Kernel::basic();
    let lines: Vec<String> = (0..5_000)
        .map(|number| format!("line {number} of a flood"))
        .collect();
    lines.iter().for_each(|line| kernel.print(line));
    check(
        &mut kernel,
        &expect(&lines.iter().map(String::as_str).collect::<Vec<_>>()),
        None,
    );
}

/// A kernel that is broken where no expectation looks: only the audit against its log notices.
#[rstest]
#[case::level(|raw: &str| raw.replacen("12,", "13,", 1), &[Kind::Altered])]
#[case::sequence(|raw: &str| raw.replacen(",403,", ",402,", 1), &[Kind::Altered, Kind::Unsent])]
#[case::timestamp(|raw: &str| raw.replacen(",403000,", ",403001,", 1), &[Kind::Altered])]
#[case::flag(|raw: &str| raw.replacen(",-;", ",c;", 1), &[Kind::Altered])]
#[case::caller(|raw: &str| raw.replacen(",-;", ",-,caller=T1;", 1), &[Kind::Altered])]
#[case::unknown_field(|raw: &str| raw.replacen(",-;", ",-,cpu=1;", 1), &[Kind::Altered])]
#[case::text(|raw: &str| raw.replacen("wanted", "wanted!", 1), &[Kind::Altered])]
#[case::text_cut(|raw: &str| raw.replacen("wanted text", "wanted", 1), &[Kind::Altered])]
#[case::dictionary(|raw: &str| format!("{raw} KEY=value\n"), &[Kind::WrongUserdata])]
fn the_audit_notices_an_altered_extended_message(
    #[case] break_it: fn(&str) -> String,
    #[case] kinds: &[Kind],
) {
    let mut kernel = Kernel::extended();
    kernel.send_marker();
    kernel.print("before");
    kernel.break_record = break_it;
    kernel.print("the wanted text");
    kernel.break_record = str::to_owned;
    check(&mut kernel, &expect(&["before", "wanted"]), None);
    found(&mut kernel, kinds);
}

#[rstest]
#[case::text("[    0.002000] the wanted!\n", &[Kind::Altered])]
#[case::timestamp("[    0.002001] the wanted text\n", &[Kind::NotInLog, Kind::Unsent])]
#[case::rounded("[    0.000000] the wanted text\n", &[Kind::Altered, Kind::Unsent])]
#[case::no_timestamp("the wanted text\n", &[Kind::Altered])]
#[case::priority("<6>[    0.002000] the wanted text\n", &[Kind::Altered])]
#[case::first_line_only("[    0.002000] the wanted\n", &[Kind::Altered])]
#[case::userdata("[    0.002000] the wanted text\n[    0.002000]  key=value\n", &[Kind::Altered])]
fn the_audit_notices_an_altered_basic_message(#[case] sent: &str, #[case] kinds: &[Kind]) {
    let mut kernel = Kernel::basic();
    kernel.sequence = 0;
    kernel.send_marker();
    kernel.print("before");
    kernel.log(12, "the wanted text");
    let frame = kernel.frame_of(&kernel.targets[0].settings.clone(), sent.as_bytes());
    kernel.put(frame);
    check(&mut kernel, &expect(&["before", "wanted"]), None);
    found(&mut kernel, kinds);
}

#[rstest]
#[case::lost(|payloads: &mut Vec<Vec<u8>>| payloads.clear(), &[Kind::Unsent])]
#[case::twice(|payloads: &mut Vec<Vec<u8>>| payloads.push(payloads[0].clone()), &[Kind::Repeated])]
fn the_audit_notices_a_line_that_nobody_expects(
    #[values(Kernel::basic(), Kernel::extended())] mut kernel: Kernel,
    #[case] break_it: fn(&mut Vec<Vec<u8>>),
    #[case] kinds: &[Kind],
) {
    kernel.send_marker();
    kernel.print("before");
    kernel.break_payloads = break_it;
    kernel.print("aside");
    kernel.break_payloads = |_| {};
    kernel.print("after");
    check(&mut kernel, &expect(&["before", "after"]), None);
    found(&mut kernel, kinds);
}

#[rstest]
#[case::level(|kernel: &mut Kernel| kernel.set_console_level(4))]
#[case::unknown_level(|kernel: &mut Kernel| kernel.judge.console_level_is_unknown(BOX))]
#[case::carrier(|kernel: &mut Kernel| {
    let state = kernel.targets[0].clone();
    kernel.judge.target(0, crate::verdict::TargetState { carries: false, ..state.clone() });
    kernel.judge.target(0, state);
})]
fn the_audit_asks_for_nothing_that_could_rightly_be_lost(#[case] happens: fn(&mut Kernel)) {
    let mut kernel = Kernel::extended();
    kernel.send_marker();
    happens(&mut kernel);
    kernel.log(12, "lost");
    kernel.send_marker();
    found(&mut kernel, &[]);
}

#[test]
fn the_audit_notices_records_out_of_order() {
    let mut kernel = Kernel::basic();
    let one = kernel.log(12, "one");
    let two = kernel.log(12, "two");
    kernel.send_record(&two);
    kernel.send_record(&one);
    found(&mut kernel, &[Kind::OutOfOrder]);
}

#[test]
fn the_audit_notices_a_replay_that_nobody_asked_for() {
    let mut kernel = Kernel::basic();
    let one = kernel.log(12, "one");
    kernel.send_record(&one);
    kernel.print("two");
    kernel.send_record(&one);
    found(&mut kernel, &[Kind::Repeated]);
}

#[test]
fn the_audit_notices_stale_userdata() {
    let userdata = |state: &mut crate::verdict::TargetState, value: &str| {
        state
            .settings
            .userdata
            .insert("key".to_owned(), value.to_owned());
    };
    let mut kernel = Kernel::extended();
    let mut state = kernel.targets[0].clone();
    userdata(&mut state, "old");
    kernel.judge.target(0, state.clone());
    kernel.targets[0] = state.clone();
    kernel.print("a");
    userdata(&mut state, "new");
    kernel.judge.target(0, state.clone());
    kernel.print("may still be old");
    found(&mut kernel, &[]);
    kernel.targets[0] = state;
    kernel.send_marker();
    kernel.print("is new");
    found(&mut kernel, &[]);
    userdata(&mut kernel.targets[0], "old");
    kernel.print("must not be old");
    found(&mut kernel, &[Kind::WrongUserdata]);
}

#[test]
fn the_audit_knows_a_basic_message_that_is_cut_behind_a_newline() {
    let text = format!("{}\n{}", "x".repeat(984), "y".repeat(10));
    let mut kernel = Kernel::basic();
    kernel.print(&text);
    kernel.print("after");
    check(&mut kernel, &expect(&["after"]), None);
    assert_eq!(
        kernel.judge.traffic.sightings[0].message.payloads[0].len(),
        1000
    );
    found(&mut kernel, &[]);
    kernel.break_payloads = |payloads| payloads.truncate(1);
    kernel.print(&text);
    found(&mut kernel, &[Kind::Truncated]);
}

#[test]
fn the_audit_notices_a_wrong_release() {
    let mut kernel =
        Kernel::with(|state| (state.settings.extended, state.settings.release) = (true, true));
    kernel.break_payloads = |payloads| {
        let text = String::from_utf8_lossy(&payloads[0]).replacen("117", "118", 1);
        payloads[0] = text.into_bytes();
    };
    kernel.print("a");
    found(&mut kernel, &[Kind::WrongRelease]);
}

#[test]
fn the_audit_says_nothing_of_what_the_log_does_not_tell() {
    let mut kernel = Kernel::extended();
    kernel.print("a");
    let frame = kernel.frame_of(
        &kernel.targets[0].settings.clone(),
        b"12,900,900000,-;printed, and not yet read\n",
    );
    kernel.put(frame);
    found(&mut kernel, &[]);
    kernel.send_marker();
    found(&mut kernel, &[Kind::NotInLog]);
}

#[test]
fn two_targets_that_send_alike_may_bring_each_record_twice() {
    let mut kernel = Kernel::extended();
    kernel.add(|state| state.settings.extended = true);
    kernel.print("a");
    kernel.print(&"long ".repeat(250));
    check(&mut kernel, &expect(&["a", "long"]), None);
    found(&mut kernel, &[]);
    kernel.break_payloads = |payloads| payloads.push(payloads[0].clone());
    kernel.print("b");
    found(&mut kernel, &[Kind::Repeated]);
}

#[test]
fn a_line_that_only_the_next_one_pushes_out_is_late() {
    let mut kernel = Kernel::basic();
    let record = kernel.log(12, "held back");
    let expectation = expect(&["held back"]);
    assert_eq!(kernel.judge.expect(&expectation, None), Progress::Waiting);
    kernel.send_record(&record);
    let marker = kernel.send_marker();
    let failure = kernel
        .judge
        .conclude(&expectation, Some(marker), crate::verdict::Ending::Deadline)
        .unwrap_err();
    assert_eq!(failure.problems[0].kind, Kind::Late, "{failure}");
}

#[test]
fn nothing_of_the_old_settings_may_come_once_the_target_was_quiet() {
    let mut kernel = Kernel::basic();
    let mut state = kernel.targets[0].clone();
    state.settings.local_port = 7000;
    kernel.judge.target(0, state);
    kernel.judge.target_was_quiet(0);
    kernel.print("a");
    found(&mut kernel, &[Kind::WrongSettings]);
}

#[rstest]
#[case::right(Some("wrong-port"), Some(crate::verdict::kernel::AGENT), None)]
#[case::cause(
    Some("not-my-mac"),
    None,
    Some(
        "`quiet` died of wrong-port, expected not-my-mac: agent does not take it: it does not listen on port 6667"
    )
)]
#[case::place(
    None,
    Some(BOX),
    Some(
        "`quiet` died at agent, expected box: agent does not take it: it does not listen on port 6667"
    )
)]
fn what_is_absent_must_have_died_as_expected(
    #[case] because: Option<&str>,
    #[case] lost: Option<crate::scenario::NodeIndex>,
    #[case] sentence: Option<&str>,
) {
    let mut kernel = Kernel::with(|state| state.settings.remote_port = 6667);
    kernel.print("quiet");
    let absence = crate::scenario::Absent {
        because: because.map(str::to_owned),
        lost,
        ..absent(&["quiet"])
    };
    let outcome = kernel.absent(&absence);
    assert_eq!(
        outcome.err().map(|failure| failure.to_string()).as_deref(),
        sentence
    );
}

#[test]
fn of_the_dead_it_is_enough_to_have_listened_to_what_they_printed() {
    let mut kernel = Kernel::basic();
    let absence = absent(&["Kernel panic"]);
    kernel.judge.absent(&absence, None, None);
    let outcome =
        kernel
            .judge
            .conclude_absent(&absence, (None, None), crate::verdict::Ending::Listened);
    assert_eq!(outcome.unwrap_err().problems[0].kind, Kind::NeverPrinted);
    kernel.log(9, "Kernel panic - not syncing: sysrq triggered crash");
    kernel.judge.absent(&absence, None, None);
    let outcome =
        kernel
            .judge
            .conclude_absent(&absence, (None, None), crate::verdict::Ending::Listened);
    assert_eq!(outcome.map(|_| ()), Ok(()));
    let outcome =
        kernel
            .judge
            .conclude_absent(&absence, (None, None), crate::verdict::Ending::Deadline);
    assert_eq!(outcome.unwrap_err().problems[0].kind, Kind::Unproven);
}

/// Which record of a panic at console level 1 is lost: its first line, one in the middle, its last.
#[rstest]
#[case::none(usize::MAX, &[])]
#[case::first(0, &[Kind::Unsent])]
#[case::middle(1, &[Kind::Unsent])]
#[case::last(2, &[Kind::Unsent])]
fn what_a_dead_kernel_printed_and_did_not_send_is_found(
    #[case] lost: usize,
    #[case] kinds: &[Kind],
) {
    let mut kernel = Kernel::basic();
    kernel.set_console_level(1);
    kernel.send_marker();
    // More than a log holds, which the level hides.
    (0..1_500).for_each(|_| drop(kernel.log(4, "hidden")));
    // As the kernel itself does (`console_verbose`), and tells nobody.
    kernel.console_level = 15;
    let panic = [
        (0, "Kernel panic - not syncing: x"),
        (4, "Call Trace:"),
        (0, "---[ end Kernel panic"),
    ];
    for (number, (priority, text)) in panic.into_iter().enumerate() {
        let record = kernel.log(priority, text);
        if number != lost {
            kernel.send_record(&record);
        }
    }
    kernel.judge.log_is_final(BOX);
    found(&mut kernel, kinds);
}

/// Of a kernel that hangs, what it printed before its last words is certain.
#[rstest]
#[case::none(usize::MAX, &[])]
#[case::middle(1, &[Kind::Unsent])]
#[case::behind_what_came(2, &[])]
fn what_a_kernel_that_hangs_did_not_send_is_found(#[case] lost: usize, #[case] kinds: &[Kind]) {
    let mut kernel = Kernel::basic();
    kernel.send_marker();
    let words = ["BUG: soft lockup", "Call Trace:", "</TASK>"];
    for (number, text) in words.into_iter().enumerate() {
        let record = kernel.log(4, text);
        if number != lost {
            kernel.send_record(&record);
        }
    }
    kernel.judge.last_words_mark(BOX, 9);
    found(&mut kernel, kinds);
}

#[test]
fn the_kernels_word_that_it_dropped_records_is_no_line() {
    let mut kernel = Kernel::basic();
    kernel.send_marker();
    kernel.print("a");
    kernel.log(12, "dropped");
    let notice = b"** 1 printk messages dropped **\n";
    let frame = kernel.frame_of(&kernel.targets[0].settings.clone(), notice);
    kernel.put(frame);
    kernel.print("b");
    check(
        &mut kernel,
        &Expect {
            exactly: true,
            ..expect(&["a", "b"])
        },
        None,
    );
    found(&mut kernel, &[]);
    kernel.log(12, "dropped, too");
    let record = kernel.log(12, "c");
    let style = crate::netconsole::prefix::Style {
        timestamp: true,
        ..Default::default()
    };
    let payload = [
        notice.as_slice(),
        &crate::netconsole::print::print(&record, style, 2048),
    ]
    .concat();
    let frame = kernel.frame_of(&kernel.targets[0].settings.clone(), &payload);
    kernel.put(frame);
    let sentence = check(&mut kernel, &expect(&["dropped", "c"]), Some(Kind::Missing));
    assert!(
        sentence
            .ends_with("but was not seen on the wire; the kernel says that it dropped 1 records"),
        "{sentence}"
    );
}

#[rstest]
#[case::basic(|_: &mut crate::verdict::TargetState| {})]
#[case::extended(|state: &mut crate::verdict::TargetState| state.settings.extended = true)]
fn two_boots_are_not_mixed(#[case] change: fn(&mut crate::verdict::TargetState)) {
    let mut kernel = Kernel::with(change);
    kernel.print("before");
    kernel.print("the same");
    kernel.send_marker();
    kernel.boot();
    kernel.add(change);
    kernel.register();
    kernel.print("another");
    kernel.print("the same");
    let mut both = expect(&["before", "the same", "another", "the same"]);
    check(&mut kernel, &both, None);
    kernel.print("first");
    kernel.print("last");
    both.lines = expect(&["first", "last"]).lines;
    both.asked.contiguous = true;
    check(&mut kernel, &both, None);
    found(&mut kernel, &[]);
}

#[test]
fn what_a_kernel_did_before_it_was_booted_again_is_judged() {
    let mut kernel = Kernel::basic();
    kernel.break_record = |record| record.replace("truth", "lie");
    kernel.print("truth");
    kernel.send_marker();
    kernel.break_record = str::to_owned;
    kernel.boot();
    kernel.add(|_| {});
    kernel.register();
    kernel.print("after");
    check(&mut kernel, &expect(&["after"]), None);
    found(&mut kernel, &[Kind::Altered]);
}

#[test]
fn a_target_that_no_boot_has_made_is_gone() {
    let mut kernel = Kernel::basic();
    kernel.print("before");
    check(&mut kernel, &expect(&["before"]), None);
    kernel.boot();
    kernel.print("after");
    let said = check(&mut kernel, &expect(&["after"]), Some(Kind::Missing));
    assert!(said.contains("no target sends to agent"), "{said}");
}

#[test]
fn what_was_printed_before_a_boot_was_printed() {
    let mut kernel = Kernel::basic();
    kernel.print("early");
    check(&mut kernel, &expect(&["early"]), None);
    kernel.set(0, |state| state.enabled = false);
    kernel.print("unheard");
    kernel.boot();
    kernel.add(|_| {});
    kernel.register();
    assert!(kernel.absent(&absent(&["unheard"])).is_ok());
    assert!(kernel.absent(&absent(&["never said"])).is_err());
}
