//! Runs a command of a scenario, on a sender or beside a receiver's program.

use std::time::Duration;

use crate::{
    kernel::{Answer, Refusal, Request, request::Ran},
    run::{Error, stage::Stage, trouble::Trouble},
    scenario::{NodeIndex, step::Run},
};

impl Stage<'_> {
    /// Runs a program; a status that is not 0 is a refusal.
    pub(crate) async fn run_program(
        &mut self,
        node: NodeIndex,
        run: &Run,
        within: Duration,
    ) -> Result<Result<(), Refusal>, Trouble> {
        if self.receivers.contains_key(&node) {
            let ran = self.run_beside(node, &run.command, within).await?;
            return Ok(ran.and_then(|ran| judge_ran(run, &ran)));
        }
        // A program may do anything.
        self.judge.console_level_is_unknown(node);
        let request = Request::Run {
            command: run.command.clone(),
            within: self.in_the_guest(within),
        };
        let ran = match self
            .ask(node, &request, within + Duration::from_secs(5))
            .await?
        {
            Ok(Answer::Ran(ran)) => ran,
            Ok(other) => return Err(Error::Answer(format!("{other:?}")).into()),
            // In the scenario's time: the guest was given more of its own.
            Err(refusal) if refusal.late => {
                let reason = format!("still running after {within:?}");
                return Ok(Err(Refusal::too_late(refusal.doing, reason)));
            }
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.keep_files(node).await?;
        Ok(judge_ran(run, &ran))
    }
}

/// What came of a command, against what its step asks.
fn judge_ran(run: &Run, ran: &Ran) -> Result<(), Refusal> {
    let doing = run.command.join(" ");
    if ran.status != Some(0) {
        let status = ran
            .status
            .map_or("a signal".to_owned(), |status| format!("status {status}"));
        let said = format!("{}{}", ran.output, ran.errors);
        let reason = match said.trim() {
            "" => format!("it ended with {status}"),
            said => format!("it ended with {status}: {said}"),
        };
        return Err(Refusal::ours(doing, reason));
    }
    match &run.prints {
        Some(text) if !ran.output.contains(text.as_str()) => Err(Refusal::ours(
            doing,
            format!("it does not print `{text}` but `{}`", ran.output.trim_end()),
        )),
        _ => Ok(()),
    }
}
