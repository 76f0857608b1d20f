//! What the pages show, done: every command of them, with what it prints.
//!
//! In a block of `console`, a line that begins with `$ ` is a command, and what follows is what it prints. A line `…`
//! stands for any lines, a `…` at the end of a line for its rest. Times, and where recordings are, differ from run to
//! run. A block behind the comment `<!-- file NAME -->` is a file of that name; one behind `<!-- shown by TEST -->` is
//! that test's business. What stands behind the prompt of `lastwords shell` is typed.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use regex::Regex;
use rstest::rstest;

use crate::home::Home;

/// The root of the tree.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The prompt of `lastwords shell`.
const PROMPT: &str = "(lastwords) ";

/// A command of a page, and what the page says that it prints.
#[derive(Debug, Default)]
struct Shown {
    command: String,
    /// What is typed while it runs.
    typed: String,
    prints: Vec<String>,
}

/// What a page holds for us.
#[derive(Debug, Default)]
struct Page {
    /// Names and contents.
    files: Vec<(String, String)>,
    commands: Vec<Shown>,
}

impl Page {
    fn read(text: &str) -> Self {
        let mut page = Self::default();
        let mut lines = text.lines();
        let mut name = None;
        while let Some(line) = lines.next() {
            if line.starts_with("<!-- ") {
                name = line.strip_suffix(" -->").map(|line| line[5..].to_owned());
            } else if let Some(language) = line.strip_prefix("```") {
                let block = lines.by_ref().take_while(|line| !line.starts_with("```"));
                let block: Vec<&str> = block.collect();
                match name.take().as_deref().map(|name| name.split_once(' ')) {
                    Some(Some(("file", name))) => {
                        page.files.push((name.to_owned(), block.join("\n") + "\n"));
                    }
                    None if language == "console" => page.commands.extend(commands(&block)),
                    _ => {}
                }
            }
        }
        page
    }
}

fn commands(block: &[&str]) -> Vec<Shown> {
    let mut commands: Vec<Shown> = Vec::new();
    for line in block {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push(Shown {
                command: command.to_owned(),
                ..Shown::default()
            }),
            (None, Some(last)) if last.command.ends_with('\\') => {
                last.command.push('\n');
                last.command.push_str(line);
            }
            (None, Some(last)) => match line.strip_prefix(PROMPT) {
                Some(keys) => last.typed += &format!("{keys}\n"),
                None => last.prints.push((*line).to_owned()),
            },
            (None, None) => panic!("a block begins with no command: {line}"),
        }
    }
    commands
}

/// A line without what differs from run to run.
fn constant(line: &str) -> String {
    let patterns = [
        (r"\b\d+m \d+s\b|\b\d+(\.\d+)?m?s\b", "TIME"),
        (r"\[ *\d+\.\d{6}\]", "[TIME]"),
        (r"recordings .*", "recordings PLACE"),
        (r"\b6\.1\.0-\d+", "6.1.0-N"),
        (r"\b6\.12\.\d+\+deb\d+", "6.12.N"),
        (r"~\S*/|/\S*/(work|tmp)/", "PLACE/"),
    ];
    let line = patterns
        .iter()
        .fold(line.trim_end().to_owned(), |line, (pattern, word)| {
            let pattern = Regex::new(pattern).unwrap();
            pattern.replace_all(&line, *word).into_owned()
        });
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether what was printed is what a page shows.
fn is_as_shown(printed: &[String], shown: &[String]) -> bool {
    match (printed, shown) {
        ([], []) => true,
        (_, [any, rest @ ..]) if any == "…" => {
            (0..=printed.len()).any(|skipped| is_as_shown(&printed[skipped..], rest))
        }
        ([line, printed @ ..], [wanted, shown @ ..]) => {
            let same = match wanted.strip_suffix('…') {
                Some(start) => line.starts_with(start.trim_end()),
                None => line == wanted,
            };
            same && is_as_shown(printed, shown)
        }
        _ => false,
    }
}

#[rstest]
#[case::readme("README.md")]
#[case::post("scenarios/post/README.md")]
fn every_command_prints_what_is_shown(#[case] page: &str) {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let page = Page::read(&text);
    let home = Home::shared();
    symlink(
        root().join("scenarios").canonicalize().unwrap(),
        home.work().join("scenarios"),
    )
    .unwrap();
    for (name, content) in &page.files {
        fs::write(home.work().join(name), content).unwrap();
    }
    assert!(!page.commands.is_empty());
    for shown in &page.commands {
        let mut shell = std::process::Command::new("sh");
        home.settle(&mut shell);
        let programs = Path::new(env!("CARGO_BIN_EXE_lastwords")).parent().unwrap();
        let path = format!("{}:{}", programs.display(), env::var("PATH").unwrap());
        shell
            .args(["-c", &format!("exec 2>&1\n{}", shown.command)])
            .env("PATH", path);
        let finished = assert_cmd::Command::from_std(shell)
            .write_stdin(shown.typed.clone())
            .output()
            .unwrap();
        let said = String::from_utf8(finished.stdout).unwrap();
        let printed = said
            .lines()
            .map(|line| line.trim_start_matches(PROMPT))
            // Said once for each run, where there is no KVM.
            .filter(|line| !line.starts_with("lastwords: emulating the guests"));
        let mut printed: Vec<String> = printed.map(constant).collect();
        while printed.last().is_some_and(String::is_empty) {
            printed.pop();
        }
        let wanted: Vec<String> = shown.prints.iter().map(|line| constant(line)).collect();
        assert!(
            is_as_shown(&printed, &wanted),
            "$ {}\n{}\n\nand the page shows\n{}",
            shown.command,
            printed.join("\n"),
            wanted.join("\n")
        );
    }
    home.nothing_is_left();
}

#[test]
fn the_scenario_of_the_readme_is_the_shipped_one() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let shipped = fs::read_to_string(root().join("scenarios/smoke/kmsg.toml")).unwrap();
    assert!(readme.contains(&format!("```toml\n{shipped}```\n")));
}

/// The table of the post's sentences names scenarios that are there.
#[test]
fn the_page_through_the_post_names_scenarios_that_are_there() {
    let folder = root().join("scenarios/post");
    let page = fs::read_to_string(folder.join("README.md")).unwrap();
    let links = Regex::new(r"\]\(([^)#]+\.toml)\)").unwrap();
    let named: Vec<&str> = links
        .captures_iter(&page)
        .map(|link| link.get(1).unwrap().as_str())
        .collect();
    assert!(named.len() > 20);
    for name in named {
        assert!(folder.join(name).is_file(), "{name}");
    }
}
