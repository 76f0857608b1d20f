//! Steps as written: one key names the action.

use schemars::{JsonSchema, Schema};

use crate::scenario::{
    mistake::{Mistake, Mistakes, list},
    read::{
        Either, Many, Map,
        form::Wait,
        network::Address,
        scalar::{Count, Number, Port},
        table::{Keys, table},
        word::Word,
    },
    step::{Hang, Oops},
    tree::{At, Span},
    written::{
        expectation::{Absent, Expect, Short},
        ordeal::{Hanging, Key, Panic, Yes},
        target::Fails,
    },
};

table! {
    /// A step: exactly one action, and what goes with it.
    #[schemars(transform = one_action)]
    "a step" struct Step checked by check_step {
        /// The node that does it; the only sender without it.
        "on" on: String,
        /// Whether it must fail: `true`, or with which error.
        "fails" fails: Fails,
        /// How long it may take; 10 s without it, 20 s for a `load`.
        "within" within: Wait,
        /// `dmesg -n`: messages below this level go to the consoles.
        "console-level" console_level: Number<1, 8>,
        /// Loads a kernel module.
        "load" load: Either<String, Load>,
        /// Unloads a kernel module.
        "unload" unload: Either<String, Unload>,
        /// Writes to /dev/kmsg.
        "kmsg" kmsg: Either<String, Kmsg>,
        /// Changes a target through configfs.
        "set" set: Set,
        /// Makes a target by configfs that is not there: its name.
        "make" make: String,
        /// Removes a target by configfs: its name.
        "remove" remove: String,
        /// Changes an interface: `"up"`, `"down"`, or a table.
        "link" link: Either<UpDown, LinkChange>,
        /// Runs a command.
        "run" run: Either<Vec<At<String>>, Run>,
        /// Waits until an interface has its carrier: `true` for the only one, or its name.
        "wait-for-carrier" wait_for_carrier: Either<bool, String>,
        /// Presses a SysRq key: `m`, `t`; `b`, `c` and `o` end the machine.
        "sysrq" sysrq: Key,
        /// Makes the kernel oops in a process that dies of it: `true`, `"bug"`; `"warn"` only makes it warn.
        "oops" oops: Either<Yes, Oops>,
        /// Makes the kernel panic: `true`, or a table.
        "panic" panic: Either<Yes, Panic>,
        /// Makes a processor hang in the kernel, with interrupts (`"soft"`) or without (`"hard"`), or a process (`"task"`).
        "hang" hang: Either<Hang, Hanging>,
        /// Sends a non-maskable interrupt, as a management controller's button does.
        "nmi" nmi: Yes,
        /// Starts the program of this receiver.
        "start" start: String,
        /// Stops the program of this receiver, as a system does.
        "stop" stop: String,
        /// Kills the program of this receiver.
        "kill" kill: String,
        /// Stops the program of this receiver and starts it again.
        "restart" restart: String,
        /// Lines that must arrive.
        "expect" expect: Either<Short, Expect>,
        /// Lines that were printed and must not arrive.
        "absent" absent: Either<Short, Absent>,
        /// Writes a file.
        "write" write: Write,
        /// Restarts in order, and boots from what its files say then: `true`.
        "reboot" reboot: bool,
        /// Switches off in order: `true`.
        "power-off" power_off: bool,
    }
}

table! {
    /// Loads a kernel module.
    "`load`" struct Load {
        /// Its name.
        required "module" module: String,
        /// Its parameters, as on modprobe's command line.
        "parameters" parameters: String,
    }
}

table! {
    /// Unloads a kernel module.
    "`unload`" struct Unload {
        /// Its name.
        required "module" module: String,
        /// Whether it is fine that it is not loaded.
        "if-loaded" if_loaded: bool,
    }
}

table! {
    /// Writes to /dev/kmsg, one record for each write.
    "`kmsg`" struct Kmsg checked by check_kmsg {
        /// The record.
        "text" text: String,
        /// Numbered records, in place of `text`.
        "burst" burst: Burst,
        /// Its level, 0 (emerg) to 7 (debug); the kernel's default, 4, without it.
        "level" level: Number<0, 7>,
        /// How often it is written.
        "times" times: Count,
        /// Whether a newline ends it.
        "newline" newline: bool,
        /// Whether the next step begins while it is still being written.
        "background" background: bool,
    }
}

table! {
    /// The records `TEXT 1` to `TEXT N`.
    "`burst`" struct Burst {
        /// What stands before the number.
        required "text" text: String,
        /// How many.
        required "lines" lines: Count,
    }
}

table! {
    /// Changes a target through configfs: disables it, writes, and enables it again.
    "`set`" struct Set {
        /// The target; the only one without it.
        "target" target: String,
        /// Whether it is only written, without disabling before and enabling after.
        "raw" raw: bool,
        /// On or off afterwards.
        "enabled" enabled: bool,
        /// See the target's.
        "dev-name" dev_name: String,
        /// See the target's.
        "local-port" local_port: Port,
        /// See the target's.
        "remote-port" remote_port: Port,
        /// See the target's.
        "local-ip" local_ip: Address,
        /// See the target's.
        "remote-ip" remote_ip: Address,
        /// See the target's.
        "remote-mac" remote_mac: String,
        /// See the target's.
        "extended" extended: bool,
        /// See the target's.
        "release" release: bool,
        /// Values by key; `false` removes the key.
        "userdata" userdata: Map<Either<String, bool>>,
        /// Texts written as they stand, by the name of the configfs attribute.
        "attributes" attributes: Map<String>,
    }
}

table! {
    /// Changes an interface.
    "`link`" struct LinkChange checked by check_link {
        /// `eth0`, `eth1`, …; the node's only one without it.
        "interface" interface: String,
        /// `ip link set up` or `down`.
        "up" up: bool,
        /// The cable, put back or pulled.
        "carrier" carrier: bool,
    }
}

table! {
    /// Runs a command.
    "`run`" struct Run {
        /// The program and its arguments.
        required "command" command: Vec<At<String>>,
        /// Further programs that it needs.
        "programs" programs: Many<String>,
        /// Files to copy there: path there, path from the scenario file's folder.
        "files" files: Map<String>,
        /// What its standard output must hold.
        "prints" prints: String,
    }
}

table! {
    /// Writes a file.
    "`write`" struct Write checked by check_write {
        /// Its absolute path. Its folder must be there.
        required "path" path: String,
        /// What it is to hold.
        "text" text: String,
        /// A file that holds it, in place of `text`; a relative path starts at the scenario file's folder.
        "file" file: String,
        /// Whether it is added to what the file holds, as `>>` does.
        "append" append: bool,
    }
}

/// Whether an interface is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub(crate) enum UpDown {
    Up,
    Down,
}

impl Word for UpDown {
    const WHAT: &'static str = "state of an interface";
    const WORDS: &'static [(&'static str, Self)] = &[("up", Self::Up), ("down", Self::Down)];
}

/// What may stand beside a step's action.
const BESIDE: [&str; 3] = ["on", "fails", "within"];

/// The keys that name an action.
fn actions() -> impl Iterator<Item = &'static str> {
    Step::KEYS
        .iter()
        .copied()
        .filter(|key| !BESIDE.contains(key))
}

/// Puts "exactly one action" into the schema.
fn one_action(schema: &mut Schema) {
    let actions: Vec<_> = actions()
        .map(|key| serde_json::json!({ "required": [key] }))
        .collect();
    schema.insert("oneOf".to_owned(), actions.into());
}

fn check_step(keys: &Keys<'_, '_>, mistakes: &mut Mistakes<'_>) {
    let mut present: Vec<(&str, Span)> = actions()
        .filter_map(|key| Some((key, keys.place(key)?)))
        .collect();
    present.sort_by_key(|(_, span)| *span);
    match present.as_slice() {
        [_] => {}
        // An unknown key was the action, most likely, and is noted already.
        [] if keys.has_other_than(&BESIDE) => {}
        [] => {
            let actions: Vec<&str> = actions().collect();
            mistakes.add(
                Mistake::at(keys.span(), "a step without an action")
                    .help(format!("there is {}", list(&actions))),
            );
        }
        [(one, first), others @ ..] => {
            for (other, span) in others {
                let mistake = Mistake::at(
                    *span,
                    format!("a step has one action, this one has `{one}` and `{other}`"),
                );
                mistakes.add(
                    mistake
                        .context(*first, "the first")
                        .help("write a `[[steps]]` of its own for each"),
                );
            }
        }
    }
}

fn check_link(keys: &Keys<'_, '_>, mistakes: &mut Mistakes<'_>) {
    let changes = ["up", "carrier"];
    if changes.iter().all(|key| keys.place(key).is_none()) && !keys.has_one_like(&changes) {
        let mistake = Mistake::at(keys.span(), "`link` changes nothing");
        mistakes.add(mistake.help("write `up = false` or `carrier = false`"));
    }
}

fn check_write(keys: &Keys<'_, '_>, mistakes: &mut Mistakes<'_>) {
    keys.exactly_one("`write`", &["text", "file"], mistakes);
}

fn check_kmsg(keys: &Keys<'_, '_>, mistakes: &mut Mistakes<'_>) {
    keys.exactly_one("`kmsg`", &["text", "burst"], mistakes);
}
