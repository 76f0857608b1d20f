//! Ctrl-C and SIGTERM: they end the waiting, and what was started is ended in order.

use std::io;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

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
                if signals.recv().await.is_some() {
                    sender.send_replace(true);
                }
            });
        }
        Ok(Self(receiver))
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
