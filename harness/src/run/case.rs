//! One case from its needs to its verdict: a scenario on a kernel.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use lastwords_vm::{kernel::Kernel, machine::Accelerator, modules::Presence, template::Templates};

use crate::{
    kernel::Refusal,
    lab::Lab,
    report::{CaseReport, Outcome, Timing},
    run::{
        Error, evidence,
        guest::Plan,
        interrupt::Interrupt,
        need,
        pool::Pool,
        preparation::{prepare, senders},
        privilege::Privilege,
        stage::Stage,
        targets::{is_wanted, wanted_name},
        trouble::{Failed, Trouble},
        turn::Turn,
    },
    scenario::{Action, Scenario, Step},
};

/// What all cases of a run share.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) accelerator: Accelerator,
    /// How long a kernel may take to come up.
    pub(crate) boot_within: Duration,
    /// None boots every guest for real.
    pub(crate) templates: Option<Templates>,
    pub(crate) interrupt: Interrupt,
    pub(crate) privilege: Privilege,
    /// Where recordings go.
    pub(crate) folder: PathBuf,
    /// Whether recordings of what passed are kept, too.
    pub(crate) keep: bool,
    /// What tells the recordings of this run of a case from those of its others.
    pub(crate) attempt: String,
    /// Guests that wait for a scenario.
    pub(crate) pool: Pool,
}

/// A finished case.
pub(crate) struct Finished {
    pub(crate) report: CaseReport,
    pub(crate) leftovers: Vec<String>,
}

/// Where the time of a case went.
#[derive(Default)]
struct Clock {
    timings: Vec<Timing>,
}

impl Clock {
    async fn time<T>(&mut self, what: impl Into<String>, work: impl Future<Output = T>) -> T {
        let start = Instant::now();
        let result = work.await;
        self.timings.push(Timing {
            what: what.into(),
            took: start.elapsed(),
        });
        result
    }
}

/// Runs `scenario` on `kernel` when it is its turn; none where that never comes. Whatever happens, nothing of it is left
/// alive.
pub(crate) async fn run(
    scenario: &Scenario,
    kernel: &Kernel,
    setting: &Setting,
    turn: &mut Turn<'_>,
) -> Option<Finished> {
    let start = Instant::now();
    let mut report = CaseReport {
        name: scenario.name.clone(),
        title: scenario.title.clone(),
        kernel: kernel.name.clone(),
        backend: "vm".to_owned(),
        outcome: Outcome::Passed,
        duration: start.elapsed(),
        timings: Vec::new(),
        folder: None,
        arrived: Vec::new(),
        seeds: BTreeMap::new(),
        notes: Vec::new(),
    };
    let mut leftovers = Vec::new();
    match need::unmet(scenario, kernel, &setting.privilege) {
        Err(error) => {
            report.outcome = Outcome::Error {
                causes: causes(&error),
            }
        }
        Ok(Some(outcome)) => report.outcome = outcome,
        Ok(None) => {
            let mut clock = Clock::default();
            let built = turn.beside(build(scenario, kernel, setting, &mut clock));
            match built.await {
                Ok(mut stage) => {
                    let played = match turn.wait(&mut stage).await {
                        Ok(true) => play(&mut stage, &mut clock).await,
                        Ok(false) => {
                            stage.down().await;
                            return None;
                        }
                        Err(trouble) => Err(Interrupted {
                            step: None,
                            trouble,
                        }),
                    };
                    report.outcome = evidence::outcome(&stage, kernel, played);
                    report.arrived.clone_from(&stage.passed);
                    report.notes = evidence::notes(&stage);
                    report.folder = evidence::keep(&stage, &mut report, setting);
                    leftovers = clock.time("teardown", stage.down()).await;
                }
                Err(Error::Interrupted) if !turn.has_come() => return None,
                Err(error) => {
                    report.outcome = Outcome::Error {
                        causes: causes(&error),
                    }
                }
            }
            report.timings = clock.timings;
        }
    }
    report.duration = start.elapsed() - turn.waited;
    if !turn.waited.is_zero() {
        report.timings.push(Timing {
            what: "ready before its turn".to_owned(),
            took: turn.waited,
        });
    }
    Some(Finished { report, leftovers })
}

/// An error and its causes, each a line.
pub(crate) fn causes(error: &dyn std::error::Error) -> Vec<String> {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect()
}

/// The stage of a scenario: of guests that wait, else built anew.
async fn build<'scenario>(
    scenario: &'scenario Scenario,
    kernel: &Kernel,
    setting: &Setting,
    clock: &mut Clock,
) -> Result<Stage<'scenario>, Error> {
    let needs_netconsole = !scenario.targets.is_empty();
    if needs_netconsole && need::presence(kernel, "netconsole")? == Presence::Absent {
        return Err(Error::NoNetconsole {
            kernel: kernel.name.clone(),
        });
    }
    let plans = plans(scenario, kernel, setting)?;
    let begun = Instant::now();
    if let Some(stage) = waiting(scenario, &plans, setting).await {
        clock.timings.push(Timing {
            what: "start of a guest that waited".to_owned(),
            took: begun.elapsed(),
        });
        return Ok(stage);
    }
    start(scenario, &plans, setting, clock).await
}

/// The plans of all senders, in their order.
fn plans(scenario: &Scenario, kernel: &Kernel, setting: &Setting) -> Result<Vec<Plan>, Error> {
    senders(scenario)
        .map(|(_, node)| Plan::new(scenario, node, kernel, setting))
        .collect()
}

/// The stage of guests that waited for such a scenario, if there are any that still live.
async fn waiting<'scenario>(
    scenario: &'scenario Scenario,
    plans: &[Plan],
    setting: &Setting,
) -> Option<Stage<'scenario>> {
    let ready = setting.pool.take(scenario, plans)?;
    let mut stage = Stage::new(scenario, ready.lab, setting.interrupt.clone());
    for guest in ready.guests {
        stage.admit(guest);
    }
    if stage.resume().await.is_ok() {
        return Some(stage);
    }
    stage.down().await;
    None
}

/// Sets the stage of a scenario for later.
pub(crate) async fn set_stage<'scenario>(
    scenario: &'scenario Scenario,
    kernel: &Kernel,
    setting: &Setting,
) -> Result<(Stage<'scenario>, Vec<Plan>), Error> {
    let plans = plans(scenario, kernel, setting)?;
    let stage = start(scenario, &plans, setting, &mut Clock::default()).await?;
    Ok((stage, plans))
}

/// Builds a lab and starts its guests.
async fn start<'scenario>(
    scenario: &'scenario Scenario,
    plans: &[Plan],
    setting: &Setting,
    clock: &mut Clock,
) -> Result<Stage<'scenario>, Error> {
    let (lab, mut nics) = Lab::new(scenario)?;
    let mut stage = Stage::new(scenario, lab, setting.interrupt.clone());
    for ((index, _), plan) in senders(scenario).zip(plans) {
        let (own, others): (Vec<_>, Vec<_>) = nics.into_iter().partition(|nic| nic.node == index);
        nics = others;
        let cards = own.into_iter().map(|nic| nic.socket.into()).collect();
        let start = plan.start(index, cards, setting.templates.as_ref());
        let mut interrupt = setting.interrupt.clone();
        let started = clock.time("start", async {
            tokio::select! {
                started = stage.lab.drive(start) => started,
                () = interrupt.wait() => Err(Error::Interrupted),
            }
        });
        let guest = started.await?;
        stage.admit(guest);
    }
    Ok(stage)
}

/// A step that was being done when trouble came.
pub(crate) struct Interrupted<'scenario> {
    pub(crate) step: Option<&'scenario Step>,
    pub(crate) trouble: Trouble,
}

/// Sets up, steps, and what nobody asked about.
async fn play<'scenario>(
    stage: &mut Stage<'scenario>,
    clock: &mut Clock,
) -> Result<(), Interrupted<'scenario>> {
    let before = |trouble| Interrupted {
        step: None,
        trouble,
    };
    clock
        .time("prepare", prepare(stage))
        .await
        .map_err(before)?;
    clock
        .time("targets", stage.set_targets_up())
        .await
        .map_err(before)?;
    let scenario = stage.scenario;
    for step in &scenario.steps {
        let what = format!("step {}", step.place);
        let done = clock.time(what, one(stage, step)).await;
        done.map_err(|trouble| Interrupted {
            step: Some(step),
            trouble,
        })?;
    }
    clock.time("audit", stage.audit()).await.map_err(before)
}

/// One step, and whether it fails as it should.
async fn one(stage: &mut Stage<'_>, step: &Step) -> Result<(), Trouble> {
    match &step.action {
        Action::Expect(expect) => return stage.expect(step, expect).await,
        Action::Absent(absent) => return stage.absent(step, absent).await,
        _ => {}
    }
    match (stage.act(step).await?, &step.fails) {
        (Ok(()), None) => Ok(()),
        (Err(refusal), Some(wanted)) if is_wanted(wanted, &refusal) => Ok(()),
        (Err(refusal), Some(wanted)) => Err(Refusal {
            reason: format!(
                "{}, expected to fail{}",
                refusal.reason,
                wanted_name(wanted)
            ),
            ..refusal
        }
        .into()),
        (Err(refusal), None) => Err(refusal.into()),
        (Ok(()), Some(wanted)) => Err(Failed::NotRefused(format!(
            "it should fail{}, and the kernel did it",
            wanted_name(wanted)
        ))
        .into()),
    }
}
