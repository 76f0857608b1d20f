//! What the README shows, done.

use std::{fs, path::Path};

use crate::home::{Home, KERNEL};

/// The first block of the README in a language.
fn block(language: &str) -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let fence = format!("```{language}\n");
    let start = readme.find(&fence).unwrap() + fence.len();
    let length = readme[start..].find("```").unwrap();
    readme[start..start + length].to_owned()
}

#[test]
fn the_scenario_of_the_readme_passes_and_prints_what_is_shown_there() {
    let home = Home::shared();
    let scenario = home.scenario("kmsg", &block("toml"));
    let output = home
        .command()
        .args(["run", "--kernel", KERNEL, "--show-lines"])
        .arg(scenario)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let shown = block("console");
    let line = shown.lines().find(|line| line.contains('|')).unwrap();
    assert!(said.contains(line), "{said}");
    home.nothing_is_left();
}

#[test]
fn the_scenario_of_the_readme_is_the_shipped_one() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/smoke/kmsg.toml");
    assert_eq!(block("toml"), fs::read_to_string(shipped).unwrap());
}
