//! Real programs that receive.

use std::path::PathBuf;

use crate::scenario::{Pattern, Place};

/// A real program that receives, and how.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Program {
    pub(crate) name: ProgramName,
    /// Its configuration file, as the scenario names it; without one, its package's.
    pub(crate) config: Option<PathBuf>,
    /// What is appended to the configuration.
    pub(crate) append: Option<String>,
    /// The line for the shell that starts it, in place of the usual one.
    pub(crate) command: Option<String>,
    /// Whether it is started before the targets are set up.
    pub(crate) start: bool,
    /// What it must print when it fails to start, where it must.
    pub(crate) fails: Option<Option<Pattern>>,
    pub(crate) place: Place,
}

/// The programs that the harness knows how to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, schemars::JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub(crate) enum ProgramName {
    Netcat,
    NetcatOpenbsd,
    NetcatTraditional,
    Socat,
    SyslogNg,
    Rsyslog,
    Netconsd,
}

impl ProgramName {
    /// The name of its executable.
    pub(crate) fn executable(self) -> &'static str {
        match self {
            Self::Netcat => "nc",
            Self::NetcatOpenbsd => "nc.openbsd",
            Self::NetcatTraditional => "nc.traditional",
            Self::Socat => "socat",
            Self::SyslogNg => "syslog-ng",
            Self::Rsyslog => "rsyslogd",
            Self::Netconsd => "netconsd",
        }
    }

    /// How a Debian machine comes by it.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::Netcat | Self::NetcatOpenbsd => "Debian: apt-get install netcat-openbsd",
            Self::NetcatTraditional => "Debian: apt-get install netcat-traditional",
            Self::Socat => "Debian: apt-get install socat",
            Self::SyslogNg => "Debian: apt-get install syslog-ng-core",
            Self::Rsyslog => {
                "Debian: apt-get install rsyslog, or `ci/setup test`, which unpacks it beside syslog-ng"
            }
            Self::Netconsd => {
                "Debian: apt-get install netconsd; for Debian 12, which does not have it, `ci/setup test` builds it"
            }
        }
    }

    /// Its configuration file, as it sees it.
    pub(crate) fn configuration(self) -> Option<&'static str> {
        match self {
            Self::SyslogNg => Some("/etc/syslog-ng/syslog-ng.conf"),
            Self::Rsyslog => Some("/etc/rsyslog.conf"),
            Self::Netcat
            | Self::NetcatOpenbsd
            | Self::NetcatTraditional
            | Self::Socat
            | Self::Netconsd => None,
        }
    }

    /// The line for the shell that starts it, as an operator or its package would.
    pub(crate) fn command(self, ports: &[u16], ipv6: bool) -> String {
        let port = ports.first().copied().unwrap_or_default();
        let six = if ipv6 { "6" } else { "" };
        let flag = if ipv6 { " -6" } else { "" };
        let executable = self.executable();
        match self {
            Self::Netcat | Self::NetcatOpenbsd | Self::NetcatTraditional => {
                format!("{executable}{flag} -l -p {port} -u | tee somelogfile.log")
            }
            Self::Socat => format!("socat -u UDP{six}-RECV:{port} -"),
            Self::SyslogNg => "exec syslog-ng -F".to_owned(),
            Self::Rsyslog => "exec rsyslogd -n -iNONE".to_owned(),
            Self::Netconsd => {
                // Its printer flushes nothing, so that it would keep lines to itself where it prints to no terminal.
                format!("exec stdbuf -oL netconsd -u {port} /usr/libexec/netconsd/printer.so")
            }
        }
    }
}
