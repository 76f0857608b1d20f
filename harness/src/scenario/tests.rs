//! Whole files: what they mean, and what is said of their mistakes.

mod meaning;
mod readme;

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
    scenarios(text);
}

proptest::proptest! {
    /// Whatever stands in a file, there are scenarios or mistakes that can be shown.
    #[test]
    fn survives_any_change_of_a_file(start in 0..1000_usize, length in 0..40_usize, inserted in ".{0,12}") {
        let text = include_str!("../../../scenarios/smoke/floppy.toml");
        let nearest = |index: usize| (index.min(text.len())..=text.len()).find(|index| text.is_char_boundary(*index));
        let (start, end) = (nearest(start).unwrap(), nearest(start + length).unwrap());
        let text = [&text[..start], &inserted, &text[end..]].concat();
        if let Err(mistakes) = parse(Path::new("test.toml"), "test", &text) {
            assert!(!rendered(&mistakes, &text).is_empty());
        }
    }
}
