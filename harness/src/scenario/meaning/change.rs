//! Changes of targets and interfaces.

use std::collections::BTreeMap;

use crate::scenario::{
    Action, NodeIndex, RemoteMac,
    meaning::{action::map, settings::mac_or_node, step::Script, target::Aim, value},
    mistake::{Mistake, Mistakes, unknown},
    read::Either,
    step::{LinkChange, Set},
    tree::{At, Span},
    written::{self, step::UpDown},
};

impl Script<'_, '_> {
    /// The sender whose target is set.
    pub(crate) fn sender_of(
        &self,
        set: &At<written::step::Set>,
        mistakes: &mut Mistakes<'_>,
    ) -> Option<NodeIndex> {
        // What is wrong with the name is noted where the action is read.
        let target = self.target(set, &mut Mistakes::new(mistakes.text))?;
        self.aims.aim(target).on
    }

    /// The sender of the target called `name`.
    pub(crate) fn sender_of_named(
        &self,
        name: &At<String>,
        mistakes: &mut Mistakes<'_>,
    ) -> Option<NodeIndex> {
        // What is wrong with the name is noted where the action is read.
        let target = self.aims.find(name, &mut Mistakes::new(mistakes.text))?;
        self.aims.aim(target).on
    }

    /// The target called `name`, which must be one by configfs.
    pub(crate) fn configfs_target(
        &self,
        name: &At<String>,
        mistakes: &mut Mistakes<'_>,
    ) -> Option<usize> {
        let target = self.aims.find(name, mistakes)?;
        let aim = self.aims.aim(target);
        if aim.via.is_parameter() {
            mistakes.add(not_by_configfs(aim, name.span));
        }
        Some(target)
    }

    fn target(&self, set: &At<written::step::Set>, mistakes: &mut Mistakes<'_>) -> Option<usize> {
        match &set.value.target {
            Some(name) => self.aims.find(name, mistakes),
            None if self.aims.iter().count() == 1 => Some(0),
            None => {
                let names = self.aims.iter().map(|aim| aim.name.value.as_str());
                mistakes.add(
                    Mistake::at(
                        set.span,
                        "`target` is missing, and there is not exactly one",
                    )
                    .did_you_mean("", names),
                );
                None
            }
        }
    }

    pub(crate) fn set(
        &mut self,
        set: &At<written::step::Set>,
        mistakes: &mut Mistakes<'_>,
    ) -> Option<Set> {
        let target = self.target(set, mistakes)?;
        let written = &set.value;
        let aim = self.aims.aim(target);
        if aim.via.is_parameter() {
            let span = written
                .target
                .as_ref()
                .map_or(set.span, |target| target.span);
            mistakes.add(not_by_configfs(aim, span));
        }
        if let Some(extended) = &written.extended {
            self.extended[target] = extended.value;
        }
        Some(Set {
            target,
            raw: value(written.raw.as_ref()).unwrap_or(false),
            enabled: value(written.enabled.as_ref()),
            dev_name: value(written.dev_name.as_ref()),
            local_port: written.local_port.as_ref().map(|port| port.value.get()),
            remote_port: written.remote_port.as_ref().map(|port| port.value.get()),
            local_ip: written.local_ip.as_ref().map(|address| address.value.0),
            remote_ip: written.remote_ip.as_ref().map(|address| address.value.0),
            remote_mac: self.set_mac(written.remote_mac.as_ref(), mistakes),
            extended: value(written.extended.as_ref()),
            release: value(written.release.as_ref()),
            userdata: set_userdata(written, mistakes),
            attributes: map(written.attributes.as_ref()).collect(),
        })
    }

    fn set_mac(&self, mac: Option<&At<String>>, mistakes: &mut Mistakes<'_>) -> Option<RemoteMac> {
        mac_or_node(mac?, self.roster, mistakes)
    }

    pub(crate) fn link(
        &self,
        link: &At<Either<UpDown, written::step::LinkChange>>,
        on: Option<NodeIndex>,
        mistakes: &mut Mistakes<'_>,
    ) -> Option<LinkChange> {
        let (interface, up, carrier) = match &link.value {
            Either::One(word) => (None, Some(*word == UpDown::Up), None),
            Either::Other(change) => (
                change.interface.as_ref(),
                value(change.up.as_ref()),
                value(change.carrier.as_ref()),
            ),
        };
        Some(LinkChange {
            interface: self.interface(interface, link.span, on?, mistakes)?,
            up,
            carrier,
        })
    }

    pub(crate) fn wait_for_carrier(
        &self,
        carrier: &At<Either<bool, String>>,
        on: Option<NodeIndex>,
        mistakes: &mut Mistakes<'_>,
    ) -> Option<Action> {
        let name = match &carrier.value {
            Either::One(true) => None,
            Either::One(false) => {
                mistakes.add(Mistake::at(
                    carrier.span,
                    "expected `true` or an interface, found `false`",
                ));
                return None;
            }
            Either::Other(name) => Some(carrier.with(name.clone())),
        };
        let interface = self.interface(name.as_ref(), carrier.span, on?, mistakes)?;
        Some(Action::WaitForCarrier { interface })
    }

    /// The index of a node's interface called `name`; without a name, its only one.
    fn interface(
        &self,
        name: Option<&At<String>>,
        span: Span,
        on: NodeIndex,
        mistakes: &mut Mistakes<'_>,
    ) -> Option<usize> {
        let interfaces = self.net.interfaces_of(on);
        let names = interfaces.iter().map(|interface| interface.name.as_str());
        let Some(name) = name else {
            if interfaces.len() > 1 {
                let title = format!(
                    "`{}` has {} interfaces",
                    self.roster.name(on),
                    interfaces.len()
                );
                mistakes
                    .add(Mistake::at(span, title).help(
                        "say which: `eth0` is the one on the first link that names the node",
                    ));
            }
            return (interfaces.len() == 1).then_some(0);
        };
        let found = interfaces
            .iter()
            .position(|interface| interface.name == name.value);
        if found.is_none() && !interfaces.is_empty() {
            mistakes.add(unknown("interface", name, names));
        }
        found
    }
}

fn not_by_configfs(aim: &Aim, span: Span) -> Mistake {
    let title = format!(
        "`{}` is set up by {}, the step works through configfs",
        aim.name.value,
        aim.via.word()
    );
    Mistake::at(span, title)
        .context(aim.span, "set up here")
        .help("write `via = \"configfs\"` in the target")
}

fn set_userdata(
    set: &written::step::Set,
    mistakes: &mut Mistakes<'_>,
) -> BTreeMap<String, Option<String>> {
    let mut userdata = BTreeMap::new();
    for (key, text) in set.userdata.iter().flat_map(|userdata| &userdata.value.0) {
        let Some(text) = text else { continue };
        match &text.value {
            Either::One(text) => userdata.insert(key.value.clone(), Some(text.clone())),
            Either::Other(false) => userdata.insert(key.value.clone(), None),
            Either::Other(true) => {
                mistakes.add(Mistake::at(
                    text.span,
                    "expected a text, or `false` to remove the key",
                ));
                None
            }
        };
    }
    userdata
}
