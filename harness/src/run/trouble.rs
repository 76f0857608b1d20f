//! Why a case does not go on: its verdict stands, or there will be none.

use crate::{
    kernel::Refusal,
    run::{Error, silence::Silence},
    verdict::{Failure, Finding},
};

/// Why a case does not go on.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The verdict is `failed`.
    Failed(Box<Failed>),
    /// No verdict can be reached.
    Error(Error),
}

/// What a failed verdict rests on.
#[derive(Debug)]
pub(crate) enum Failed {
    /// An expectation was not met.
    Expectation(Failure),
    /// The kernel refused what a step or a target asked of it.
    Refused(Refusal),
    /// The kernel did what it should have refused.
    NotRefused(String),
    /// A target that should be there is not, and the kernel said nothing of it.
    NoTarget { target: String, said: Vec<String> },
    /// A boot has not loaded netconsole.
    NotLoaded { target: String, said: Vec<String> },
    /// The kernel, ready before, does not answer any more.
    Died(String),
    /// Something that no step asked about is wrong.
    Audit(Vec<Finding>),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Failed> for Trouble {
    fn from(failed: Failed) -> Self {
        Self::Failed(Box::new(failed))
    }
}

impl From<Silence> for Trouble {
    fn from(silence: Silence) -> Self {
        match silence {
            Silence::Interrupted => Self::Error(Error::Interrupted),
            Silence::Receiver(error) => Self::Error(Error::Receiver(error)),
            Silence::Crashed(error) => Self::Error(Error::Machine(error)),
            Silence::Unanswered(error) => Self::Error(Error::Qmp(error)),
            Silence::Untouchable(error) => Self::Error(Error::Debugger(error)),
            Silence::Deadline(_) | Silence::Gone | Silence::Dead(_) | Silence::Broken(_) => {
                Failed::Died(silence.sentence()).into()
            }
        }
    }
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Failed::Refused(refusal).into()
    }
}
