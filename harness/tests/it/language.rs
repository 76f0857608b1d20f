//! Each sentence of the language's page is proven: `tests/data/proofs` names for it the test, the mistake, the scenario
//! that passes or the scenario that must fail, and they are there.
//!
//! The file has blocks: lines that begin with `> ` quote a piece of a sentence or of a table's row, the lines below them
//! name what proves it. This cannot know whether a proof proves anything; it notices a sentence that was added or
//! changed without one, and a proof that is gone.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const PAGE: &str = include_str!("../../../scenarios/README.md");
const PROOFS: &str = include_str!("../data/proofs");

/// A quoted piece of the page, and what proves it.
struct Proof {
    piece: String,
    by: Vec<&'static str>,
}

fn proofs() -> Vec<Proof> {
    let mut proofs: Vec<Proof> = Vec::new();
    for line in PROOFS.lines().filter(|line| !line.starts_with('#')) {
        if let Some(piece) = line.strip_prefix("> ") {
            proofs.push(Proof {
                piece: plain(piece),
                by: Vec::new(),
            });
        } else if !line.trim().is_empty() {
            let unproven = proofs
                .iter_mut()
                .rev()
                .take_while(|proof| proof.by.is_empty());
            let block: Vec<&mut Proof> = unproven.collect();
            if block.is_empty() {
                proofs
                    .last_mut()
                    .expect("a quotation first")
                    .by
                    .push(line.trim());
            } else {
                block
                    .into_iter()
                    .for_each(|proof| proof.by.push(line.trim()));
            }
        }
    }
    proofs
}

/// Text with single spaces.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The page's sentences, and the rows of its tables; headings and examples say nothing that could be proven.
fn sentences() -> Vec<String> {
    let mut sentences = Vec::new();
    let mut paragraph = String::new();
    let mut example = false;
    for line in PAGE.lines().chain([""]) {
        example ^= line.starts_with("```");
        let row = line.starts_with('|');
        let item = line.starts_with("- ");
        if line.is_empty() || line.starts_with('#') || row || item || example {
            sentences.extend(split(&std::mem::take(&mut paragraph)));
        }
        if row && !line.starts_with("| ---") && !line.starts_with("|---") && !is_head(line) {
            sentences.push(plain(line));
        } else if !row && !example && !line.starts_with("```") && !line.starts_with('#') {
            paragraph.push(' ');
            paragraph.push_str(line.strip_prefix("- ").unwrap_or(line));
        }
    }
    sentences
}

/// The head of a table names its columns.
fn is_head(row: &str) -> bool {
    let mut after = PAGE.lines().skip_while(|line| *line != row);
    after
        .nth(1)
        .is_some_and(|line| line.starts_with("|---") || line.starts_with("| ---"))
}

/// The sentences of a paragraph: each ends with a period before a space.
fn split(paragraph: &str) -> Vec<String> {
    let text = plain(paragraph);
    let sentences = text.split_inclusive(". ").map(str::trim);
    sentences
        .filter(|sentence| !sentence.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_sentence_has_a_proof() {
    let proofs = proofs();
    let proven = |sentence: &String| {
        proofs
            .iter()
            .any(|proof| sentence.contains(&proof.piece) || proof.piece.contains(sentence.as_str()))
    };
    let unproven: Vec<String> = sentences()
        .into_iter()
        .filter(|sentence| !proven(sentence))
        .collect();
    assert!(
        unproven.is_empty(),
        "scenarios/README.md says what nothing proves. Quote a piece of each in harness/tests/data/proofs, and name the \
         test, mistake, scenario or failing scenario that proves it:\n{}",
        unproven.join("\n")
    );
}

#[test]
fn every_proof_is_of_a_sentence() {
    let page = plain(PAGE);
    let gone: Vec<String> = proofs()
        .into_iter()
        .map(|proof| proof.piece)
        .filter(|piece| !page.contains(piece.as_str()))
        .collect();
    assert!(
        gone.is_empty(),
        "scenarios/README.md says no longer:\n{}",
        gone.join("\n")
    );
}

#[test]
fn every_proof_is_there() {
    let tests = tests();
    let root = Path::new("..");
    let there = |proof: &&str| match proof.split_once(' ') {
        Some(("test", name)) => tests.contains(name),
        Some(("mistake", name)) => Path::new("tests/data/mistakes")
            .join(name)
            .with_extension("toml")
            .exists(),
        Some(("failing", name)) => Path::new("tests/data/failing")
            .join(name)
            .with_extension("toml")
            .exists(),
        Some(("scenario", name)) => root
            .join("scenarios")
            .join(name)
            .with_extension("toml")
            .exists(),
        _ => false,
    };
    let proofs = proofs();
    let missing: Vec<&str> = proofs
        .iter()
        .flat_map(|proof| proof.by.iter().copied())
        .filter(|proof| !there(proof))
        .collect();
    assert!(missing.is_empty(), "no such proof:\n{}", missing.join("\n"));
    let bare: Vec<&str> = proofs
        .iter()
        .filter(|proof| proof.by.is_empty())
        .map(|proof| proof.piece.as_str())
        .collect();
    assert!(bare.is_empty(), "without a proof:\n{}", bare.join("\n"));
}

/// The names of all functions that are marked as tests.
fn tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for folder in ["src", "tests/it", "../vm/src"] {
        for file in files(Path::new(folder)) {
            let text = fs::read_to_string(file).unwrap();
            let mut marked = false;
            for line in text.lines().map(str::trim_start) {
                marked |= line.starts_with("#[test]")
                    || line.starts_with("#[rstest]")
                    || line.starts_with("#[tokio::test");
                let declared = line
                    .strip_prefix("async ")
                    .unwrap_or(line)
                    .strip_prefix("fn ");
                if let Some(rest) = declared.filter(|_| marked) {
                    tests.extend(rest.split(['(', '<']).next().map(str::to_owned));
                    marked = false;
                }
            }
        }
    }
    tests
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}
