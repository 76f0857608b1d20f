//! How far an expected line came on its way from the kernel's log to the receiver.

use std::fmt;

use serde::Serialize;

use crate::verdict::reception::Rejection;

/// The hops that are known; `None` where nothing certain is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub(crate) struct Journey {
    /// It stands in the kernel's log.
    pub(crate) printed: Option<bool>,
    /// Its level passes the console level.
    pub(crate) level: Option<bool>,
    /// It left on the sender's wire.
    pub(crate) wire: Option<bool>,
    /// The receiver took it.
    pub(crate) arrived: Option<bool>,
    /// The node that saw it last.
    pub(crate) lost: Option<String>,
    /// What ended it, where that is certain.
    pub(crate) cause: Option<Cause>,
    /// The same in the operator's words.
    pub(crate) because: Option<String>,
}

/// What ended a line's journey. The names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cause {
    NeverPrinted,
    ConsoleLevel,
    NoTarget,
    TargetDisabled,
    NoCarrier,
    NotMyMac,
    WrongAddress,
    WrongPort,
    WrongSource,
    NoRoute,
    TtlExpired,
    Filtered,
    Corrupted,
    NotListening,
    OtherPeer,
    ReceiverOverflow,
    ReceiverWroteElsewhere,
    ReceiverChangedIt,
    KernelDied,
}

impl From<&Rejection> for Cause {
    fn from(rejection: &Rejection) -> Self {
        match rejection {
            Rejection::NotMyMac { .. } | Rejection::Tagged { .. } => Self::NotMyMac,
            Rejection::WrongAddress { .. } => Self::WrongAddress,
            Rejection::WrongPort { .. } => Self::WrongPort,
            Rejection::Corrupted => Self::Corrupted,
        }
    }
}

impl Journey {
    /// Ends it at a node.
    pub(crate) fn end(mut self, lost: &str, cause: Cause, because: String) -> Self {
        self.lost = Some(lost.to_owned());
        self.cause = Some(cause);
        self.because = Some(because);
        self
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::scenario::cause::NAMES;

    #[rstest]
    fn a_scenario_can_name_every_cause(
        #[values(
            Cause::NeverPrinted,
            Cause::ConsoleLevel,
            Cause::NoTarget,
            Cause::TargetDisabled,
            Cause::NoCarrier,
            Cause::NotMyMac,
            Cause::WrongAddress,
            Cause::WrongPort,
            Cause::WrongSource,
            Cause::NoRoute,
            Cause::TtlExpired,
            Cause::Filtered,
            Cause::Corrupted,
            Cause::NotListening,
            Cause::OtherPeer,
            Cause::ReceiverOverflow,
            Cause::ReceiverWroteElsewhere,
            Cause::ReceiverChangedIt,
            Cause::KernelDied
        )]
        cause: Cause,
    ) {
        assert!(NAMES.contains(&cause.to_string().as_str()), "{cause}");
    }
}
