//! A network namespace as a file descriptor, and how one acts in it.
//!
//! It has no name and no place in the file system: it is gone with the last descriptor, socket and process that hold
//! it. Nobody of us lives in one: a thread that ends soon enters, acts, and hands back what it opened.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Namespace(OwnedFd);

/// What the machine did not let us do with a namespace.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}")]
pub(crate) struct NamespaceError {
    /// `make a network namespace`.
    doing: String,
    source: io::Error,
}

impl NamespaceError {
    /// The error of `doing`, to be mapped to.
    pub(crate) fn of<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> Self {
        let doing = doing.into();
        move |source| Self {
            doing,
            source: source.into(),
        }
    }
}

impl NamespaceError {
    /// Whether a file was not there.
    pub(super) fn is_absent(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

impl Namespace {
    /// A new one, in which there is nothing but a loopback interface that is down.
    pub(crate) fn new() -> Result<Self, NamespaceError> {
        let doing = "make a network namespace";
        let made = on_a_thread(|| -> io::Result<OwnedFd> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Ok(File::open("/proc/thread-self/ns/net")?.into())
        });
        made.and_then(|made| made.map_err(NamespaceError::of(doing)))
            .map(Self)
    }

    /// Does `work` in the namespace, in a thread of its own: sockets that it opens and values below /proc/sys/net that
    /// it writes are the namespace's.
    pub(crate) fn enter<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, NamespaceError> + Send,
    ) -> Result<T, NamespaceError> {
        on_a_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET)
                .map_err(NamespaceError::of("enter a network namespace"))?;
            work()
        })?
    }

    /// Does what needs a tokio runtime in the namespace, as rtnetlink does.
    pub(crate) fn enter_async<T: Send>(
        &self,
        work: impl AsyncFnOnce() -> Result<T, NamespaceError> + Send,
    ) -> Result<T, NamespaceError> {
        self.enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build()
                .map_err(NamespaceError::of("start a runtime"))?;
            runtime.block_on(work())
        })
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Does `work` in a thread that ends with it: it may leave its namespaces for others.
pub(super) fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, work);
        let thread = thread.map_err(NamespaceError::of("start a thread"))?;
        thread
            .join()
            .map_err(|panic| std::panic::resume_unwind(panic))
    })
}

/// Writes a value below /proc/sys of the thread's own namespace.
pub(super) fn write_sysctl(name: &str, value: &str) -> Result<(), NamespaceError> {
    fs::write(format!("/proc/sys/{name}"), value).map_err(NamespaceError::of(format!(
        "write `{value}` to /proc/sys/{name}"
    )))
}
