//! netconsole targets as written.

use schemars::JsonSchema;

use crate::scenario::{
    read::{
        Either, Map,
        form::ErrnoName,
        network::Address,
        scalar::{OrDefault, Port},
        table::table,
        word::Word,
    },
    target::Via,
};

/// `true` for any failure, or the name of an error number.
pub(crate) type Fails = Either<bool, ErrnoName>;

table! {
    /// A netconsole target. `"default"` as a value leaves a setting to the kernel; a setting left out is found by the harness.
    "a target" struct Target {
        /// Its name in this file, and its folder's in configfs; `target1`, `target2`, … without it.
        "name" name: String,
        /// The sender that has it; the only one without it.
        "on" on: String,
        /// The receiver that it is aimed at; the only one without it.
        "to" to: String,
        /// How it is set up; by modprobe without it.
        "via" via: ViaWord,
        /// The whole module parameter as it stands, in place of all settings.
        "parameter" parameter: String,
        /// The interface that it sends from: its name, or from 6.15 on its Ethernet address.
        "dev-name" dev_name: OrDefault<String>,
        /// The UDP port that it sends from.
        "local-port" local_port: OrDefault<Port>,
        /// The UDP port that it sends to.
        "remote-port" remote_port: OrDefault<Port>,
        /// The address that it sends from.
        "local-ip" local_ip: OrDefault<Address>,
        /// The address that it sends to.
        "remote-ip" remote_ip: OrDefault<Address>,
        /// The Ethernet address that it sends to: an address, or the node whose address is taken.
        "remote-mac" remote_mac: OrDefault<String>,
        /// Whether messages have a header with level, sequence number and time.
        "extended" extended: bool,
        /// Whether the kernel's release stands before that header.
        "release" release: bool,
        /// Whether it is on from the start (configfs).
        "enabled" enabled: bool,
        /// Key-value pairs sent with every message (configfs, from 6.9 on).
        "userdata" userdata: Map<String>,
        /// Whether it is not there before a `make` step makes it (configfs).
        "later" later: bool,
        /// Whether its set-up must fail: `true`, or with which error.
        "fails" fails: Fails,
    }
}

/// How a target is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub(crate) enum ViaWord {
    /// The module's parameter.
    Modprobe,
    /// A folder in configfs.
    Configfs,
    /// The kernel's command line.
    Cmdline,
    /// /etc/modules and /etc/modprobe.d, read when the machine boots.
    Boot,
}

impl From<ViaWord> for Via {
    fn from(word: ViaWord) -> Self {
        match word {
            ViaWord::Modprobe => Self::Modprobe,
            ViaWord::Configfs => Self::Configfs,
            ViaWord::Cmdline => Self::Cmdline,
            ViaWord::Boot => Self::Boot,
        }
    }
}

impl Word for ViaWord {
    const WHAT: &'static str = "way to set a target up";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("modprobe", Self::Modprobe),
        ("configfs", Self::Configfs),
        ("cmdline", Self::Cmdline),
        ("boot", Self::Boot),
    ];
}
