use std::{fs, os::unix::process::ExitStatusExt, process::Stdio};

use tempfile::TempDir;
use tokio::io::AsyncReadExt;

use super::*;
use crate::lab::veth::tests::has_namespaces;

const DEADLINE: Duration = Duration::from_secs(20);

/// A room for this test; none where the machine does not let us.
fn room() -> Option<(Room, TempDir)> {
    if !has_namespaces() {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let network = Namespace::new().unwrap();
    let places = places_in(folder.path()).unwrap();
    Some((Room::new(&network, "agent", &places).unwrap(), folder))
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

async fn said(room: &Room, script: &str) -> String {
    let child = room.spawn(shell(script)).unwrap();
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output());
    String::from_utf8(output.await.unwrap().unwrap().stdout).unwrap()
}

#[tokio::test]
async fn a_room_has_a_network_processes_and_a_name_of_its_own() {
    let Some((room, _folder)) = room() else {
        return;
    };
    let text = said(
        &room,
        "hostname=$(cat /proc/sys/kernel/hostname); echo $hostname; grep -c : /proc/net/dev; ls -d /proc/[0-9]* | wc -l; ls /dev",
    )
    .await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["agent", "1"], "{text}");
    assert!(lines[2].parse::<u32>().unwrap() <= 5, "{text}");
    assert!(
        lines.contains(&"null") && !lines.contains(&"kmsg"),
        "{text}"
    );
    room.down().await.unwrap();
}

#[tokio::test]
async fn what_a_program_writes_stays_in_our_folder() {
    let Some((room, folder)) = room() else { return };
    let text = said(
        &room,
        "echo lines > /var/log/a.log; echo no > /etc/lastwords-test 2>/dev/null || echo refused; : > /dev/log; cat /proc/kmsg",
    )
    .await;
    assert_eq!(text, "refused\n");
    let ours = fs::read_to_string(folder.path().join("var/log/a.log")).unwrap();
    let theirs = room.enter(|| fs::read_to_string("/var/log/a.log")).unwrap();
    assert_eq!(
        (ours.as_str(), theirs.unwrap().as_str()),
        ("lines\n", "lines\n")
    );
    assert!(!Path::new("/var/log/a.log").exists());
    room.down().await.unwrap();
}

#[tokio::test]
async fn what_tears_itself_off_ends_with_the_room() {
    let Some((room, _folder)) = room() else {
        return;
    };
    let mut child = room
        .spawn(shell("setsid sh -c 'echo $$; exec sleep 1000' & wait"))
        .unwrap();
    let mut stream = child.stdout.take().unwrap();
    let mut number = [0; 1];
    stream.read_exact(&mut number).await.unwrap();
    room.kill();
    // Whoever held the stream is gone.
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
    ended.unwrap().unwrap();
    let status = child.wait().await.unwrap();
    assert_eq!(status.signal(), Some(9));
    room.down().await.unwrap();
}

#[tokio::test]
async fn a_room_and_a_program_that_are_dropped_leave_nothing() {
    let Some((room, _folder)) = room() else {
        return;
    };
    let mut child = room.spawn(shell("sleep 1000 & wait")).unwrap();
    let mut stream = child.stdout.take().unwrap();
    drop((child, room));
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
    ended.unwrap().unwrap();
}

#[tokio::test]
async fn a_program_that_is_not_there_has_its_sentence() {
    let Some((room, _folder)) = room() else {
        return;
    };
    let error = room.spawn(Command::new("no-such-program")).unwrap_err();
    assert_eq!(error.to_string(), "cannot start `no-such-program`");
}
