//! A make-believe kernel for tests: prints records, and sends them as netconsole does.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    num::NonZeroU32,
    time::Duration,
};

use etherparse::PacketBuilder;

use crate::{
    netconsole::{MacAddress, Record, Settings, prefix::Style, print::print},
    scenario::{
        Absent, Expect, Interface, Line, Node, NodeIndex, Order, Pattern, Role,
        expectation::{Asked, Source},
        node::{Receiver, Sender},
    },
    verdict::{
        Failure, Finding, Frame, Judge, Progress, Scene, TargetState,
        judge::Ending,
        marker::{Probes, marker, probe},
        outcome::Passed,
        routed,
    },
};

pub(crate) const BOX: NodeIndex = NodeIndex(0);
pub(crate) const AGENT: NodeIndex = NodeIndex(1);
pub(crate) const OTHER: NodeIndex = NodeIndex(2);
pub(crate) const TOKEN: &str = "ab12";
const RELEASE: &str = "6.12.117+deb12-amd64";

/// What becomes of a frame.
pub(crate) type Forward = fn(&[u8]) -> Vec<Vec<u8>>;

#[derive(Debug)]
/// A lab with one sender and two receivers on one link.
pub(crate) struct Kernel {
    pub(crate) judge: Judge,
    pub(crate) targets: Vec<TargetState>,
    pub(crate) sequence: u64,
    frame: u64,
    identification: u16,
    pub(crate) console_level: u8,
    marker: u64,
    /// All that was printed, for replays.
    records: Vec<Record>,
    /// Changes the datagrams of a message before they are made frames of.
    pub(crate) break_payloads: fn(&mut Vec<Vec<u8>>),
    /// Changes frames before they leave.
    pub(crate) break_frames: fn(&mut Vec<Vec<u8>>),
    /// Changes the settings that are sent with, behind the harness's back.
    pub(crate) break_settings: fn(&mut Settings),
    /// Changes the record that is sent.
    pub(crate) break_record: fn(&str) -> String,
    /// Makes what a router makes of a frame; none where there is no router.
    pub(crate) forward: Option<Forward>,
}

impl Kernel {
    pub(crate) fn new() -> Self {
        let address = |ip: &str, v6: &str| {
            vec![
                format!("{ip}/24").parse().unwrap(),
                format!("{v6}/64").parse().unwrap(),
            ]
        };
        let node = |name: &str, role: Role, number: u8| Node {
            name: name.to_owned(),
            role,
            interfaces: vec![Interface {
                link: 0,
                name: "eth0".to_owned(),
                mac: MacAddress([2, 0, 0, 0, 0, number]),
                addresses: address(&format!("10.0.0.{number}"), &format!("fd00::{number}")),
                nic: Default::default(),
            }],
            routes: Vec::new(),
        };
        let receiver = || {
            Role::Receiver(Receiver {
                program: None,
                ports: vec![6666],
            })
        };
        let sender = Role::Sender(Sender {
            cpus: 1,
            memory: 128,
            cmdline: None,
            sysctl: BTreeMap::new(),
        });
        let nodes = vec![
            node("box", sender, 1),
            node("agent", receiver(), 2),
            node("other", receiver(), 3),
        ];
        let releases = BTreeMap::from([(BOX, RELEASE.to_owned())]);
        let judge = Judge::new(Scene {
            token: TOKEN.to_owned(),
            nodes,
            releases,
            busy: BTreeSet::new(),
            tried: BTreeSet::new(),
            expected: Vec::new(),
        });
        let mut kernel = Self {
            judge,
            targets: Vec::new(),
            sequence: 401,
            frame: 0,
            identification: 0,
            console_level: 0,
            marker: 0,
            records: Vec::new(),
            break_payloads: |_| {},
            break_frames: |_| {},
            break_settings: |_| {},
            break_record: str::to_owned,
            forward: None,
        };
        kernel.set_console_level(8);
        kernel
    }

    /// With one target, which `change` changes before it is set up.
    pub(crate) fn with(change: fn(&mut TargetState)) -> Self {
        let mut kernel = Self::new();
        kernel.add(change);
        kernel
    }

    pub(crate) fn extended() -> Self {
        Self::with(|state| state.settings.extended = true)
    }

    pub(crate) fn basic() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn set_console_level(&mut self, level: u8) {
        self.console_level = level;
        self.judge.console_level(BOX, level);
    }

    /// Adds a target.
    pub(crate) fn add(&mut self, change: fn(&mut TargetState)) {
        let settings = Settings {
            dev_name: "eth0".to_owned(),
            local_port: 6665,
            remote_port: 6666,
            local_ip: "10.0.0.1".parse().unwrap(),
            remote_ip: "10.0.0.2".parse().unwrap(),
            remote_mac: MacAddress([2, 0, 0, 0, 0, 2]),
            extended: false,
            release: false,
            userdata: BTreeMap::new(),
        };
        let name = format!("target{}", self.targets.len() + 1);
        let mut state = TargetState {
            name,
            on: BOX,
            to: AGENT,
            settings,
            enabled: true,
            carries: true,
        };
        change(&mut state);
        self.judge.target(self.targets.len(), state.clone());
        self.targets.push(state);
    }

    /// Changes a target as `set` does: the harness is told, and a marker follows.
    pub(crate) fn set(&mut self, target: usize, change: fn(&mut TargetState)) {
        change(&mut self.targets[target]);
        self.judge.target(target, self.targets[target].clone());
        self.send_marker();
    }

    /// Writes to /dev/kmsg.
    pub(crate) fn print(&mut self, text: &str) {
        self.print_at(12, text);
    }

    pub(crate) fn print_at(&mut self, priority: u32, text: &str) {
        let record = self.log(priority, text);
        self.send_record(&record);
    }

    /// Puts a record into the log and sends nothing.
    pub(crate) fn log(&mut self, priority: u32, text: &str) -> Record {
        let sequence = self.sequence;
        self.sequence += 1;
        let escaped: String = text
            .bytes()
            .map(|byte| {
                if (b' '..=b'~').contains(&byte) && byte != b'\\' {
                    char::from(byte).to_string()
                } else {
                    format!("\\x{byte:02x}")
                }
            })
            .collect();
        let record = Record::parse(
            format!("{priority},{sequence},{},-;{escaped}\n", sequence * 1000).as_bytes(),
        )
        .unwrap();
        self.records.push(record.clone());
        self.judge.log(BOX, record.clone());
        record
    }

    /// Sends a record to all targets that are enabled.
    pub(crate) fn send_record(&mut self, record: &Record) {
        if record.header.level >= self.console_level {
            return;
        }
        let own = marker_in(record);
        for state in self.targets.clone() {
            if !state.enabled || !state.carries {
                continue;
            }
            let mut settings = state.settings.clone();
            (self.break_settings)(&mut settings);
            let broken = if own {
                String::from_utf8(record.raw.clone()).unwrap()
            } else {
                (self.break_record)(&String::from_utf8_lossy(&record.raw))
            };
            let mut payloads = if settings.extended {
                extended(&broken, &settings)
            } else {
                basic(&Record::parse(broken.as_bytes()).unwrap())
            };
            if !own {
                (self.break_payloads)(&mut payloads);
            }
            let mut frames: Vec<_> = payloads
                .iter()
                .map(|payload| self.frame_of(&settings, payload))
                .collect();
            if !own {
                (self.break_frames)(&mut frames);
            }
            for bytes in frames {
                self.put(bytes);
            }
        }
    }

    /// Goes down and boots again, without a target; its log begins anew.
    pub(crate) fn boot(&mut self) {
        self.judge.is_gone(BOX);
        self.judge.boots(BOX);
        self.sequence = 401;
        self.identification = 0;
        self.records.clear();
        self.targets.clear();
        self.marker += 1;
        self.judge
            .booted(BOX, Some(self.console_level), self.marker);
        self.print_at(8, &marker(TOKEN, self.marker));
    }

    /// Registers all targets: the log is replayed to them, up to the marker that ends it.
    pub(crate) fn register(&mut self) {
        let marker = self.marker + 1;
        for target in 0..self.targets.len() {
            self.judge.replay_ends(target, marker);
        }
        for record in self.records.clone() {
            self.send_record(&record);
        }
        self.send_marker();
    }

    pub(crate) fn send_marker(&mut self) -> u64 {
        self.marker += 1;
        self.judge.marker_is_sent(self.marker);
        self.print_at(8, &marker(TOKEN, self.marker));
        self.marker
    }

    pub(crate) fn frame_of(&mut self, settings: &Settings, payload: &[u8]) -> Vec<u8> {
        self.identification += 1;
        let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], settings.remote_mac.0);
        let mut frame = Vec::new();
        match (settings.local_ip, settings.remote_ip) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                let mut header = etherparse::Ipv4Header::new(
                    0,
                    64,
                    etherparse::IpNumber::UDP,
                    local.octets(),
                    remote.octets(),
                )
                .unwrap();
                header.identification = self.identification;
                header.dont_fragment = false;
                let ip = ethernet.ip(etherparse::IpHeaders::Ipv4(header, Default::default()));
                ip.udp(settings.local_port, settings.remote_port)
                    .write(&mut frame, payload)
                    .unwrap();
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => {
                let ip = ethernet.ipv6(local.octets(), remote.octets(), 32);
                ip.udp(settings.local_port, settings.remote_port)
                    .write(&mut frame, payload)
                    .unwrap();
            }
            _ => panic!("both addresses are of one family"),
        }
        frame
    }

    /// Puts a frame on the wire.
    pub(crate) fn put(&mut self, bytes: Vec<u8>) {
        self.frame += 1;
        let time = Duration::from_millis(self.frame);
        let copies = self.forward.map(|forward| forward(&bytes));
        self.judge.frame(&Frame {
            number: self.frame,
            time,
            link: 0,
            from: BOX,
            bytes,
        });
        for bytes in copies.into_iter().flatten() {
            self.frame += 1;
            self.judge.frame(&Frame {
                number: self.frame,
                time,
                link: 1,
                from: OTHER,
                bytes,
            });
        }
    }

    pub(crate) fn expect(&mut self, expect: &Expect) -> Result<Passed, Failure> {
        let mut sent = None;
        for _ in 0..3 {
            match self.judge.expect(expect, sent) {
                Progress::Settled => return self.judge.conclude(expect, sent, Ending::Settled),
                Progress::AwaitsMarker if sent.is_none() => sent = Some(self.send_marker()),
                Progress::AwaitsMarker
                | Progress::AwaitsProbe
                | Progress::AwaitsProgram
                | Progress::Waiting => break,
            }
        }
        self.judge.log_is_complete(BOX);
        self.judge.conclude(expect, sent, Ending::Deadline)
    }

    /// Puts the first probe on the wire.
    pub(crate) fn send_probe(&mut self) {
        let (remote_ip, remote_mac) = match self.forward {
            Some(_) => (self.targets[0].settings.remote_ip, routed::GATEWAY),
            None => ("10.0.0.2".parse().unwrap(), MacAddress([2, 0, 0, 0, 0, 2])),
        };
        let settings = Settings {
            remote_ip,
            remote_mac,
            remote_port: 6666,
            ..self.targets[0].settings.clone()
        };
        let frame = self.frame_of(&settings, &probe(TOKEN, 1));
        self.put(frame);
    }

    pub(crate) fn absent(&mut self, absent: &Absent) -> Result<Passed, Failure> {
        let (mut sent, mut probed) = (None, None);
        for _ in 0..4 {
            match self.judge.absent(absent, sent, probed) {
                Progress::Settled => {
                    return self
                        .judge
                        .conclude_absent(absent, (sent, probed), Ending::Settled);
                }
                Progress::AwaitsMarker if sent.is_none() => sent = Some(self.send_marker()),
                Progress::AwaitsProbe if probed.is_none() => {
                    self.send_probe();
                    probed = Some(Probes::new(1, 1));
                }
                Progress::AwaitsMarker
                | Progress::AwaitsProbe
                | Progress::AwaitsProgram
                | Progress::Waiting => break,
            }
        }
        self.judge
            .conclude_absent(absent, (sent, probed), Ending::Deadline)
    }

    pub(crate) fn audit(&mut self) -> Vec<Finding> {
        self.judge.audit()
    }
}

fn marker_in(record: &Record) -> bool {
    record.text.starts_with(b"lastwords-marker")
}

/// `record_print_text` and `send_msg_udp`.
fn basic(record: &Record) -> Vec<Vec<u8>> {
    let style = Style {
        timestamp: true,
        ..Style::default()
    };
    print(record, style, 2048)
        .chunks(1000)
        .map(<[u8]>::to_vec)
        .collect()
}

/// `send_ext_msg_udp`.
fn extended(raw: &str, settings: &Settings) -> Vec<Vec<u8>> {
    let release = if settings.release {
        format!("{RELEASE},")
    } else {
        String::new()
    };
    let userdata: String = settings
        .userdata
        .iter()
        .map(|(key, value)| format!(" {key}={value}\n"))
        .collect();
    if release.len() + raw.len() + userdata.len() <= 1000 {
        return vec![format!("{release}{raw}{userdata}").into_bytes()];
    }
    let (header, body) = raw.split_once(';').unwrap();
    let body = format!("{body}{userdata}");
    let mut datagrams = Vec::new();
    let mut offset = 0;
    while offset < body.len() {
        let header = format!("{release}{header},ncfrag={offset}/{};", body.len());
        let end = body.len().min(offset + 1000 - header.len());
        datagrams.push([header.as_bytes(), &body.as_bytes()[offset..end]].concat());
        offset = end;
    }
    datagrams
}

pub(crate) fn line(text: &str) -> Line {
    Line {
        pattern: Pattern::Literal(text.to_owned()),
        raw: false,
        times: NonZeroU32::MIN,
    }
}

pub(crate) fn expect(lines: &[&str]) -> Expect {
    Expect {
        at: AGENT,
        target: None,
        lines: lines.iter().map(|text| line(text)).collect(),
        order: Order::Given,
        exactly: false,
        replay: false,
        source: Source::Wire,
        asked: Asked::default(),
    }
}

pub(crate) fn absent(lines: &[&str]) -> Absent {
    Absent {
        at: AGENT,
        target: None,
        lines: lines.iter().map(|text| line(text)).collect(),
        replay: false,
        source: Source::Wire,
        lasting: None,
        lost: None,
        because: None,
    }
}
