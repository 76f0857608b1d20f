//! What can be asked of a kernel under test, and what it answers.

use std::{collections::BTreeMap, io, net::IpAddr, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::netconsole::MacAddress;

/// One thing to do or to look up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Request {
    /// All of them in order, up to the first that is refused. Answered by [`Answer::Batch`].
    Batch(Vec<Request>),
    /// Gives a guest what all that were restored from one template share: the time, in seconds since 1970, and its own
    /// random numbers.
    Renew { time: i64, seed: Vec<u8> },
    /// The running kernel's release and processors, and where it says how its memory is laid out.
    Facts,
    /// `dmesg -n LEVEL`: the first field of /proc/sys/kernel/printk.
    ConsoleLevel(u8),
    /// Writes a file as it is.
    Write { path: String, text: String },
    /// Writes a file, or adds to it, and has it on the disk before the answer.
    WriteFile {
        path: String,
        bytes: Bytes,
        append: bool,
    },
    /// All files in these folders, and these files, where they are there. Answered by [`Answer::Files`].
    ReadFiles { paths: Vec<String> },
    /// What the boot has made of netconsole. Answered by [`Answer::Booted`].
    Booted,
    /// `sync`, and reboot(2): restarts the machine, or switches it off. Answered only where that is refused.
    GoDown { restart: bool },
    /// Loads a module and what it depends on. Answered by [`Answer::Loaded`].
    Load { module: String, parameters: String },
    /// Unloads a module; `if_loaded` makes one that is not loaded no failure.
    Unload { module: String, if_loaded: bool },
    /// Writes records to /dev/kmsg, one open and one write(2) each, as `echo` does. With `count`, the number that was
    /// written comes back beside a refusal.
    Kmsg {
        records: Vec<String>,
        level: Option<u8>,
        newline: bool,
    },
    /// The same, written while other requests are executed; that it was begun is the answer.
    KmsgMeanwhile {
        records: Vec<String>,
        level: Option<u8>,
        newline: bool,
    },
    /// `TEXT 1` to `TEXT LINES`, written like [`Request::Kmsg`].
    Burst {
        text: String,
        lines: u32,
        level: Option<u8>,
    },
    /// Makes, changes and removes what is under /sys/kernel/config/netconsole.
    Configfs(Vec<ConfigfsChange>),
    /// Gives an interface its MAC and its addresses and brings it up.
    Interface {
        name: String,
        mac: MacAddress,
        addresses: Vec<IpNet>,
    },
    /// `ip route add TO via GATEWAY dev INTERFACE`.
    Route {
        to: IpNet,
        gateway: IpAddr,
        interface: String,
    },
    /// `ip link set NAME up|down`.
    SetUp { interface: String, up: bool },
    /// Waits until the interface has its carrier, or has lost it.
    WaitForCarrier {
        interface: String,
        carrier: bool,
        within: Duration,
    },
    /// Where a packet for `address` goes, by the routing table and the neighbour table, as `ip route get` and
    /// `ip neighbour` tell it; without `resolve` by the routing table alone. Answered by [`Answer::NextHop`].
    NextHop {
        address: IpAddr,
        resolve: bool,
        within: Duration,
    },
    /// Reads a small file. Answered by [`Answer::Text`].
    Read { path: String },
    /// The kernel log since the last time, from the first record on. Answered by [`Answer::Log`].
    ReadLog,
    /// Has a child of PID 1 do something and waits for its end. Answered by [`Answer::Child`].
    Child(Deed),
    /// Has a child of PID 1 do something once this is answered: it may be the kernel's last.
    Doom(Deed),
    /// Has PID 1 and its channel leave a processor, where there is another.
    Leave(u8),
    /// The addresses of functions, as /proc/kallsyms has them. Answered by [`Answer::Symbols`].
    Symbols(Vec<String>),
    /// Runs a program and waits for it. Answered by [`Answer::Ran`].
    Run {
        command: Vec<String>,
        within: Duration,
    },
    /// Starts a shell on the second serial port; it runs on while other things are asked.
    Shell(Shell),
    /// Tells that port how large the window is that it is seen through.
    TerminalSize { rows: u16, columns: u16 },
}

/// A shell for somebody who looks inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shell {
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    /// What kind of terminal it is seen through: `$TERM`.
    pub(crate) term: String,
    pub(crate) prompt: String,
    /// What is to be written to the port once the shell has ended.
    pub(crate) farewell: String,
}

/// What a child does that may not live to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Deed {
    /// Reads the start of a file, on this processor where one is named.
    Read { path: String, processor: Option<u8> },
    /// Writes a file as it is.
    Write { path: String, text: String },
}

/// One change under /sys/kernel/config/netconsole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ConfigfsChange {
    /// `mkdir PATH`.
    Make(String),
    /// `rmdir PATH`.
    Remove(String),
    /// `echo VALUE > PATH`.
    Write(String, String),
    /// `echo -n VALUE > PATH`: where each byte counts.
    WriteExactly(String, String),
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    Done,
    Batch(Vec<Answer>),
    Facts {
        release: String,
        cpus: usize,
        /// What /sys/kernel/vmcoreinfo says, where there is one.
        vmcoreinfo: Option<String>,
    },
    /// Whether the child came to the end of what it was to do; if not, a signal ended it.
    Child {
        done: bool,
    },
    /// In the order in which they were asked for.
    Symbols(Vec<u64>),
    /// Whether it was loaded just now (it may have been there before, or be built in).
    Loaded(bool),
    NextHop(NextHop),
    Text(String),
    /// Records as /dev/kmsg prints them; `lost` counts reads that found their record overwritten.
    Log {
        records: Vec<String>,
        lost: u64,
    },
    Ran(Ran),
    Files(Vec<StoredFile>),
    Booted(Booted),
}

/// Bytes in a text: each is the character with its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub(crate) struct Bytes(String);

impl Bytes {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(bytes.iter().copied().map(char::from).collect())
    }

    /// The bytes; what is no byte is left out.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let bytes = self
            .0
            .chars()
            .filter_map(|letter| u8::try_from(letter).ok());
        bytes.collect()
    }
}

/// A file of the sender as it stands on its disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredFile {
    /// From the root.
    pub(crate) path: String,
    pub(crate) kind: StoredKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StoredKind {
    File { mode: u32, bytes: Bytes },
    Folder { mode: u32 },
    Link { target: String },
}

/// What a boot has made of netconsole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub(crate) struct Booted {
    /// Whether netconsole is there, as a module or built in.
    pub(crate) loaded: bool,
    /// The parameters that modprobe gives to netconsole, as it says itself: one text for each `options`.
    pub(crate) options: Vec<String>,
    /// /proc/cmdline.
    pub(crate) cmdline: String,
    /// What systemd-modules-load said.
    pub(crate) said: String,
    /// /proc/sys/kernel/printk.
    pub(crate) console_levels: String,
}

/// The way to an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NextHop {
    pub(crate) interface: String,
    /// The source address that the kernel would take.
    pub(crate) source: Option<IpAddr>,
    /// The gateway, where there is one.
    pub(crate) gateway: Option<IpAddr>,
    /// The MAC of the gateway or of the address itself; none where it was not to be resolved.
    pub(crate) mac: Option<MacAddress>,
}

/// A program that ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ran {
    /// Its exit status; none when a signal ended it.
    pub(crate) status: Option<i32>,
    /// Its standard output, then its standard error; each cut at 64 KiB.
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// Why a kernel did not do what was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{doing}: {reason}")]
pub(crate) struct Refusal {
    /// What was being done, as an operator would write it: `modprobe floppy`.
    pub(crate) doing: String,
    /// The system's words, or ours.
    pub(crate) reason: String,
    /// The errno's name, `ENOSPC`, where the kernel gave one.
    pub(crate) errno: Option<String>,
    /// Whether all that was wrong is that the time was over, and it may be asked again.
    #[serde(default)]
    pub(crate) late: bool,
    /// What was done of a [`Request::Batch`] before this.
    #[serde(default)]
    pub(crate) before: Vec<Answer>,
}

impl Request {
    /// How long the kernel's side waits by its own clock for something that may be asked for again.
    pub(crate) fn within(&self) -> Option<Duration> {
        match self {
            Self::NextHop { within, .. } | Self::WaitForCarrier { within, .. } => Some(*within),
            Self::Batch(_)
            | Self::Renew { .. }
            | Self::Facts
            | Self::ConsoleLevel(_)
            | Self::Write { .. }
            | Self::WriteFile { .. }
            | Self::ReadFiles { .. }
            | Self::Booted
            | Self::GoDown { .. }
            | Self::Load { .. }
            | Self::Unload { .. }
            | Self::Kmsg { .. }
            | Self::KmsgMeanwhile { .. }
            | Self::Burst { .. }
            | Self::Configfs(_)
            | Self::Interface { .. }
            | Self::Route { .. }
            | Self::SetUp { .. }
            | Self::Read { .. }
            | Self::ReadLog
            | Self::Child(_)
            | Self::Doom(_)
            | Self::Leave(_)
            | Self::Symbols(_)
            | Self::Run { .. }
            | Self::Shell(_)
            | Self::TerminalSize { .. } => None,
        }
    }
}

impl Refusal {
    /// A refusal because it took too long, which may be asked again.
    pub(crate) fn too_late(doing: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            late: true,
            ..Self::ours(doing, reason)
        }
    }

    /// A refusal by the kernel.
    pub(crate) fn by_kernel(doing: impl Into<String>, error: &io::Error) -> Self {
        let errno = error.raw_os_error().map(errno_name);
        let reason = match error.raw_os_error() {
            Some(ENOTSUPP) => "the device does not support it (errno 524, ENOTSUPP)".to_owned(),
            Some(number) => format!(
                "{} ({})",
                nix::Error::from_raw(number).desc(),
                errno_name(number)
            ),
            None => error.to_string(),
        };
        Self {
            doing: doing.into(),
            reason,
            errno,
            late: false,
            before: Vec::new(),
        }
    }

    /// A refusal for a reason of our own.
    pub(crate) fn ours(doing: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            doing: doing.into(),
            reason: reason.into(),
            errno: None,
            late: false,
            before: Vec::new(),
        }
    }
}

/// The kernel's own errno that leaks to user space: `include/linux/errno.h`.
const ENOTSUPP: i32 = 524;

/// `ENOENT` for 2.
fn errno_name(number: i32) -> String {
    match nix::Error::from_raw(number) {
        nix::Error::UnknownErrno if number == ENOTSUPP => "ENOTSUPP".to_owned(),
        nix::Error::UnknownErrno => format!("errno {number}"),
        errno => format!("{errno:?}"),
    }
}

/// What PID 1 is told when it is packed: written to /lastwords/guest.json.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub(crate) struct GuestPlan {
    /// File names under /lastwords/modules in load order, for each module by its name (dashes as underscores).
    pub(crate) modules: BTreeMap<String, Vec<String>>,
    /// Modules to load before the guest says that it is ready.
    pub(crate) preload: Vec<String>,
    /// The cards' own addresses: the first is to be `eth0`, and so on, in whatever order their drivers find them.
    pub(crate) cards: Vec<MacAddress>,
    /// What is done before the guest says that it is ready, where it boots as an installed system does.
    #[serde(default)]
    pub(crate) startup: Option<Startup>,
}

/// The part of an installed system's start that concerns modules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Startup {
    /// Printed right before: what a target sends up to it is replayed.
    pub(crate) marker: String,
    /// Where systemd-modules-load is.
    pub(crate) modules_load: String,
    /// Where modprobe is.
    pub(crate) modprobe: String,
}
