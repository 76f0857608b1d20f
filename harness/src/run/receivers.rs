//! The real receivers of a stage: starts and stops their programs, and hands what they write to the judge.

use std::{path::Path, time::Duration};

use futures_util::future::select_all;
use tokio::time::Instant;

use crate::{
    kernel::Refusal,
    lab::room::Room,
    receiver::{
        Happening, Receiver, ReceiverError,
        order::{Answer, Ended, Order, Rest},
        supply,
    },
    run::{
        Error,
        stage::Stage,
        trouble::{Failed, Trouble},
    },
    scenario::{Node, NodeIndex, Pattern, Program, expectation::Source, step::ProgramChange},
    verdict::reading::{Attention, Ear},
};

/// How long a program may take to start before the first step.
const START_WITHIN: Duration = Duration::from_secs(60);
/// How long a look at a program may take.
const REST_WITHIN: Duration = Duration::from_secs(5);

/// The nodes with a program, in their order.
fn programs(nodes: &[Node]) -> impl Iterator<Item = (NodeIndex, &Node, &Program)> {
    let nodes = nodes.iter().enumerate();
    nodes.filter_map(|(index, node)| Some((NodeIndex(index), node, node.program()?)))
}

impl<'scenario> Stage<'scenario> {
    /// Makes a place for each real receiver, and starts the programs that are there from the start.
    pub(crate) async fn set_receivers_up(&mut self) -> Result<(), Trouble> {
        let scenario = self.scenario;
        let folder = scenario.path.parent().unwrap_or(Path::new("."));
        for (index, node, program) in programs(&scenario.nodes) {
            let plan = supply::plan(node, program, folder).map_err(Error::Supply)?;
            let network = self.lab.network(index);
            let network = network.ok_or_else(|| Error::NoNetwork(node.name.clone()))?;
            let room = Room::new(network, &node.name, &[]).map_err(ReceiverError::Room);
            let receiver = Receiver::new(room.map_err(Error::Receiver)?, &plan);
            let receiver = self.lab.drive(receiver).await.map_err(Error::Receiver)?;
            self.receivers.insert(index, receiver);
            for source in scenario.sources(index) {
                self.follow(index, &source).await?;
            }
            if program.start {
                self.receiver = Some(index);
                let started = self.start_program(index, START_WITHIN).await?;
                check_start(node, program, started)?;
                self.receiver = None;
            }
        }
        Ok(())
    }

    /// Does what a step says with a receiver's program.
    pub(crate) async fn change_program(
        &mut self,
        node: NodeIndex,
        change: ProgramChange,
        within: Duration,
    ) -> Result<Result<(), Refusal>, Trouble> {
        let kill = change == ProgramChange::Kill;
        if change != ProgramChange::Start {
            self.order(node, &Order::Stop { kill }, within).await?;
            self.running.remove(&node);
            self.dropped.remove(&node);
        }
        match change {
            ProgramChange::Stop | ProgramChange::Kill => Ok(Ok(())),
            ProgramChange::Start | ProgramChange::Restart => self.start_program(node, within).await,
        }
    }

    /// Runs a command beside a receiver's program.
    pub(crate) async fn run_beside(
        &mut self,
        node: NodeIndex,
        command: &[String],
        within: Duration,
    ) -> Result<Result<crate::kernel::request::Ran, Refusal>, Trouble> {
        let order = Order::Run {
            command: command.to_vec(),
            within,
        };
        match self.order(node, &order, within).await? {
            Answer::Ran(ran) => Ok(Ok(ran)),
            Answer::Refused(reason) => Ok(Err(Refusal::ours(command.join(" "), reason))),
            other => Err(wrong(&other)),
        }
    }

    async fn start_program(
        &mut self,
        node: NodeIndex,
        within: Duration,
    ) -> Result<Result<(), Refusal>, Trouble> {
        let scenario = self.scenario;
        let (machine, Some(program)) = (scenario.node(node), scenario.node(node).program()) else {
            return Err(Error::NoNetwork(scenario.node(node).name.clone()).into());
        };
        let command = command(machine, program);
        let order = Order::Start {
            command: command.clone(),
            ports: machine
                .receiver()
                .map_or_else(Vec::new, |receiver| receiver.ports.clone()),
            within,
        };
        let refused = |reason| Ok(Err(Refusal::ours(command.clone(), reason)));
        match self.order(node, &order, within).await? {
            Answer::Done => {
                self.running.insert(node);
                self.watch_programs();
                Ok(Ok(()))
            }
            Answer::Ended(ended) => refused(told(&ended)),
            Answer::Refused(reason) => refused(reason),
            other => Err(wrong(&other)),
        }
    }

    /// From now on deadlines wait for all that runs at receivers, too.
    pub(crate) fn watch_programs(&mut self) {
        for process in self.receivers.values().flat_map(Receiver::processes) {
            self.patience.watch(process);
        }
    }

    /// Gives a receiver's keeper an order, with the lab alive meanwhile.
    pub(super) async fn order(
        &mut self,
        node: NodeIndex,
        order: &Order,
        within: Duration,
    ) -> Result<Answer, Trouble> {
        let Some(receiver) = self.receivers.get_mut(&node) else {
            return Err(Error::NoNetwork(self.scenario.node(node).name.clone()).into());
        };
        let answer = tokio::select! {
            answer = self.lab.drive(receiver.order(order, within)) => answer,
            () = self.interrupt.wait() => return Err(Error::Interrupted.into()),
        };
        let happened = receiver.happened();
        for happening in happened {
            self.happens(node, happening);
        }
        self.drain();
        answer.map_err(|error| Error::Receiver(error).into())
    }

    /// From now on the judge is told of what a program writes to `source`.
    pub(super) async fn follow(&mut self, node: NodeIndex, source: &Source) -> Result<(), Trouble> {
        let Some(receiver) = self.receivers.get_mut(&node) else {
            return Ok(());
        };
        let followed = self.lab.drive(receiver.follow(source)).await;
        followed.map_err(|error| Error::Receiver(error).into())
    }

    /// Waits for what happens next at any receiver; for ever where there is none.
    pub(crate) async fn next_happening(
        receivers: &mut std::collections::BTreeMap<NodeIndex, Receiver>,
    ) -> Result<(NodeIndex, Happening), ReceiverError> {
        if receivers.is_empty() {
            return std::future::pending().await;
        }
        let next = receivers.iter_mut().map(|(node, receiver)| {
            Box::pin(async { receiver.next().await.map(|happening| (*node, happening)) })
        });
        select_all(next).await.0
    }

    /// Something happened at a receiver.
    pub(crate) fn happens(&mut self, node: NodeIndex, happening: Happening) {
        match happening {
            Happening::Gained(source, bytes) => {
                self.judge.wrote(node, &source, &bytes);
                self.check_bounds(node);
            }
            Happening::Anew(source) => self.judge.begins_anew(node, &source),
            Happening::Ended(ended) => {
                self.running.remove(&node);
                let machine = self.scenario.node(node);
                let command = machine
                    .program()
                    .map_or(String::new(), |program| command(machine, program));
                let sentence = format!(
                    "the program of {} ended by itself: `{command}`: {}",
                    machine.name,
                    told(&ended)
                );
                self.faults.push(sentence.clone());
                self.ended.push(sentence);
            }
        }
    }

    /// Notes that more was written than is read.
    fn check_bounds(&mut self, node: NodeIndex) {
        let is_full = self.receivers.get(&node).is_some_and(Receiver::is_full);
        let name = &self.scenario.node(node).name;
        let fault = format!(
            "the program of {name} wrote more than is read, so that not all of it is judged"
        );
        if is_full && !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// Whether a receiver's program comes to rest until `deadline`: nothing waits for it, and it sleeps.
    pub(crate) async fn rests(
        &mut self,
        node: NodeIndex,
        deadline: Instant,
    ) -> Result<bool, Trouble> {
        Ok(self.rest(node, deadline).await? == Rest::Asleep)
    }

    /// What a receiver's program has still to do, once it rests or `deadline` has passed.
    pub(crate) async fn rest(
        &mut self,
        node: NodeIndex,
        deadline: Instant,
    ) -> Result<Rest, Trouble> {
        loop {
            match self.order(node, &Order::Rest, REST_WITHIN).await? {
                Answer::Rest(Rest::Asleep) => return Ok(Rest::Asleep),
                Answer::Rest(rest) if self.patience.has_passed(deadline) => return Ok(rest),
                Answer::Rest(_) => {}
                other => return Err(wrong(&other)),
            }
        }
    }

    /// How it stands with a receiver's program.
    pub(crate) async fn attention(&mut self, node: NodeIndex) -> Result<Attention, Trouble> {
        let sockets = match self.order(node, &Order::Sockets, REST_WITHIN).await? {
            Answer::Sockets(sockets) => sockets,
            other => return Err(wrong(&other)),
        };
        let ears = sockets.into_iter().map(|socket| Ear {
            port: socket.port,
            peer: socket.peer,
            waiting: socket.waiting,
            drops: socket.drops,
        });
        Ok(Attention {
            runs: self.running.contains(&node),
            sockets: ears.collect(),
            dropped: self.dropped.get(&node).copied().unwrap_or_default(),
        })
    }

    /// What found no room in a program's sockets until now explains nothing that comes.
    pub(crate) async fn forget_drops(&mut self, node: NodeIndex) -> Result<(), Trouble> {
        let drops = self.attention(node).await?.drops();
        self.dropped.insert(node, drops);
        Ok(())
    }
}

/// The line for the shell that starts a program.
fn command(node: &Node, program: &Program) -> String {
    if let Some(command) = &program.command {
        return command.clone();
    }
    let ports = node.receiver().map_or(&[][..], |receiver| &receiver.ports);
    let addresses = node
        .interfaces
        .iter()
        .flat_map(|interface| &interface.addresses);
    let ipv6 = addresses.clone().count() > 0 && addresses.clone().all(|net| net.addr().is_ipv6());
    program.name.command(ports, ipv6)
}

/// How a program ended, in words.
fn told(ended: &Ended) -> String {
    let said = ended.said.iter().map(|line| format!("`{line}`"));
    let said: Vec<String> = said.collect();
    match said.as_slice() {
        [] => format!("it ended with {}, and complained of nothing", ended.status),
        said => format!(
            "it ended with {}, and said {}",
            ended.status,
            said.join(", ")
        ),
    }
}

/// Whether a program that was to start, or not to, did.
fn check_start(
    node: &Node,
    program: &Program,
    started: Result<(), Refusal>,
) -> Result<(), Trouble> {
    let name = &node.name;
    let wanted = program.fails.as_ref();
    let sentence = match (started, wanted) {
        (Ok(()), None) => return Ok(()),
        (Ok(()), Some(_)) => format!("the program of {name} should fail to start, and started"),
        (Err(_), Some(None)) => return Ok(()),
        (Err(refusal), Some(Some(Pattern::Literal(piece)))) if refusal.reason.contains(piece) => {
            return Ok(());
        }
        (Err(refusal), _) => format!(
            "the program of {name} does not start: `{}`: {}",
            refusal.doing, refusal.reason
        ),
    };
    Err(Failed::NotRefused(sentence).into())
}

fn wrong(answer: &Answer) -> Trouble {
    Error::Receiver(ReceiverError::Answer(format!("{answer:?}"))).into()
}
