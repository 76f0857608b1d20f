//! Makes and removes targets by configfs while a scenario goes on.

use std::time::Duration;

use crate::{
    kernel::{Refusal, Request, request::ConfigfsChange},
    run::{
        stage::Stage,
        trouble::{Failed, Trouble},
    },
};

impl Stage<'_> {
    /// Makes a target as its table has it.
    pub(crate) async fn make(&mut self, index: usize) -> Result<Result<(), Refusal>, Trouble> {
        let scenario = self.scenario;
        let before = self.judge.targets.now(index).cloned();
        let made = self.make_target(index, &scenario.targets[index]).await;
        self.target = None;
        match made {
            Ok(()) => Ok(Ok(())),
            Err(Trouble::Failed(failed)) => match *failed {
                Failed::Refused(refusal) => {
                    match before {
                        Some(state) => self.judge.target(index, state),
                        None => self.remove(index),
                    }
                    Ok(Err(refusal))
                }
                other => Err(other.into()),
            },
            Err(error) => Err(error),
        }
    }

    /// Removes a target, and before it the keys of its userdata, without which the kernel does not let it go.
    pub(crate) async fn unmake(
        &mut self,
        index: usize,
        within: Duration,
    ) -> Result<Result<(), Refusal>, Trouble> {
        let target = &self.scenario.targets[index];
        let is_quiet = self.quiet(target.on, index).await?;
        let userdata = self
            .judge
            .targets
            .now(index)
            .into_iter()
            .flat_map(|state| state.settings.userdata.keys());
        let changes = userdata
            .map(|key| format!("{}/userdata/{key}", target.name))
            .chain([target.name.clone()])
            .map(ConfigfsChange::Remove);
        let request = Request::Configfs(changes.collect());
        if let Err(refusal) = self.ask(target.on, &request, within).await? {
            return Ok(Err(refusal));
        }
        self.flush(target.on).await?;
        self.judge.target_is_gone(index);
        if is_quiet {
            self.judge.target_was_quiet(index);
        }
        Ok(Ok(()))
    }
}
