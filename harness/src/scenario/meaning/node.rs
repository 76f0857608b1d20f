//! The nodes of a scenario: their names, their roles, and what each role is made of.

use crate::scenario::{
    Interface, Node, NodeIndex, Role, Target,
    meaning::{check_name, target::remote_ports, value},
    mistake::{Mistake, Mistakes, list, unknown},
    node::{Program, Receiver, Sender},
    read::{Either, word::Word},
    tree::{At, Span},
    written::{self, File, node::RoleWord},
};

/// The nodes of a file, in its order.
pub(crate) struct Roster<'f> {
    members: Vec<Member<'f>>,
    /// Whether every role is known.
    certain: bool,
}

/// A node of the file.
pub(crate) struct Member<'f> {
    pub(crate) name: At<String>,
    pub(crate) role: Option<RoleWord>,
    /// `None`: it is there by default, or could not be read.
    pub(crate) written: Option<&'f written::node::Node>,
}

impl<'f> Roster<'f> {
    /// The nodes of `file`; without any, `sender` and `receiver`.
    pub(crate) fn of(file: &'f File, mistakes: &mut Mistakes<'_>) -> Self {
        let Some(nodes) = &file.nodes else {
            return Self::default();
        };
        let members: Vec<Member<'f>> = nodes
            .value
            .0
            .iter()
            .map(|(name, node)| Member::of(name, node.as_ref()))
            .collect();
        let certain = members.iter().all(|member| member.role.is_some());
        let roster = Self { members, certain };
        for member in &roster.members {
            member.check(mistakes);
        }
        if certain {
            roster.check_roles(nodes.span, mistakes);
        }
        roster
    }

    /// All of them.
    pub(crate) fn members(&self) -> impl Iterator<Item = (NodeIndex, &Member<'f>)> {
        self.members
            .iter()
            .enumerate()
            .map(|(index, member)| (NodeIndex(index), member))
    }

    pub(crate) fn member(&self, index: NodeIndex) -> &Member<'f> {
        &self.members[index.0]
    }

    pub(crate) fn name(&self, index: NodeIndex) -> &str {
        &self.member(index).name.value
    }

    /// The node called `name`, or a mistake.
    pub(crate) fn find(&self, name: &At<String>, mistakes: &mut Mistakes<'_>) -> Option<NodeIndex> {
        let found = self.named(&name.value);
        if found.is_none() {
            mistakes.add(unknown(
                "node",
                name,
                self.members.iter().map(|member| member.name.value.as_str()),
            ));
        }
        found
    }

    /// The node called `name`, if there is one.
    pub(crate) fn named(&self, name: &str) -> Option<NodeIndex> {
        self.members
            .iter()
            .position(|member| member.name.value == name)
            .map(NodeIndex)
    }

    /// The node that `key` of something at `span` names, of role `role`; without `key`, the only one of that role.
    pub(crate) fn choose(
        &self,
        key: (&str, Option<&At<String>>),
        role: RoleWord,
        span: Span,
        mistakes: &mut Mistakes<'_>,
    ) -> Option<NodeIndex> {
        let (key, name) = key;
        let Some(name) = name else {
            return self.only(role, key, span, mistakes);
        };
        let index = self.find(name, mistakes)?;
        match self.member(index).role {
            Some(found) if found != role => {
                let title = format!(
                    "`{}` is a {}, `{key}` names a {}",
                    name.value,
                    found.name(),
                    role.name()
                );
                mistakes.add(
                    Mistake::at(name.span, title)
                        .did_you_mean("", self.with_role(role).map(|index| self.name(index))),
                );
                None
            }
            Some(_) | None => Some(index),
        }
    }

    /// The only node of `role`, or a mistake that asks for `key`.
    fn only(
        &self,
        role: RoleWord,
        key: &str,
        span: Span,
        mistakes: &mut Mistakes<'_>,
    ) -> Option<NodeIndex> {
        let candidates: Vec<NodeIndex> = self.with_role(role).collect();
        if let ([_, _, ..], true) = (candidates.as_slice(), self.certain) {
            let names: Vec<&str> = candidates.iter().map(|index| self.name(*index)).collect();
            let title = format!("`{key}` is missing, and there are several {}s", role.name());
            mistakes.add(
                Mistake::at(span, title)
                    .help(format!("write `{key}` with one of {}", list(&names))),
            );
        }
        match candidates.as_slice() {
            [only] if self.certain => Some(*only),
            _ => None,
        }
    }

    fn with_role(&self, role: RoleWord) -> impl Iterator<Item = NodeIndex> {
        self.members()
            .filter(move |(_, member)| member.role == Some(role))
            .map(|(index, _)| index)
    }

    fn check_roles(&self, span: Span, mistakes: &mut Mistakes<'_>) {
        for (role, example) in [(RoleWord::Sender, "box"), (RoleWord::Receiver, "agent")] {
            if self.with_role(role).next().is_none() {
                let help = format!("write `{example} = {{ role = \"{}\" }}`", role.name());
                mistakes.add(Mistake::at(span, format!("no node is a {}", role.name())).help(help));
            }
        }
    }

    /// The nodes as meant, with their `interfaces`. Only where there were no mistakes.
    pub(crate) fn nodes(&self, interfaces: Vec<Vec<Interface>>, targets: &[Target]) -> Vec<Node> {
        let members = self.members().zip(interfaces);
        members
            .map(|((index, member), interfaces)| Node {
                name: member.name.value.clone(),
                role: member.meant(index, targets),
                interfaces,
            })
            .collect()
    }
}

impl Default for Roster<'_> {
    fn default() -> Self {
        let member = |name: &str, role| Member {
            name: At::new(name.to_owned(), Span::default()),
            role: Some(role),
            written: None,
        };
        Self {
            members: vec![
                member("sender", RoleWord::Sender),
                member("receiver", RoleWord::Receiver),
            ],
            certain: true,
        }
    }
}

impl<'f> Member<'f> {
    fn of(name: &At<String>, node: Option<&'f At<written::node::Node>>) -> Self {
        let written = node.map(|node| &node.value);
        Self {
            name: name.clone(),
            role: written.and_then(|node| value(node.role.as_ref())),
            written,
        }
    }

    /// Notes a bad name, and keys that are another role's.
    fn check(&self, mistakes: &mut Mistakes<'_>) {
        check_name("node", &self.name, mistakes);
        let (Some(node), Some(role)) = (self.written, self.role) else {
            return;
        };
        let place = |key: Option<Span>, name, owner| key.map(|span| (span, name, owner));
        let keys = [
            place(
                node.nic.as_ref().map(|key| key.span),
                "nic",
                RoleWord::Sender,
            ),
            place(
                node.cpus.as_ref().map(|key| key.span),
                "cpus",
                RoleWord::Sender,
            ),
            place(
                node.memory.as_ref().map(|key| key.span),
                "memory",
                RoleWord::Sender,
            ),
            place(
                node.cmdline.as_ref().map(|key| key.span),
                "cmdline",
                RoleWord::Sender,
            ),
            place(
                node.sysctl.as_ref().map(|key| key.span),
                "sysctl",
                RoleWord::Sender,
            ),
            place(
                node.program.as_ref().map(|key| key.span),
                "program",
                RoleWord::Receiver,
            ),
            place(
                node.config.as_ref().map(|key| key.span),
                "config",
                RoleWord::Receiver,
            ),
            place(
                node.port.as_ref().map(|key| key.span),
                "port",
                RoleWord::Receiver,
            ),
        ];
        for (span, key, owner) in keys
            .into_iter()
            .flatten()
            .filter(|(_, _, owner)| *owner != role)
        {
            let title = format!(
                "`{key}` is a {}'s, `{}` is a {}",
                owner.name(),
                self.name.value,
                role.name()
            );
            mistakes.add(Mistake::at(span, title));
        }
        if let (Some(config), None, RoleWord::Receiver) = (&node.config, &node.program, role) {
            mistakes.add(
                Mistake::at(config.span, "`config` is there for a `program`")
                    .help("name the program, or leave `config` out"),
            );
        }
    }

    fn meant(&self, index: NodeIndex, targets: &[Target]) -> Role {
        match self.role {
            Some(RoleWord::Sender) | None => Role::Sender(self.sender()),
            Some(RoleWord::Receiver) => Role::Receiver(self.receiver(index, targets)),
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

    fn receiver(&self, index: NodeIndex, targets: &[Target]) -> Receiver {
        let node = self.written;
        let program = match node.and_then(|node| value(node.program.as_ref())) {
            None => Program::Observer,
            Some(name) => Program::Real {
                name,
                config: node
                    .and_then(|node| value(node.config.as_ref()))
                    .map(Into::into),
            },
        };
        let written = node.and_then(|node| node.port.as_ref());
        let ports =
            written.map(|ports| ports.value.0.iter().map(|port| port.value.get()).collect());
        Receiver {
            program,
            ports: ports.unwrap_or_else(|| remote_ports(index, targets)),
        }
    }
}

fn text(value: &Either<String, crate::scenario::read::scalar::Number<0, { u32::MAX }>>) -> String {
    match value {
        Either::One(text) => text.clone(),
        Either::Other(number) => number.get::<u32>().to_string(),
    }
}
