//! Whether a receiver has done all that it had to do: nothing waits for it, and everybody in its place sleeps.

use std::{fs, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::receiver::{order::Rest, socket::sockets};

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How many looks in a row must find it so.
const LOOKS: u32 = 4;
/// After how many looks it is told how it stands: who asks again has the deadline.
const MOST_LOOKS: u32 = 20;

/// Waits until all rests, or long enough to be asked again; how it stands, by the last looks.
pub(crate) async fn rest() -> Rest {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut asleep, mut read) = (0, 0);
    for _ in 0..MOST_LOOKS {
        looks.tick().await;
        read = if nothing_waits() { read + 1 } else { 0 };
        asleep = if read > 0 && all_sleep() {
            asleep + 1
        } else {
            0
        };
        if asleep >= LOOKS {
            return Rest::Asleep;
        }
    }
    if read >= LOOKS {
        Rest::Read
    } else {
        Rest::Behind
    }
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
