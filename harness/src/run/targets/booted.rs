//! Sets up the targets that a boot is to make.

use crate::{
    run::{
        boot::DOWN_WITHIN,
        stage::Stage,
        targets::joined,
        trouble::{Failed, Trouble},
    },
    scenario::{NodeIndex, Via},
};

impl Stage<'_> {
    /// The targets that a boot makes: what an operator finds out and writes down in one boot, the next one reads.
    pub(super) async fn boot_planned(&mut self, sender: NodeIndex) -> Result<(), Trouble> {
        let scenario = self.scenario;
        let planned = self.planned(sender, Via::is_booted).await?;
        let Some(first) = planned.first() else {
            return Ok(());
        };
        let target = &scenario.targets[first.index];
        self.configure_boot(sender, target.via, &joined(&planned))
            .await??;
        for plan in &planned {
            let settings = plan.settings.iter().cloned();
            self.settings
                .extend(settings.map(|settings| (plan.index, settings)));
        }
        let seen = self.judge.traffic.sightings.len();
        self.reboot(sender, DOWN_WITHIN).await??;
        let Some((marker, booted)) = self.booted.get(&sender) else {
            return Ok(());
        };
        let (marker, loaded) = (*marker, booted.loaded);
        if !loaded && target.fails.is_none() {
            let mut said = self.said(sender);
            let (_, booted) = &self.booted[&sender];
            said.extend(booted.said.lines().take(5).map(str::to_owned));
            let target = target.name.clone();
            return Err(Failed::NotLoaded { target, said }.into());
        }
        let sent = self.marker_leaves(sender, &planned, (marker, seen)).await?;
        self.check_sent(sender, &planned, (target.fails.as_ref(), sent))
            .await
    }
}
