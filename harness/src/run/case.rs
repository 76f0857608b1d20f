//! One case from its needs to its verdict: a scenario on a kernel.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
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
    scenario::{Action, NodeIndex, Scenario, Step, expectation::Source},
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
    /// Whether somebody may want a shell in the guests.
    pub(crate) shell: bool,
}

/// A finished case.
pub(crate) struct Finished {
    pub(crate) report: CaseReport,
    pub(crate) leftovers: Vec<String>,
}

/// Where the time of a case went.
#[derive(Default)]
pub(crate) struct Clock {
    timings: Vec<Timing>,
}

impl Clock {
    pub(super) async fn time<T>(
        &mut self,
        what: impl Into<String>,
        work: impl Future<Output = T>,
    ) -> T {
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
    let mut clock = Clock::default();
    let set = set_the_stage(scenario, kernel, setting, &mut clock);
    let mut finished = match turn.beside(set).await {
        Ok(mut stage) => {
            let played = match turn.wait(&mut stage).await {
                Ok(true) => play(&mut stage, &mut clock).await,
                Ok(false) => {
                    stage.down().await;
                    return None;
                }
                Err(trouble) => Err(trouble.into()),
            };
            if played.is_err() || setting.keep {
                stage.collect_all().await;
            }
            let outcome = evidence::outcome(&stage, kernel, played);
            close(stage, kernel, setting, (clock, outcome)).await
        }
        Err(NoStage::Error(Error::Interrupted)) if !turn.has_come() => return None,
        Err(no_stage) => Finished {
            report: report(scenario, kernel, no_stage.into(), clock),
            leftovers: Vec::new(),
        },
    };
    finished.report.duration = start.elapsed() - turn.waited;
    if !turn.waited.is_zero() {
        finished.report.timings.push(Timing {
            what: "ready before its turn".to_owned(),
            took: turn.waited,
        });
    }
    Some(finished)
}

/// Why a case gets no stage.
pub(super) enum NoStage {
    /// It is not to be run here.
    NotRun(Outcome),
    /// No verdict can be reached.
    Error(Error),
}

impl From<NoStage> for Outcome {
    fn from(no_stage: NoStage) -> Self {
        match no_stage {
            NoStage::NotRun(outcome) => outcome,
            NoStage::Error(error) => Self::Error {
                causes: causes(&error),
            },
        }
    }
}

/// The stage with its guests started; or what the case comes to where there can be none.
pub(super) async fn set_the_stage<'scenario>(
    scenario: &'scenario Scenario,
    kernel: &Kernel,
    setting: &Setting,
    clock: &mut Clock,
) -> Result<Stage<'scenario>, NoStage> {
    match need::unmet(scenario, kernel, &setting.privilege).map_err(NoStage::Error)? {
        Some(outcome) => Err(NoStage::NotRun(outcome)),
        None => build(scenario, kernel, setting, clock)
            .await
            .map_err(NoStage::Error),
    }
}

/// Takes a stage down, and reports on what it came to.
pub(super) async fn close(
    stage: Stage<'_>,
    kernel: &Kernel,
    setting: &Setting,
    (mut clock, outcome): (Clock, Outcome),
) -> Finished {
    let mut report = report(stage.scenario, kernel, outcome, Clock::default());
    report.arrived.clone_from(&stage.passed);
    report.notes = evidence::notes(&stage);
    report.folder = evidence::keep(&stage, &mut report, setting);
    let leftovers = clock.time("teardown", stage.down()).await;
    report.timings = clock.timings;
    Finished { report, leftovers }
}

/// A report of a case that left nothing.
pub(crate) fn report(
    scenario: &Scenario,
    kernel: &Kernel,
    outcome: Outcome,
    clock: Clock,
) -> CaseReport {
    CaseReport {
        name: scenario.name.clone(),
        title: scenario.title.clone(),
        kernel: kernel.name.clone(),
        backend: "vm".to_owned(),
        outcome,
        duration: Duration::ZERO,
        timings: clock.timings,
        folder: None,
        arrived: Vec::new(),
        seeds: BTreeMap::new(),
        notes: Vec::new(),
    }
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
fn plans(scenario: &Scenario, kernel: &Kernel, setting: &Setting) -> Result<Vec<Arc<Plan>>, Error> {
    senders(scenario)
        .map(|(index, _)| Plan::new(scenario, index, kernel, setting).map(Arc::new))
        .collect()
}

fn by_sender(scenario: &Scenario, plans: &[Arc<Plan>]) -> BTreeMap<NodeIndex, Arc<Plan>> {
    let senders = senders(scenario).map(|(index, _)| index);
    senders.zip(plans.iter().cloned()).collect()
}

/// The stage of guests that waited for such a scenario, if there are any that still live.
async fn waiting<'scenario>(
    scenario: &'scenario Scenario,
    plans: &[Arc<Plan>],
    setting: &Setting,
) -> Option<Stage<'scenario>> {
    let ready = setting.pool.take(scenario, plans)?;
    let mut stage = Stage::new(scenario, ready.lab, setting.interrupt.clone());
    stage.plans = by_sender(scenario, plans);
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
) -> Result<(Stage<'scenario>, Vec<Arc<Plan>>), Error> {
    let plans = plans(scenario, kernel, setting)?;
    let stage = start(scenario, &plans, setting, &mut Clock::default()).await?;
    Ok((stage, plans))
}

/// Builds a lab and starts its guests.
async fn start<'scenario>(
    scenario: &'scenario Scenario,
    plans: &[Arc<Plan>],
    setting: &Setting,
    clock: &mut Clock,
) -> Result<Stage<'scenario>, Error> {
    let (lab, mut nics) = Lab::new(scenario)?;
    let mut stage = Stage::new(scenario, lab, setting.interrupt.clone());
    stage.plans = by_sender(scenario, plans);
    for ((index, _), plan) in senders(scenario).zip(plans) {
        let (own, others): (Vec<_>, Vec<_>) = nics.into_iter().partition(|nic| nic.node == index);
        nics = others;
        let mut interrupt = setting.interrupt.clone();
        if plan.boots_netconsole() {
            clock.time("start", stage.boot(index)).await?;
            continue;
        }
        let cards = own.into_iter().map(|nic| nic.socket.into()).collect();
        let start = plan.start(index, cards, setting.templates.as_ref());
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

impl From<Trouble> for Interrupted<'_> {
    /// Outside all steps.
    fn from(trouble: Trouble) -> Self {
        Self {
            step: None,
            trouble,
        }
    }
}

/// Sets up, steps, and what nobody asked about.
async fn play<'scenario>(
    stage: &mut Stage<'scenario>,
    clock: &mut Clock,
) -> Result<(), Interrupted<'scenario>> {
    set_up(stage, clock).await?;
    let scenario = stage.scenario;
    for step in &scenario.steps {
        take(stage, clock, step).await?;
    }
    audit(stage, clock).await
}

/// What comes before the first step.
pub(super) async fn set_up<'scenario>(
    stage: &mut Stage<'scenario>,
    clock: &mut Clock,
) -> Result<(), Interrupted<'scenario>> {
    clock.time("prepare", prepare(stage)).await?;
    clock.time("receivers", stage.set_receivers_up()).await?;
    Ok(clock.time("targets", stage.set_targets_up()).await?)
}

/// One step.
pub(super) async fn take<'scenario>(
    stage: &mut Stage<'scenario>,
    clock: &mut Clock,
    step: &'scenario Step,
) -> Result<(), Interrupted<'scenario>> {
    let what = format!("step {}", step.place);
    let done = clock.time(what, one(stage, step)).await;
    done.map_err(|trouble| Interrupted {
        step: Some(step),
        trouble,
    })
}

/// What comes after the last step: what nobody asked about.
pub(super) async fn audit<'scenario>(
    stage: &mut Stage<'scenario>,
    clock: &mut Clock,
) -> Result<(), Interrupted<'scenario>> {
    Ok(clock.time("audit", stage.audit()).await?)
}

/// One step, and whether it fails as it should.
async fn one(stage: &mut Stage<'_>, step: &Step) -> Result<(), Trouble> {
    match &step.action {
        Action::Expect(expect) if expect.source == Source::Wire => {
            return stage.expect(step, expect).await;
        }
        Action::Expect(expect) => return stage.expect_written(step, expect).await,
        Action::Absent(absent) if absent.source == Source::Wire => {
            return stage.absent(step, absent).await;
        }
        Action::Absent(absent) => return stage.absent_written(step, absent).await,
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
