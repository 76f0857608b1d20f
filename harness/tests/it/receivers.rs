//! Real programs that receive: as an ordinary user, where one is missing, what a failure leaves, and that nothing outlives us.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::home::{Home, is_root, missing, program, said};

/// syslog-ng as the post has it, and rsyslog.
const DAEMONS: &str = r#"
title = "What daemons write"
[nodes]
box = { role = "sender" }
[nodes.one]
role    = "receiver"
program = "syslog-ng"
append  = '''
source net { udp(ip("0.0.0.0") port(6666)); };
destination netconsole { file("/var/log/$HOST/netconsole.log" create-dirs(yes)); };
log { source(net); destination(netconsole); };
'''
[nodes.two]
role    = "receiver"
program = "rsyslog"
append  = '''
module(load="imudp")
input(type="imudp" port="6666")
'''
[[links]]
nodes = ["box", "one", "two"]
[[targets]]
to = "one"
[[targets]]
to = "two"
[[steps]]
kmsg = "said to both"
[[steps]]
expect = { at = "one", file = "/var/log/172.16.0.1/netconsole.log", line = "said to both" }
[[steps]]
expect = { at = "two", file = "/var/log/user.log", line = "said to both" }
"#;

/// For [`Home::elsewhere`]: becomes nobody, and runs the scenario.
const AS_NOBODY: &str = r#"
chown nobody cache
exec env -i PATH=/usr/local/bin:/usr/bin:/bin LASTWORDS_CACHE=$PWD/cache LASTWORDS_TEST_HOME="$LASTWORDS_TEST_HOME" \
    setpriv --reuid=nobody --regid=nogroup --clear-groups --bounding-set=-all ./lastwords run scenario.toml --show-lines
"#;

#[test]
fn nobody_receives_with_daemons() {
    if !is_root() {
        let (output, _) = said(&Home::new().play(DAEMONS, &["--show-lines"]).code(0));
        assert_eq!(output.matches("said to both").count(), 2, "{output}");
        return;
    }
    let home = Home::without_kernels();
    let output = home.elsewhere(DAEMONS, AS_NOBODY, &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(text.matches("said to both").count(), 2, "{text}");
    home.nothing_is_left();
}

#[test]
fn a_program_that_is_not_there_is_missing_with_its_package() {
    if !is_root() {
        missing("root, to hide a program");
        return;
    }
    let home = Home::shared();
    home.scenario(
        "without",
        r#"
title = "Without socat"
[nodes]
box   = { role = "sender" }
agent = { role = "receiver", program = "socat" }
[[steps]]
kmsg = "hello"
"#,
    );
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-ec"])
        .arg("mount --bind /dev/null \"$(readlink -f \"$(command -v socat)\")\"; exec \"$@\"")
        .arg("sh")
        .arg(program())
        .args(["run", "without.toml"]);
    home.settle(&mut command);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let sentence = "missing  without  debian:6.1  needs `socat`, which is not on the PATH (Debian: apt-get install socat)\n";
    assert!(text.starts_with(sentence), "{text}");
    home.nothing_is_left();
}

#[test]
fn what_a_program_wrote_is_among_the_recordings_of_a_failure() {
    let home = Home::shared();
    let failing = DAEMONS.replace(
        "line = \"said to both\" }",
        "line = \"never said\", within = \"1s\" }",
    );
    home.scenario("wrote", &failing);
    home.run(["run", "wrote.toml", "--out", "out"]).code(1);
    let folder = home.work().join("out/debian-6.1/wrote");
    let read = |path: &str| fs::read_to_string(folder.join(path)).unwrap_or_default();
    for path in [
        "one/var/log/172.16.0.1/netconsole.log",
        "two/var/log/syslog",
        "two/var/log/user.log",
    ] {
        assert!(
            read(path).contains("said to both"),
            "{path}: {}",
            read(path)
        );
    }
}

/// Writes without end, ignores that it is asked to stop, and leaves a child that tore itself off.
const WILD: &str = r#"
title = "Wild"
[nodes]
box   = { role = "sender" }
[nodes.agent]
role    = "receiver"
program = "socat"
command = '''
trap "" TERM HUP INT
setsid sh -c "trap '' TERM HUP INT; while :; do cp /bin/true /tmp/fill-$$; sleep 0.1; done # MARK" &
(while :; do echo "without end MARK"; done) &
socat -u UDP-RECV:6666 - | cat
'''
[[steps]]
kmsg = "hello"
[[steps]]
expect = "hello"
[[steps]]
stop = "agent"
[[steps]]
start = "agent"
[[steps]]
kmsg = "again"
[[steps]]
expect = "again"
"#;

/// What only processes of this test hold in their command lines.
fn mark_of(home: &Home) -> String {
    let name = home.path().file_name().unwrap();
    name.to_string_lossy().into_owned()
}

/// Processes whose command line holds `mark`.
fn processes_with(mark: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
    lines.filter(|line| line.contains(mark)).collect()
}

#[test]
fn a_wild_program_is_received_with_and_ends() {
    let home = Home::shared();
    let mark = mark_of(&home);
    let wild = WILD.replace("MARK", &mark);
    home.play(&wild, &[]).code(0);
    assert_eq!(processes_with(&mark), Vec::<String>::new());
    home.nothing_is_left();
}

/// Killed with the test, however that ends.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until processes with `mark` are there, or are not.
fn await_processes(mark: &str, there: bool) {
    let begun = Instant::now();
    while processes_with(mark).is_empty() == there {
        let left = processes_with(mark);
        assert!(begun.elapsed() < Duration::from_secs(60), "{left:?}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn sigkill_leaves_nothing_of_a_receiver() {
    let home = Home::shared();
    let mark = mark_of(&home);
    let scenario = home.scenario("wild", &WILD.replace("MARK", &mark));
    for moment in [0, 100, 400, 900] {
        let mut command = home.command();
        command.arg("run").arg(&scenario).args(["--repeat", "1000"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = Killed(child.spawn().unwrap());
        await_processes(&format!("without end {mark}"), true);
        std::thread::park_timeout(Duration::from_millis(moment));
        drop(child);
        await_processes(&mark, false);
        home.all_end(Duration::from_secs(20));
        home.no_file_is_left();
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("/.lastwords"), "{mounts}");
    assert!(!Path::new("/tmp/root").exists());
}
