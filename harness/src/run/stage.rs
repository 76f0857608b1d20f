//! A scenario alive: its lab, its guests, and the judge that sees every frame.

use std::time::Duration;

use lastwords_vm::channel::ChannelError;
use tokio::time::{Instant, timeout_at};

use crate::{
    kernel::{Answer, Refusal, Request},
    lab::{Event, Lab},
    netconsole::Record,
    run::{Error, guest::Guest, interrupt::Interrupt},
    scenario::{NodeIndex, Scenario},
    verdict::Judge,
};

/// A scenario alive.
pub(crate) struct Stage<'scenario> {
    pub(crate) scenario: &'scenario Scenario,
    pub(crate) lab: Lab,
    pub(crate) guests: Vec<Guest>,
    pub(crate) judge: Judge,
    pub(crate) interrupt: Interrupt,
    /// What went wrong on a wire: its guest is not to be trusted any more.
    pub(crate) faults: Vec<String>,
    pub(crate) markers: u64,
    pub(crate) token: String,
}

/// Why a guest that was ready gave no answer.
#[derive(Debug)]
pub(crate) enum Silence {
    /// It did not answer in time.
    Deadline(Duration),
    /// Its QEMU ended.
    Gone,
    /// It sent what is no answer.
    Broken(String),
    Interrupted,
}

impl Silence {
    /// One sentence for a report.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Deadline(within) => format!("the kernel did not answer within {within:?}"),
            Self::Gone => "the machine ended".to_owned(),
            Self::Broken(what) => what.clone(),
            Self::Interrupted => "interrupted".to_owned(),
        }
    }
}

impl Stage<'_> {
    /// Has the sender `node` execute `request`, with the lab alive meanwhile.
    pub(crate) async fn ask(
        &mut self,
        node: NodeIndex,
        request: &Request,
        within: Duration,
    ) -> Result<Result<Answer, Refusal>, Silence> {
        let Some(guest) = self.guests.iter_mut().find(|guest| guest.node == node) else {
            return Err(Silence::Gone);
        };
        let deadline = Instant::now() + within;
        let channel = &mut guest.qemu.channel;
        let conversation = async {
            channel.ask(request).await?;
            channel.answer().await
        };
        let answer = tokio::select! {
            answer = self.lab.drive(timeout_at(deadline, conversation)) => answer,
            () = self.interrupt.wait() => return Err(Silence::Interrupted),
        };
        self.drain();
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(ChannelError::Closed | ChannelError::Connection(_))) => Err(Silence::Gone),
            Ok(Err(error @ ChannelError::Protocol(_))) => Err(Silence::Broken(error.to_string())),
            Err(_) => Err(Silence::Deadline(within)),
        }
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
            let event = tokio::select! {
                event = timeout_at(deadline, self.lab.next()) => event,
                () = self.interrupt.wait() => return Err(Silence::Interrupted),
            };
            match event {
                Ok(event) => self.take(event),
                Err(_) => return Ok(false),
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Frame(frame) => self.judge.frame(&frame),
            Event::PortClosed { .. } => {}
            Event::Fault(fault) => {
                let error: &dyn std::error::Error = &fault;
                self.faults.push(chain(error));
            }
        }
    }

    /// Reads what is new in the kernel log of `node`, and hands it to the judge.
    pub(crate) async fn read_log(&mut self, node: NodeIndex, within: Duration) -> Result<(), Silence> {
        match self.ask(node, &Request::ReadLog, within).await? {
            Ok(answer) => self.log(node, answer),
            Err(refusal) => self.faults.push(refusal.to_string()),
        }
        Ok(())
    }

    /// Hands an [`Answer::Log`] to the judge; others are none of its business.
    pub(crate) fn log(&mut self, node: NodeIndex, answer: Answer) {
        match answer {
            Answer::Log { records, lost } => self.judge.log(node, &records, lost),
            Answer::Batch(answers) => answers.into_iter().for_each(|answer| self.log(node, answer)),
            _ => {}
        }
    }

    /// Text of the next marker, unlike any other of the run.
    pub(crate) fn next_marker(&mut self) -> String {
        self.markers += 1;
        format!("lastwords-marker {} {}", self.token, self.markers)
    }

    /// Ends all guests; what could not be ended is told.
    pub(crate) async fn down(self) -> Vec<String> {
        let mut leftovers = Vec::new();
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
