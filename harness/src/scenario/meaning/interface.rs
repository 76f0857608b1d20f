//! The interfaces that nodes have on links: their addresses, MACs and cards.

use crate::scenario::{
    Interface, NodeIndex,
    meaning::{address::Addresses, link::Draft, node::Roster, value},
    mistake::{Mistake, Mistakes},
    node::Nic,
    tree::Span,
    written::node::{End, Node},
};

/// A node's end of a link, as written.
pub(crate) struct EndOf<'f> {
    pub(crate) node: NodeIndex,
    pub(crate) span: Span,
    /// What the link says of this end.
    pub(crate) end: Option<&'f End>,
    /// What the node says of its only end.
    pub(crate) own: Option<&'f Node>,
    /// What the node says of all its cards.
    pub(crate) own_nic: Option<Nic>,
}

/// A node may say its address and MAC itself where it is on exactly one link, and its card anywhere.
pub(crate) fn give_nodes_their_keys<'f>(
    drafts: &mut [Draft<'f>],
    roster: &Roster<'f>,
    mistakes: &mut Mistakes<'_>,
) {
    for (index, member) in roster.members() {
        let Some(node) = member.written else { continue };
        let ends = drafts.iter_mut().flat_map(|draft| &mut draft.ends);
        let mut ends: Vec<&mut EndOf<'f>> = ends.filter(|end| end.node == index).collect();
        let several = ends.len() > 1;
        for end in &mut ends {
            end.own_nic = node.nic.as_ref().map(|nic| nic.value);
            end.own = (!several).then_some(node);
        }
        let address = node.address.as_ref().map(|key| ("address", key.span));
        let mac = node.mac.as_ref().map(|key| ("mac", key.span));
        for (key, span) in address.into_iter().chain(mac).filter(|_| several) {
            let name = &member.name.value;
            let title = format!(
                "`{name}` is on {} links, so it is open which `{key}` is meant",
                ends.len()
            );
            let help = format!("write `{{ node = \"{name}\", {key} = … }}` in the link's `nodes`");
            mistakes.add(Mistake::at(span, title).help(help));
        }
    }
}

pub(crate) fn interfaces(
    drafts: &[Draft<'_>],
    roster: &Roster<'_>,
    mistakes: &mut Mistakes<'_>,
) -> Vec<Vec<Interface>> {
    let mut interfaces: Vec<Vec<Interface>> = roster.members().map(|_| Vec::new()).collect();
    let mut addresses = Addresses::new(roster);
    // What the file says stands before what follows from it, so that mistakes point at the file.
    let mut ends = Vec::new();
    for (link, draft) in drafts.iter().enumerate() {
        let of_link = draft.ends.iter().enumerate();
        ends.extend(of_link.map(|(position, end)| (link, draft, position, end)));
    }
    let written: Vec<_> = ends
        .iter()
        .map(|(_, draft, _, end)| addresses.written(&draft.subnets, end, mistakes))
        .collect();
    for ((link, draft, position, end), written) in ends.into_iter().zip(written) {
        let node = &mut interfaces[end.node.0];
        let (subnets, explicit) = (&draft.subnets, &written.addresses);
        let given = addresses.given(subnets, (position, end), explicit, mistakes);
        let mac = written
            .mac
            .unwrap_or_else(|| addresses.mac(&given, (link, position, end), mistakes));
        node.push(Interface {
            link,
            name: format!("eth{}", node.len()),
            addresses: given,
            mac,
            nic: nic(end),
        });
    }
    interfaces
}

fn nic(end: &EndOf<'_>) -> Nic {
    let here = end.end.and_then(|end| value(end.nic.as_ref()));
    here.or(end.own_nic).unwrap_or_default()
}
