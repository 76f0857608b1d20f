//! A look inside: a scenario that goes on only when somebody says so, with its machines to be used meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    hash::{BuildHasher, Hasher, RandomState},
    io,
    pin::pin,
    process::Stdio,
    time::{Duration, Instant},
};

use lastwords_vm::kernel::Kernel;
use tokio::{
    net::UnixStream,
    process::{Child, Command},
    time::timeout,
};

use crate::{
    kernel::{
        Answer, Refusal, Request,
        request::{Ran, Shell},
    },
    lab::{namespace::NamespaceError, room::Room},
    report::Outcome,
    run::{
        case::{Clock, Finished, Interrupted, Setting, audit, close, set_the_stage, set_up, take},
        evidence,
        silence::Silence,
        stage::Stage,
        terminal, tools,
    },
    scenario::{NodeIndex, Scenario, Step},
};

/// How long a machine may take to start a shell.
const SHELL_WITHIN: Duration = Duration::from_secs(20);

/// A scenario alive that waits for its visitor.
pub(crate) struct Visit<'scenario> {
    stage: Stage<'scenario>,
    kernel: &'scenario Kernel,
    setting: &'scenario Setting,
    clock: Clock,
    begun: Instant,
    /// The step that comes next.
    next: usize,
    /// What it came to, once that stands.
    outcome: Option<Outcome>,
    /// Where a shell goes on.
    shells: BTreeSet<NodeIndex>,
    farewell: String,
    /// Those of nodes that are namespaces of this machine, once somebody has been there, with the shells in them.
    rooms: BTreeMap<NodeIndex, (Room, Option<Child>)>,
}

/// Why nothing came of what a visitor asked of a machine.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VisitError {
    #[error("`{0}` is no machine with a shell: it is the built-in receiver")]
    Observer(String),
    #[error("`{0}` has a shell already, or none")]
    NoTerminal(String),
    #[error("nobody can go to `{node}`")]
    Room {
        node: String,
        source: NamespaceError,
    },
    #[error("`{command}` cannot be run")]
    Command { command: String, source: io::Error },
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{}", .0.sentence())]
    Silent(Silence),
    #[error("the guest answered with `{0}`, which is no answer to what was asked")]
    Answer(String),
}

impl<'scenario> Visit<'scenario> {
    /// Sets `scenario` up on `kernel`, and stops before its first step. None of it is left where that cannot be; a
    /// set-up that fails is stopped at, too.
    pub(crate) async fn begin(
        scenario: &'scenario Scenario,
        kernel: &'scenario Kernel,
        setting: &'scenario Setting,
    ) -> Result<Self, Outcome> {
        let begun = Instant::now();
        let mut clock = Clock::default();
        let stage = set_the_stage(scenario, kernel, setting, &mut clock).await?;
        let mut visit = Self {
            stage,
            kernel,
            setting,
            clock,
            begun,
            next: 0,
            outcome: None,
            shells: BTreeSet::new(),
            farewell: farewell(),
            rooms: BTreeMap::new(),
        };
        if let Err(interrupted) = set_up(&mut visit.stage, &mut visit.clock).await {
            visit.stop(Err(interrupted));
        }
        Ok(visit)
    }

    /// The step that comes next, unless the outcome stands.
    pub(crate) fn next_step(&self) -> Option<&'scenario Step> {
        match self.outcome {
            Some(_) => None,
            None => self.stage.scenario.steps.get(self.next),
        }
    }

    /// What it came to, if it has come to its end.
    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Does the next step. After the last one, what nobody asked about is judged, and the outcome stands.
    pub(crate) async fn step(&mut self) {
        if let Some(step) = self.next_step() {
            self.next += 1;
            if let Err(interrupted) = take(&mut self.stage, &mut self.clock, step).await {
                return self.stop(Err(interrupted));
            }
        }
        if self.outcome.is_none() && self.next >= self.stage.scenario.steps.len() {
            let played = audit(&mut self.stage, &mut self.clock).await;
            self.stop(played);
        }
    }

    fn stop(&mut self, played: Result<(), Interrupted<'scenario>>) {
        self.outcome = Some(evidence::outcome(&self.stage, self.kernel, played));
    }

    /// Waits for `future` with the lab alive.
    pub(crate) async fn meanwhile<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            tokio::select! {
                output = &mut future => return output,
                event = self.stage.lab.next() => self.stage.take(event),
            }
        }
    }

    /// Takes all that the guests have sent.
    pub(crate) async fn settle(&mut self) {
        let guests: Vec<NodeIndex> = self.stage.guests.iter().map(|guest| guest.node).collect();
        for guest in guests {
            // A guest that is gone sends nothing more.
            let _ = self.stage.flush(guest).await;
        }
    }

    /// What has arrived so far at `node`, without what a load replayed and the harness's own markers.
    pub(crate) fn arrived(&self, node: NodeIndex) -> Vec<String> {
        let judge = &self.stage.judge;
        let arrivals = judge.traffic.arrivals(node).iter();
        arrivals
            .map(|index| &judge.traffic.sightings[*index])
            .filter(|sighting| !sighting.replayed && sighting.marker.is_none())
            .map(|sighting| String::from_utf8_lossy(&sighting.message.text).into_owned())
            .collect()
    }

    /// Has a shell on a node run a line.
    pub(crate) async fn run(
        &mut self,
        node: NodeIndex,
        line: &str,
        within: Duration,
    ) -> Result<Ran, VisitError> {
        if !self.is_guest(node) {
            return self.run_in_room(node, line, within).await;
        }
        // A visitor may do anything.
        self.stage.judge.console_level_is_unknown(node);
        let command = [tools::SHELL, "-c", line].map(str::to_owned).to_vec();
        match self.ask(node, Request::Run { command, within }).await? {
            Answer::Ran(ran) => Ok(ran),
            other => Err(VisitError::Answer(format!("{other:?}"))),
        }
    }

    /// Starts a shell on a node, where none goes on, and gives the far end of its terminal. That is to be given back
    /// with [`Visit::take_back`].
    pub(crate) async fn shell(
        &mut self,
        node: NodeIndex,
        (rows, columns): (u16, u16),
    ) -> Result<UnixStream, VisitError> {
        if !self.is_guest(node) {
            return self.shell_in_room(node, (rows, columns));
        }
        self.stage.judge.console_level_is_unknown(node);
        if !self.shells.contains(&node) {
            let shell = Shell {
                program: tools::SHELL.to_owned(),
                arguments: vec!["-i".to_owned()],
                term: tools::term(),
                prompt: format!("{}# ", self.name(node)),
                farewell: self.farewell.clone(),
            };
            self.ask(node, Request::Shell(shell)).await?;
            self.shells.insert(node);
        }
        // The port forgets its size when nobody has it open.
        self.ask(node, Request::TerminalSize { rows, columns })
            .await?;
        let guest = self
            .stage
            .guests
            .iter_mut()
            .find(|guest| guest.node == node);
        let terminal = guest.and_then(|guest| guest.qemu.terminal.take());
        terminal.ok_or_else(|| VisitError::NoTerminal(self.name(node)))
    }

    /// What the terminal says once its shell has ended.
    pub(crate) fn farewell(&self) -> String {
        self.farewell.clone()
    }

    /// A shell has said its farewell.
    pub(crate) fn shell_has_ended(&mut self, node: NodeIndex) {
        self.shells.remove(&node);
    }

    /// Takes a terminal back; a shell in a room ends with it.
    pub(crate) fn take_back(&mut self, node: NodeIndex, terminal: UnixStream) {
        let guest = self
            .stage
            .guests
            .iter_mut()
            .find(|guest| guest.node == node);
        if let Some(guest) = guest {
            guest.qemu.terminal = Some(terminal);
        }
    }

    /// Takes all down. The report is one of a finished case where it came to an end.
    pub(crate) async fn leave(self) -> (Option<Finished>, Vec<String>) {
        let mut leftovers = Vec::new();
        for (room, shell) in self.rooms.into_values() {
            drop(shell);
            let down = room.down().await;
            leftovers.extend(down.err().map(|error| error.to_string()));
        }
        match self.outcome {
            Some(outcome) => {
                let ended = (self.clock, outcome);
                let mut finished = close(self.stage, self.kernel, self.setting, ended).await;
                finished.report.duration = self.begun.elapsed();
                finished.leftovers.extend(leftovers);
                (Some(finished), Vec::new())
            }
            None => {
                leftovers.extend(self.stage.down().await);
                (None, leftovers)
            }
        }
    }

    /// Whether a node is a namespace of this machine: a router or a real receiver.
    pub(crate) fn is_namespace(&self, node: NodeIndex) -> bool {
        self.stage.lab.network(node).is_some()
    }

    fn is_guest(&self, node: NodeIndex) -> bool {
        self.stage.scenario.node(node).sender().is_some()
    }

    async fn run_in_room(
        &mut self,
        node: NodeIndex,
        line: &str,
        within: Duration,
    ) -> Result<Ran, VisitError> {
        let (room, _) = self.room(node)?;
        let mut command = Command::new(tools::SHELL);
        command
            .args(["-c", line])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = room.spawn(command);
        let child = child.map_err(|source| self.nobody(node, source))?;
        let wrong = |source| VisitError::Command {
            command: line.to_owned(),
            source,
        };
        let ended = self.meanwhile(timeout(within, child.wait_with_output()));
        let ended = ended.await.map_err(|_| io::ErrorKind::TimedOut.into());
        let output = ended.flatten().map_err(wrong)?;
        Ok(Ran {
            status: output.status.code(),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    fn shell_in_room(
        &mut self,
        node: NodeIndex,
        size: (u16, u16),
    ) -> Result<UnixStream, VisitError> {
        let prompt = format!("{}# ", self.name(node));
        let (room, shell) = self.room(node)?;
        match terminal::start(room, &prompt, size) {
            Ok((far, child)) => {
                *shell = Some(child);
                Ok(far)
            }
            Err(source) => Err(self.nobody(node, source)),
        }
    }

    /// The room of a node, made when it is first asked for.
    fn room(&mut self, node: NodeIndex) -> Result<&mut (Room, Option<Child>), VisitError> {
        let name = self.name(node);
        let network = self.stage.lab.network(node);
        let network = network.ok_or_else(|| VisitError::Observer(name.clone()))?;
        match self.rooms.entry(node) {
            Entry::Occupied(room) => Ok(room.into_mut()),
            Entry::Vacant(vacant) => match Room::new(network, &name, &[]) {
                Ok(room) => Ok(vacant.insert((room, None))),
                Err(source) => Err(VisitError::Room { node: name, source }),
            },
        }
    }

    fn nobody(&self, node: NodeIndex, source: NamespaceError) -> VisitError {
        VisitError::Room {
            node: self.name(node),
            source,
        }
    }

    fn name(&self, node: NodeIndex) -> String {
        self.stage.scenario.node(node).name.clone()
    }

    async fn ask(&mut self, node: NodeIndex, request: Request) -> Result<Answer, VisitError> {
        let within = match &request {
            Request::Run { within, .. } => *within + SHELL_WITHIN,
            _ => SHELL_WITHIN,
        };
        let answer = self.stage.ask(node, &request, within).await;
        Ok(answer.map_err(VisitError::Silent)??)
    }
}

/// An escape sequence that nobody else writes (an operating system command, ECMA-48).
fn farewell() -> String {
    let random = RandomState::new().build_hasher().finish();
    format!("\x1b]{random:016x}\x07")
}
