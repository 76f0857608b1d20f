//! PID 1 of a guest: executes what the program outside asks, on the kernel under test.

use std::{fs, io, path::Path};

use lastwords_vm::init::{Port, prepare};

use crate::kernel::{
    Refusal, Request, child, interface, local::Kernel, module::Modules, request::GuestPlan,
};

/// Where the initramfs holds what is ours.
pub(crate) const FOLDER: &str = "/lastwords";

/// Serves for ever. Returning would end PID 1, which the kernel answers with a panic, so even a failure only says why
/// on the kernel log and waits to be ended.
pub(crate) fn serve() -> ! {
    if let Err(error) = try_serve() {
        let _ = fs::write(
            "/dev/kmsg",
            format!("<0>lastwords: PID 1 cannot go on: {error}\n"),
        );
    }
    let _ = nix::sys::reboot::reboot(nix::sys::reboot::RebootMode::RB_POWER_OFF);
    loop {
        nix::unistd::pause();
    }
}

fn try_serve() -> io::Result<()> {
    let mut port = prepare()?;
    let plan = fs::read(Path::new(FOLDER).join("guest.json"))?;
    let plan: GuestPlan = serde_json::from_slice(&plan)?;
    let mut modules = Modules::new(Path::new(FOLDER).join("modules"), plan.modules);
    for module in &plan.preload {
        modules.load(module, "").map_err(io::Error::other)?;
    }
    let mut kernel = Kernel::new(modules)?;
    // The kernel's own default; our command line's -1 is only for what dies before this point.
    if !says_how_to_panic(&fs::read_to_string("/proc/cmdline")?) {
        fs::write("/proc/sys/kernel/panic", "0")?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let named = runtime.block_on(interface::name_cards(&plan.cards));
    named.map_err(io::Error::other)?;
    if let Some(startup) = plan.startup {
        let started = runtime.block_on(kernel.start_up(startup));
        started.map_err(io::Error::other)?;
    }
    port.ready()?;
    while let Some(question) = port.question()? {
        let answer = runtime.block_on(answer(&mut kernel, &question));
        reply(&mut port, &answer)?;
        if let Some(deed) = kernel.doom() {
            // Nothing of the answer may be left in a kernel that is about to die.
            port.drain()?;
            child::begin(&deed)?;
        }
    }
    Ok(())
}

/// Whether the command line has a `panic=` of the scenario's behind ours.
fn says_how_to_panic(cmdline: &str) -> bool {
    let words = cmdline.split_whitespace();
    words.filter(|word| word.starts_with("panic=")).count() > 1
}

async fn answer(kernel: &mut Kernel, question: &[u8]) -> Result<crate::kernel::Answer, Refusal> {
    match serde_json::from_slice::<Request>(question) {
        Ok(request) => kernel.execute(request).await,
        Err(error) => Err(Refusal::ours("reading a request", error.to_string())),
    }
}

fn reply(port: &mut Port, answer: &Result<crate::kernel::Answer, Refusal>) -> io::Result<()> {
    port.answer(&serde_json::to_vec(answer)?)
}
