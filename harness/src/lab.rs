//! The nodes and links of one scenario, alive: what goes over its wires, in order and with its time.
//!
//! The lab lives while it is polled, by [`Lab::next`] or under [`Lab::drive`]; there is no task and no thread behind
//! it. It judges nothing, and it starts no QEMU and no program: whoever does takes the [`GuestNic`]s, or makes a
//! [`room::Room`] in a node's [`Lab::network`].

pub(crate) mod capture;
pub(crate) mod event;
pub(crate) mod frame;
pub(crate) mod loss;
pub(crate) mod namespace;
pub(crate) mod observer;
mod offload;
mod operation;
pub(crate) mod packet;
pub(crate) mod port;
pub(crate) mod probe;
pub(crate) mod room;
pub(crate) mod route;
pub(crate) mod segment;
pub(crate) mod veth;
pub(crate) mod wire;

use std::{
    collections::{BTreeMap, VecDeque},
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use tokio::task::coop;

pub(crate) use capture::Captures;
pub(crate) use event::{Event, Fault};
pub(crate) use frame::{Frame, Origin};
pub(crate) use loss::Loss;
pub(crate) use port::{BuildError, GuestNic, Port, PortIndex};

use crate::{
    lab::{loss::Counters, namespace::Namespace, port::End, segment::Segment, wire::Reading},
    scenario::{Node, NodeIndex, Scenario},
};

/// What waits to be taken at most under [`Lab::drive`]; then the guests wait.
const WAITING_EVENTS: usize = 8192;
/// See [`WAITING_EVENTS`].
const WAITING_BYTES: usize = 32 << 20;
/// How often [`Lab::drive`] goes around its ports before the driven future has its turn again.
const ROUNDS: usize = 64;

/// The nodes and links of one scenario, alive.
pub(crate) struct Lab {
    started: Instant,
    nodes: Vec<Node>,
    /// By the scenario's links.
    segments: Vec<Segment>,
    /// By [`PortIndex`].
    ports: Vec<Port>,
    /// Of those nodes that live in one.
    networks: BTreeMap<NodeIndex, Namespace>,
    /// What was counted of them while they were built: IPv6 speaks before an interface is up.
    counted: BTreeMap<NodeIndex, Counters>,
    captures: Captures,
    waiting: VecDeque<Event>,
    waiting_bytes: usize,
    frames: u64,
    probes: u16,
}

impl Lab {
    /// Builds the lab of `scenario` and gives the ends that its guests' QEMUs take. Needs a tokio runtime with IO.
    pub(crate) fn new(scenario: &Scenario) -> Result<(Self, Vec<GuestNic>), BuildError> {
        let (ports, networks) = build(scenario)?;
        let mut members = vec![Vec::new(); scenario.links.len()];
        for (index, port) in ports.iter().enumerate() {
            members[port.link].push(PortIndex(index));
        }
        let mut lab = Self {
            started: Instant::now(),
            captures: Captures::new(scenario, &ports),
            counted: loss::counted(&networks),
            networks,
            nodes: scenario.nodes.clone(),
            segments: members.into_iter().map(Segment::new).collect(),
            ports,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            frames: 0,
            probes: 0,
        };
        let mut nics = Vec::new();
        for node in (0..scenario.nodes.len())
            .map(NodeIndex)
            .filter(|node| scenario.node(*node).sender().is_some())
        {
            nics.extend(lab.plug(node)?);
        }
        Ok((lab, nics))
    }

    /// Gives `node`, a sender, new wires in place of those that it had: a QEMU is started for it again.
    pub(crate) fn plug(&mut self, node: NodeIndex) -> Result<Vec<GuestNic>, BuildError> {
        let node_ports = self.ports.iter_mut().filter(|port| port.node == node);
        node_ports
            .map(|port| {
                port.plug().map_err(|source| BuildError::Wire {
                    name: port.name.clone(),
                    source,
                })
            })
            .collect()
    }

    /// The network of `node`, where it lives in a namespace: a router or a real receiver.
    pub(crate) fn network(&self, node: NodeIndex) -> Option<&Namespace> {
        self.networks.get(&node)
    }

    /// Whether some wire of `node` still ends in a QEMU, as far as was read.
    pub(crate) fn is_plugged(&self, node: NodeIndex) -> bool {
        let mut ports = self.ports.iter().filter(|port| port.node == node);
        ports.any(|port| matches!(port.end, End::Guest(_)))
    }

    /// Waits for the next event. Cancel safe: what it has not given is given by the next call.
    pub(crate) async fn next(&mut self) -> Event {
        coop::cooperative(poll_fn(|context| self.poll_next(context))).await
    }

    /// The next event that has happened already, also where the runtime has not heard of it yet.
    pub(crate) fn try_next(&mut self) -> Option<Event> {
        match self.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(event) => Some(event),
            Poll::Pending => None,
        }
    }

    /// Runs `future` to its end with the lab alive beside it; what happens meanwhile is kept for [`Lab::next`].
    ///
    /// Where too much is kept the guests wait with their sending until it has been taken.
    pub(crate) async fn drive<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(output);
            }
            for _ in 0..ROUNDS {
                if self.is_full() || !self.go_around(context) {
                    return Poll::Pending;
                }
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }

    /// What has been recorded.
    pub(crate) fn captures(&self) -> &Captures {
        &self.captures
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                if let Event::Frame(frame) = &event {
                    self.waiting_bytes -= frame.bytes.len();
                }
                return Poll::Ready(event);
            }
            if !self.go_around(context) {
                return Poll::Pending;
            }
        }
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_EVENTS || self.waiting_bytes >= WAITING_BYTES
    }

    /// Takes at most one frame from each port; whether there was any.
    fn go_around(&mut self, context: &mut Context<'_>) -> bool {
        let mut any = false;
        for index in (0..self.ports.len()).map(PortIndex) {
            let Poll::Ready(reading) = self.ports[index.0].end.poll_read(context) else {
                continue;
            };
            any = true;
            match reading {
                Reading::Frame(bytes) => {
                    let origin = self.ports[index.0].end.origin();
                    self.put(index, bytes, origin);
                }
                Reading::Closed => self.close(index),
                Reading::Broken(source) => {
                    let port = &self.ports[index.0];
                    let (name, node) = (port.name.clone(), port.node);
                    self.waiting.push_back(Event::Fault(Fault {
                        name,
                        port: index,
                        node,
                        source,
                    }));
                    self.close(index);
                }
            }
        }
        any
    }

    fn close(&mut self, index: PortIndex) {
        let port = &mut self.ports[index.0];
        port.unplug();
        self.waiting
            .push_back(Event::PortClosed { node: port.node });
    }

    /// Puts a frame on the link of `port`, and what the observers answer after it; the frame's number.
    fn put(&mut self, port: PortIndex, bytes: Arc<[u8]>, origin: Origin) -> u64 {
        let number = self.frames + 1;
        let mut pending = VecDeque::from([(port, bytes, origin)]);
        while let Some((port, bytes, origin)) = pending.pop_front() {
            let frame = self.forward(port, bytes, origin);
            for &to in &frame.to {
                match &mut self.ports[to.0].end {
                    End::Guest(wire) => wire.push(&frame.bytes),
                    End::Veth(packets) => packets.push(&frame.bytes),
                    End::Observer(observer) => {
                        let replies = observer.receive(&frame.bytes, frame.time);
                        pending.extend(
                            replies
                                .into_iter()
                                .map(|reply| (to, reply.into(), Origin::Observer)),
                        );
                    }
                    End::Unplugged => {}
                }
            }
            self.captures.record(&frame);
            self.waiting_bytes += frame.bytes.len();
            self.waiting.push_back(Event::Frame(frame));
        }
        number
    }

    /// Numbers a frame and finds whom its link brings it to.
    fn forward(&mut self, port: PortIndex, bytes: Arc<[u8]>, origin: Origin) -> Frame {
        self.frames += 1;
        let from = &self.ports[port.0];
        let to = self.segments[from.link].forward(port, &bytes);
        Frame {
            number: self.frames,
            time: self.started.elapsed(),
            link: from.link,
            port,
            node: from.node,
            to,
            origin,
            bytes,
        }
    }
}

/// The ports of all nodes, and the networks of those that live in namespaces.
fn build(scenario: &Scenario) -> Result<(Vec<Port>, BTreeMap<NodeIndex, Namespace>), BuildError> {
    let mut ports = Vec::new();
    let mut networks = BTreeMap::new();
    let mut hub = None;
    for (index, node) in scenario.nodes.iter().enumerate() {
        let index = NodeIndex(index);
        if !node.lives_in_a_namespace() {
            for interface in 0..node.interfaces.len() {
                let end = End::of(node, interface)?;
                ports.push(Port::new(node, index, interface, end));
            }
            continue;
        }
        let hub = match &mut hub {
            Some(hub) => hub,
            None => hub.insert(veth::hub().map_err(BuildError::Hub)?),
        };
        let furnished = veth::furnish(node, hub, ports.len());
        let (network, sockets) = furnished.map_err(|source| BuildError::Namespace {
            node: node.name.clone(),
            source,
        })?;
        for (interface, socket) in sockets.into_iter().enumerate() {
            let end = End::veth(node, interface, socket)?;
            ports.push(Port::new(node, index, interface, end));
        }
        networks.insert(index, network);
    }
    Ok((ports, networks))
}

#[cfg(test)]
mod tests;
