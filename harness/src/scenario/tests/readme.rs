//! The page that says what the language is holds all of it, and its examples are right.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::scenario::{
    cause,
    schema::{Draft, schema},
    tests::scenarios,
};

const README: &str = include_str!("../../../../scenarios/README.md");

/// The keys of all tables of the language.
fn keys() -> BTreeSet<String> {
    let schema: Value = serde_json::from_str(&schema(Draft::Draft2020_12)).unwrap();
    let tables = schema["$defs"]
        .as_object()
        .unwrap()
        .values()
        .chain([&schema]);
    let properties = tables.filter_map(|table| table["properties"].as_object());
    properties
        .flat_map(|properties| properties.keys().cloned())
        .collect()
}

#[test]
fn names_every_key_and_cause() {
    let words: BTreeSet<&str> = README
        .split(|character: char| !character.is_ascii_alphanumeric() && character != '-')
        .collect();
    let missing: Vec<String> = keys()
        .into_iter()
        .chain(cause::NAMES.map(str::to_owned))
        .filter(|key| !words.contains(key.as_str()))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn shows_scenarios_that_can_be_read() {
    let blocks: Vec<&str> = README.split("```toml\n").skip(1).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        scenarios(block.split("```").next().unwrap());
    }
}
