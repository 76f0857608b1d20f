//! Guests that wait, started and stopped, for a scenario that is yet to be written.
//!
//! Where the same files are run again and again, the machine of the next run is known: the one of the last.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use lastwords_vm::kernel::Kernel;

use crate::{
    lab::Lab,
    run::{
        case::Setting,
        guest::{Guest, Plan},
        stage::Stage,
    },
    scenario::{Link, Node, Scenario},
};

/// A lab with its guests, in which nothing was done yet.
pub(crate) struct Ready {
    nodes: Vec<Node>,
    links: Vec<Link>,
    plans: Vec<Arc<Plan>>,
    pub(crate) lab: Lab,
    pub(crate) guests: Vec<Guest>,
}

/// Those that wait. Its clones are the same pool.
#[derive(Clone, Default)]
pub(crate) struct Pool(Rc<RefCell<Vec<Ready>>>);

impl Pool {
    /// Takes one whose machines are those of `scenario`.
    pub(crate) fn take(&self, scenario: &Scenario, plans: &[Arc<Plan>]) -> Option<Ready> {
        // What a boot has made of netconsole is known to the stage that it was made for.
        if plans.iter().any(|plan| plan.boots_netconsole()) {
            return None;
        }
        let mut all = self.0.borrow_mut();
        let fits = all.iter().position(|ready| {
            ready.plans == plans && ready.nodes == scenario.nodes && ready.links == scenario.links
        });
        fits.map(|place| all.swap_remove(place))
    }

    /// Ends all that waits.
    pub(crate) async fn empty(&self) -> Vec<String> {
        let mut leftovers = Vec::new();
        // Taken out first: nothing is borrowed while it is waited for.
        let all = self.0.take();
        for guest in all.into_iter().flat_map(|ready| ready.guests) {
            if let Err(error) = guest.qemu.end().await {
                leftovers.push(format!("QEMU could not be ended: {error}"));
            }
        }
        leftovers
    }

    /// Starts the guests of `scenario` and has them wait. What cannot be started now is told when it is wanted.
    pub(crate) async fn fill(&self, scenario: &Scenario, kernel: &Kernel, setting: &Setting) {
        if !is_simple(scenario) {
            return;
        }
        let Ok((mut stage, plans)) = super::case::set_stage(scenario, kernel, setting).await else {
            return;
        };
        if stage.pause().await.is_err() {
            stage.down().await;
            return;
        }
        let Stage { lab, guests, .. } = stage;
        self.0.borrow_mut().push(Ready {
            nodes: scenario.nodes.clone(),
            links: scenario.links.clone(),
            plans,
            lab,
            guests,
        });
    }
}

/// Whether all that belongs to the lab is in the scenario: no program of this machine takes part.
fn is_simple(scenario: &Scenario) -> bool {
    scenario.nodes.iter().all(|node| {
        node.sender().is_some()
            || node
                .receiver()
                .is_some_and(|receiver| receiver.program.is_none())
    })
}
