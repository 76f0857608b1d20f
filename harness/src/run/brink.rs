//! Machines that end themselves: held at the brink, so that all that they sent comes out and their log can be read.
//!
//! QEMU resets a machine as soon as it asks for it, with frames still in its card. So a processor that comes to the
//! function that does it is made to run in a circle there.

use std::time::Duration;

use lastwords_vm::debugger::Debugger;

use crate::{
    kernel::{Answer, Request},
    run::{injury::CIRCLE, silence::Silence, stage::Stage, trouble::Trouble},
    scenario::NodeIndex,
};

/// Functions that the kernel ends a machine with (`kernel/reboot.c`, `arch/x86/kernel/reboot.c`), and QEMU's word for it.
const EXITS: [(&str, &str); 2] = [
    ("emergency_restart", "guest-reset"),
    ("machine_power_off", "guest-shutdown"),
];
/// Whether, and when, a panic reboots.
const PANIC: &str = "/proc/sys/kernel/panic";

impl Stage<'_> {
    /// From now on, a machine that ends itself is held. `ends`: it is about to.
    pub(crate) async fn hold_at_end(
        &mut self,
        node: NodeIndex,
        ends: bool,
        within: Duration,
    ) -> Result<(), Trouble> {
        if self.fates.sentence(node).is_some() {
            return Ok(());
        }
        let guest = self.guests.iter_mut().find(|guest| guest.node == node);
        let Some(guest) = guest else {
            return Err(Silence::Gone.into());
        };
        if !guest.is_held {
            guest.is_held = true;
            if let Err(error) = self.lab.drive(guest.qemu.hold_at_end()).await {
                return Err(self.unanswered(node, error).await);
            }
        }
        let is_watched = !self.guest(node)?.exits.is_empty();
        if !is_watched && (ends || self.panic_reboots(node, within).await?) {
            self.watch_exits(node, within).await?;
        }
        Ok(())
    }

    async fn panic_reboots(&mut self, node: NodeIndex, within: Duration) -> Result<bool, Silence> {
        let path = PANIC.to_owned();
        match self.ask(node, &Request::Read { path }, within).await? {
            Ok(Answer::Text(timeout)) => Ok(timeout.trim() != "0"),
            _ => Ok(true),
        }
    }

    /// A kernel that does not say where its functions are ends its machine as it likes.
    async fn watch_exits(&mut self, node: NodeIndex, within: Duration) -> Result<(), Trouble> {
        let names = EXITS.map(|(name, _)| name);
        let Ok(addresses) = self.symbols(node, &names, within).await? else {
            return Ok(());
        };
        let watch = async |debugger: &mut Debugger| {
            for address in &addresses {
                debugger.watch(*address).await?;
            }
            Ok(())
        };
        self.debug(node, watch).await?;
        let reasons = EXITS.map(|(_, reason)| reason);
        let guest = self.guest(node)?;
        guest.exits = addresses.into_iter().zip(reasons).collect();
        guest.is_trapped = true;
        Ok(())
    }

    /// A processor stopped where a machine ends: it goes no further.
    pub(crate) async fn at_the_brink(&mut self, node: NodeIndex) -> Result<(), Silence> {
        let address = self.stopped_at(node).await?;
        let guest = self.guests.iter_mut().find(|guest| guest.node == node);
        let Some(guest) = guest else {
            return Err(Silence::Gone);
        };
        guest.is_trapped = false;
        let exits = std::mem::take(&mut guest.exits);
        let circle = async |debugger: &mut Debugger| {
            for (exit, _) in &exits {
                debugger.unwatch(*exit).await?;
            }
            debugger.write(address, CIRCLE).await
        };
        self.debug(node, circle).await?;
        let exit = exits.iter().find(|(exit, _)| *exit == address);
        let reason = exit.map_or("guest", |(_, reason)| reason);
        self.machine_ended(node, reason).await
    }
}
