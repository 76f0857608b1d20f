//! Whole files: what they mean, and what is said of their mistakes.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use annotate_snippets::Renderer;
use rstest::rstest;

use crate::scenario::{Mistake, Scenario, parse};

/// The scenarios of a text without mistakes.
#[track_caller]
fn scenarios(text: &str) -> Vec<Scenario> {
    parse(Path::new("test.toml"), "test", text)
        .unwrap_or_else(|mistakes| panic!("{}", rendered(&mistakes, text)))
}

#[track_caller]
fn scenario(text: &str) -> Scenario {
    let mut scenarios = scenarios(text);
    assert_eq!(scenarios.len(), 1);
    scenarios.remove(0)
}

fn rendered(mistakes: &[Mistake], text: &str) -> String {
    let renderer = Renderer::plain();
    mistakes
        .iter()
        .map(|mistake| mistake.render(Path::new("test.toml"), text, &renderer) + "\n\n")
        .collect()
}

/// `NAME.toml` has the mistakes that `NAME.stderr` shows; `UPDATE=1` writes them anew.
#[rstest]
fn tells_every_mistake(#[files("tests/data/mistakes/*.toml")] file: PathBuf) {
    let text = fs::read_to_string(&file).unwrap();
    let mistakes = parse(Path::new("test.toml"), "test", &text).expect_err("a mistake");
    let rendered = rendered(&mistakes, &text);
    let expected = file.with_extension("stderr");
    if env::var_os("UPDATE").is_some() {
        fs::write(&expected, &rendered).unwrap();
    }
    assert_eq!(rendered, fs::read_to_string(expected).unwrap_or_default());
}

#[rstest]
fn reads(
    #[files("../scenarios/**/*.toml")]
    #[files("tests/data/scenarios/*.toml")]
    file: PathBuf,
) {
    scenarios(&fs::read_to_string(file).unwrap());
}

#[test]
fn the_smallest_scenario_has_five_lines() {
    let text = include_str!("../../../scenarios/smoke/kmsg.toml");
    assert_eq!(text.lines().count(), 5);
    let scenario = scenario(text);
    assert_eq!(scenario.nodes.len(), 2);
}
