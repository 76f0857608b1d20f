//! From a file as written to the scenario that it means: names are resolved, defaults filled in, contradictions noted.
//!
//! Whatever can be checked is checked, also beside mistakes. What could not be read is `None` and noted already, so
//! nothing is said of it again.

mod action;
mod address;
mod asked;
mod change;
mod expectation;
mod interface;
mod lines;
mod link;
mod node;
mod role;
mod route;
mod settings;
mod source;
mod step;
mod subnet;
mod target;

use std::path::Path;

use crate::scenario::{
    Known, Needs, Scenario,
    meaning::{link::Net, node::Roster, step::Script, target::Aims},
    mistake::{Mistake, Mistakes},
    read::{Many, word::Word},
    tree::At,
    written::{self, File},
};

/// The scenario that `file` means, or `None` where there are mistakes.
pub(crate) fn mean(
    file: &File,
    path: &Path,
    name: String,
    mistakes: &mut Mistakes<'_>,
) -> Option<Scenario> {
    check_title(file, mistakes);
    let roster = Roster::of(file, mistakes);
    let net = Net::of(file, &roster, mistakes);
    let routes = route::routes(&net, &roster, mistakes);
    let aims = Aims::of(file, &roster, &net, mistakes);
    let steps = Script::new(&roster, &net, &aims).steps(file, mistakes);
    if !mistakes.is_empty() {
        return None;
    }
    let targets = aims.targets();
    Some(Scenario {
        path: path.to_owned(),
        name,
        title: file.title.as_ref()?.value.clone(),
        nodes: roster.nodes(
            net.interfaces.into_iter().zip(routes),
            &targets,
            mistakes.text,
        ),
        links: net.links,
        targets,
        needs: file
            .needs
            .as_ref()
            .map(|needs| self::needs(&needs.value))
            .unwrap_or_default(),
        known: file
            .known
            .iter()
            .flat_map(|known| &known.value)
            .map(|known| self::known(&known.value))
            .collect(),
        steps,
    })
}

fn check_title(file: &File, mistakes: &mut Mistakes<'_>) {
    if let Some(title) = file
        .title
        .as_ref()
        .filter(|title| title.value.trim().is_empty())
    {
        mistakes.add(
            Mistake::at(title.span, "the title is empty")
                .help("say in one sentence what the scenario shows"),
        );
    }
}

fn needs(needs: &written::Needs) -> Needs {
    Needs {
        kernel: needs
            .kernel
            .as_ref()
            .map(|kernel| kernel.value.0.clone())
            .unwrap_or_default(),
        config: texts(needs.config.as_ref())
            .map(|option| option.trim_start_matches("CONFIG_").to_owned())
            .collect(),
        module: texts(needs.module.as_ref()).collect(),
        program: texts(needs.program.as_ref()).collect(),
        own_kernel: value(needs.own_kernel.as_ref()).unwrap_or(false),
    }
}

fn known(known: &written::Known) -> Known {
    Known {
        kernel: known
            .kernel
            .as_ref()
            .map(|kernel| kernel.value.0.clone())
            .unwrap_or_default(),
        backend: known
            .backend
            .as_ref()
            .map(|backend| backend.value.name().to_owned()),
        because: value(known.because.as_ref()).unwrap_or_default(),
        link: value(known.link.as_ref()),
    }
}

/// The value of a key that is there.
pub(crate) fn value<T: Clone>(key: Option<&At<T>>) -> Option<T> {
    key.map(|key| key.value.clone())
}

/// The texts of a key that is one text or a list of them.
pub(crate) fn texts(key: Option<&At<Many<String>>>) -> impl Iterator<Item = String> {
    key.into_iter()
        .flat_map(|texts| &texts.value.0)
        .map(|text| text.value.clone())
}

/// Notes a name that is not made of letters, digits, `-`, `_` and `.`: names become names of files and folders.
pub(crate) fn check_name(what: &str, name: &At<String>, mistakes: &mut Mistakes<'_>) {
    let fine = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let starts_well = name
        .value
        .starts_with(|character: char| character.is_ascii_alphanumeric());
    if !starts_well || !name.value.chars().all(fine) || name.value.len() > 64 {
        mistakes.add(
            Mistake::at(name.span, format!("`{}` is no name for a {what}", name.value))
                .help("a name is up to 64 letters, digits, `-`, `_` and `.`, and starts with a letter or digit"),
        );
    }
}
