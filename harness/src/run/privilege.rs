//! Whether this machine lets us make namespaces: found out by making some, in a child that ends.
//!
//! Root makes them plainly. Anybody else has a private user namespace first, in which he is root over nothing but what
//! we make: files stay his, and the machine's network is out of reach. Some systems grant that namespace and withhold
//! its capabilities, so nothing is believed that was not tried.

use std::{
    fs,
    io::{self, Read, Write},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use nix::{
    fcntl::OFlag,
    sched::{CloneFlags, unshare},
    sys::wait::waitpid,
    unistd::{ForkResult, Uid, fork, getegid, geteuid, pipe2},
};

use crate::{lab, run::stage::chain, scenario::Scenario};

/// Whether a run has namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// No scenario needs them, so nothing was tried.
    NotAsked,
    Granted,
    /// Why there are none, with what would help.
    Withheld(String),
}

/// How namespaces are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Plainly,
    InAUserNamespace,
}

impl Privilege {
    /// Obtains what `scenarios` need, for the whole process. Must come before there is any other thread, and after all that
    /// asks apt, which does not work as a root that is none.
    pub(crate) fn obtain(scenarios: &[Scenario]) -> Self {
        let needs = |scenario: &Scenario| {
            let mut nodes = scenario.nodes.iter();
            nodes.any(|node| node.lives_in_a_namespace())
        };
        if !scenarios.iter().any(needs) {
            return Self::NotAsked;
        }
        let ways: &[Way] = if Uid::effective().is_root() {
            &[Way::Plainly, Way::InAUserNamespace]
        } else {
            &[Way::InAUserNamespace]
        };
        let mut whys = Vec::new();
        for way in ways {
            match try_out(*way) {
                Ok(None) => return Self::take(*way),
                Ok(Some(why)) => whys.push(why),
                Err(error) => whys.push(error.to_string()),
            }
        }
        Self::Withheld(whys.join("; "))
    }

    fn take(way: Way) -> Self {
        match way {
            Way::Plainly => Self::Granted,
            Way::InAUserNamespace => match alone().and_then(|()| enter_user_namespace()) {
                Ok(()) => Self::Granted,
                Err(why) => Self::Withheld(why),
            },
        }
    }
}

/// Makes in a child what a lab is made of; why that does not work, if it does not.
fn try_out(way: Way) -> io::Result<Option<String>> {
    let (told, tell) = pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: there is no other thread yet, so that the child may do what it likes.
    match unsafe { fork() }? {
        ForkResult::Child => tell_and_exit(tell, way),
        ForkResult::Parent { child } => {
            drop(tell);
            let mut why = String::new();
            let read = fs::File::from(told).read_to_string(&mut why);
            waitpid(child, None)?;
            read?;
            Ok(match why.strip_prefix(GRANTED) {
                Some(_) => None,
                None if why.is_empty() => Some("the attempt to make them ended early".to_owned()),
                None => Some(why),
            })
        }
    }
}

/// What the child says when all went well.
const GRANTED: &str = "granted";

fn tell_and_exit(tell: OwnedFd, way: Way) -> ! {
    let entered = match way {
        Way::Plainly => Ok(()),
        Way::InAUserNamespace => enter_user_namespace(),
    };
    let tried = entered.and_then(|()| {
        lab::veth::try_out().map_err(|error| format!("{}{}", chain(&error), remedy(way)))
    });
    let text = tried.err().unwrap_or_else(|| GRANTED.to_owned());
    // The parent knows what it means that nothing is said.
    let _ = fs::File::from(tell).write_all(text.as_bytes());
    // SAFETY: the child of a fork ends without what its parent does at its end.
    unsafe { libc::_exit(0) }
}

/// Waits until threads that were joined are gone: a process of several cannot change its user namespace.
fn alone() -> Result<(), String> {
    const WITHIN: Duration = Duration::from_secs(10);
    let start = Instant::now();
    loop {
        match fs::read_dir("/proc/self/task").map(Iterator::count) {
            Ok(1) => return Ok(()),
            Ok(_) if start.elapsed() < WITHIN => std::thread::yield_now(),
            Ok(count) => return Err(format!("the program has {count} threads already")),
            Err(error) => return Err(format!("cannot read /proc/self/task: {error}")),
        }
    }
}

/// Becomes root of a user namespace that has this user only.
fn enter_user_namespace() -> Result<(), String> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| {
        let remedy = match errno {
            nix::errno::Errno::ENOSPC => "`sysctl user.max_user_namespaces` must not be 0",
            _ => {
                "where there is a `sysctl kernel.unprivileged_userns_clone`, it must be 1, and chroot(8) has none"
            }
        };
        format!("cannot make a user namespace: {errno} ({remedy}; or run as root)")
    })?;
    let write = |path: &str, text: String| {
        fs::write(path, text).map_err(|error| {
            format!(
                "cannot write {path}: {error}{}",
                remedy(Way::InAUserNamespace)
            )
        })
    };
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("0 {user} 1"))?;
    write("/proc/self/gid_map", format!("0 {group} 1"))
}

fn remedy(way: Way) -> &'static str {
    match way {
        Way::Plainly => " (root needs CAP_SYS_ADMIN and CAP_NET_ADMIN, which containers withhold)",
        Way::InAUserNamespace => {
            " (the system grants a user namespace and withholds its capabilities: on Ubuntu, `sysctl \
             kernel.apparmor_restrict_unprivileged_userns=0`; or run as root)"
        }
    }
}
