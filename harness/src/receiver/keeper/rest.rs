//! Whether a receiver has done all that it had to do: nothing waits for it, and everybody in its place sleeps.

use std::{fs, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::receiver::socket::sockets;

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How many looks in a row must find it so.
const LOOKS: u32 = 4;

/// Waits until all rests; whether it did in time.
pub(crate) async fn rests(within: Duration) -> bool {
    let deadline = Instant::now() + within;
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut found = 0;
    while found < LOOKS {
        if timeout_at(deadline, looks.tick()).await.is_err() {
            return false;
        }
        found = if nothing_waits() && all_sleep() {
            found + 1
        } else {
            0
        };
    }
    true
}

fn nothing_waits() -> bool {
    sockets().is_ok_and(|sockets| sockets.iter().all(|socket| socket.waiting == 0))
}

/// Whether every thread of every process but the first and ourselves sleeps.
fn all_sleep() -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let own = std::process::id();
    let others = processes.filter(|entry| {
        let name = entry.file_name();
        let id: Option<u32> = name.to_str().and_then(|name| name.parse().ok());
        id.is_some_and(|id| id != 1 && id != own)
    });
    let threads = others.flat_map(|entry| {
        fs::read_dir(entry.path().join("task"))
            .into_iter()
            .flatten()
            .flatten()
    });
    threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok())
        .all(|stat| state(&stat).is_none_or(|state| !"RD".contains(state)))
}

/// The letter behind the name in brackets, which may hold anything (proc_pid_stat(5)).
fn state(stat: &str) -> Option<char> {
    stat.rsplit_once(") ")?.1.chars().next()
}
