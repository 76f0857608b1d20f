//! A node alone: its name, its role, and what the role is made of.

use crate::{
    netconsole::Settings,
    scenario::{
        NodeIndex, Pattern, Place, Program, Role, Target,
        meaning::{check_name, value},
        mistake::{Mistake, Mistakes},
        node::{Receiver, Sender},
        read::{Either, scalar::Number, table::Keyed, word::Word},
        tree::At,
        written::{self, node::RoleWord},
    },
};

/// The keys of nodes that only senders have.
const SENDERS_KEYS: [&str; 5] = ["nic", "cpus", "memory", "cmdline", "sysctl"];
/// The keys of nodes that only receivers have.
const RECEIVERS_KEYS: [&str; 7] = [
    "program", "config", "append", "command", "start", "fails", "port",
];
/// The keys of receivers that are about their program.
const PROGRAMS_KEYS: [&str; 5] = ["config", "append", "command", "start", "fails"];

/// A node of the file.
pub(crate) struct Member<'f> {
    pub(crate) name: At<String>,
    pub(crate) role: Option<RoleWord>,
    /// `None`: it is there by default, or could not be read.
    pub(crate) written: Option<&'f written::node::Node>,
}

impl<'f> Member<'f> {
    pub(crate) fn of(name: &At<String>, node: Option<&'f At<written::node::Node>>) -> Self {
        let written = node.map(|node| &node.value);
        Self {
            name: name.clone(),
            role: written.and_then(|node| value(node.role.as_ref())),
            written,
        }
    }

    /// Notes a bad name, and keys that are another role's.
    pub(crate) fn check(&self, mistakes: &mut Mistakes<'_>) {
        check_name("node", &self.name, mistakes);
        let (Some(node), Some(role)) = (self.written, self.role) else {
            return;
        };
        let of_senders = SENDERS_KEYS.iter().map(|key| (*key, RoleWord::Sender));
        let of_receivers = RECEIVERS_KEYS.iter().map(|key| (*key, RoleWord::Receiver));
        for (key, owner) in of_senders
            .chain(of_receivers)
            .filter(|(_, owner)| *owner != role)
        {
            let Some(span) = node.place(key) else {
                continue;
            };
            let (name, role, owner) = (&self.name.value, role.name(), owner.name());
            let title = format!("`{key}` is a {owner}'s, `{name}` is a {role}");
            mistakes.add(Mistake::at(span, title));
        }
        if role == RoleWord::Receiver {
            check_program(node, mistakes);
        }
    }

    pub(crate) fn meant(&self, index: NodeIndex, targets: &[Target], text: &str) -> Role {
        match self.role {
            Some(RoleWord::Sender) | None => Role::Sender(self.sender()),
            Some(RoleWord::Receiver) => Role::Receiver(self.receiver(index, targets, text)),
            Some(RoleWord::Router) => Role::Router,
        }
    }

    fn sender(&self) -> Sender {
        let node = self.written;
        let sysctl = node
            .and_then(|node| node.sysctl.as_ref())
            .into_iter()
            .flat_map(|sysctl| &sysctl.value.0);
        Sender {
            cpus: node
                .and_then(|node| node.cpus.as_ref())
                .map_or(1, |cpus| cpus.value.get()),
            memory: node
                .and_then(|node| node.memory.as_ref())
                .map_or(Sender::MEMORY, |memory| memory.value.0),
            cmdline: node.and_then(|node| value(node.cmdline.as_ref())),
            sysctl: sysctl
                .filter_map(|(name, value)| {
                    Some((name.value.clone(), text(&value.as_ref()?.value)))
                })
                .collect(),
        }
    }

    fn receiver(&self, index: NodeIndex, targets: &[Target], text: &str) -> Receiver {
        let node = self.written;
        let program = node.and_then(|node| program(node, text));
        let written = node.and_then(|node| node.port.as_ref());
        let ports =
            written.map(|ports| ports.value.0.iter().map(|port| port.value.get()).collect());
        Receiver {
            program,
            ports: ports.unwrap_or_else(|| remote_ports(index, targets)),
        }
    }
}

fn program(node: &written::node::Node, text: &str) -> Option<Program> {
    let name = node.program.as_ref()?;
    let fails = match node.fails.as_ref().map(|fails| &fails.value) {
        None | Some(Either::One(false)) => None,
        Some(Either::One(true)) => Some(None),
        Some(Either::Other(piece)) => Some(Some(Pattern::Literal(piece.clone()))),
    };
    Some(Program {
        name: name.value,
        config: value(node.config.as_ref()).map(Into::into),
        append: value(node.append.as_ref()),
        command: value(node.command.as_ref()),
        start: value(node.start.as_ref()).unwrap_or(true),
        fails,
        place: Place::of(text, name.span),
    })
}

/// Notes what does not go together with the program, or is there without one.
fn check_program(node: &written::node::Node, mistakes: &mut Mistakes<'_>) {
    let Some(program) = &node.program else {
        for key in PROGRAMS_KEYS {
            if let Some(span) = node.place(key) {
                mistakes.add(
                    Mistake::at(span, format!("`{key}` is there for a `program`"))
                        .help(format!("name the program, or leave `{key}` out")),
                );
            }
        }
        return;
    };
    if program.value.configuration().is_none() {
        for key in ["config", "append"] {
            if let Some(span) = node.place(key) {
                let title = format!("{} has no configuration file", program.value.name());
                mistakes.add(
                    Mistake::at(span, title)
                        .help("what it is to do stands on its command line, `command`"),
                );
            }
        }
    }
    let empty = |key: &&At<String>| key.value.trim().is_empty();
    if let Some(command) = node.command.as_ref().filter(empty) {
        mistakes.add(Mistake::at(command.span, "the command is empty"));
    }
    if let Some(Either::Other(piece)) = node.fails.as_ref().map(|fails| &fails.value)
        && piece.is_empty()
        && let Some(span) = node.place("fails")
    {
        mistakes.add(
            Mistake::at(span, "an empty text is in all that a program prints")
                .help("write a piece of what it must print, or `true`"),
        );
    }
}

fn text(value: &Either<String, Number<0, { u32::MAX }>>) -> String {
    match value {
        Either::One(text) => text.clone(),
        Either::Other(number) => number.get::<u32>().to_string(),
    }
}

/// The ports of the targets that are aimed at `receiver`, netconsole's own where there is none.
fn remote_ports(receiver: NodeIndex, targets: &[Target]) -> Vec<u16> {
    let aimed = targets.iter().filter(|target| target.to == receiver);
    let mut ports: Vec<u16> = aimed.flat_map(Target::remote_ports).collect();
    ports.sort_unstable();
    ports.dedup();
    if ports.is_empty() {
        vec![Settings::REMOTE_PORT]
    } else {
        ports
    }
}
