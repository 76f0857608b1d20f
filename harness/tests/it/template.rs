//! Templates that are torn, half made, shared by many, or without room: the verdict is right all the same, or the error
//! says what to do.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use rstest::rstest;

use crate::home::{HELLO, Home, is_root, machine_cache, missing, said};

/// A home whose cache has one template, which one passing run has made.
fn with_template() -> (Home, PathBuf) {
    let home = Home::new();
    home.play(HELLO, &[]).code(0);
    let folders = templates(&home);
    let [folder] = folders.as_slice() else {
        panic!("one template, not {folders:?}");
    };
    (home, folder.clone())
}

fn templates(home: &Home) -> Vec<PathBuf> {
    let shelf = fs::read_dir(home.cache().join("templates"));
    shelf
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect()
}

/// Passes now, and again without a word: the template is good.
#[track_caller]
fn passes_again(home: &Home) {
    let (output, _) = said(&home.play(HELLO, &[]).code(0));
    assert!(!output.contains("template"), "{output}");
    assert_eq!(templates(home).len(), 1);
    let half_made: Vec<_> = fs::read_dir(home.cache().join("tmp"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name != "gate")
        .collect();
    assert!(half_made.is_empty(), "{half_made:?}");
}

fn cut(file: &Path) {
    let file = File::options().write(true).open(file).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length / 2).unwrap();
}

fn zero_the_start(file: &Path, bytes: usize) {
    let file = File::options().write(true).open(file).unwrap();
    file.write_all_at(&vec![0; bytes], 0).unwrap();
}

#[rstest]
#[case::its_state_is_cut(|folder: &Path| cut(&folder.join("state")), "its state is not what was saved")]
#[case::its_state_is_changed(|folder: &Path| zero_the_start(&folder.join("state"), 16), "its state is not what was saved")]
#[case::its_memory_is_cut(|folder: &Path| cut(&folder.join("memory")), "its memory is not as long as it was")]
#[case::its_memory_is_gone(|folder: &Path| fs::remove_file(folder.join("memory")).unwrap(), "No such file")]
#[case::its_memory_is_lost(|folder: &Path| zero_the_start(&folder.join("memory"), 256 << 20), "")]
#[case::its_description_is_cut(|folder: &Path| cut(&folder.join("description.json")), "EOF")]
#[case::it_is_of_another_version(age, "it is of version 0")]
fn that_is_torn_is_made_again(#[case] tear: fn(&Path), #[case] reason: &str) {
    let (home, folder) = with_template();
    tear(&folder);
    let (output, _) = said(&home.play(HELLO, &[]).code(0));
    assert!(output.contains("the template was made again:"), "{output}");
    assert!(output.contains(reason), "{output}");
    passes_again(&home);
}

fn age(folder: &Path) {
    let path = folder.join("description.json");
    let text = fs::read_to_string(&path).unwrap();
    let (_, rest) = text.split_once(',').unwrap();
    fs::write(&path, format!("{{\"version\":0,{rest}")).unwrap();
}

#[test]
fn whose_description_was_never_written_is_made_again() {
    let (home, folder) = with_template();
    fs::remove_file(folder.join("description.json")).unwrap();
    home.play(HELLO, &[]).code(0);
    passes_again(&home);
}

#[test]
fn whose_maker_was_killed_is_made_by_the_next() {
    let home = Home::new();
    let scenario = home.scenario("hello", HELLO);
    let mut maker = home
        .command()
        .arg("run")
        .arg(&scenario)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    home.process("qemu-system-x86_64", Duration::from_secs(60));
    maker.kill().unwrap();
    maker.wait().unwrap();
    home.all_end(Duration::from_secs(10));
    home.play(HELLO, &[]).code(0);
    passes_again(&home);
}

#[test]
fn is_made_once_by_twenty_runs_at_once() {
    let home = Home::new();
    let scenario = home.scenario("hello", HELLO);
    let runs: Vec<_> = (0..20)
        .map(|_| {
            home.command()
                .arg("run")
                .arg(&scenario)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for run in runs {
        let output = run.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(!text.contains("template"), "{text}");
    }
    home.nothing_is_left();
    passes_again(&home);
}

/// The two senders are of one shape: while the first runs, the second finds its template torn.
#[test]
fn that_is_torn_while_it_is_used_does_without() {
    let home = Home::new();
    let two = r#"
title = "Two of a kind"
links = [{ subnet = "10.9.0.0/24", nodes = ["one", "two", "agent"] }]
[nodes]
one = { role = "sender" }
two = { role = "sender" }
agent = { role = "receiver" }
[[targets]]
on = "one"
[[targets]]
on = "two"
[[steps]]
on = "one"
kmsg = "hello"
[[steps]]
on = "two"
kmsg = "hello"
[[steps]]
expect = "hello"
"#;
    home.play(two, &[]).code(0);
    let [folder] = templates(&home).try_into().unwrap();
    cut(&folder.join("state"));
    home.play(two, &[]).code(0);
}

#[test]
fn needs_a_cache_that_can_be_written() {
    let home = Home::new();
    fs::set_permissions(home.cache(), fs::Permissions::from_mode(0o555)).unwrap();
    let assert = home.play(HELLO, &[]).code(3);
    fs::set_permissions(home.cache(), fs::Permissions::from_mode(0o755)).unwrap();
    let (_, errors) = said(&assert);
    assert!(
        errors.contains("let LASTWORDS_CACHE name a folder that you may write to"),
        "{errors}"
    );
}

/// Runs a shell script in a mount namespace of its own, with `$1` the cache, `$2` the machine's kernels, `$3` a scenario.
fn in_mounts(home: &Home, script: &str) -> std::process::Output {
    let scenario = home.scenario("hello", HELLO);
    let mut command = Command::new("unshare");
    command
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-ec",
            script,
            "sh",
        ])
        .arg(home.cache())
        .arg(machine_cache().join("kernels"))
        .arg(scenario)
        .arg(crate::home::program());
    home.settle(&mut command);
    let output = command.output().unwrap();
    home.nothing_is_left();
    output
}

#[rstest]
#[case::that_is_read_only(
    "mount -t tmpfs -o ro none $1; exec $4 run $3",
    "(let LASTWORDS_CACHE name a folder that you may write to)"
)]
#[case::that_is_small(
    "mount -t tmpfs -o size=50M none $1; ln -s $2 $1/kernels; exec $4 run $3",
    "(make room, prune the cached kernels, or let LASTWORDS_CACHE name a folder on another disk)"
)]
#[case::that_fills_up_before_the_guest_is_up(
    "mount -t tmpfs -o size=300M none $1; ln -s $2 $1/kernels
     (while [ ! -e $1/tmp/*/memory ]; do :; done; head -c 295M /dev/zero > $1/filler || :) 2>/dev/null &
     $4 run $3; code=$?; wait; exit $code",
    "(make room, prune the cached kernels, or let LASTWORDS_CACHE name a folder on another disk)"
)]
fn needs_a_disk(#[case] script: &str, #[case] remedy: &str) {
    if !is_root() {
        missing("root, to mount a small disk in a namespace of its own");
        return;
    }
    let home = Home::without_kernels();
    let output = in_mounts(&home, script);
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains(remedy), "{text}");
}

fn describe(folder: &Path, from: &str, to: &str) {
    let path = folder.join("description.json");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(&path, text.replace(from, to)).unwrap();
}

/// What a crash of the machine leaves: a folder that is whole by its names, made before the machine's last start.
#[test]
fn that_never_reached_the_disk_is_made_again() {
    let (home, folder) = with_template();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let _ = fs::remove_file(folder.join("synced"));
    describe(&folder, boot.trim(), "another");
    let (output, _) = said(&home.play(HELLO, &[]).code(0));
    let reason = "the template was made again: the template is torn: the machine went down before it was on the disk";
    assert!(output.contains(reason), "{output}");
    passes_again(&home);
}

#[test]
fn that_reached_the_disk_survives_the_machines_end() {
    let (home, folder) = with_template();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(folder.join("synced"), "").unwrap();
    describe(&folder, boot.trim(), "another");
    passes_again(&home);
}

/// Two machines in turn, so two templates of some 80 MB; the limit lets one stay.
#[test]
fn that_is_too_much_goes_the_least_lately_used_first() {
    let home = Home::new();
    let with_card = |card: &str| {
        let node = format!(
            "[nodes]\nsender = {{ role = \"sender\", nic = \"{card}\" }}\nreceiver = {{ role = \"receiver\" }}\n"
        );
        HELLO.replace("[[steps]]\nkmsg", &format!("{node}[[steps]]\nkmsg"))
    };
    let run = |text: &str, limit: &str| {
        let scenario = home.scenario("scenario", text);
        let mut command = home.command();
        command
            .arg("run")
            .arg(scenario)
            .env("LASTWORDS_TEMPLATES_MIB", limit);
        assert_cmd::Command::from_std(command).assert().code(0);
    };
    run(&with_card("virtio-net-pci"), "4096");
    let first = templates(&home);
    run(&with_card("e1000"), "4096");
    assert_eq!(templates(&home).len(), 2);
    run(&with_card("e1000"), "150");
    let left = templates(&home);
    assert_eq!(left.len(), 1);
    assert_ne!(left, first);
    run(&with_card("e1000"), "1");
    assert!(templates(&home).is_empty());
    home.nothing_is_left();
}

#[test]
fn is_still_good_when_a_run_is_killed_while_it_restores() {
    let (home, _) = with_template();
    let scenario = home.scenario("hello", HELLO);
    for _ in 0..5 {
        let mut run = home
            .command()
            .arg("run")
            .arg(&scenario)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        home.process("qemu-system-x86_64", Duration::from_secs(60));
        run.kill().unwrap();
        run.wait().unwrap();
        home.all_end(Duration::from_secs(30));
    }
    passes_again(&home);
}

/// What is different in each guest of one template: the boot id, which comes of the random numbers, and the time.
#[test]
fn gives_each_guest_its_own_random_numbers_and_the_time() {
    let home = Home::shared();
    let out = home.work().join("out");
    let text = r#"
title = "Who am I, and when"
[[steps]]
run = { command = ["sh", "-c", "echo boot-id $(cat /proc/sys/kernel/random/boot_id) time $(date +%s) >/dev/kmsg"], programs = ["cat", "date"] }
"#;
    home.play(text, &["--repeat", "2", "--out", out.to_str().unwrap()])
        .code(0);
    let said = ["scenario", "scenario.run2"].map(|run| {
        let log = out
            .join("debian-6.1/work")
            .join(run)
            .join("kmsg-sender.log");
        let log = fs::read_to_string(log).unwrap();
        let words = log
            .lines()
            .find_map(|line| line.split_once("boot-id "))
            .unwrap();
        let (id, time) = words.1.split_once(" time ").unwrap();
        (id.to_owned(), time.trim().parse::<u64>().unwrap())
    });
    assert_ne!(said[0].0, said[1].0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap().as_secs();
    assert!(
        said.iter().all(|(_, time)| now.abs_diff(*time) < 240),
        "{said:?} {now}"
    );
}

/// For [`Home::elsewhere`]: two users in turn share a cache of mode `$1`.
const TWO_USERS: &str = r#"
chmod $1 cache
run() {
    env -i PATH=/usr/local/bin:/usr/bin:/bin LASTWORDS_CACHE=$PWD/cache LASTWORDS_TEST_HOME="$LASTWORDS_TEST_HOME" \
        setpriv --reuid=$1 --regid=nogroup --clear-groups --bounding-set=-all ./lastwords run scenario.toml
}
for user in nobody daemon nobody; do run $user; done
truncate -s 10 cache/templates/*/state
for user in daemon nobody daemon; do run $user; done
ls cache/tmp
"#;

#[rstest]
#[case::all_may_do_all("777")]
#[case::all_may_do_all_to_their_own("1777")]
fn is_shared_by_two_users(#[case] mode: &str) {
    if !is_root() {
        missing("root, to become two other users");
        return;
    }
    let home = Home::without_kernels();
    let output = home.elsewhere(HELLO, TWO_USERS, &[mode]);
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{text}{errors}");
    assert_eq!(
        text.matches("1 passed, 0 failed").count(),
        6,
        "{text}{errors}"
    );
    assert!(text.ends_with("gate\n"), "{text}");
    home.nothing_is_left();
}
