//! The steps of a scenario: actions and expectations, in order.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use schemars::JsonSchema;

use crate::scenario::{Absent, Expect, NodeIndex, Place, RemoteMac};

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) action: Action,
    /// Where it happens: the node named by `on`, else the only sender (for `expect` and `absent`: unused).
    pub(crate) on: NodeIndex,
    /// How it must fail, where it must.
    pub(crate) fails: Option<Failure>,
    /// How long it may take; its default suits emulation.
    pub(crate) within: Duration,
    /// What stands behind the key that names the action.
    pub(crate) place: Place,
}

/// A failure that a scenario asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// `fails = true`: any.
    Any,
    /// `fails = "ENOSPC"`: with this errno's name.
    Errno(String),
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// `dmesg -n LEVEL`, 1 to 8.
    ConsoleLevel(u8),
    Load {
        module: String,
        parameters: String,
    },
    Unload {
        module: String,
        if_loaded: bool,
    },
    Kmsg(Kmsg),
    Set(Set),
    /// Makes a target by configfs; index into the scenario's targets.
    Make {
        target: usize,
    },
    /// Removes one.
    Remove {
        target: usize,
    },
    Link(LinkChange),
    Run(Run),
    Write(Write),
    /// An orderly restart.
    Reboot,
    /// An orderly end.
    PowerOff,
    /// Waits until the interface has its carrier.
    WaitForCarrier {
        interface: usize,
    },
    /// Makes this processor, or a process on it, hang in the kernel.
    Hang(Hang, u8),
    /// Sends a non-maskable interrupt to every processor.
    Nmi,
    /// Makes the kernel oops or warn on behalf of a process.
    Oops(Oops),
    /// Makes the kernel panic, with this `kernel.panic` where it is given.
    Panic {
        timeout: Option<i32>,
    },
    /// Presses a SysRq key.
    SysRq(char),
    /// Starts or stops the program of a receiver, which the step is on.
    Program(ProgramChange),
    Expect(Expect),
    Absent(Absent),
}

impl Action {
    /// Whether it is done to the kernel, which may not survive it.
    pub(crate) fn is_ordeal(&self) -> bool {
        match self {
            Self::Hang(..) | Self::Nmi | Self::Oops(_) | Self::Panic { .. } | Self::SysRq(_) => {
                true
            }
            Self::ConsoleLevel(_)
            | Self::Load { .. }
            | Self::Unload { .. }
            | Self::Kmsg(_)
            | Self::Set(_)
            | Self::Link(_)
            | Self::Run(_)
            | Self::Make { .. }
            | Self::Remove { .. }
            | Self::Write(_)
            | Self::Reboot
            | Self::PowerOff
            | Self::WaitForCarrier { .. }
            | Self::Program(_)
            | Self::Expect(_)
            | Self::Absent(_) => false,
        }
    }

    /// The kernel module that it loads or unloads.
    pub(crate) fn module(&self) -> Option<&str> {
        match self {
            Self::Load { module, .. } | Self::Unload { module, .. } => Some(module),
            Self::ConsoleLevel(_)
            | Self::Kmsg(_)
            | Self::Set(_)
            | Self::Make { .. }
            | Self::Remove { .. }
            | Self::Link(_)
            | Self::Run(_)
            | Self::Write(_)
            | Self::Reboot
            | Self::PowerOff
            | Self::WaitForCarrier { .. }
            | Self::Hang(..)
            | Self::Nmi
            | Self::Oops(_)
            | Self::Panic { .. }
            | Self::SysRq(_)
            | Self::Program(_)
            | Self::Expect(_)
            | Self::Absent(_) => None,
        }
    }
}

/// What happens to a receiver's program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgramChange {
    Start,
    /// As a system stops it: by SIGTERM, and by SIGKILL where it does not listen.
    Stop,
    Kill,
    Restart,
}

/// Writes to /dev/kmsg, one write(2) for each record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kmsg {
    /// The records in order, without trailing newline (it is written unless `newline` is off). Bursts are expanded.
    pub(crate) records: Vec<String>,
    /// 0 (emerg) to 7 (debug), written as `<LEVEL>`; none: the kernel's default for /dev/kmsg, 4.
    pub(crate) level: Option<u8>,
    pub(crate) newline: bool,
    /// Whether the next step begins while it is still being written.
    pub(crate) background: bool,
}

impl Kmsg {
    /// One record at the kernel's default level.
    pub(crate) fn line(text: &str) -> Self {
        Self {
            records: vec![text.to_owned()],
            level: None,
            newline: true,
            background: false,
        }
    }
}

/// Changes a target through configfs.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Set {
    /// Index into the scenario's targets.
    pub(crate) target: usize,
    /// Only writes, without disabling before and enabling after.
    pub(crate) raw: bool,
    pub(crate) enabled: Option<bool>,
    pub(crate) dev_name: Option<String>,
    pub(crate) local_port: Option<u16>,
    pub(crate) remote_port: Option<u16>,
    pub(crate) local_ip: Option<IpAddr>,
    pub(crate) remote_ip: Option<IpAddr>,
    pub(crate) remote_mac: Option<RemoteMac>,
    pub(crate) extended: Option<bool>,
    pub(crate) release: Option<bool>,
    /// Keys to set, or (`None`) to remove.
    pub(crate) userdata: BTreeMap<String, Option<String>>,
    /// Attributes written as they stand, by configfs name: bad values are tried so.
    pub(crate) attributes: BTreeMap<String, String>,
}

/// Changes an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkChange {
    /// Index into the node's interfaces.
    pub(crate) interface: usize,
    /// `ip link set up|down`.
    pub(crate) up: Option<bool>,
    /// QEMU's `set_link`: the cable pulled or put back.
    pub(crate) carrier: Option<bool>,
}

/// Runs a command on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) command: Vec<String>,
    /// Further programs that the command needs, packed into the guest with their libraries.
    pub(crate) programs: Vec<String>,
    /// Files of this machine that are copied into the guest: path there, path here.
    pub(crate) files: BTreeMap<String, PathBuf>,
    /// What its standard output must hold, if that is asked.
    pub(crate) prints: Option<String>,
}

/// How something hangs in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub(crate) enum Hang {
    /// A processor runs in a circle, and takes interrupts.
    Soft,
    /// A processor runs in a circle with interrupts off.
    Hard,
    /// A process sleeps and cannot be woken.
    Task,
}

/// What a kernel says of itself when something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub(crate) enum Oops {
    /// An instruction that no processor knows, as `BUG()` leaves it in the code.
    Bug,
    /// `WARN()`: it goes on.
    Warn,
}

/// Writes a file on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    /// Absolute.
    pub(crate) path: String,
    pub(crate) content: Content,
    /// Whether it is added to what is there.
    pub(crate) append: bool,
}

/// What a file is to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Text(String),
    /// What this file of this machine holds, as the scenario names it.
    File(PathBuf),
}
