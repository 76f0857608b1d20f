use std::{process::Command, sync::Arc};

use etherparse::PacketBuilder;
use rstest::rstest;

use super::*;
use crate::{
    lab::{
        port::End,
        tests::{receiver, scenario, sender},
    },
    scenario::{Link, NodeIndex},
};

fn frame(number: u64, port: usize, origin: Origin, payload: &[u8]) -> Frame {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2([2, 0, 10, 1, 0, 1], [2, 0, 10, 1, 0, 2])
        .ipv4([10, 1, 0, 1], [10, 1, 0, 2], 64)
        .udp(6665, 6666)
        .write(&mut bytes, payload)
        .unwrap();
    Frame {
        number,
        time: Duration::from_nanos(1_000_000_007 * number),
        link: 0,
        port: PortIndex(port),
        node: NodeIndex(port),
        to: Vec::new(),
        origin,
        bytes: bytes.into(),
    }
}

fn captures(limit: usize) -> Captures {
    let scenario = scenario(&[("box", sender()), ("agent", receiver())]);
    let nodes = scenario.nodes.iter().enumerate();
    let ports: Vec<Port> = nodes
        .map(|(index, node)| Port::new(node, NodeIndex(index), 0, End::Unplugged))
        .collect();
    let mut captures = Captures::with_limit(&scenario, &ports, limit);
    captures.started = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    captures
}

/// What tshark reads of some fields, a line for each frame; nothing where it is not installed and need not be.
#[expect(clippy::print_stderr, reason = "a test that cannot run says so")]
fn tshark(path: &Path, fields: &[&str]) -> Option<Vec<String>> {
    let Ok(tshark) = which::which("tshark") else {
        assert!(
            std::env::var_os("LASTWORDS_NO_SKIP").is_none(),
            "tshark is missing"
        );
        eprintln!("tshark is missing: the recording was not read back");
        return None;
    };
    let fields = fields.iter().flat_map(|field| ["-e", field]);
    let output = Command::new(tshark)
        .args(["-n", "-T", "fields", "-r"])
        .arg(path)
        .args(fields)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    Some(
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect(),
    )
}

#[test]
fn tshark_reads_what_was_recorded() {
    let mut captures = captures(LIMIT);
    captures.record(&frame(1, 0, Origin::Guest, b"last words"));
    captures.record(&frame(2, 1, Origin::Observer, b"an answer"));
    captures.record(&frame(3, 0, Origin::Probe, b"a probe"));
    let folder = tempfile::tempdir().unwrap();
    let paths = captures.write(folder.path()).unwrap();
    assert_eq!(paths, [folder.path().join("wire-box-agent.pcapng")]);
    let ethernet = [
        "frame.time_epoch",
        "frame.interface_name",
        "frame.interface_description",
        "frame.comment",
        "eth.src",
        "eth.dst",
    ];
    let Some(lines) = tshark(&paths[0], &ethernet) else {
        return;
    };
    let macs = "02:00:0a:01:00:01\t02:00:0a:01:00:02";
    assert_eq!(
        lines,
        [
            format!("1700000001.000000007\tbox:eth0\tbox-agent\tfrom box:eth0\t{macs}"),
            format!("1700000002.000000014\tagent:eth0\tbox-agent\tfrom agent:eth0\t{macs}"),
            format!(
                "1700000003.000000021\tbox:eth0\tbox-agent\tfrom box:eth0: a probe of the harness\t{macs}"
            ),
        ]
    );
    let udp = [
        "ip.src",
        "ip.dst",
        "udp.srcport",
        "udp.dstport",
        "data.data",
    ];
    let lines = tshark(&paths[0], &udp).unwrap();
    assert_eq!(
        lines[0],
        "10.1.0.1\t10.1.0.2\t6665\t6666\t6c61737420776f726473"
    );
    assert_eq!(lines[2], "10.1.0.1\t10.1.0.2\t6665\t6666\t612070726f6265");
}

#[test]
fn a_recording_without_frames_and_one_with_odd_ones_can_be_read() {
    let mut captures = captures(LIMIT);
    let folder = tempfile::tempdir().unwrap();
    let path = captures.write(folder.path()).unwrap().remove(0);
    let Some(lines) = tshark(&path, &["frame.len"]) else {
        return;
    };
    assert!(lines.is_empty());
    for bytes in [
        Arc::from([]),
        Arc::from([0xff; 5]),
        vec![0; wire::LONGEST_FRAME].into(),
    ] {
        captures.record(&Frame {
            bytes,
            ..frame(1, 0, Origin::Guest, b"")
        });
    }
    let path = captures.write(folder.path()).unwrap().remove(0);
    assert_eq!(tshark(&path, &["frame.len"]).unwrap(), ["0", "5", "69632"]);
}

#[test]
fn a_flood_is_recorded_up_to_its_limit_and_the_rest_is_counted() {
    let frame = frame(1, 0, Origin::Guest, &[b'x'; 900]);
    let mut captures = captures(10 * (frame.bytes.len() + COST));
    for _ in 0..25 {
        captures.record(&frame);
    }
    captures.record(&Frame {
        bytes: Arc::from([]),
        ..frame
    });
    assert_eq!(
        (captures.links[0].frames.len(), captures.left_out()),
        (10, 16)
    );
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let error = captures(LIMIT)
        .write(Path::new("/nonexistent"))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot write the recording `/nonexistent/wire-box-agent.pcapng`"
    );
}

#[rstest]
#[case::two_of_the_same_nodes(vec![vec![0, 1], vec![0, 1]], &["box-agent", "box-agent-2"])]
#[case::a_link_of_many(vec![vec![1, 0, 1]], &["agent-box-agent"])]
#[case::a_link_of_too_many(vec![vec![0; 30]], &["link1"])]
fn a_link_is_named_after_its_nodes(#[case] links: Vec<Vec<usize>>, #[case] expected: &[&str]) {
    let mut scenario = scenario(&[("box", sender()), ("agent", receiver())]);
    let link = |nodes: &Vec<usize>| Link {
        subnets: Vec::new(),
        nodes: nodes.iter().copied().map(NodeIndex).collect(),
    };
    scenario.links = links.iter().map(link).collect();
    assert_eq!(names(&scenario), expected);
}
