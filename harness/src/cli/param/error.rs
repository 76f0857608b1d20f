//! Why `lastwords param` has no answer.

use std::net::{IpAddr, Ipv6Addr};

use crate::{
    kernel::{Refusal, route::RouteError},
    param::NoWay,
    report::Exit,
};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ParamError {
    #[error(
        "{0} is a link-local address, which every link may have\n(say on which, as in `{0}%eth0`)"
    )]
    NoLink(Ipv6Addr),
    #[error("`--to` says {link}, `--interface` says {interface}\n(leave one of them out)")]
    TwoLinks { link: String, interface: String },
    #[error("there is no interface `{name}`\n(there is {there})")]
    NoInterface { name: String, there: String },
    #[error("{0} is no address of this machine\n(`ip address` lists them)")]
    ForeignSource(IpAddr),
    #[error("{to} and {source_address} are not both IPv4 or both IPv6")]
    OtherFamily { to: IpAddr, source_address: IpAddr },
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error(transparent)]
    Kernel(#[from] Refusal),
}

impl ParamError {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::NoLink(_)
            | Self::TwoLinks { .. }
            | Self::NoInterface { .. }
            | Self::ForeignSource(_)
            | Self::OtherFamily { .. } => Exit::Usage,
            Self::Route(_) | Self::Kernel(_) => Exit::NoVerdict,
        }
    }
}

impl From<NoWay> for ParamError {
    fn from(no_way: NoWay) -> Self {
        Self::Route(no_way.into())
    }
}
