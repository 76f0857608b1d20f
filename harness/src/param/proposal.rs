//! What logs to a receiver: the parameter, and the ways to give it to the kernel.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    netconsole::{MacAddress, Parameter},
    param::{
        Finding, Interface, Machine, device,
        machine::Support,
        shell::quoted,
        support,
        way::{NoWay, Way},
    },
};

/// Where configfs has netconsole's targets.
const CONFIGFS: &str = "/sys/kernel/config";

/// What the user chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) to: IpAddr,
    pub(crate) port: u16,
    pub(crate) local_port: u16,
    pub(crate) source: Option<IpAddr>,
    pub(crate) extended: bool,
    pub(crate) release: bool,
    /// The target's name in configfs.
    pub(crate) name: String,
}

/// A parameter, and how to set it up.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Proposal {
    /// The value: what stands behind `netconsole=`.
    pub(crate) parameter: String,
    pub(crate) settings: Settings,
    /// One sentence on whose MAC it is.
    pub(crate) reason: String,
    /// For a shell; none where netconsole is built in.
    pub(crate) modprobe: Option<String>,
    /// For the kernel's command line.
    pub(crate) cmdline: String,
    /// What makes it last; none where netconsole is built in.
    pub(crate) files: Vec<File>,
    /// For a shell, in order.
    pub(crate) configfs: Vec<String>,
    pub(crate) findings: Vec<Finding>,
}

/// The fields of the parameter.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Settings {
    pub(crate) extended: bool,
    pub(crate) release: bool,
    pub(crate) local_port: u16,
    pub(crate) local_ip: IpAddr,
    pub(crate) dev_name: String,
    pub(crate) remote_port: u16,
    pub(crate) remote_ip: IpAddr,
    #[schemars(with = "String")]
    pub(crate) remote_mac: MacAddress,
    /// The gateway that the MAC is of.
    pub(crate) gateway: Option<IpAddr>,
}

/// A line that a file of the sender should have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct File {
    pub(crate) path: &'static str,
    pub(crate) line: String,
    /// Whether the line goes behind what is there.
    pub(crate) append: bool,
}

impl Proposal {
    /// Works out what logs to `wish.to` by `way`; a way without a MAC is none.
    pub(crate) fn new(wish: &Wish, machine: &Machine, way: &Way) -> Result<Option<Self>, NoWay> {
        let (Some(interface), Some(mac)) = (machine.interface(way.interface), way.mac) else {
            return Ok(None);
        };
        let no_source = || NoWay::NoSource {
            to: wish.to,
            interface: interface.name.clone(),
        };
        let local_ip = wish
            .source
            .or(way.source)
            .or_else(|| interface.first_address(wish.to))
            .filter(|address| !address.is_unspecified())
            .ok_or_else(no_source)?;
        let settings = Settings {
            extended: wish.extended,
            release: wish.release,
            local_port: wish.local_port,
            local_ip,
            dev_name: interface.name.clone(),
            remote_port: wish.port,
            remote_ip: wish.to,
            remote_mac: mac,
            gateway: way.gateway,
        };
        let parameter = settings.parameter().to_string();
        let built_in = machine.kernel.netconsole == Support::BuiltIn;
        Ok(Some(Self {
            reason: way.reason(wish.to, machine),
            modprobe: (!built_in).then(|| {
                let word = quoted(&format!("netconsole={parameter}"));
                format!("modprobe netconsole {word}")
            }),
            cmdline: if built_in {
                format!("netconsole={parameter}")
            } else {
                format!("netconsole.netconsole={parameter}")
            },
            files: if built_in {
                Vec::new()
            } else {
                files(&parameter)
            },
            configfs: configfs(&settings, &wish.name, built_in),
            findings: findings(machine, interface, &settings, &wish.name),
            parameter,
            settings,
        }))
    }
}

impl Settings {
    fn parameter(&self) -> Parameter {
        Parameter {
            extended: self.extended,
            release: self.release,
            local_port: Some(self.local_port),
            local_ip: Some(self.local_ip),
            dev_name: Some(self.dev_name.clone()),
            remote_port: Some(self.remote_port),
            remote_ip: self.remote_ip,
            remote_mac: Some(self.remote_mac),
        }
    }
}

/// What is read at every boot. kmod reads only what ends in `.conf` below modprobe.d.
fn files(parameter: &str) -> Vec<File> {
    vec![
        File {
            path: "/etc/modprobe.d/netconsole.conf",
            line: format!("options netconsole netconsole={parameter}"),
            append: false,
        },
        File {
            path: "/etc/modules",
            line: "netconsole".to_owned(),
            append: true,
        },
    ]
}

fn configfs(settings: &Settings, name: &str, built_in: bool) -> Vec<String> {
    let folder = quoted(&format!("{CONFIGFS}/netconsole/{name}"));
    let mut commands = Vec::new();
    if !built_in {
        commands.push("modprobe netconsole".to_owned());
    }
    commands.push(format!(
        "mountpoint -q {CONFIGFS} || mount -t configfs none {CONFIGFS}"
    ));
    commands.push(format!("mkdir {folder}"));
    let mut attributes = vec![
        ("dev_name", settings.dev_name.clone()),
        ("local_port", settings.local_port.to_string()),
        ("local_ip", settings.local_ip.to_string()),
        ("remote_port", settings.remote_port.to_string()),
        ("remote_ip", settings.remote_ip.to_string()),
        ("remote_mac", settings.remote_mac.to_string()),
    ];
    if settings.extended {
        attributes.push(("extended", "1".to_owned()));
    }
    if settings.release {
        attributes.push(("release", "1".to_owned()));
    }
    attributes.push(("enabled", "1".to_owned()));
    commands.extend(
        attributes
            .iter()
            .map(|(key, value)| format!("echo {} > {folder}/{key}", quoted(value))),
    );
    commands
}

fn findings(
    machine: &Machine,
    interface: &Interface,
    settings: &Settings,
    target: &str,
) -> Vec<Finding> {
    let mut found = device::findings(machine, interface);
    let kernel = &machine.kernel;
    let name = &interface.name;
    if settings.release && !kernel.is_at_least(6, 6, 0) {
        let text = format!("`r` needs kernel 6.6, and this is {}", kernel.release);
        found.push(Finding::error("release", text).help("leave `--release` out"));
    }
    if name.contains([',', ';', '"']) {
        let text = format!("the name `{name}` ends or quotes a field of the parameter");
        found.push(Finding::error("device-name", text).help("rename it, or use configfs"));
    }
    if !interface.has(settings.local_ip) {
        let owner = machine.owner(settings.local_ip);
        let whose = owner.map_or("of no interface".to_owned(), |owner| {
            format!("{}'s", owner.name)
        });
        let text = format!(
            "the source address {} is {whose}, not {name}'s",
            settings.local_ip
        );
        let help = "the receiver's side must know the way back, or its rp_filter drops the lines";
        found.push(Finding::warning("foreign-source", text).help(help));
    }
    found.extend(temporary(interface, settings));
    if kernel.targets.iter().any(|name| name == target) {
        let text = format!("configfs has a target `{target}` already");
        let help = "give this one another name with `--name`, or remove that one with rmdir";
        found.push(Finding::warning("target-exists", text).help(help));
    }
    found.extend(at_boot(machine, interface));
    found.extend(support::findings(kernel));
    found
}

/// An address that will not be the machine's for long, and one that stays.
fn temporary(interface: &Interface, settings: &Settings) -> Option<Finding> {
    let chosen = interface
        .addresses
        .iter()
        .find(|own| own.address == settings.local_ip && own.temporary)?;
    let text = format!(
        "the source address {} is a temporary one (RFC 8981): some hours later it is no address of this machine",
        chosen.address
    );
    let lasting = interface
        .addresses
        .iter()
        .find(|own| own.network.trunc() == chosen.network.trunc() && !own.temporary);
    let finding = Finding::warning("temporary-source", text);
    Some(match lasting {
        Some(own) => finding.help(format!(
            "`--source {}` takes the one that stays",
            own.address
        )),
        None => finding,
    })
}

/// What is not yet there when the machine comes up.
fn at_boot(machine: &Machine, interface: &Interface) -> Option<Finding> {
    let name = &interface.name;
    if machine.kernel.netconsole == Support::BuiltIn {
        let text = format!(
            "when the command line is read, {name} must be there under that name: its driver must be built in, and a name \
             that udev gives comes later"
        );
        return Some(Finding::warning("built-in-name", text));
    }
    let text = format!(
        "{name} is made by the network's configuration, and /etc/modules is read before that: at boot netconsole finds no \
         such interface"
    );
    let help = format!(
        "run the modprobe, or the configfs commands, when {name} is up, as in an if-up script"
    );
    device::is_made_late(interface).then(|| Finding::warning("made-late", text).help(help))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use crate::param::machine::{Kernel, Own};

    use super::*;

    fn machine(netconsole: Support, kind: Option<&str>) -> Machine {
        let network = "10.1.0.1/24".parse().unwrap();
        Machine {
            kernel: Kernel {
                release: "6.1.192".to_owned(),
                netconsole,
                dynamic: Some(true),
                loaded: false,
                console_level: Some(8),
                targets: Vec::new(),
            },
            interfaces: vec![Interface {
                index: 2,
                name: "bond0".to_owned(),
                kind: kind.map(str::to_owned),
                ethernet: true,
                resolves: true,
                up: true,
                carrier: true,
                addresses: vec![Own {
                    address: "10.1.0.1".parse().unwrap(),
                    network,
                    temporary: false,
                }],
                ..Interface::default()
            }],
            neighbours: Vec::new(),
        }
    }

    fn way() -> Way {
        Way {
            interface: 2,
            named: false,
            source: Some("10.1.0.1".parse().unwrap()),
            gateway: None,
            route: None,
            rivals: Vec::new(),
            mac: Some("02:00:0a:01:00:02".parse().unwrap()),
        }
    }

    fn wish() -> Wish {
        Wish {
            to: "10.1.0.2".parse().unwrap(),
            port: 514,
            local_port: 6665,
            source: None,
            extended: true,
            release: false,
            name: "log host".to_owned(),
        }
    }

    #[track_caller]
    fn propose(machine: &Machine) -> Proposal {
        Proposal::new(&wish(), machine, &way()).unwrap().unwrap()
    }

    #[test]
    fn says_all_ways_to_set_it_up() {
        let proposal = propose(&machine(Support::Module, None));
        let parameter = "+6665@10.1.0.1/bond0,514@10.1.0.2/02:00:0a:01:00:02";
        assert_eq!(proposal.parameter, parameter);
        assert_eq!(
            proposal.modprobe.unwrap(),
            format!("modprobe netconsole netconsole={parameter}")
        );
        assert_eq!(
            proposal.files[0].line,
            format!("options netconsole netconsole={parameter}")
        );
        assert_eq!(
            proposal.cmdline,
            format!("netconsole.netconsole={parameter}")
        );
        let folder = "'/sys/kernel/config/netconsole/log host'";
        assert_eq!(proposal.configfs[2], format!("mkdir {folder}"));
        let last = [
            format!("echo 1 > {folder}/extended"),
            format!("echo 1 > {folder}/enabled"),
        ];
        assert!(proposal.configfs.ends_with(&last));
        assert_eq!(proposal.findings, []);
    }

    #[test]
    fn needs_no_modprobe_where_netconsole_is_built_in() {
        let proposal = propose(&machine(Support::BuiltIn, None));
        assert_eq!(proposal.modprobe, None);
        assert_eq!(proposal.files, []);
        assert!(proposal.cmdline.starts_with("netconsole=+6665@"));
        assert!(proposal.configfs[0].starts_with("mountpoint"));
    }

    #[rstest]
    #[case::bond("bond", &["no-ports", "made-late"])]
    #[case::vlan("vlan", &["made-late"])]
    fn knows_what_comes_late(#[case] kind: &str, #[case] expected: &[&str]) {
        let proposal = propose(&machine(Support::Module, Some(kind)));
        let codes: Vec<&str> = proposal.findings.iter().map(|one| one.code).collect();
        assert_eq!(codes, expected);
    }

    #[test]
    fn knows_a_target_of_the_same_name() {
        let mut machine = machine(Support::Module, None);
        machine.kernel.targets = vec!["log host".to_owned()];
        assert_eq!(propose(&machine).findings[0].code, "target-exists");
    }

    #[test]
    fn knows_an_address_that_does_not_stay() {
        let own = |address: &str, temporary| Own {
            address: address.parse().unwrap(),
            network: format!("{address}/64").parse().unwrap(),
            temporary,
        };
        let mut machine = machine(Support::Module, None);
        machine.interfaces[0].addresses = vec![own("fd01::77", true), own("fd01::1", false)];
        let wish = Wish {
            to: "fd01::2".parse().unwrap(),
            ..wish()
        };
        let way = Way {
            source: Some("fd01::77".parse().unwrap()),
            ..way()
        };
        let proposal = Proposal::new(&wish, &machine, &way).unwrap().unwrap();
        let help = proposal.findings[0].help.as_deref().unwrap();
        assert_eq!(help, "`--source fd01::1` takes the one that stays");
    }

    #[test]
    fn is_none_where_nobody_answered() {
        let silent = Way { mac: None, ..way() };
        let machine = machine(Support::Module, None);
        assert!(Proposal::new(&wish(), &machine, &silent).unwrap().is_none());
    }
}
