//! What files without mistakes mean.

use std::{num::NonZeroU32, path::Path, time::Duration};

use rstest::rstest;

use crate::{
    netconsole::MacAddress,
    scenario::{
        Absent, Action, Expect, NodeIndex, Order, Pattern, ProgramName, RemoteMac, Role, Scenario,
        Via,
        expectation::{Release, Source},
        node::Nic,
        step::{Failure, Kmsg, LinkChange},
        target::Setting,
        tests::scenarios,
    },
};

const NODES: &str = "[nodes]\nbox = { role = \"sender\" }\nagent = { role = \"receiver\" }\n";

#[track_caller]
fn scenario(text: &str) -> Scenario {
    let mut scenarios = scenarios(text);
    assert_eq!(scenarios.len(), 1);
    scenarios.remove(0)
}

/// The action of a scenario with nothing but `step`.
#[track_caller]
fn action(step: &str) -> Action {
    let text = format!(
        "title = \"x\"\n[[targets]]\nvia = \"configfs\"\nextended = true\n[[steps]]\n{step}\n"
    );
    scenario(&text).steps.remove(0).action
}

#[track_caller]
fn expectation(expect: &str) -> Expect {
    match action(&format!("expect = {expect}")) {
        Action::Expect(expect) => expect,
        other => panic!("{other:?}"),
    }
}

/// Each node's interfaces: link, addresses and MAC.
#[track_caller]
fn interfaces(links: &str) -> Vec<String> {
    let nodes = format!("{NODES}gw = {{ role = \"router\" }}\n");
    let nodes = if links.contains("gw") { &nodes } else { NODES };
    let scenario = scenario(&format!(
        "title = \"x\"\n{nodes}{links}\n[[steps]]\nkmsg = \"x\"\n"
    ));
    let interfaces = scenario.nodes.iter().flat_map(|node| {
        node.interfaces
            .iter()
            .map(move |interface| (node, interface))
    });
    let text = interfaces.map(|(node, interface)| {
        let addresses: Vec<String> = interface
            .addresses
            .iter()
            .map(ToString::to_string)
            .collect();
        format!(
            "{} {} link {} {} {}",
            node.name,
            interface.name,
            interface.link,
            addresses.join(" "),
            interface.mac
        )
    });
    text.collect()
}

fn times(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

#[test]
fn without_nodes_links_and_targets_there_is_one_of_each() {
    let scenario = scenario("title = \"x\"\n[[steps]]\nkmsg = \"y\"\n[[steps]]\nexpect = \"y\"\n");
    let names: Vec<&str> = scenario
        .nodes
        .iter()
        .map(|node| node.name.as_str())
        .collect();
    assert_eq!(names, ["sender", "receiver"]);
    assert_eq!(scenario.links.len(), 1);
    assert_eq!(
        scenario.links[0].subnets,
        ["172.16.0.0/24".parse().unwrap()]
    );
    assert_eq!(scenario.links[0].nodes, [NodeIndex(0), NodeIndex(1)]);
    let [target] = scenario.targets.as_slice() else {
        panic!("{:?}", scenario.targets)
    };
    assert_eq!(
        (target.name.as_str(), target.on, target.to, target.via),
        ("target1", NodeIndex(0), NodeIndex(1), Via::Modprobe)
    );
    assert!(target.enabled && !target.extended && !target.release);
    assert_eq!(scenario.node(NodeIndex(0)).sender().unwrap().cpus, 1);
    let receiver = scenario.node(NodeIndex(1)).receiver().unwrap();
    assert_eq!(
        (&receiver.program, receiver.ports.as_slice()),
        (&None, [6666].as_slice())
    );
    assert_eq!(
        scenario.node(NodeIndex(0)).interfaces[0].mac.to_string(),
        "02:00:ac:10:00:01"
    );
}

#[rstest]
#[case::ipv4("[[links]]\nsubnet = \"10.1.0.0/24\"\nnodes = [\"agent\", \"box\"]", &[
    "box eth0 link 0 10.1.0.2/24 02:00:0a:01:00:02",
    "agent eth0 link 0 10.1.0.1/24 02:00:0a:01:00:01",
])]
#[case::ipv6("[[links]]\nsubnet = \"fd00::/64\"\nnodes = [\"box\", \"agent\"]", &[
    "box eth0 link 0 fd00::1/64 02:06:00:00:00:01",
    "agent eth0 link 0 fd00::2/64 02:06:00:00:00:02",
])]
#[case::both("[[links]]\nsubnet = [\"fd00::/64\", \"10.0.0.0/30\"]\nnodes = [\"box\", \"agent\"]", &[
    "box eth0 link 0 fd00::1/64 10.0.0.1/30 02:00:0a:00:00:01",
    "agent eth0 link 0 fd00::2/64 10.0.0.2/30 02:00:0a:00:00:02",
])]
#[case::written(
    "[[links]]\nsubnet = [\"10.0.0.0/24\", \"fd00::/64\"]
    nodes = [\"box\", { node = \"agent\", address = \"10.0.0.9\", mac = \"02:00:00:00:00:09\" }]", &[
    "box eth0 link 0 10.0.0.1/24 fd00::1/64 02:00:0a:00:00:01",
    "agent eth0 link 0 10.0.0.9/24 fd00::2/64 02:00:00:00:00:09",
])]
#[case::default_subnets("[[links]]\nnodes = [\"box\", \"gw\"]\n[[links]]\nnodes = [\"gw\", \"agent\"]", &[
    "box eth0 link 0 172.16.0.1/24 02:00:ac:10:00:01",
    "agent eth0 link 1 172.16.1.2/24 02:00:ac:10:01:02",
    "gw eth0 link 0 172.16.0.2/24 02:00:ac:10:00:02",
    "gw eth1 link 1 172.16.1.1/24 02:00:ac:10:01:01",
])]
fn addresses_follow_from_the_order(#[case] links: &str, #[case] expected: &[&str]) {
    assert_eq!(interfaces(links), expected);
}

#[rstest]
#[case::ipv4("10.0.0.0/31", "10.0.0.0/31", "10.0.0.1/31")]
#[case::ipv6("fd00::/127", "fd00::/127", "fd00::1/127")]
fn of_two_addresses_both_are_hosts(
    #[case] subnet: &str,
    #[case] first: &str,
    #[case] second: &str,
) {
    let links = format!("[[links]]\nsubnet = {subnet:?}\nnodes = [\"box\", \"agent\"]");
    let has = |line: &String, address: &str| line.contains(&format!(" link 0 {address} "));
    let interfaces = interfaces(&links);
    assert!(
        has(&interfaces[0], first) && has(&interfaces[1], second),
        "{interfaces:?}"
    );
}

#[test]
fn a_node_says_its_own_address_and_card() {
    let scenario = scenario(
        "title = \"x\"\n[nodes]\nbox = { role = \"sender\", nic = \"e1000\", address = \"172.16.0.7\" }\nagent = { role = \"receiver\" }\n[[steps]]\nkmsg = \"x\"\n",
    );
    let interface = &scenario.nodes[0].interfaces[0];
    assert_eq!(
        (interface.nic, interface.addresses[0]),
        (Nic::E1000, "172.16.0.7/24".parse().unwrap())
    );
    assert_eq!(interface.mac, MacAddress([2, 0, 172, 16, 0, 7]));
}

#[test]
fn the_card_of_a_link_goes_before_the_nodes() {
    let text = "title = \"x\"\n[nodes]\nbox = { role = \"sender\", nic = \"e1000\" }\nagent = { role = \"receiver\" }
        [[links]]\nnodes = [\"box\", \"agent\"]\n[[links]]\nnodes = [{ node = \"box\", nic = \"rtl8139\" }, \"agent\"]\n[[steps]]\nkmsg = \"x\"\n";
    let nics: Vec<Nic> = scenario(text).nodes[0]
        .interfaces
        .iter()
        .map(|interface| interface.nic)
        .collect();
    assert_eq!(nics, [Nic::E1000, Nic::Rtl8139]);
}

#[test]
fn a_sender_is_made_of_what_its_node_says() {
    let text = "title = \"x\"\n[nodes]
        box = { role = \"sender\", cpus = 2, memory = \"1G\", cmdline = \"quiet\", sysctl = { \"kernel.printk_devkmsg\" = \"on\", \"kernel.panic\" = 5 } }
        agent = { role = \"receiver\", port = [514, 6666], program = \"netcat\" }\n[[steps]]\nkmsg = \"x\"\n";
    let scenario = scenario(text);
    let sender = scenario.nodes[0].sender().unwrap();
    assert_eq!(
        (sender.cpus, sender.memory, sender.cmdline.as_deref()),
        (2, 1024, Some("quiet"))
    );
    assert_eq!(sender.sysctl["kernel.printk_devkmsg"], "on");
    assert_eq!(sender.sysctl["kernel.panic"], "5");
    let Role::Receiver(receiver) = &scenario.nodes[1].role else {
        panic!()
    };
    let program = receiver.program.as_ref().unwrap();
    assert_eq!(program.name, ProgramName::Netcat);
    assert!(program.start && program.config.is_none() && program.command.is_none());
    assert_eq!(receiver.ports, [514, 6666]);
}

#[rstest]
#[case::kernels_own("remote-port = \"default\"", &[6666])]
#[case::several("remote-port = 7000\n[[targets]]", &[6666, 7000])]
#[case::parameter("parameter = \"@/eth0,514@172.16.0.2/;6665@/eth0,@172.16.0.2/\"", &[514, 6666])]
fn a_receiver_listens_where_targets_are_aimed(#[case] target: &str, #[case] ports: &[u16]) {
    let scenario = scenario(&format!(
        "title = \"x\"\n[[targets]]\n{target}\n[[steps]]\nkmsg = \"x\"\n"
    ));
    assert_eq!(scenario.nodes[1].receiver().unwrap().ports, ports);
}

#[test]
fn a_target_has_what_is_written_and_leaves_the_rest_open() {
    let text = "title = \"x\"\n[[targets]]\nname = \"t\"\nvia = \"configfs\"\nlocal-port = \"default\"\nremote-ip = \"192.0.2.1\"
        remote-mac = \"receiver\"\ndev-name = \"eth0\"\nextended = true\nrelease = true\nenabled = false\nuserdata = { k = \"v\" }\nfails = \"EINVAL\"\n[[steps]]\nkmsg = \"x\"\n";
    let target = scenario(text).targets.remove(0);
    assert_eq!(
        (target.local_port, target.remote_port),
        (Some(Setting::KernelDefault), None)
    );
    assert_eq!(
        target.remote_ip,
        Some(Setting::Value("192.0.2.1".parse().unwrap()))
    );
    assert_eq!(
        target.remote_mac,
        Some(Setting::Value(RemoteMac::Node(NodeIndex(1))))
    );
    assert_eq!(target.dev_name, Some(Setting::Value("eth0".to_owned())));
    assert_eq!(
        (target.extended, target.release, target.enabled),
        (true, true, false)
    );
    assert_eq!(target.userdata["k"], "v");
    assert_eq!(target.fails, Some(Failure::Errno("EINVAL".to_owned())));
    assert_eq!(target.place.to_string(), "3:8");
}

#[test]
fn a_matrix_makes_a_case_of_each_combination() {
    let text = "title = \"by ${via}\"\nmatrix = { via = [\"modprobe\", \"configfs\"], level = [3, 8] }\n[[targets]]\nvia = \"${via}\"\n[[steps]]\nconsole-level = \"${level}\"\n";
    let scenarios = scenarios(text);
    let cases: Vec<_> = scenarios
        .iter()
        .map(|scenario| {
            (
                scenario.name.as_str(),
                scenario.title.as_str(),
                scenario.targets[0].via,
                &scenario.steps[0].action,
            )
        })
        .collect();
    assert_eq!(
        cases,
        [
            (
                "test[via=modprobe,level=3]",
                "by modprobe",
                Via::Modprobe,
                &Action::ConsoleLevel(3)
            ),
            (
                "test[via=modprobe,level=8]",
                "by modprobe",
                Via::Modprobe,
                &Action::ConsoleLevel(8)
            ),
            (
                "test[via=configfs,level=3]",
                "by configfs",
                Via::Configfs,
                &Action::ConsoleLevel(3)
            ),
            (
                "test[via=configfs,level=8]",
                "by configfs",
                Via::Configfs,
                &Action::ConsoleLevel(8)
            ),
        ]
    );
}

#[rstest]
#[case::text("\"a\"", &["a"], None, true)]
#[case::table("{ text = \"a\\nb\", level = 3, newline = false }", &["a\nb"], Some(3), false)]
#[case::times("{ text = \"a\", times = 2 }", &["a", "a"], None, true)]
#[case::burst("{ burst = { text = \"a\", lines = 3 }, level = 0 }", &["a 1", "a 2", "a 3"], Some(0), true)]
fn kmsg_writes(
    #[case] kmsg: &str,
    #[case] records: &[&str],
    #[case] level: Option<u8>,
    #[case] newline: bool,
) {
    let records = records.iter().map(|&record| record.to_owned()).collect();
    assert_eq!(
        action(&format!("kmsg = {kmsg}")),
        Action::Kmsg(Kmsg {
            records,
            level,
            newline,
            background: false,
        })
    );
}

#[rstest]
#[case::down("\"down\"", Some(false), None)]
#[case::up("{ interface = \"eth0\", up = true }", Some(true), None)]
#[case::unplugged("{ carrier = false }", None, Some(false))]
fn link_changes(#[case] link: &str, #[case] up: Option<bool>, #[case] carrier: Option<bool>) {
    assert_eq!(
        action(&format!("link = {link}")),
        Action::Link(LinkChange {
            interface: 0,
            up,
            carrier
        })
    );
}

#[rstest]
#[case("load = \"floppy\"", Action::Load { module: "floppy".to_owned(), parameters: String::new() })]
#[case("load = { module = \"floppy\", parameters = \"a=1\" }", Action::Load { module: "floppy".to_owned(), parameters: "a=1".to_owned() })]
#[case("unload = \"floppy\"", Action::Unload { module: "floppy".to_owned(), if_loaded: false })]
#[case("unload = { module = \"floppy\", if-loaded = true }", Action::Unload { module: "floppy".to_owned(), if_loaded: true })]
#[case("wait-for-carrier = true", Action::WaitForCarrier { interface: 0 })]
#[case("wait-for-carrier = \"eth0\"", Action::WaitForCarrier { interface: 0 })]
fn steps_mean(#[case] step: &str, #[case] meant: Action) {
    assert_eq!(action(step), meant);
}

#[test]
fn set_writes_only_what_it_says() {
    let Action::Set(set) = action(
        "set = { raw = true, remote-port = 7000, userdata = { a = \"b\", c = false }, attributes = { remote_ip = \"10.0.0.999\" } }",
    ) else {
        panic!()
    };
    assert!(set.raw && set.enabled.is_none() && set.remote_ip.is_none());
    assert_eq!((set.target, set.remote_port), (0, Some(7000)));
    assert_eq!(set.userdata["a"].as_deref(), Some("b"));
    assert_eq!(set.userdata["c"], None);
    assert_eq!(set.attributes["remote_ip"], "10.0.0.999");
}

#[test]
fn run_takes_a_command_and_what_it_needs() {
    let step = "run = { command = [\"nc\", \"-h\"], programs = \"netcat\", files = { \"/etc/x\" = \"files/x\" }, prints = \"usage\" }";
    let Action::Run(run) = action(step) else {
        panic!()
    };
    assert_eq!(
        (run.command.as_slice(), run.programs.as_slice()),
        (
            ["nc".to_owned(), "-h".to_owned()].as_slice(),
            ["netcat".to_owned()].as_slice()
        )
    );
    assert_eq!(run.files["/etc/x"], Path::new("files/x"));
    assert_eq!(run.prints.as_deref(), Some("usage"));
}

#[rstest]
#[case::step("kmsg = \"x\"", 10_000)]
#[case::load("load = \"x\"", 20_000)]
#[case::expectation("expect = \"x\"", 10_000)]
#[case::beside("within = \"250ms\"\nkmsg = \"x\"", 250)]
#[case::inside("expect = { line = \"x\", within = \"1m 30s\" }", 90_000)]
#[case::beside_an_expectation("within = \"3s\"\nexpect = { line = \"x\" }", 3_000)]
fn every_step_has_a_deadline(#[case] step: &str, #[case] milliseconds: u64) {
    let scenario = scenario(&format!("title = \"x\"\n[[steps]]\n{step}\n"));
    assert_eq!(
        scenario.steps[0].within,
        Duration::from_millis(milliseconds)
    );
}

#[rstest]
#[case::text("\"a\"", &[("a", 1)])]
#[case::texts("[\"a\", \"b\"]", &[("a", 1), ("b", 1)])]
#[case::line("{ line = \"a\", times = 2 }", &[("a", 2)])]
#[case::lines("{ lines = [\"a\", { text = \"b\", times = 3 }, { regex = \"c+\" }], times = 2 }", &[("a", 2), ("b", 3), ("/c+/", 2)])]
fn lines_are_expected_so_often(#[case] expect: &str, #[case] lines: &[(&str, u32)]) {
    let found = expectation(expect).lines.into_iter().map(|line| {
        let pattern = match line.pattern {
            Pattern::Literal(text) => text,
            Pattern::Regex(expression) => format!("/{}/", expression.as_str()),
        };
        (pattern, line.times)
    });
    let expected: Vec<_> = lines
        .iter()
        .map(|(text, number)| ((*text).to_owned(), times(*number)))
        .collect();
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

#[test]
fn expect_asks_only_for_what_it_says() {
    let expect = expectation("\"a\"");
    assert_eq!(
        (expect.at, expect.target, expect.order),
        (NodeIndex(1), None, Order::Given)
    );
    assert!(!expect.exactly && !expect.replay && expect.source == Source::Wire);
    assert_eq!(expect.asked, crate::scenario::expectation::Asked::default());
}

#[test]
fn expect_asks_for_all_that_it_says() {
    let expect = expectation(
        "{ at = \"receiver\", target = \"target1\", line = \"a\", order = \"any\", exactly = true, replay = true, wire = true, raw = true,
        format = \"extended\", level = 3, facility = 1, sequence = \"contiguous\", fragments = 2, datagrams = 2, userdata = { k = \"v\" },
        release = false, source-port = 6665, source = \"172.16.0.1\", destination-mac = \"receiver\" }",
    );
    assert_eq!((expect.target, expect.order), (Some(0), Order::Any));
    assert!(
        expect.exactly && expect.replay && expect.source == Source::Wire && expect.lines[0].raw
    );
    let asked = expect.asked;
    assert_eq!(
        (asked.level, asked.facility, asked.contiguous),
        (Some(3), Some(1), true)
    );
    assert_eq!(
        (asked.fragments, asked.datagrams),
        (Some(times(2)), Some(times(2)))
    );
    assert_eq!(
        (asked.release, asked.source_port),
        (Some(Release::Absent), Some(6665))
    );
    assert_eq!(asked.destination_mac, Some(RemoteMac::Node(NodeIndex(1))));
}

#[test]
fn a_destination_can_be_a_node() {
    let text = include_str!("../../../tests/data/scenarios/gateway-mac.toml").replace(
        "file = \"/var/log/10.1.0.1/netconsole.log\"",
        "wire = true, destination-mac = \"gw\"",
    );
    let scenario = scenario(&text);
    let Action::Expect(expect) = &scenario.steps[4].action else {
        panic!()
    };
    assert_eq!(
        expect.asked.destination_mac,
        Some(RemoteMac::Node(NodeIndex(1)))
    );
}

#[test]
fn absent_names_the_node_and_the_cause() {
    let scenario = scenario(include_str!(
        "../../../tests/data/scenarios/gateway-mac.toml"
    ));
    let Action::Absent(Absent {
        at,
        lost,
        because,
        lasting,
        ..
    }) = &scenario.steps[1].action
    else {
        panic!()
    };
    assert_eq!(
        (*at, *lost, because.as_deref(), *lasting),
        (NodeIndex(2), Some(NodeIndex(1)), Some("not-my-mac"), None)
    );
}

#[test]
fn what_set_makes_extended_has_headers() {
    scenario(
        "title = \"x\"\n[[targets]]\nvia = \"configfs\"\n[[steps]]\nset = { extended = true }\n[[steps]]\nexpect = { line = \"x\", level = 4 }\n",
    );
}

#[test]
fn needs_and_known_failures_are_kept() {
    let text = "title = \"x\"\nneeds = { kernel = \">=6.9, <7.3\", config = \"CONFIG_NETCONSOLE_DYNAMIC\", module = [\"floppy\"], program = \"nc\", own-kernel = true }
        known = [{ kernel = \">=7.1\", backend = \"vm\", because = \"y\", link = \"z\" }]\n[[steps]]\nload = \"loop\"\n";
    let scenario = scenario(text);
    assert_eq!(
        scenario
            .needs
            .kernel
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        [">=6.9", "<7.3"]
    );
    assert_eq!(scenario.needs.config, ["NETCONSOLE_DYNAMIC"]);
    assert!(scenario.needs.own_kernel);
    assert_eq!(
        (
            scenario.known[0].backend.as_deref(),
            scenario.known[0].because.as_str()
        ),
        (Some("vm"), "y")
    );
    assert_eq!(
        scenario.modules().into_iter().collect::<Vec<_>>(),
        ["floppy", "loop", "netconsole"]
    );
}

#[test]
fn a_scenario_may_have_no_target() {
    let scenario = scenario(
        "title = \"x\"\ntargets = []\n[[steps]]\nkmsg = \"x\"\n[[steps]]\nabsent = \"x\"\n",
    );
    assert!(scenario.targets.is_empty() && scenario.modules().is_empty());
}

#[test]
fn basic_messages_have_a_level_where_the_kernel_prefixes_it() {
    scenario(
        "title = \"x\"\n[nodes]\nbox = { role = \"sender\", cmdline = \"console_msg_format=syslog\" }\nagent = { role = \"receiver\" }\n[[steps]]\nexpect = { line = \"x\", level = 4 }\n",
    );
}

/// box - near, near - far and other - far, far - agent: and each node's routes.
fn routes(keys: [&str; 3]) -> Vec<(String, Vec<String>)> {
    let [of_box, of_near, of_agent] = keys;
    let text = format!(
        r#"
        title = "x"
        [nodes]
        box   = {{ role = "sender"{of_box} }}
        near  = {{ role = "router"{of_near} }}
        other = {{ role = "router" }}
        far   = {{ role = "router" }}
        agent = {{ role = "receiver"{of_agent} }}
        [[links]]
        subnet = "10.1.0.0/24"
        nodes = ["box", "near", "other"]
        [[links]]
        subnet = ["10.2.0.0/24", "fd00:2::/64"]
        nodes = ["near", "far"]
        [[links]]
        subnet = "10.3.0.0/24"
        nodes = ["far", "agent"]
        [[links]]
        subnet = "10.4.0.0/24"
        nodes = ["other", "far"]
        [[steps]]
        kmsg = "hello"
        [[steps]]
        expect = "hello"
        "#
    );
    let scenario = scenarios(&text).remove(0);
    let table = |node: &crate::scenario::Node| {
        let line = |route: &crate::scenario::Route| {
            let interface = &node.interfaces[route.interface].name;
            format!("{} via {} dev {interface}", route.to, route.gateway)
        };
        (node.name.clone(), node.routes.iter().map(line).collect())
    };
    scenario.nodes.iter().map(table).collect()
}

#[test]
fn routes_follow_the_shortest_way() {
    let expected: [(&str, &[&str]); 5] = [
        (
            "box",
            &[
                "10.4.0.0/24 via 10.1.0.3 dev eth0",
                "0.0.0.0/0 via 10.1.0.2 dev eth0",
            ],
        ),
        (
            "near",
            &[
                "10.3.0.0/24 via 10.2.0.2 dev eth1",
                "10.4.0.0/24 via 10.1.0.3 dev eth0",
            ],
        ),
        (
            "other",
            &[
                "10.2.0.0/24 via 10.1.0.2 dev eth0",
                "10.3.0.0/24 via 10.4.0.2 dev eth1",
            ],
        ),
        ("far", &["10.1.0.0/24 via 10.2.0.1 dev eth0"]),
        ("agent", &["0.0.0.0/0 via 10.3.0.1 dev eth0"]),
    ];
    let expected = expected.map(|(name, routes)| {
        let routes = routes.iter().map(ToString::to_string).collect();
        (name.to_owned(), routes)
    });
    assert_eq!(routes(["", "", ""]), expected);
}

#[test]
fn written_routes_are_the_only_ones() {
    let tables = routes([
        r#", gateway = "other", routes = { "10.2.0.0/24" = "near" }"#,
        ", routes = {}",
        r#", gateway = "far""#,
    ]);
    assert_eq!(
        tables[0].1,
        [
            "10.2.0.0/24 via 10.1.0.2 dev eth0",
            "0.0.0.0/0 via 10.1.0.3 dev eth0"
        ]
    );
    assert!(tables[1].1.is_empty());
    assert_eq!(tables[4].1, ["0.0.0.0/0 via 10.3.0.1 dev eth0"]);
}
