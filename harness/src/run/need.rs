//! What a scenario needs, and whether it is here.

use lastwords_vm::{
    kernel::{Kernel, config::Setting},
    modules::{Presence, name::ModuleName},
};

use crate::{
    receiver::supply,
    report::Outcome,
    run::{Error, privilege::Privilege, system},
    scenario::{Action, Node, NodeIndex, Scenario, Via, needs::KernelVersion},
};

/// This program, as scenarios name it: every sender has it.
pub(crate) const OWN: &str = "lastwords";

/// Why `scenario` cannot run on `kernel` here; none where it can.
pub(crate) fn unmet(
    scenario: &Scenario,
    kernel: &Kernel,
    privilege: &Privilege,
) -> Result<Option<Outcome>, Error> {
    if let Some(reason) = kernel_cannot(scenario, kernel)? {
        return Ok(Some(Outcome::NotApplicable { reason }));
    }
    let missing = machine_lacks(scenario).or_else(|| withheld(scenario, privilege));
    Ok(missing.map(|reason| Outcome::Missing { reason }))
}

/// How `kernel` has the module called `name`.
pub(crate) fn presence(kernel: &Kernel, name: &str) -> Result<Presence, Error> {
    Ok(kernel.modules.presence(&ModuleName::new(name))?)
}

fn kernel_cannot(scenario: &Scenario, kernel: &Kernel) -> Result<Option<String>, Error> {
    let needs = &scenario.needs;
    if !needs.kernel.is_empty() {
        let Some(version) = KernelVersion::from_release(&kernel.release) else {
            return Ok(Some(format!(
                "the version of kernel {} cannot be told",
                kernel.release
            )));
        };
        if let Some(range) = needs.kernel.iter().find(|range| !range.holds(version)) {
            return Ok(Some(format!(
                "needs kernel {range}, this is {}",
                kernel.release
            )));
        }
    }
    let lacks = |option: &&String| {
        kernel
            .config
            .as_ref()
            .is_some_and(|config| config.has(option) == Setting::Off)
    };
    if let Some(option) = needs.config.iter().find(lacks) {
        return Ok(Some(format!(
            "needs CONFIG_{option}, which {} is built without",
            kernel.release
        )));
    }
    for module in &needs.module {
        if presence(kernel, module)? == Presence::Absent {
            return Ok(Some(format!(
                "needs module `{module}`, which {} does not have",
                kernel.release
            )));
        }
    }
    let by_parameter = scenario
        .targets
        .iter()
        .any(|target| matches!(target.via, Via::Modprobe | Via::Boot));
    if by_parameter && presence(kernel, "netconsole")? == Presence::BuiltIn {
        let reason = "netconsole is built into this kernel, so no modprobe gives it a parameter";
        return Ok(Some(reason.to_owned()));
    }
    Ok(None)
}

/// What this machine does not let us make.
fn withheld(scenario: &Scenario, privilege: &Privilege) -> Option<String> {
    let node = scenario
        .nodes
        .iter()
        .find(|node| node.lives_in_a_namespace())?;
    let why = match privilege {
        Privilege::Granted => return None,
        Privilege::NotAsked => "nobody asked for them",
        Privilege::Withheld(why) => why,
    };
    Some(format!(
        "`{}` lives in network namespaces, which this machine withholds: {why}",
        node.name
    ))
}

fn machine_lacks(scenario: &Scenario) -> Option<String> {
    let mut nodes = (0..scenario.nodes.len()).map(NodeIndex);
    if nodes.any(|node| scenario.boots(node))
        && let Some((program, package)) = system::missing()
    {
        return Some(format!(
            "needs program `{program}` for a machine that boots from its own files (install it: `apt-get install {package}`)"
        ));
    }
    let mut programs = scenario.nodes.iter().filter_map(Node::program);
    if let Some(missing) = programs.find_map(supply::missing) {
        return Some(missing);
    }
    let run = scenario.steps.iter().filter_map(|step| match &step.action {
        Action::Run(run) => Some(run.command.first().into_iter().chain(&run.programs)),
        _ => None,
    });
    let mut programs = scenario.needs.program.iter().chain(run.flatten());
    let missing = programs.find(|program| *program != OWN && supply::find(program).is_none())?;
    Some(format!(
        "needs program `{missing}`, which is not on the PATH"
    ))
}
