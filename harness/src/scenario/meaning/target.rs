//! The netconsole targets of a scenario.

use crate::scenario::{
    NodeIndex, Place, Target, Via,
    meaning::{
        check_name,
        link::Net,
        node::Roster,
        settings::{check_settings, extended, meant, via},
    },
    mistake::{Mistake, Mistakes, unknown},
    tree::{At, Span},
    written::{self, File, node::RoleWord},
};

/// The targets of a file, each as far as it could be told.
pub(crate) struct Aims {
    aims: Vec<Aim>,
}

/// A target of the file.
pub(crate) struct Aim {
    pub(crate) name: At<String>,
    pub(crate) span: Span,
    pub(crate) on: Option<NodeIndex>,
    pub(crate) to: Option<NodeIndex>,
    pub(crate) via: Via,
    /// Whether the user wrote the whole parameter: then nobody here knows what it says.
    pub(crate) parameter: bool,
    pub(crate) extended: bool,
    target: Option<Target>,
}

impl Aims {
    /// The targets of `file`; without any, one by modprobe.
    pub(crate) fn of(
        file: &File,
        roster: &Roster<'_>,
        net: &Net,
        mistakes: &mut Mistakes<'_>,
    ) -> Self {
        let default;
        let written = match &file.targets {
            Some(targets) => targets.value.as_slice(),
            None => {
                let span = file
                    .nodes
                    .as_ref()
                    .map_or(Span::default(), |nodes| nodes.span);
                default = [At::new(written::target::Target::default(), span.range())];
                &default
            }
        };
        let mut aims: Vec<Aim> = Vec::new();
        for (index, target) in written.iter().enumerate() {
            let aim = Aim::of(
                index,
                target,
                (file.targets.is_some(), roster, net),
                mistakes,
            );
            if let Some(first) = aims.iter().find(|other| other.name.value == aim.name.value) {
                let title = format!("there are two targets `{}`", aim.name.value);
                mistakes
                    .add(Mistake::at(aim.name.span, title).context(first.name.span, "the first"));
            }
            aims.push(aim);
        }
        let aims = Self { aims };
        aims.check_together(mistakes);
        aims
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Aim> {
        self.aims.iter()
    }

    /// The index of the target called `name`, or a mistake.
    pub(crate) fn find(&self, name: &At<String>, mistakes: &mut Mistakes<'_>) -> Option<usize> {
        let found = self
            .aims
            .iter()
            .position(|aim| aim.name.value == name.value);
        if found.is_none() {
            mistakes.add(unknown(
                "target",
                name,
                self.aims.iter().map(|aim| aim.name.value.as_str()),
            ));
        }
        found
    }

    pub(crate) fn aim(&self, index: usize) -> &Aim {
        &self.aims[index]
    }

    /// The targets as meant. Only where there were no mistakes.
    pub(crate) fn targets(self) -> Vec<Target> {
        self.aims.into_iter().filter_map(|aim| aim.target).collect()
    }

    /// netconsole is loaded once, with one parameter: for all of its targets, and they fail for all or for none.
    fn check_together(&self, mistakes: &mut Mistakes<'_>) {
        for (index, aim) in self.aims.iter().enumerate() {
            let Some(target) = &aim.target else { continue };
            let in_parameter = |via: Via| via.is_parameter() && target.via.is_parameter();
            let mut before = self.aims[..index]
                .iter()
                .filter_map(|other| Some((other.span, other.target.as_ref()?)));
            let other = before.find(|(_, first)| first.on == target.on && in_parameter(first.via));
            let Some((span, first)) = other else { continue };
            let (title, help) = if first.via != target.via {
                (
                    format!(
                        "netconsole is loaded once: `{}` is set up by {}, `{}` by {}",
                        first.name,
                        first.via.word(),
                        target.name,
                        target.via.word()
                    ),
                    "write the same `via` in both, or set one up by configfs",
                )
            } else if first.fails != target.fails {
                (
                    format!(
                        "`{}` and `{}` are loaded by one modprobe, so they fail together",
                        first.name, target.name
                    ),
                    "write the same `fails` in both, or set one up by configfs",
                )
            } else {
                continue;
            };
            mistakes.add(
                Mistake::at(aim.span, title)
                    .context(span, "the first")
                    .help(help),
            );
        }
    }
}

impl Aim {
    fn of(
        index: usize,
        written: &At<written::target::Target>,
        lab: (bool, &Roster<'_>, &Net),
        mistakes: &mut Mistakes<'_>,
    ) -> Self {
        let (explicit, roster, net) = lab;
        let target = &written.value;
        let name = target
            .name
            .clone()
            .unwrap_or_else(|| written.with(format!("target{}", index + 1)));
        check_target_name(&name, mistakes);
        let (on, to) = ends(written, (roster, net), mistakes);
        let via = via(target);
        let named = target.name.as_ref().map_or(written.span, |name| name.span);
        let span = if explicit { named } else { Span::default() };
        check_settings(target, via, mistakes);
        let place = Place::of(mistakes.text, span);
        let extended = extended(target);
        let meant = meant(target, (on, to, via), roster, mistakes);
        let target = meant.map(|meant| Target {
            name: name.value.clone(),
            place,
            ..meant
        });
        Self {
            name,
            span,
            on,
            to,
            via,
            parameter: written.value.parameter.is_some(),
            extended,
            target,
        }
    }
}

fn check_target_name(name: &At<String>, mistakes: &mut Mistakes<'_>) {
    check_name("target", name, mistakes);
    if name.value.starts_with("cmdline") {
        mistakes.add(
            Mistake::at(
                name.span,
                format!(
                    "`{}` is a name that the kernel gives to targets of its own",
                    name.value
                ),
            )
            .help("take a name that does not start with `cmdline`"),
        );
    }
}

/// The sender that has the target and the receiver that it is aimed at.
fn ends(
    target: &At<written::target::Target>,
    lab: (&Roster<'_>, &Net),
    mistakes: &mut Mistakes<'_>,
) -> (Option<NodeIndex>, Option<NodeIndex>) {
    let (roster, net) = lab;
    let (on_key, to_key) = (target.value.on.as_ref(), target.value.to.as_ref());
    let on = roster.choose(("on", on_key), RoleWord::Sender, target.span, mistakes);
    let to = roster.choose(("to", to_key), RoleWord::Receiver, target.span, mistakes);
    if let (Some(from), Some(receiver)) = (on, to)
        && !net.reaches(from, receiver, roster)
    {
        let span = to_key.map_or(target.span, |to| to.span);
        let title = format!(
            "there is no way from `{}` to `{}`",
            roster.name(from),
            roster.name(receiver)
        );
        mistakes.add(
            Mistake::at(span, title)
                .help("they must share a link, or routers must lie between them"),
        );
    }
    (on, to)
}
