//! Why no verdict could be reached.

use std::{io, path::PathBuf};

use lastwords_vm::{
    channel::ChannelError, debugger::DebuggerError, qemu::QemuError, qmp::QmpError,
    template::TemplateError,
};

use crate::{
    kernel::Refusal,
    lab::{BuildError, capture::CaptureError, probe::ProbeError},
    receiver::{ReceiverError, supply::SupplyError},
};

/// A run, or a case of it, that came to no verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Vm(#[from] lastwords_vm::error::Error),
    #[error("the guest could not be started")]
    Qemu(#[from] QemuError),
    #[error("the guest could not be started")]
    Template(#[from] TemplateError),
    #[error("QEMU failed under the running guest")]
    Machine(#[source] QemuError),
    #[error("QEMU did not do what it was asked")]
    Qmp(#[from] QmpError),
    #[error("the guest's processors could not be taken hold of")]
    Debugger(#[from] DebuggerError),
    #[error("the guest could not be asked")]
    Channel(#[from] ChannelError),
    #[error(
        "kernel {kernel} has no netconsole\n(it needs CONFIG_NETCONSOLE=y or =m; with --modules, the folder must hold netconsole.ko)"
    )]
    NoNetconsole { kernel: String },
    #[error("the sender could not be set up")]
    Sender(#[source] Refusal),
    #[error("the lab could not be built")]
    Lab(#[from] BuildError),
    #[error("`{0}` is no real receiver, or has no network")]
    NoNetwork(String),
    #[error("a real receiver failed")]
    Receiver(#[source] ReceiverError),
    #[error(transparent)]
    Supply(SupplyError),
    #[error("the end of an expectation cannot be told")]
    Probe(#[source] ProbeError),
    #[error("the recordings could not be written")]
    Capture(#[from] CaptureError),
    #[error("`{}` cannot be used", .path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("interrupted")]
    Interrupted,
    #[error("the guest answered with `{0}`, which is no answer to what was asked")]
    Answer(String),
}
