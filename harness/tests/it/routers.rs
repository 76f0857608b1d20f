//! Scenarios with routers need namespaces: root's, or those of a private user namespace; where there are none, they say so.

use std::{fs, process::Command, time::Duration};

use crate::home::{Home, is_root, missing, program, said};

/// A line goes over two routers.
const ROUTED: &str = r#"
title = "A line arrives over two routers"
[nodes]
box   = { role = "sender" }
near  = { role = "router" }
far   = { role = "router" }
agent = { role = "receiver" }
[[links]]
nodes = ["box", "near"]
[[links]]
nodes = ["near", "far"]
[[links]]
nodes = ["far", "agent"]
[[steps]]
kmsg = "far away"
[[steps]]
expect = { line = "far away", destination-mac = "near" }
"#;

/// For [`Home::elsewhere`]: becomes nobody, and runs the scenario.
const AS_NOBODY: &str = r#"
chown nobody cache
exec env -i PATH=/usr/local/bin:/usr/bin:/bin LASTWORDS_CACHE=$PWD/cache LASTWORDS_TEST_HOME="$LASTWORDS_TEST_HOME" \
    setpriv --reuid=nobody --regid=nogroup --clear-groups --bounding-set=-all sh -ec '
        [ $(id -u) = 65534 ]
        ./lastwords run scenario.toml --show-lines
        find cache ! -user nobody -print | grep -v "^cache/kernels"'
"#;

#[test]
fn nobody_builds_routers() {
    if !is_root() {
        let (output, _) = said(&Home::new().play(ROUTED, &["--show-lines"]).code(0));
        assert!(output.contains("| far away"), "{output}");
        return;
    }
    let home = Home::without_kernels();
    let output = home.elsewhere(ROUTED, AS_NOBODY, &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    // grep found no file in the cache that is another's: it ends with 1.
    assert_eq!(output.status.code(), Some(1), "{text}{errors}");
    assert!(
        text.contains("passed  scenario  debian:6.1"),
        "{text}{errors}"
    );
    assert!(text.contains("| far away"), "{text}");
    home.nothing_is_left();
}

#[test]
fn where_namespaces_are_withheld_a_router_is_missing() {
    let home = Home::shared();
    let scenario = home.scenario("routed", ROUTED);
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "sh", "-ec"])
        .arg("echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all \"$@\"")
        .arg("sh")
        .arg(program())
        .arg("run")
        .arg(&scenario);
    home.settle(&mut command);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    for sentence in [
        "`near` lives in network namespaces, which this machine withholds",
        "cannot make a network namespace",
        "`sysctl user.max_user_namespaces` must not be 0; or run as root",
    ] {
        assert!(text.contains(sentence), "{text}");
    }
    home.nothing_is_left();
}

#[test]
fn sigkill_leaves_no_process_and_no_namespace() {
    if !is_root() {
        missing("root, to see all namespaces");
        return;
    }
    let home = Home::shared();
    let scenario = home.scenario("routed", ROUTED);
    let before = namespaces();
    for _ in 0..3 {
        let mut command = home.command();
        command.arg("run").arg(&scenario).args(["--repeat", "1000"]);
        command.stdout(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        home.process("qemu-system-x86_64", Duration::from_secs(60));
        child.kill().unwrap();
        child.wait().unwrap();
        home.all_end(Duration::from_secs(20));
        home.no_file_is_left();
    }
    let left: Vec<_> = namespaces()
        .into_iter()
        .filter(|name| !before.contains(name))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The names under which network namespaces can be found from outside of processes.
fn namespaces() -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let of_namespaces = mounts.lines().filter(|line| line.contains(" nsfs "));
    of_namespaces.map(str::to_owned).collect()
}
