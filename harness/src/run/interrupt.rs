//! Ctrl-C and SIGTERM: they end the waiting, and what was started is ended in order. The second ends the program at
//! once: its guests die with it, and the next start removes what it left in the cache.

use std::io;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::report::Exit;

/// Tells whether the run is to end.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Listens for SIGINT, SIGTERM and SIGHUP from now on.
    pub(crate) fn listen() -> io::Result<Self> {
        let (sender, receiver) = watch::channel(false);
        for kind in [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ] {
            let mut signals = signal(kind)?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    if sender.send_replace(true) {
                        std::process::exit(Exit::NoVerdict.code().into());
                    }
                }
            });
        }
        Ok(Self(receiver))
    }

    /// One that never comes.
    #[cfg(test)]
    pub(crate) fn never() -> Self {
        Self(watch::channel(false).1)
    }

    /// Whether it has come.
    pub(crate) fn has_come(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for it. Cancel safe.
    pub(crate) async fn wait(&mut self) {
        if self.0.wait_for(|come| *come).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
