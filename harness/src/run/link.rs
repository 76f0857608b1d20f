//! Changes a sender's interface, or its cable.

use std::time::Duration;

use crate::{
    kernel::Request,
    run::{
        action::Done,
        stage::Stage,
        trouble::{Failed, Trouble},
    },
    scenario::{NodeIndex, step::LinkChange},
};

impl Stage<'_> {
    /// The judge hears of a lost carrier before and of a new one after: in between frames may come or not.
    pub(crate) async fn change_link(
        &mut self,
        node: NodeIndex,
        change: &LinkChange,
        within: Duration,
    ) -> Result<Done, Trouble> {
        let interface = self.scenario.node(node).interfaces[change.interface]
            .name
            .clone();
        if let Some(carrier) = change.carrier {
            let Some(guest) = self.guests.iter_mut().find(|guest| guest.node == node) else {
                return Err(Failed::Died("the machine ended".to_owned()).into());
            };
            let set = guest.qemu.set_carrier(change.interface, carrier);
            if let Err(error) = self.lab.drive(set).await {
                return Err(self.unanswered(node, error).await);
            }
            self.drain();
            if !carrier {
                self.set_carrier(node, &interface, false);
                // Until the driver has noticed, what becomes of a frame is a matter of luck.
                let request = Request::WaitForCarrier {
                    interface: interface.clone(),
                    carrier,
                    within,
                };
                let wait = within + Duration::from_secs(5);
                if let Err(refusal) = self.ask(node, &request, wait).await? {
                    return Ok(Err(refusal));
                }
            }
        }
        let Some(up) = change.up else {
            return Ok(Ok(()));
        };
        let request = Request::SetUp {
            interface: interface.clone(),
            up,
        };
        let done = self.plain(node, request, within).await?;
        if done.is_ok() && !up {
            self.flush(node).await?;
            self.set_carrier(node, &interface, false);
        }
        Ok(done)
    }
}
