//! What is to be known of the running kernel.

use crate::param::{
    Finding,
    machine::{Kernel, Support},
};

/// The console level that lets all messages through: `dmesg -n 8`.
const ALL: u8 = 8;

/// What is to be known of the kernel, whatever the parameter.
pub(crate) fn findings(kernel: &Kernel) -> Vec<Finding> {
    let mut found = Vec::new();
    let release = &kernel.release;
    match kernel.netconsole {
        Support::Absent => {
            let text = format!("this kernel, {release}, is built without netconsole");
            let help = "boot one with CONFIG_NETCONSOLE; Debian's have it as a module";
            found.push(Finding::warning("no-netconsole", text).help(help));
        }
        Support::BuiltIn => {
            let text = format!(
                "netconsole is built into this kernel, {release}: no modprobe gives it a parameter, the command line does"
            );
            found.push(Finding::note("built-in", text));
        }
        Support::Unknown => {
            let text =
                format!("whether this kernel, {release}, has netconsole cannot be told from here");
            found.push(Finding::note("unknown-kernel", text));
        }
        Support::Module => {}
    }
    if kernel.dynamic == Some(false) && kernel.netconsole != Support::Absent {
        let text =
            format!("{release} is built without CONFIG_NETCONSOLE_DYNAMIC: there is no configfs");
        found.push(Finding::warning("no-configfs", text));
    }
    if kernel.loaded && kernel.netconsole != Support::BuiltIn {
        let text = "netconsole is loaded already, and modprobe gives a loaded module no parameter";
        let help = "unload it first (`modprobe -r netconsole`), or add the target through configfs";
        found.push(Finding::warning("loaded", text).help(help));
    }
    if let Some(level) = kernel.console_level.filter(|level| *level < ALL) {
        let text = format!("only messages below level {level} are sent");
        found.push(Finding::note("console-level", text).help("`dmesg -n 8` lets all through"));
    }
    found
}

/// What the running kernel makes of a target that it does not understand.
pub(crate) fn of_a_bad_target(kernel: &Kernel) -> &'static str {
    if kernel.is_at_least(6, 10, 0) && kernel.dynamic != Some(false) {
        "from 6.10 on the module loads without a word and has no such target; modprobe succeeds"
    } else {
        "modprobe fails, and no target is set up"
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::fine(Support::Module, Some(true), false, Some(8), &[])]
    #[case::quiet(Support::Module, None, false, Some(4), &["console-level"])]
    #[case::absent(Support::Absent, Some(false), false, None, &["no-netconsole"])]
    #[case::built_in(Support::BuiltIn, Some(true), true, None, &["built-in"])]
    #[case::static_only(Support::Module, Some(false), true, None, &["no-configfs", "loaded"])]
    #[case::unknown(Support::Unknown, None, false, None, &["unknown-kernel"])]
    fn knows_kernels(
        #[case] netconsole: Support,
        #[case] dynamic: Option<bool>,
        #[case] loaded: bool,
        #[case] console_level: Option<u8>,
        #[case] expected: &[&str],
    ) {
        let kernel = Kernel {
            release: "6.1.0".to_owned(),
            netconsole,
            dynamic,
            loaded,
            console_level,
            targets: Vec::new(),
        };
        let found: Vec<_> = findings(&kernel).iter().map(|one| one.code).collect();
        assert_eq!(found, expected);
    }
}
