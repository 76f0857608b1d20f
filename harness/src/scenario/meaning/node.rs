//! The nodes of a scenario: their names, their roles, and what each role is made of.

use crate::scenario::{
    Interface, Node, NodeIndex, Route, Target,
    meaning::role::Member,
    mistake::{Mistake, Mistakes, list, unknown},
    read::word::Word,
    tree::{At, Span},
    written::{File, node::RoleWord},
};

/// The nodes of a file, in its order.
pub(crate) struct Roster<'f> {
    members: Vec<Member<'f>>,
    /// Whether every role is known.
    certain: bool,
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

    /// Whether a real program receives there.
    pub(crate) fn has_program(&self, index: NodeIndex) -> bool {
        let written = self.member(index).written;
        written.is_some_and(|node| node.program.is_some())
    }

    /// How many processors a sender has.
    pub(crate) fn cpus(&self, index: NodeIndex) -> u8 {
        let cpus = self
            .member(index)
            .written
            .and_then(|node| node.cpus.as_ref());
        cpus.map_or(1, |cpus| cpus.value.get())
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

    /// The nodes as meant, with the `networks` of each: its interfaces and routes. Only where there were no mistakes.
    pub(crate) fn nodes(
        &self,
        networks: impl Iterator<Item = (Vec<Interface>, Vec<Route>)>,
        targets: &[Target],
        text: &str,
    ) -> Vec<Node> {
        let members = self.members().zip(networks);
        members
            .map(|((index, member), (interfaces, routes))| Node {
                name: member.name.value.clone(),
                role: member.meant(index, targets, text),
                interfaces,
                routes,
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
