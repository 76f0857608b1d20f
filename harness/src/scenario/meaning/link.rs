//! The links of a scenario, and the interfaces that its nodes have on them.

use std::collections::VecDeque;

use ipnet::{IpNet, Ipv4Net};

use crate::scenario::{
    Interface, Link, NodeIndex,
    meaning::{
        interface::{EndOf, give_nodes_their_keys, interfaces},
        node::Roster,
        subnet::{check_subnet, overlap},
    },
    mistake::{Mistake, Mistakes},
    read::Either,
    tree::{At, Span},
    written::{self, File, node::RoleWord},
};

/// The links of a file, and each node's interfaces.
pub(crate) struct Net {
    pub(crate) links: Vec<Link>,
    /// By node.
    pub(crate) interfaces: Vec<Vec<Interface>>,
    /// Whether every link and every end could be read: only then can paths be judged.
    certain: bool,
}

/// A link before its ends have addresses.
pub(crate) struct Draft<'f> {
    pub(crate) subnets: Vec<At<IpNet>>,
    pub(crate) ends: Vec<EndOf<'f>>,
}

impl Net {
    /// The links of `file`; without any, one for two nodes.
    pub(crate) fn of(file: &File, roster: &Roster<'_>, mistakes: &mut Mistakes<'_>) -> Self {
        let before = mistakes.count();
        let mut drafts = match &file.links {
            Some(links) => links
                .value
                .read()
                .enumerate()
                .map(|(index, link)| draft(index, link, roster, mistakes))
                .collect(),
            None => default_link(file, roster, mistakes),
        };
        check_overlaps(&drafts, mistakes);
        give_nodes_their_keys(&mut drafts, roster, mistakes);
        let certain = mistakes.count() == before && are_whole(file);
        if file.links.is_some() && certain {
            check_that_all_are_linked(&drafts, roster, mistakes);
        }
        let interfaces = interfaces(&drafts, roster, mistakes);
        let links = drafts.iter().map(Draft::link).collect();
        Self {
            links,
            interfaces,
            certain,
        }
    }

    pub(crate) fn interfaces_of(&self, node: NodeIndex) -> &[Interface] {
        self.interfaces.get(node.0).map_or(&[], Vec::as_slice)
    }

    /// Whether frames or packets can come from `from` to `to`, through routers where need be.
    pub(crate) fn reaches(&self, from: NodeIndex, to: NodeIndex, roster: &Roster<'_>) -> bool {
        let mut seen = vec![from];
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            if node == to {
                return true;
            }
            if node != from && roster.member(node).role != Some(RoleWord::Router) {
                continue;
            }
            for interface in self.interfaces_of(node) {
                for next in self.links[interface.link]
                    .nodes
                    .iter()
                    .filter(|next| !seen.contains(next))
                    .collect::<Vec<_>>()
                {
                    seen.push(*next);
                    queue.push_back(*next);
                }
            }
        }
        !self.certain
    }
}

/// Whether every link and every end of it could be read.
fn are_whole(file: &File) -> bool {
    let is_whole = |link: &At<written::node::Link>| {
        link.value
            .nodes
            .as_ref()
            .is_some_and(|nodes| nodes.value.0.iter().all(Option::is_some))
    };
    let mut links = file.links.iter().flat_map(|links| &links.value.0);
    links.all(|link| link.as_ref().is_some_and(is_whole))
}

impl Draft<'_> {
    fn link(&self) -> Link {
        Link {
            subnets: self.subnets.iter().map(|subnet| subnet.value).collect(),
            nodes: self.ends.iter().map(|end| end.node).collect(),
        }
    }
}

fn draft<'f>(
    index: usize,
    link: &'f At<written::node::Link>,
    roster: &Roster<'_>,
    mistakes: &mut Mistakes<'_>,
) -> Draft<'f> {
    let mut ends: Vec<EndOf<'f>> = Vec::new();
    let nodes = link.value.nodes.as_ref();
    for written in nodes.into_iter().flat_map(|nodes| nodes.value.read()) {
        let (name, end) = match &written.value {
            Either::One(name) => (written.with(name.clone()), None),
            Either::Other(end) => match &end.node {
                Some(name) => (name.clone(), Some(end)),
                None => continue,
            },
        };
        let Some(node) = roster.find(&name, mistakes) else {
            continue;
        };
        if let Some(first) = ends.iter().find(|end| end.node == node) {
            let title = format!("`{}` is twice on this link", name.value);
            mistakes.add(Mistake::at(name.span, title).context(first.span, "the first"));
            continue;
        }
        ends.push(EndOf {
            node,
            span: name.span,
            end,
            own: None,
            own_nic: None,
        });
    }
    if let Some(nodes) = nodes.filter(|nodes| nodes.value.0.len() < 2) {
        mistakes.add(Mistake::at(nodes.span, "a link has at least two nodes"));
    }
    Draft {
        subnets: subnets(index, link, ends.len(), mistakes),
        ends,
    }
}

fn subnets(
    index: usize,
    link: &At<written::node::Link>,
    ends: usize,
    mistakes: &mut Mistakes<'_>,
) -> Vec<At<IpNet>> {
    let Some(subnets) = &link.value.subnet else {
        return default_subnet(index)
            .map(|subnet| At::new(subnet, link.span.range()))
            .into_iter()
            .collect();
    };
    if subnets.value.0.is_empty() {
        mistakes.add(Mistake::at(subnets.span, "a link has at least one subnet"));
    }
    let subnets = subnets.value.0.iter();
    subnets
        .filter_map(|subnet| check_subnet(&subnet.with(subnet.value.0), ends, mistakes))
        .collect()
}

/// 172.16.N.0/24 for the link of index N.
fn default_subnet(index: usize) -> Option<IpNet> {
    let [high, low] = u16::try_from(index).ok()?.to_be_bytes();
    let second = high.checked_add(16).filter(|second| *second < 32)?;
    Ipv4Net::new([172, second, low, 0].into(), 24)
        .ok()
        .map(IpNet::V4)
}

/// The one link of two nodes, where the file has none.
fn default_link<'f>(
    file: &File,
    roster: &Roster<'_>,
    mistakes: &mut Mistakes<'_>,
) -> Vec<Draft<'f>> {
    let ends: Vec<EndOf<'f>> = roster
        .members()
        .map(|(node, member)| EndOf {
            node,
            span: member.name.span,
            end: None,
            own: None,
            own_nic: None,
        })
        .collect();
    if let (Some(nodes), 3..) = (&file.nodes, ends.len()) {
        let title = format!("{} nodes and no link", ends.len());
        mistakes.add(Mistake::at(nodes.span, title).help(
            "write `[[links]]` that say which nodes share a segment; only two nodes do by default",
        ));
        return Vec::new();
    }
    let subnets = default_subnet(0)
        .map(|subnet| At::new(subnet, Span::default().range()))
        .into_iter()
        .collect();
    vec![Draft { subnets, ends }]
}

fn check_overlaps(drafts: &[Draft<'_>], mistakes: &mut Mistakes<'_>) {
    let mut seen: Vec<&At<IpNet>> = Vec::new();
    for subnet in drafts.iter().flat_map(|draft| &draft.subnets) {
        if let Some(other) = seen
            .iter()
            .find(|other| overlap(&other.value, &subnet.value))
        {
            let title = format!("subnet {} overlaps {}", subnet.value, other.value);
            mistakes.add(
                Mistake::at(subnet.span, title)
                    .context(other.span, "the first")
                    .help("give each link addresses of its own"),
            );
        }
        seen.push(subnet);
    }
}

fn check_that_all_are_linked(
    drafts: &[Draft<'_>],
    roster: &Roster<'_>,
    mistakes: &mut Mistakes<'_>,
) {
    for (index, member) in roster.members() {
        let linked = drafts
            .iter()
            .flat_map(|draft| &draft.ends)
            .any(|end| end.node == index);
        if !linked {
            let mistake = Mistake::at(
                member.name.span,
                format!("node `{}` is on no link", member.name.value),
            );
            mistakes.add(mistake.help("name it in the `nodes` of one of the `[[links]]`"));
        }
    }
}
