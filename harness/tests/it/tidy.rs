//! The house rules that a machine can hold: the direction of imports, the purity of the core, and what is in no file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rstest::rstest;

/// The longest file, without its tests.
const LINES: usize = 410;

/// A source file: where it is, and what is in it but its tests.
struct Source {
    path: PathBuf,
    code: String,
    whole: String,
}

impl Source {
    /// The lines of code with their numbers, without comments.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.code.lines().enumerate();
        lines
            .map(|(number, line)| (number + 1, line.trim()))
            .filter(|(_, line)| !line.starts_with("//"))
    }

    /// The module of the crate that it belongs to: `lab` for `src/lab/wire.rs`.
    fn room(&self) -> &str {
        let first = self.path.components().next().unwrap();
        let name = first.as_os_str().to_str().unwrap();
        name.strip_suffix(".rs").unwrap_or(name)
    }
}

/// All files of a crate, by their paths below its `src`.
fn sources(krate: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(krate)
        .join("src");
    let mut sources = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let whole = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(&root).unwrap().to_owned();
                let code = if is_test(&root, &path) {
                    ""
                } else {
                    before_tests(&whole)
                };
                sources.push(Source {
                    code: code.to_owned(),
                    path,
                    whole,
                });
            }
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(!sources.is_empty());
    sources
}

/// Whether a file holds nothing but tests: it or a folder that it is in is a module that is only compiled for them.
fn is_test(root: &Path, path: &Path) -> bool {
    let module = root.join(path).with_extension("");
    module
        .ancestors()
        .take_while(|module| *module != root)
        .any(|module| {
            let name = module.file_name().unwrap().to_string_lossy();
            let folder = module.parent().unwrap();
            let parents = [
                folder.with_extension("rs"),
                root.join("main.rs"),
                root.join("lib.rs"),
            ];
            let declared = format!("mod {name};");
            parents.iter().any(|parent| {
                let text = fs::read_to_string(parent).unwrap_or_default();
                let (_, tests) = text.split_once("\n#[cfg(test)]\n").unwrap_or_default();
                tests.lines().any(|line| line.ends_with(&declared))
            })
        })
}

/// Tests, and what only they use, stand last in a file.
fn before_tests(text: &str) -> &str {
    let (code, _) = text.split_once("\n#[cfg(test)]\n").unwrap_or((text, ""));
    code
}

/// Fails with all that `wrong` finds in the lines of code.
#[track_caller]
fn check(krate: &str, wrong: impl Fn(&Source, &str) -> bool) {
    let mut found = Vec::new();
    for source in sources(krate) {
        let lines = source.lines().filter(|(_, line)| wrong(&source, line));
        found.extend(
            lines.map(|(number, line)| format!("{}:{number}: {line}", source.path.display())),
        );
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// The crate's modules that each of them may use: `main → cli → run → { lab, kernel, receiver, report } → pure`.
const DIRECTION: &[(&str, &[&str])] = &[
    ("main", &["cli", "kernel", "receiver"]),
    (
        "cli",
        &[
            "run",
            "suite",
            "report",
            "kernel",
            "param",
            "scenario",
            "netconsole",
            "watch",
        ],
    ),
    ("watch", &[]),
    ("suite", &["scenario"]),
    (
        "run",
        &[
            "lab",
            "kernel",
            "receiver",
            "report",
            "scenario",
            "netconsole",
            "verdict",
        ],
    ),
    ("receiver", &["lab", "kernel", "scenario"]),
    ("lab", &["netlink", "scenario", "netconsole", "verdict"]),
    (
        "kernel",
        &["netlink", "param", "scenario", "netconsole", "verdict"],
    ),
    ("report", &["scenario", "netconsole", "verdict"]),
    ("verdict", &["scenario", "netconsole"]),
    ("param", &["scenario", "netconsole"]),
    ("scenario", &["netconsole"]),
    ("netconsole", &[]),
    ("netlink", &[]),
];

#[test]
fn imports_point_one_way() {
    let modules: Vec<&str> = DIRECTION.iter().map(|(module, _)| *module).collect();
    let mut found = Vec::new();
    for source in sources("harness") {
        let room = source.room();
        let Some((_, allowed)) = DIRECTION.iter().find(|(module, _)| *module == room) else {
            panic!("{} is in no known module", source.path.display());
        };
        for module in modules
            .iter()
            .filter(|module| **module != room && !allowed.contains(module))
        {
            if uses(&source.code, module) {
                found.push(format!("{} uses crate::{module}", source.path.display()));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// Whether code names `crate::MODULE`, directly or in a group of imports.
fn uses(code: &str, module: &str) -> bool {
    let is_word =
        |rest: &str| !rest.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_');
    let direct = code.match_indices("crate::").any(|(place, _)| {
        let rest = &code[place + "crate::".len()..];
        rest.strip_prefix(module).is_some_and(is_word)
    });
    let grouped = code.match_indices("use crate::{").any(|(place, _)| {
        let group = code[place..]
            .split_once(";\n")
            .map_or("", |(group, _)| group);
        // The names at the first level of the group are indented once.
        let mut lines = group
            .lines()
            .skip(1)
            .filter(|line| line.starts_with("    ") && !line.starts_with("     "));
        let on_one_line = group.lines().count() == 1;
        lines.any(|line| {
            line.split(", ")
                .any(|item| item.trim().strip_prefix(module).is_some_and(is_word))
        }) || (on_one_line
            && group["use crate::{".len()..]
                .split(", ")
                .any(|item| item.strip_prefix(module).is_some_and(is_word)))
    });
    direct || grouped
}

#[test]
fn a_group_of_imports_is_seen_through() {
    let code = "use crate::{\n    lab::Lab,\n    run::{\n        scenario,\n    },\n};\n";
    assert!(uses(code, "lab") && uses(code, "run") && !uses(code, "scenario") && !uses(code, "la"));
    assert!(uses("use crate::{lab::Lab, report};\n", "report"));
}

/// They open no file and no socket, and read no clock.
#[test]
fn the_pure_modules_are_pure() {
    const IMPURE: [&str; 12] = [
        "std::fs",
        "fs::",
        "std::process",
        "std::env",
        "env::var",
        "Instant",
        "SystemTime",
        "tokio",
        "UdpSocket",
        "TcpStream",
        "UnixStream",
        "lastwords_vm",
    ];
    check("harness", |source, line| {
        let is_pure = ["scenario", "netconsole", "verdict", "param"].contains(&source.room());
        is_pure && IMPURE.iter().any(|word| line.contains(word))
    });
}

#[rstest]
#[case::harness("harness")]
#[case::vm("vm")]
fn only_what_boots_knows_qemu_and_nothing_there_knows_netconsole(#[case] krate: &str) {
    check(krate, |source, line| match krate {
        "vm" => line.to_lowercase().contains("netconsole"),
        _ => {
            let may = ["main", "cli", "run", "lab", "kernel"].contains(&source.room());
            !may && line.contains("lastwords_vm")
        }
    });
}

#[rstest]
fn every_file_says_what_it_is_for(#[values("harness", "vm")] krate: &str) {
    for source in sources(krate)
        .iter()
        .filter(|source| !source.code.is_empty())
    {
        let first = source.whole.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("//! "),
            "{}: {first}",
            source.path.display()
        );
    }
}

#[rstest]
fn no_file_is_long(#[values("harness", "vm")] krate: &str) {
    let long = sources(krate)
        .into_iter()
        .filter(|source| source.code.lines().count() > LINES);
    let long: Vec<_> = long
        .map(|source| format!("{} {}", source.path.display(), source.code.lines().count()))
        .collect();
    assert!(long.is_empty(), "{long:?}");
}

#[rstest]
fn there_is_no(
    #[values("harness", "vm")] krate: &str,
    #[values(
        ".unwrap()",
        "todo!(",
        "unimplemented!(",
        "#[allow(",
        "#![allow(",
        "thread::sleep",
        "time::sleep",
        "anyhow",
        "Box<dyn Error",
        "println!(",
        "eprintln!(",
        "dbg!("
    )]
    word: &str,
) {
    check(krate, |_, line| line.contains(word));
}

#[rstest]
fn nothing_is_left_to_do(#[values("harness", "vm")] krate: &str) {
    for source in sources(krate) {
        for word in ["// TODO", "TODO:", "TODO(", "FIXME", "XXX"] {
            assert!(
                !source.whole.contains(word),
                "{}: {word}",
                source.path.display()
            );
        }
    }
}

/// `foo.rs` and `foo/`, no `mod.rs`, and no room for what has no name.
#[rstest]
fn files_have_names(#[values("harness", "vm")] krate: &str) {
    for source in sources(krate) {
        let stem = source.path.file_stem().unwrap().to_str().unwrap();
        let nameless = [
            "mod", "utils", "util", "helpers", "common", "manager", "types", "imp",
        ];
        assert!(!nameless.contains(&stem), "{}", source.path.display());
    }
}
