//! Why a guest that was ready, or a receiver's keeper, gave no answer.

use std::time::Duration;

use lastwords_vm::{debugger::DebuggerError, qemu::QemuError, qmp::QmpError};

use crate::{receiver::ReceiverError, run::stage::chain};

/// Why a guest that was ready gave no answer.
#[derive(Debug)]
pub(crate) enum Silence {
    /// It did not answer in time.
    Deadline(Duration),
    /// Its QEMU ended in order, as when the guest switches itself off.
    Gone,
    /// Its QEMU failed.
    Crashed(QemuError),
    /// Its kernel is dead, or hangs: one sentence.
    Dead(String),
    /// Its QEMU did not do what it was asked.
    Unanswered(QmpError),
    /// Its processors cannot be taken hold of.
    Untouchable(DebuggerError),
    /// It sent what is no answer.
    Broken(String),
    /// It is not the guest, but a receiver's keeper that does not answer.
    Receiver(ReceiverError),
    Interrupted,
}

impl Silence {
    /// One sentence for a report.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Deadline(within) => format!("the kernel did not answer within {within:?}"),
            Self::Gone => "the machine ended".to_owned(),
            Self::Crashed(error) => chain(error),
            Self::Unanswered(error) => chain(error),
            Self::Untouchable(error) => chain(error),
            Self::Dead(what) | Self::Broken(what) => what.clone(),
            Self::Receiver(error) => chain(error),
            Self::Interrupted => "interrupted".to_owned(),
        }
    }
}
