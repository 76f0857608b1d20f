//! Whose datagram it is: the target whose settings fit it best, and where they do not.

use std::{fmt, net::IpAddr};

use crate::{
    netconsole::{MacAddress, Settings},
    scenario::NodeIndex,
    verdict::{
        scene::Scene,
        target::{Entry, Targets},
    },
};

/// What all datagrams of a flow have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Heading {
    pub(crate) from: NodeIndex,
    pub(crate) link: usize,
    pub(crate) source_mac: MacAddress,
    pub(crate) destination_mac: MacAddress,
    pub(crate) vlan: Option<u16>,
    pub(crate) source: (IpAddr, u16),
    pub(crate) destination: (IpAddr, u16),
}

/// What a datagram's content says about its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Form {
    Basic,
    Extended,
    /// Extended, with the kernel's release in front.
    Release,
}

/// A datagram's target, and where it is not as that target's settings have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attribution {
    /// The number of the target's state.
    pub(crate) entry: usize,
    pub(crate) mismatches: Vec<Mismatch>,
}

/// A field that is not as the target's settings have it: what it is, what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mismatch {
    Link { must: String },
    SourceMac { is: MacAddress, must: MacAddress },
    DestinationMac { is: MacAddress, must: MacAddress },
    Vlan { is: u16 },
    SourceIp { is: IpAddr, must: IpAddr },
    DestinationIp { is: IpAddr, must: IpAddr },
    SourcePort { is: u16, must: u16 },
    DestinationPort { is: u16, must: u16 },
    Form { is: Form, must: Form },
}

/// Finds the state under which a datagram was sent, if there is any that it fits at all.
pub(crate) fn attribute(
    scene: &Scene,
    targets: &Targets,
    heading: &Heading,
    form: Form,
) -> Option<Attribution> {
    let mut best: Option<(u32, Attribution)> = None;
    for (number, entry) in targets.possible(heading.from) {
        let mismatches = mismatches(scene, entry, heading, form);
        if !belongs(&entry.state.settings, heading) {
            continue;
        }
        // Less is better; a target that is enabled now goes before one that was.
        let standing = u32::from(!targets.is_current(number)) + u32::from(!entry.state.enabled);
        let cost = mismatches.iter().map(Mismatch::cost).sum::<u32>() + standing;
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((
                cost,
                Attribution {
                    entry: number,
                    mismatches,
                },
            ));
        }
    }
    best.map(|(_, attribution)| attribution)
}

/// Whether a datagram can be a target's at all: its destination, or both of its ports.
fn belongs(settings: &Settings, heading: &Heading) -> bool {
    heading.destination.0 == settings.remote_ip
        || heading.destination.1 == settings.remote_port
        || heading.source.1 == settings.local_port
}

fn mismatches(scene: &Scene, entry: &Entry, heading: &Heading, form: Form) -> Vec<Mismatch> {
    let settings = &entry.state.settings;
    let mut found = Vec::new();
    if let Some(interface) = scene.interface(entry.state.on, &settings.dev_name) {
        if interface.link != heading.link {
            found.push(Mismatch::Link {
                must: interface.name.clone(),
            });
        }
        if interface.mac != heading.source_mac {
            found.push(Mismatch::SourceMac {
                is: heading.source_mac,
                must: interface.mac,
            });
        }
    }
    if heading.destination_mac != settings.remote_mac {
        found.push(Mismatch::DestinationMac {
            is: heading.destination_mac,
            must: settings.remote_mac,
        });
    }
    found.extend(heading.vlan.map(|is| Mismatch::Vlan { is }));
    if heading.source.0 != settings.local_ip {
        found.push(Mismatch::SourceIp {
            is: heading.source.0,
            must: settings.local_ip,
        });
    }
    if heading.destination.0 != settings.remote_ip {
        found.push(Mismatch::DestinationIp {
            is: heading.destination.0,
            must: settings.remote_ip,
        });
    }
    if heading.source.1 != settings.local_port {
        found.push(Mismatch::SourcePort {
            is: heading.source.1,
            must: settings.local_port,
        });
    }
    if heading.destination.1 != settings.remote_port {
        found.push(Mismatch::DestinationPort {
            is: heading.destination.1,
            must: settings.remote_port,
        });
    }
    let must = Form::of(settings);
    if form != must {
        found.push(Mismatch::Form { is: form, must });
    }
    found
}

impl Form {
    /// The form of a target's datagrams.
    pub(crate) fn of(settings: &Settings) -> Self {
        match (settings.extended, settings.release) {
            (false, _) => Self::Basic,
            (true, false) => Self::Extended,
            (true, true) => Self::Release,
        }
    }
}

impl Mismatch {
    /// How much it speaks against the target.
    fn cost(&self) -> u32 {
        match self {
            Self::Form {
                is: Form::Extended | Form::Release,
                must: Form::Extended | Form::Release,
            } => 6,
            Self::DestinationIp { .. } | Self::DestinationPort { .. } => 12,
            Self::Form { .. }
            | Self::Link { .. }
            | Self::SourceMac { .. }
            | Self::DestinationMac { .. }
            | Self::Vlan { .. }
            | Self::SourceIp { .. }
            | Self::SourcePort { .. } => 10,
        }
    }

    /// The field's name.
    pub(crate) fn field(&self) -> &'static str {
        match self {
            Self::Link { .. } => "interface",
            Self::SourceMac { .. } => "source MAC",
            Self::DestinationMac { .. } => "destination MAC",
            Self::Vlan { .. } => "VLAN",
            Self::SourceIp { .. } => "source address",
            Self::DestinationIp { .. } => "destination address",
            Self::SourcePort { .. } => "source port",
            Self::DestinationPort { .. } => "destination port",
            Self::Form { .. } => "format",
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic => "basic",
            Self::Extended => "extended",
            Self::Release => "extended with release",
        })
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wrong {}: ", self.field())?;
        match self {
            Self::Link { must } => {
                write!(f, "it left on another than the target's dev-name {must}")
            }
            Self::SourceMac { is, must } => write!(f, "{is}, the target's interface has {must}"),
            Self::DestinationMac { is, must } => {
                write!(f, "{is}, the target's remote-mac is {must}")
            }
            Self::Vlan { is } => write!(f, "tag {is}, the target's interface has none"),
            Self::SourceIp { is, must } => write!(f, "{is}, the target's local-ip is {must}"),
            Self::DestinationIp { is, must } => write!(f, "{is}, the target's remote-ip is {must}"),
            Self::SourcePort { is, must } => write!(f, "{is}, the target's local-port is {must}"),
            Self::DestinationPort { is, must } => {
                write!(f, "{is}, the target's remote-port is {must}")
            }
            Self::Form { is, must } => write!(f, "{is}, the target's is {must}"),
        }
    }
}
