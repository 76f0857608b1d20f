//! What a sender is given before a scenario begins: its settings, addresses and routes, as an operator's distribution would.
//!
//! The network that most scenarios have is given to a guest before its template is saved: bringing an interface up is a
//! third of a restored guest's time, and none of netconsole's business.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    kernel::{Answer, Request},
    netconsole::MacAddress,
    run::{Error, stage::Stage, trouble::Trouble},
    scenario::{Node, NodeIndex, Scenario, node::Nic},
};

/// The time that a guest has for what prepares a scenario.
const WITHIN: Duration = Duration::from_secs(60);
/// The sender of a scenario that says nothing of its network.
const USUAL_MAC: MacAddress = MacAddress([0x02, 0x00, 172, 16, 0, 1]);
/// See [`USUAL_MAC`].
const USUAL_ADDRESS: &str = "172.16.0.1/24";

/// The senders of a scenario.
pub(crate) fn senders(scenario: &Scenario) -> impl Iterator<Item = (NodeIndex, &Node)> {
    let nodes = scenario.nodes.iter().enumerate();
    nodes
        .map(|(index, node)| (NodeIndex(index), node))
        .filter(|(_, node)| node.sender().is_some())
}

/// What `node` is asked for.
pub(crate) fn request(node: &Node) -> Request {
    let sysctl = node.sender().into_iter().flat_map(|sender| &sender.sysctl);
    let mut requests: Vec<Request> = sysctl
        .map(|(name, value)| Request::Write {
            path: format!("/proc/sys/{}", name.replace('.', "/")),
            // As sysctl writes it: `kernel.printk_devkmsg` takes no word without its newline.
            text: format!("{value}\n"),
        })
        .collect();
    requests.extend(node.interfaces.iter().map(|interface| Request::Interface {
        name: interface.name.clone(),
        mac: interface.mac,
        addresses: interface.addresses.clone(),
    }));
    requests.extend(node.routes.iter().map(|route| Request::Route {
        to: route.to,
        gateway: route.gateway,
        interface: node.interfaces[route.interface].name.clone(),
    }));
    requests.push(Request::Read {
        path: "/proc/sys/kernel/printk".to_owned(),
    });
    Request::Batch(requests)
}

/// Whether `node` has the network of a scenario that names none, so that it is worth a place in a template.
///
/// Only with a card that has its carrier at once: the others would show that they had it long ago.
pub(crate) fn is_usual(node: &Node) -> bool {
    let [interface] = node.interfaces.as_slice() else {
        return false;
    };
    let [address] = interface.addresses.as_slice() else {
        return false;
    };
    node.sender().is_some_and(|sender| sender.sysctl.is_empty())
        && node.routes.is_empty()
        && interface.nic == Nic::VirtioNetPci
        && interface.mac == USUAL_MAC
        && address.to_string() == USUAL_ADDRESS
}

/// Gives the senders their settings and addresses, those aside that were given them before they were ready.
pub(crate) async fn prepare(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    for (index, _) in senders(stage.scenario) {
        prepare_one(stage, index).await?;
    }
    Ok(())
}

/// Gives one sender its settings and addresses.
pub(crate) async fn prepare_one(stage: &mut Stage<'_>, index: NodeIndex) -> Result<(), Trouble> {
    stage.tell(index, &renewal()).await?;
    let guest = stage.guests.iter_mut().find(|guest| guest.node == index);
    let prepared = match guest.and_then(|guest| guest.prepared.take()) {
        Some(answer) => answer,
        None => {
            let request = request(stage.scenario.node(index));
            let prepared = stage.ask(index, &request, WITHIN).await?;
            prepared.map_err(|refusal| Trouble::Error(Error::Sender(refusal)))?
        }
    };
    if let Some(level) = console_level(&prepared) {
        stage.judge.console_level(index, level);
    }
    Ok(())
}

/// The time, and a seed for random numbers; a restored guest has those of its template.
fn renewal() -> Request {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    let time = time.unwrap_or_default().as_secs();
    let word = || RandomState::new().build_hasher().finish().to_le_bytes();
    Request::Renew {
        time: i64::try_from(time).unwrap_or(i64::MAX),
        seed: (0..4).flat_map(|_| word()).collect(),
    }
}

/// The console level in the last answer, the first of four numbers (`Documentation/admin-guide/sysctl/kernel.rst`).
fn console_level(prepared: &Answer) -> Option<u8> {
    let Answer::Batch(answers) = prepared else {
        return None;
    };
    match answers.last()? {
        Answer::Text(text) => first_level(text),
        Answer::Done
        | Answer::Child { .. }
        | Answer::Facts { .. }
        | Answer::Symbols(_)
        | Answer::Loaded(_)
        | Answer::NextHop(_)
        | Answer::Log { .. }
        | Answer::Ran(_)
        | Answer::Files(_)
        | Answer::Booted(_)
        | Answer::Batch(_) => None,
    }
}

/// The console level in /proc/sys/kernel/printk.
pub(crate) fn first_level(levels: &str) -> Option<u8> {
    levels.split_whitespace().next()?.parse().ok()
}
