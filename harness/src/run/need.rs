//! What a scenario needs, and whether it is here.

use lastwords_vm::kernel::Kernel;

use crate::{
    report::Outcome,
    scenario::{Action, Role, Scenario, Via, needs::KernelVersion, node::Program},
};

/// Why `scenario` cannot run on `kernel` here; none where it can.
pub(crate) fn unmet(scenario: &Scenario, kernel: &Kernel) -> Option<Outcome> {
    let version = KernelVersion::from_release(&kernel.release);
    kernel_cannot(scenario, kernel, version).map(|reason| Outcome::NotApplicable { reason }).or_else(|| {
        machine_lacks(scenario).map(|reason| Outcome::Missing { reason })
    })
}

fn kernel_cannot(scenario: &Scenario, kernel: &Kernel, version: Option<KernelVersion>) -> Option<String> {
    let needs = &scenario.needs;
    if !needs.kernel.is_empty() {
        let Some(version) = version else {
            return Some(format!("the version of kernel {} cannot be told", kernel.release));
        };
        if let Some(range) = needs.kernel.iter().find(|range| !range.holds(version)) {
            return Some(format!("needs kernel {range}, this is {}", kernel.release));
        }
    }
    if let Some(option) = needs.config.iter().find(|option| kernel.lacks_option(option)) {
        return Some(format!("needs CONFIG_{option}, which {} is built without", kernel.release));
    }
    if let Some(module) = needs.module.iter().find(|module| !kernel.modules.has(module)) {
        return Some(format!("needs module `{module}`, which {} does not have", kernel.release));
    }
    let by_parameter = scenario.targets.iter().any(|target| target.via == Via::Modprobe);
    if by_parameter && kernel.modules.is_built_in("netconsole") {
        return Some("netconsole is built into this kernel, so no modprobe gives it a parameter".to_owned());
    }
    later(scenario)
}

/// What this program does not do yet.
fn later(scenario: &Scenario) -> Option<String> {
    scenario.nodes.iter().find_map(|node| match &node.role {
        Role::Router => Some(format!("`{}` is a router, which no backend can build yet", node.name)),
        Role::Receiver(receiver) => match &receiver.program {
            Program::Observer => None,
            Program::Real { name, .. } => {
                Some(format!("`{}` receives with `{name}`, which no backend can run yet", node.name))
            }
        },
        Role::Sender(_) => None,
    })
}

fn machine_lacks(scenario: &Scenario) -> Option<String> {
    let run = scenario.steps.iter().filter_map(|step| match &step.action {
        Action::Run(run) => Some(&run.programs),
        _ => None,
    });
    let mut programs = scenario.needs.program.iter().chain(run.flatten());
    let missing = programs.find(|program| crate::run::guest::find_program(program).is_none())?;
    Some(format!("needs program `{missing}`, which is not on the PATH"))
}
