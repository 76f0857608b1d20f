//! `--watch`: what changes runs again, however it was saved, until Ctrl-C.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::home::{HELLO, Home, kernel_folder};

const PATIENCE: Duration = Duration::from_secs(240);

/// The program as it watches.
struct Watching<'home> {
    home: &'home Home,
    program: Child,
    output: Receiver<String>,
    errors: Receiver<String>,
}

fn lines(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

impl<'home> Watching<'home> {
    fn start(home: &'home Home, arguments: &[&str]) -> Self {
        let mut command = home.command();
        command.args(["run", "--watch"]).args(arguments);
        let mut program = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output: ChildStdout = program.stdout.take().unwrap();
        let errors = program.stderr.take().unwrap();
        Self {
            home,
            program,
            output: lines(output),
            errors: lines(errors),
        }
    }

    /// The first words of the results up to the end of a run, in their order.
    fn results(&self) -> Vec<String> {
        let mut results = Vec::new();
        loop {
            let line = self.output.recv_timeout(PATIENCE).unwrap();
            if line.contains(" failed, ") {
                return results;
            }
            if !line.starts_with(' ') {
                let words: Vec<&str> = line.split_whitespace().take(2).collect();
                results.push(words.join(" "));
            }
        }
    }

    /// Waits until standard error has said `text`.
    fn says(&self, text: &str) {
        let mut said = Vec::new();
        while !said.iter().any(|line: &String| line.contains(text)) {
            let line = self.errors.recv_timeout(PATIENCE);
            said.push(line.unwrap_or_else(|_| panic!("no `{text}` in {said:#?}")));
        }
    }

    fn end(mut self) -> Option<i32> {
        let id = Pid::from_raw(i32::try_from(self.program.id()).unwrap());
        kill(id, Signal::SIGINT).unwrap();
        let status = self.program.wait().unwrap();
        self.home.nothing_is_left();
        status.code()
    }
}

/// As editors do that write a new file and put it in the place of the old.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

fn with_kernel_copy(home: &Home) -> PathBuf {
    let image = home.work().join("bzImage");
    fs::copy(kernel_folder().join("image"), &image).unwrap();
    image
}

#[test]
fn a_changed_scenario_runs_again() {
    let home = Home::shared();
    let one = home.scenario("one", HELLO);
    home.scenario("two", HELLO);
    let watching = Watching::start(&home, &["."]);
    assert_eq!(watching.results(), ["passed one", "passed two"]);
    watching.says("watching 2 files; Ctrl-C ends it");
    replace(&one, &HELLO.replace("kmsg = \"hello\"", "kmsg = \"hallo\""));
    assert_eq!(watching.results(), ["failed one"]);
    watching.says("watching 2 files");
    fs::write(&one, HELLO).unwrap();
    assert_eq!(watching.results(), ["passed one"]);
    assert_eq!(watching.end(), Some(0));
}

#[test]
fn new_files_and_folders_run_and_removed_ones_are_forgotten() {
    let home = Home::shared();
    home.scenario("one", HELLO);
    let watching = Watching::start(&home, &["."]);
    assert_eq!(watching.results(), ["passed one"]);
    watching.says("watching 1 files");
    fs::create_dir_all(home.work().join("deep/deeper")).unwrap();
    let new = home.scenario("deep/deeper/new", HELLO);
    assert_eq!(watching.results(), ["passed deep/deeper/new"]);
    watching.says("watching 2 files");
    fs::remove_file(&new).unwrap();
    watching.says("watching 1 files");
    assert_eq!(watching.end(), Some(0));
}

#[test]
fn a_mistake_is_shown_and_watching_goes_on() {
    let home = Home::shared();
    let one = home.scenario("one", HELLO);
    let watching = Watching::start(&home, &[one.to_str().unwrap()]);
    assert_eq!(watching.results(), ["passed work/one"]);
    watching.says("watching 1 files");
    fs::write(&one, HELLO.replace("kmsg", "kmgs")).unwrap();
    watching.says("unknown key `kmgs`");
    watching.says("watching 1 files");
    fs::remove_file(&one).unwrap();
    watching.says("cannot be read");
    watching.says("watching 1 files");
    fs::write(&one, HELLO.replace("\"hello\"", "\"hallo\"")).unwrap();
    assert_eq!(watching.results(), ["passed work/one"]);
    assert_eq!(watching.end(), Some(0));
}

#[test]
fn a_changed_kernel_runs_all_again() {
    let home = Home::new();
    home.scenario("one", HELLO);
    let image = with_kernel_copy(&home);
    let modules = kernel_folder().join("modules");
    let arguments = [
        ".",
        "--kernel",
        image.to_str().unwrap(),
        "--modules",
        modules.to_str().unwrap(),
    ];
    let watching = Watching::start(&home, &arguments);
    assert_eq!(watching.results(), ["passed one"]);
    watching.says("watching ");
    fs::write(&image, "no kernel").unwrap();
    watching.says("bzImage");
    watching.says("watching ");
    with_kernel_copy(&home);
    assert_eq!(watching.results(), ["passed one"]);
    assert_eq!(watching.end(), Some(0));
}

#[test]
fn an_interrupt_ends_a_case_that_is_played() {
    let home = Home::shared();
    let slow = HELLO.replace(
        "[[steps]]\nkmsg",
        "[[steps]]\nwithin = \"1h\"\nrun = [\"sleep\", \"600\"]\n[[steps]]\nkmsg",
    );
    home.scenario("slow", &slow);
    let watching = Watching::start(&home, &["."]);
    home.process("qemu-system-x86_64", PATIENCE);
    assert_eq!(watching.end(), Some(3));
}
