//! A scenario alive: its lab, its guests, and the judge that sees every frame.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::Duration,
};

use lastwords_vm::{patience::Patience, qmp::QmpError};
use tokio::time::Instant;

use crate::{
    kernel::{
        Answer, Request,
        request::{Booted, StoredFile},
    },
    lab::{Event, Lab},
    netconsole::{Settings, record::Record},
    receiver::Receiver,
    run::{
        Error,
        fate::Fates,
        guest::{Guest, Plan},
        interrupt::Interrupt,
        kept::KeptLog,
        silence::Silence,
        targets::SetUp,
        trouble::{Failed, Trouble},
    },
    scenario::{NodeIndex, Scenario, needs::KernelVersion},
    verdict::{Frame, Judge, Scene, marker},
};

/// How long a kernel may take to hand out the rest of its log.
const AUDIT_WITHIN: Duration = Duration::from_secs(30);

/// A scenario alive.
pub(crate) struct Stage<'scenario> {
    pub(crate) scenario: &'scenario Scenario,
    pub(crate) lab: Lab,
    pub(crate) guests: Vec<Guest>,
    /// How each sender is started.
    pub(crate) plans: BTreeMap<NodeIndex, Arc<Plan>>,
    /// The files of senders that boot from them, as they stood last.
    pub(crate) disks: BTreeMap<NodeIndex, Vec<StoredFile>>,
    /// Words that set-ups have put on the kernel's command line.
    pub(crate) cmdlines: BTreeMap<NodeIndex, String>,
    /// The senders whose machine is to end, or has ended as it should.
    pub(crate) ending: BTreeSet<NodeIndex>,
    /// What the last boot of a sender has made of netconsole, and the marker that it printed before.
    pub(crate) booted: BTreeMap<NodeIndex, (u64, Booted)>,
    /// The senders that may still be printing what a step told them to.
    pub(crate) printing: BTreeSet<NodeIndex>,
    /// What targets were set to last, also when they are gone.
    pub(crate) settings: BTreeMap<usize, Settings>,
    pub(crate) receivers: BTreeMap<NodeIndex, Receiver>,
    /// The receivers whose program runs.
    pub(crate) running: BTreeSet<NodeIndex>,
    /// How many datagrams had found no room in a program's sockets when what came before was judged.
    pub(crate) dropped: BTreeMap<NodeIndex, u64>,
    /// Programs that ended by themselves.
    pub(crate) ended: Vec<String>,
    /// The receiver whose program is being started before the first step.
    pub(crate) receiver: Option<NodeIndex>,
    pub(crate) judge: Judge,
    pub(crate) interrupt: Interrupt,
    /// The clock of all deadlines.
    pub(crate) patience: Patience,
    /// What went wrong on a wire: its guest is not to be trusted any more.
    pub(crate) faults: Vec<String>,
    /// Lines that were expected and arrived.
    pub(crate) passed: Vec<String>,
    /// The kernel log of each sender as it was read, without what was too much to keep.
    pub(crate) logs: BTreeMap<NodeIndex, KeptLog>,
    pub(crate) token: String,
    pub(crate) probes: u64,
    /// The set-up of targets that is going on.
    pub(crate) set_up: Option<SetUp>,
    /// The target that it is at: of those that one modprobe loads, the first.
    pub(crate) target: Option<usize>,
    /// How many frames the lab has brought.
    pub(crate) frames: u64,
    /// What became of senders whose kernel died, or hangs.
    pub(crate) fates: Fates,
    markers: u64,
}

impl<'scenario> Stage<'scenario> {
    /// A stage without guests.
    pub(crate) fn new(scenario: &'scenario Scenario, lab: Lab, interrupt: Interrupt) -> Self {
        let token = token();
        let scene = Scene {
            token: token.clone(),
            nodes: scenario.nodes.clone(),
            releases: BTreeMap::new(),
            busy: scenario.busy().collect(),
            tried: scenario.tried().collect(),
            expected: scenario.expected().cloned().collect(),
        };
        Self {
            scenario,
            lab,
            guests: Vec::new(),
            plans: BTreeMap::new(),
            disks: BTreeMap::new(),
            cmdlines: BTreeMap::new(),
            ending: BTreeSet::new(),
            booted: BTreeMap::new(),
            printing: BTreeSet::new(),
            settings: BTreeMap::new(),
            receivers: BTreeMap::new(),
            running: BTreeSet::new(),
            dropped: BTreeMap::new(),
            ended: Vec::new(),
            receiver: None,
            judge: Judge::new(scene),
            interrupt,
            patience: Patience::new(),
            faults: Vec::new(),
            passed: Vec::new(),
            logs: BTreeMap::new(),
            token,
            probes: 0,
            set_up: None,
            target: None,
            frames: 0,
            fates: Fates::default(),
            markers: 0,
        }
    }

    /// Takes a guest that is ready.
    pub(crate) fn admit(&mut self, guest: Guest) {
        self.judge
            .scene
            .releases
            .insert(guest.node, guest.release.clone());
        let boot_log = Answer::Log {
            records: guest.boot_log.clone(),
            lost: 0,
        };
        self.log(guest.node, boot_log);
        self.judge.is_ready(guest.node);
        if let Some(process) = guest.qemu.id() {
            self.patience.watch(process);
        }
        self.guests.push(guest);
    }

    /// Whether the kernel of `node` prints from a thread of its own, so that lines leave later than they are printed
    /// (nbcon consoles; merged for 7.0, netconsole.c's `CON_NBCON`).
    pub(crate) fn prints_later(&self, node: NodeIndex) -> bool {
        let release = self.judge.scene.releases.get(&node);
        let version = release.and_then(|release| KernelVersion::from_release(release));
        version.is_none_or(|version| version.major >= 7)
    }

    /// Has the sender `node` execute `request` before the next, and waits for no answer.
    pub(crate) async fn tell(&mut self, node: NodeIndex, request: &Request) -> Result<(), Silence> {
        let Some(guest) = self.guests.iter_mut().find(|guest| guest.node == node) else {
            return Err(Silence::Gone);
        };
        let told = self.lab.drive(guest.qemu.channel.ask(request)).await;
        match told {
            Ok(()) => Ok(()),
            Err(_) => Err(self.gone(node).await),
        }
    }

    /// Why the sockets of a guest closed.
    pub(crate) async fn gone(&mut self, node: NodeIndex) -> Silence {
        let guest = self.guests.iter_mut().find(|guest| guest.node == node);
        let failure = match guest {
            Some(guest) => self.lab.drive(guest.qemu.failure()).await,
            None => None,
        };
        self.drain();
        failure.map_or(Silence::Gone, Silence::Crashed)
    }

    /// What it means that the monitor of a guest's QEMU gave no answer.
    pub(crate) async fn unanswered(&mut self, node: NodeIndex, error: QmpError) -> Trouble {
        match error {
            QmpError::Closed | QmpError::Connection(_) => self.gone(node).await.into(),
            error => Error::from(error).into(),
        }
    }

    /// The time by the clock of all deadlines, which slows down while the machine is busy with others.
    pub(crate) fn now(&mut self) -> Instant {
        self.patience.now()
    }

    /// How long the guest is to wait by its own clock, which does not slow down.
    pub(crate) fn in_the_guest(&self, within: Duration) -> Duration {
        self.patience.stretched(within)
    }

    /// Takes what the lab has seen already.
    pub(crate) fn drain(&mut self) {
        while let Some(event) = self.lab.try_next() {
            self.take(event);
        }
    }

    /// Lets frames come until `enough` says so; false when `deadline` passed first.
    pub(crate) async fn until(
        &mut self,
        deadline: Instant,
        enough: impl Fn(&Judge) -> bool,
    ) -> Result<bool, Silence> {
        loop {
            self.drain();
            if enough(&self.judge) {
                return Ok(true);
            }
            if !self.event(deadline).await? {
                return Ok(false);
            }
        }
    }

    pub(crate) fn take(&mut self, event: Event) {
        match event {
            Event::Frame(frame) => {
                self.frames += 1;
                self.fates.see(frame.node, &frame.bytes);
                self.judge.frame(&Frame {
                    number: frame.number,
                    time: frame.time,
                    link: frame.link,
                    from: frame.node,
                    bytes: frame.bytes.to_vec(),
                });
            }
            Event::PortClosed { node } if self.ending.contains(&node) => {}
            Event::PortClosed { node } => {
                let name = &self.scenario.node(node).name;
                let fault = format!("the machine of `{name}` ended while the scenario ran");
                if !self.faults.contains(&fault) {
                    self.faults.push(fault);
                }
            }
            Event::Fault(fault) => {
                let error: &dyn std::error::Error = &fault;
                self.faults.push(chain(error));
            }
        }
    }

    /// Reads what is new in the kernel log of `node`, and hands it to the judge.
    pub(crate) async fn read_log(
        &mut self,
        node: NodeIndex,
        within: Duration,
    ) -> Result<(), Silence> {
        match self.ask(node, &Request::ReadLog, within).await? {
            Ok(answer) => self.log(node, answer),
            Err(refusal) => self.faults.push(refusal.to_string()),
        }
        Ok(())
    }

    /// Hands an [`Answer::Log`] to the judge; others are none of its business.
    pub(crate) fn log(&mut self, node: NodeIndex, answer: Answer) {
        match answer {
            Answer::Log { records, lost } => {
                let kept = self.logs.entry(node).or_default();
                kept.lost += lost;
                for record in records {
                    match Record::parse(record.as_bytes()) {
                        // From outside, a record may have been read before.
                        Ok(parsed) if self.judge.knows(node, &parsed) => continue,
                        Ok(parsed) => self.judge.log(node, parsed),
                        Err(error) => self
                            .faults
                            .push(format!("a kernel log record does not read: {error}")),
                    }
                    kept.keep(record);
                }
            }
            Answer::Batch(answers) => answers
                .into_iter()
                .for_each(|answer| self.log(node, answer)),
            Answer::Done
            | Answer::Child { .. }
            | Answer::Facts { .. }
            | Answer::Symbols(_)
            | Answer::Loaded(_)
            | Answer::NextHop(_)
            | Answer::Text(_)
            | Answer::Ran(_)
            | Answer::Files(_)
            | Answer::Booted(_) => {}
        }
    }

    /// Number and text of the next marker, unlike any other of the run.
    pub(crate) fn next_marker(&mut self) -> (u64, String) {
        self.markers += 1;
        self.judge.marker_is_sent(self.markers);
        (self.markers, marker::marker(&self.token, self.markers))
    }

    /// What nobody asked about: the last of the log and of the frames, and what is wrong in all of them.
    pub(crate) async fn audit(&mut self) -> Result<(), Trouble> {
        let senders: Vec<NodeIndex> = self.guests.iter().map(|guest| guest.node).collect();
        for sender in senders {
            self.look_for_deaths().await?;
            if self.fates.is_silent(sender) {
                self.read_memory(sender).await?;
                self.flush(sender).await?;
                continue;
            }
            self.flush(sender).await?;
            self.read_log(sender, AUDIT_WITHIN).await?;
            self.judge.log_is_complete(sender);
        }
        let receivers: Vec<NodeIndex> = self.receivers.keys().copied().collect();
        for receiver in receivers {
            // Its answer comes behind all that has happened there.
            self.attention(receiver).await?;
        }
        if let Some(sentence) = self.ended.first() {
            return Err(Failed::NotRefused(sentence.clone()).into());
        }
        let findings = self.judge.audit();
        if findings.is_empty() {
            Ok(())
        } else {
            Err(Failed::Audit(findings).into())
        }
    }

    /// Ends all guests; what could not be ended is told.
    pub(crate) async fn down(self) -> Vec<String> {
        let mut leftovers = Vec::new();
        for receiver in self.receivers.into_values() {
            if let Err(error) = receiver.end().await {
                leftovers.push(format!("a receiver could not be ended: {}", chain(&error)));
            }
        }
        for guest in self.guests {
            if let Err(error) = guest.qemu.end().await {
                leftovers.push(format!("QEMU could not be ended: {error}"));
            }
        }
        leftovers
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Eight characters that no other run has.
fn token() -> String {
    let random = RandomState::new().build_hasher().finish();
    format!("{:08x}", random & 0xffff_ffff)
}
