//! The start of an installed system, as far as modules are concerned: systemd-modules-load.service, which reads
//! /etc/modules through /etc/modules-load.d/modules.conf and loads what stands there with libkmod, which reads
//! /etc/modprobe.d and the kernel's command line.

use std::{fs, path::Path, time::Duration};

use crate::kernel::{
    Refusal,
    command::{run, run_with},
    request::{Booted, Startup},
};

/// A target waits up to 4 s for a carrier, on 6.1 twice, and each module may probe hardware.
const LOAD_WITHIN: Duration = Duration::from_secs(100);
/// Reading a few files, under emulation.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// A start that was made.
pub(crate) struct Done {
    startup: Startup,
    said: String,
}

/// Loads the modules that the system's files name.
pub(crate) async fn start_up(startup: Startup) -> Result<Done, Refusal> {
    let command = [startup.modules_load.clone()];
    // systemd has its output in the journal; on the kernel log it would be lines that no real machine sends.
    let variables = [("SYSTEMD_LOG_TARGET", "console")];
    let ran = run_with(&command, &variables, LOAD_WITHIN).await?;
    Ok(Done {
        said: format!("{}{}", ran.output, ran.errors),
        startup,
    })
}

/// What the boot has made of netconsole.
pub(crate) async fn booted(done: Option<&Done>) -> Result<Booted, Refusal> {
    let Some(done) = done else {
        return Ok(Booted::default());
    };
    let command = [done.startup.modprobe.clone(), "--showconfig".to_owned()];
    let shown = run(&command, READ_WITHIN).await?;
    let options = shown
        .output
        .lines()
        .filter_map(|line| line.strip_prefix("options netconsole "));
    Ok(Booted {
        loaded: Path::new("/sys/module/netconsole").exists(),
        options: options.map(str::to_owned).collect(),
        cmdline: fs::read_to_string("/proc/cmdline").unwrap_or_default(),
        said: done.said.clone(),
        console_levels: fs::read_to_string("/proc/sys/kernel/printk").unwrap_or_default(),
    })
}
