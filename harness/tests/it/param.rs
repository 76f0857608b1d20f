//! `lastwords param` in network namespaces made for it: cards whose other ends answer, in another namespace.

use std::process::{Command, Output};

use rstest::rstest;
use serde_json::Value;

use crate::home::{is_root, missing, program};

/// eth0 with 10.1.0.1/24 and fd01::1/64, eth1 with 10.9.0.1/24; at the other ends 10.1.0.254, fd01::fe and 10.9.0.254.
const NETWORK: &str = r#"
unshare --net sleep infinity & far=$!
while [ "$(readlink /proc/$far/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do :; done
there() { nsenter --target $far --net "$@"; }
ip link set lo up
ip link add eth0 address 02:00:0a:01:00:01 type veth peer name far0 netns $far address 02:00:0a:01:00:fe
ip link add eth1 address 02:00:0a:09:00:01 type veth peer name far1 netns $far address 02:00:0a:09:00:fe
echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad
there sh -c 'echo 0 > /proc/sys/net/ipv6/conf/far0/accept_dad'
there ip address add 10.1.0.254/24 dev far0
there ip address add fd01::fe/64 dev far0
there ip address add 10.9.0.254/24 dev far1
there ip link set far0 up
there ip link set far1 up
ip link set eth0 up
ip link set eth1 up
"#;

/// Runs `script` as root of namespaces of its own, which end with it, with `lastwords` as `$L`; `None` where this
/// machine grants none.
fn inside(script: &str) -> Option<Output> {
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        if !is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command
            .args(["--net", "--mount-proc", "--pid", "--fork", "--kill-child"])
            .args(["sh", "-e", "-c", script])
            .env("L", program())
            .output()
    };
    let granted = unshare("ip link set lo up");
    if !granted.is_ok_and(|output| output.status.success()) {
        missing("network namespaces (root or unprivileged user namespaces), and iproute2");
        return None;
    }
    Some(unshare(script).unwrap())
}

/// What `lastwords param --format json` says in [`NETWORK`] after `set_up`: its exit code and its document.
#[track_caller]
fn ask(set_up: &str, arguments: &str) -> Option<(i32, Value)> {
    let output = inside(&format!(
        "{NETWORK}\n{set_up}\nexec $L param --format json {arguments}"
    ))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let document = serde_json::from_str(&said);
    let document = document.unwrap_or_else(|error| {
        panic!("{error}: {said}{}", String::from_utf8_lossy(&output.stderr))
    });
    Some((output.status.code().unwrap(), document))
}

const IPV4: &str = "ip address add 10.1.0.1/24 dev eth0; ip address add 10.9.0.1/24 dev eth1;";
const IPV6: &str = "ip address add fd01::1/64 dev eth0;";

#[rstest]
#[case::on_link(
    "",
    "--to 10.1.0.254",
    "6665@10.1.0.1/eth0,6666@10.1.0.254/02:00:0a:01:00:fe",
    "10.1.0.254 is on eth0's own network 10.1.0.0/24, so the MAC is its own."
)]
#[case::gateway(
    "ip route add default via 10.1.0.254",
    "--to 10.2.0.2 --port 514 --local-port 515 --extended",
    "+515@10.1.0.1/eth0,514@10.2.0.2/02:00:0a:01:00:fe",
    "10.2.0.2 is not on eth0's networks: the way goes through 10.1.0.254, whose MAC this is."
)]
#[case::two_default_routes(
    "ip route add default via 10.1.0.254 metric 200; ip route add default via 10.9.0.254 metric 100",
    "--to 10.2.0.2",
    "6665@10.9.0.1/eth1,6666@10.2.0.2/02:00:0a:09:00:fe",
    "10.2.0.2 is not on eth1's networks: the way goes through 10.9.0.254, whose MAC this is. Of 2 default routes the one \
     with metric 100 counts, not the one through 10.1.0.254 on eth0 (metric 200)."
)]
#[case::by_the_other_interface(
    "ip route add default via 10.1.0.254 metric 200; ip route add default via 10.9.0.254 metric 100",
    "--to 10.2.0.2 --interface eth0",
    "6665@10.1.0.1/eth0,6666@10.2.0.2/02:00:0a:01:00:fe",
    "10.2.0.2 is not on eth0's networks: the way goes through 10.1.0.254, whose MAC this is. By itself the kernel would \
     take the route through 10.9.0.254 on eth1 (metric 100); this one has metric 200."
)]
#[case::more_specific(
    "ip route add default via 10.1.0.254; ip route add 10.2.0.0/16 via 10.9.0.254",
    "--to 10.2.0.2",
    "6665@10.9.0.1/eth1,6666@10.2.0.2/02:00:0a:09:00:fe",
    "10.2.0.2 is not on eth1's networks: the way goes through 10.9.0.254, whose MAC this is."
)]
#[case::by_policy(
    "ip route add default via 10.1.0.254; ip route add default via 10.9.0.254 table 100; ip rule add to 10.2.0.0/16 lookup 100",
    "--to 10.2.0.2",
    "6665@10.9.0.1/eth1,6666@10.2.0.2/02:00:0a:09:00:fe",
    "10.2.0.2 is not on eth1's networks: the way goes through 10.9.0.254, whose MAC this is. The rules (`ip rule`) lead to \
     routing table 100."
)]
#[case::by_source(
    "ip route add default via 10.1.0.254; ip route add default via 10.9.0.254 table 100; ip rule add from 10.9.0.1 lookup 100",
    "--to 10.2.0.2 --source 10.9.0.1",
    "6665@10.9.0.1/eth1,6666@10.2.0.2/02:00:0a:09:00:fe",
    "10.2.0.2 is not on eth1's networks: the way goes through 10.9.0.254, whose MAC this is. The rules (`ip rule`) lead to \
     routing table 100."
)]
#[case::known_for_good(
    "ip neighbour add 10.1.0.77 lladdr 02:00:0a:01:00:4d dev eth0 nud permanent",
    "--to 10.1.0.77",
    "6665@10.1.0.1/eth0,6666@10.1.0.77/02:00:0a:01:00:4d",
    "10.1.0.77 is on eth0's own network 10.1.0.0/24, so the MAC is its own."
)]
fn finds_the_way_of_ipv4(
    #[case] set_up: &str,
    #[case] arguments: &str,
    #[case] parameter: &str,
    #[case] reason: &str,
) {
    check(&format!("{IPV4}{set_up}"), arguments, parameter, reason);
}

#[rstest]
#[case::on_link(
    "",
    "--to fd01::fe",
    "6665@fd01::1/eth0,6666@fd01::fe/02:00:0a:01:00:fe",
    "fd01::fe is on eth0's own network fd01::/64, so the MAC is its own."
)]
#[case::gateway(
    "ip -6 route add default via fd01::fe",
    "--to fd02::2 --extended --release",
    "+r6665@fd01::1/eth0,6666@fd02::2/02:00:0a:01:00:fe",
    "fd02::2 is not on eth0's networks: the way goes through fd01::fe, whose MAC this is."
)]
#[case::link_local(
    "",
    "--to fe80::aff:fe01:fe%eth0",
    "6665@fe80::aff:fe01:1/eth0,6666@fe80::aff:fe01:fe/02:00:0a:01:00:fe",
    "fe80::aff:fe01:fe is on eth0's own network fe80::/64, so the MAC is its own."
)]
#[case::ipv4_by_a_gateway_of_ipv6(
    "ip address add 10.1.0.1/32 dev eth0; ip -4 route add default via inet6 fd01::fe dev eth0",
    "--to 10.2.0.2",
    "6665@10.1.0.1/eth0,6666@10.2.0.2/02:00:0a:01:00:fe",
    "10.2.0.2 is not on eth0's networks: the way goes through fd01::fe, whose MAC this is."
)]
fn finds_the_way_where_there_is_only_ipv6(
    #[case] set_up: &str,
    #[case] arguments: &str,
    #[case] parameter: &str,
    #[case] reason: &str,
) {
    check(&format!("{IPV6}{set_up}"), arguments, parameter, reason);
}

#[track_caller]
fn check(set_up: &str, arguments: &str, parameter: &str, reason: &str) {
    let Some((code, document)) = ask(set_up, arguments) else {
        return;
    };
    let proposal = &document["proposal"];
    assert_eq!(proposal["parameter"], parameter, "{document:#}");
    assert_eq!(proposal["reason"], reason);
    // A veth is what every kernel has, and what those from 6.12 on refuse.
    let refused = proposal["findings"]
        .as_array()
        .unwrap()
        .iter()
        .any(|finding| finding["code"] == "unpollable");
    assert_eq!(code, i32::from(refused), "{document:#}");
}

#[rstest]
#[case::nobody(
    "",
    "--to 10.1.0.77 --within 1s",
    "nobody answers for 10.1.0.77 on eth0 after 1s: no such machine is up on that network"
)]
#[case::no_gateway(
    "ip route add default via 10.1.0.77",
    "--to 10.2.0.2 --within 1s",
    "nobody answers for 10.1.0.77 on eth0 after 1s: its gateway is down, or the route is wrong"
)]
#[case::own("", "--to 10.9.0.1", "10.9.0.1 is this machine's own address, on eth1")]
#[case::broadcast(
    "",
    "--to 10.1.0.255",
    "10.1.0.255 is the broadcast address of eth0's network"
)]
#[case::no_route("", "--to 10.2.0.2", "there is no route to 10.2.0.2")]
#[case::down(
    "ip link set eth1 down",
    "--to 10.9.0.2",
    "eth1, whose network it is in, is down"
)]
#[case::not_by_that_interface(
    "",
    "--to 10.1.0.254 --interface eth1",
    "no route to 10.1.0.254 goes by eth1: the way goes by eth0"
)]
#[case::unreachable(
    "ip route add unreachable 10.2.0.0/16",
    "--to 10.2.0.2",
    "the routing table says that 10.2.0.2 is unreachable"
)]
#[case::black_hole(
    "ip route add blackhole 10.2.0.0/16",
    "--to 10.2.0.2",
    "the routing table says that 10.2.0.2 is a black hole"
)]
#[case::prohibited(
    "ip route add prohibit 10.2.0.0/16",
    "--to 10.2.0.2",
    "the routing table says that 10.2.0.2 is prohibited"
)]
#[case::no_ipv6("", "--to fd02::2", "no interface has an IPv6 address")]
fn says_why_there_is_no_way(#[case] set_up: &str, #[case] arguments: &str, #[case] expected: &str) {
    let no_ipv6 = "ip -6 address flush dev eth0; ip -6 address flush dev eth1;";
    let Some((code, document)) = ask(&format!("{IPV4}{no_ipv6}{set_up}"), arguments) else {
        return;
    };
    assert_eq!(code, 3, "{document:#}");
    let error = document["error"].as_str().unwrap();
    assert!(error.contains(expected), "{error}");
}

#[rstest]
#[case::link("--to fe80::1", "fe80::1 is a link-local address")]
#[case::interface("--to 10.1.0.254 --interface eth7", "there is no interface `eth7`")]
#[case::source(
    "--to 10.1.0.254 --source 10.1.0.9",
    "10.1.0.9 is no address of this machine"
)]
#[case::families("--to 10.1.0.254 --source fd01::1", "are not both IPv4 or both IPv6")]
fn says_what_is_wrong_with_the_command(#[case] arguments: &str, #[case] expected: &str) {
    let Some((code, document)) = ask(IPV4, arguments) else {
        return;
    };
    assert_eq!(code, 2, "{document:#}");
    let error = document["error"].as_str().unwrap();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn an_ordinary_user_finds_a_mac_that_is_not_known_yet() {
    let script = format!(
        "{NETWORK}\n{IPV4}\nip neighbour flush all\n\
         exec setpriv --bounding-set=-net_admin --inh-caps=-net_admin $L param --format json --to 10.1.0.254"
    );
    let Some(output) = inside(&script) else {
        return;
    };
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mac = &document["proposal"]["settings"]["remote_mac"];
    assert_eq!(mac, "02:00:0a:01:00:fe", "{document:#}");
}

#[rstest]
#[case::right("@/,@10.1.0.254/02:00:0a:01:00:fe", &[])]
#[case::gateway("@/,@10.2.0.2/02:00:0a:01:00:fe", &[])]
#[case::other_mac("@/,@10.2.0.2/02:00:0a:01:00:07", &["other-mac"])]
#[case::broadcast("@/,@10.2.0.2/", &["broadcast-mac"])]
#[case::other_interface("@/eth1,@10.1.0.254/02:00:0a:01:00:fe", &["other-interface"])]
#[case::foreign_source("@10.9.0.1/eth0,@10.1.0.254/02:00:0a:01:00:fe", &["foreign-source"])]
#[case::no_interface("@/eth7,@10.1.0.254/02:00:0a:01:00:fe", &["no-such-interface"])]
#[case::own("@/,@10.1.0.1/02:00:0a:01:00:fe", &["no-receiver"])]
#[case::syntax("@/,70000@10.1.0.254/;@/,@10.1.0.254/02:00:0a:01:00:fe", &["syntax"])]
fn explains(#[case] parameter: &str, #[case] expected: &[&str]) {
    let set_up = format!("{IPV4}ip route add default via 10.1.0.254");
    let Some((code, document)) = ask(&set_up, &format!("--explain '{parameter}'")) else {
        return;
    };
    let findings = document["explanation"]["findings"].as_array().unwrap();
    let errors: Vec<&str> = findings
        .iter()
        .filter(|finding| finding["severity"] == "error")
        .map(|finding| finding["code"].as_str().unwrap())
        .collect();
    let of_the_parameter: Vec<&str> = errors
        .iter()
        .copied()
        .filter(|code| *code != "unpollable")
        .collect();
    assert_eq!(of_the_parameter, expected, "{document:#}");
    assert_eq!(code, i32::from(!errors.is_empty()));
}

#[test]
fn shows_the_column_of_what_is_wrong() {
    let script = format!("{NETWORK}\n{IPV4}\nexec $L param --explain '@/,x@10.1.0.254/'");
    let Some(output) = inside(&script) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let shown = "1 | @/,x@10.1.0.254/\n  |    ^\n";
    assert!(
        said.contains("error: the target port `x` is no port"),
        "{said}"
    );
    assert!(said.contains(shown), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

/// The README's block that begins with this command, without the command.
fn shown(command: &str) -> String {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let start = format!("```console\n$ {command}\n");
    let (_, rest) = readme.split_once(&start).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Two gateways, the first of which counts.
const TWO: &str = "ip route add default via 10.1.0.254 metric 100; ip route add default via 10.9.0.254 metric 200";

#[test]
fn the_readme_shows_what_it_prints() {
    let command = "lastwords param --to 10.2.0.2";
    let ask = command.replace("lastwords", "exec $L");
    let Some(output) = inside(&format!("{NETWORK}\n{IPV4}{TWO}\n{ask}")) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let shown = shown(command);
    assert!(said.starts_with(&shown), "{said}");
    // Behind it stands what depends on the kernel.
    let rest = &said[shown.len()..];
    let begins = ["error: ", "warning: ", "note: "];
    assert!(
        rest.is_empty() || begins.iter().any(|begin| rest.starts_with(begin)),
        "{rest}"
    );
}

#[test]
fn the_readme_shows_what_it_explains() {
    let command =
        "lastwords param --explain 'options netconsole netconsole=@/,@10.2.0.2/02:00:0a:02:00:02'";
    let ask = command.replacen("lastwords", "exec $L", 1);
    let Some(output) = inside(&format!("{NETWORK}\n{IPV4}{TWO}\n{ask}")) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    // Between the fields and the error stands what a veth and the kernel of this machine are.
    let (fields, error) = shown(command)
        .split_once("error: ")
        .map(|(fields, error)| (fields.to_owned(), error.to_owned()))
        .unwrap();
    for line in fields.lines() {
        assert!(said.lines().any(|one| one == line), "{line}\n{said}");
    }
    assert!(said.contains(&format!("error: {error}")), "{said}");
}
