//! `lastwords shell`: one scenario, alive, at somebody's hands.

mod relay;

use std::{
    io::{self, Write},
    time::Duration,
};

use lastwords_vm::{accelerator, cache::Cache, kernel::Kernel, qemu, template::Templates};
use tokio::io::{AsyncBufReadExt, BufReader, Stdin};

use crate::{
    cli::{CommandError, ShellArguments, check, fetch, renderer, shell::relay::Left},
    report::{
        CaseReport, Demands, Exit, Format, Outcome, RunReport,
        human::{Human, Show},
        text::printable,
    },
    run::{
        case::Setting,
        interrupt::Interrupt,
        pool::Pool,
        privilege::Privilege,
        visit::{Visit, VisitError},
    },
    scenario::{NodeIndex, Scenario, Step},
    suite::Suite,
};

/// How many lines `lines` shows of each receiver.
const SHOWN: usize = 100;
/// How long a command may run.
const COMMAND_WITHIN: Duration = Duration::from_secs(600);

/// Sets a scenario up and does what is typed.
pub(crate) fn shell(arguments: &ShellArguments) -> Result<Exit, CommandError> {
    let paths = [arguments.path.clone()];
    let suite = Suite::read(&paths, &renderer())?;
    if !suite.mistakes.is_empty() {
        check::tell(&suite)?;
        return Ok(Exit::Usage);
    }
    let scenario = one(super::run::filtered(
        suite.scenarios,
        arguments.filter.as_deref(),
    )?)?;
    qemu::program()?;
    let cache = Cache::open(None)?;
    let configure = |mut request: lastwords_vm::kernel::KernelRequest| {
        request.modules.clone_from(&arguments.modules);
        request.replacements.clone_from(&arguments.replacements);
        request
    };
    let names = [arguments.kernel.clone()];
    let kernels = fetch::resolve(&names, configure, &cache)?;
    // Before there is any thread.
    let privilege = Privilege::obtain(std::slice::from_ref(&scenario));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CommandError::Runtime)?;
    let exit = runtime.block_on(async {
        let setting = Setting {
            accelerator: accelerator::choose(&cache).accelerator,
            privilege,
            boot_within: arguments.boot_within,
            templates: (!arguments.cold).then(|| Templates::new(cache.clone())),
            interrupt: Interrupt::listen().map_err(CommandError::Runtime)?,
            folder: super::run::runs_folder(&cache),
            keep: true,
            attempt: String::new(),
            pool: Pool::default(),
            shell: true,
        };
        look(arguments, &scenario, &kernels[0], &setting).await
    });
    // Whoever still waits for a key, in a thread of its own, is not waited for.
    runtime.shutdown_background();
    exit
}

/// The only case.
fn one(mut cases: Vec<Scenario>) -> Result<Scenario, CommandError> {
    match (cases.pop(), cases.is_empty()) {
        (Some(scenario), true) => Ok(scenario),
        (last, _) => {
            let names = cases.into_iter().chain(last);
            let names = names.map(|case| case.name).collect();
            Err(CommandError::ManyCases(names))
        }
    }
}

async fn look(
    arguments: &ShellArguments,
    scenario: &Scenario,
    kernel: &Kernel,
    setting: &Setting,
) -> Result<Exit, CommandError> {
    let visit = match Visit::begin(scenario, kernel, setting).await {
        Ok(visit) => visit,
        Err(outcome) => return ended(&report(scenario, kernel, outcome), &[]),
    };
    let mut interrupt = setting.interrupt.clone();
    let mut prompt = Prompt {
        scenario,
        visit,
        keyboard: BufReader::new(tokio::io::stdin()),
    };
    prompt.go_to(arguments).await;
    let told = if arguments.at_failure && !prompt.has_failed() {
        Ok(())
    } else {
        tokio::select! {
            told = prompt.serve() => told,
            () = interrupt.wait() => Ok(()),
        }
    };
    let (finished, leftovers) = prompt.visit.leave().await;
    told.map_err(CommandError::Output)?;
    match finished {
        Some(finished) => ended(&finished.report, &finished.leftovers),
        None => {
            tell_leftovers(&leftovers).map_err(CommandError::Output)?;
            Ok(Exit::Success)
        }
    }
}

/// Whoever types, and what they look at.
struct Prompt<'scenario> {
    scenario: &'scenario Scenario,
    visit: Visit<'scenario>,
    keyboard: BufReader<Stdin>,
}

/// What was typed.
enum Typed<'line> {
    Nothing,
    Step,
    Go,
    Lines,
    Help,
    Quit,
    Node(NodeIndex, Vec<&'line str>),
    Unknown(&'line str),
}

impl Prompt<'_> {
    /// Goes on to where the command line says.
    async fn go_to(&mut self, arguments: &ShellArguments) {
        while let Some(step) = self.visit.next_step() {
            let there = match arguments.at {
                Some(line) => step.place.line >= line,
                None => !arguments.at_failure,
            };
            if there {
                return;
            }
            self.visit.step().await;
        }
        if arguments.at_failure {
            self.visit.step().await;
        }
    }

    fn has_failed(&self) -> bool {
        let outcome = self.visit.outcome();
        outcome.is_some_and(|outcome| *outcome != Outcome::Passed)
    }

    /// Does what is typed, up to `quit` or the end of what is typed.
    async fn serve(&mut self) -> io::Result<()> {
        self.tell_place()?;
        loop {
            let mut out = io::stdout().lock();
            write!(out, "(lastwords) ")?;
            out.flush()?;
            drop(out);
            let mut line = String::new();
            let read = self.keyboard.read_line(&mut line);
            if self.visit.meanwhile(read).await? == 0 {
                return writeln!(io::stdout());
            }
            match self.understood(&line) {
                Typed::Nothing => {}
                Typed::Step => {
                    self.visit.step().await;
                    self.tell_place()?;
                }
                Typed::Go => {
                    while self.visit.outcome().is_none() {
                        self.visit.step().await;
                    }
                    self.tell_place()?;
                }
                Typed::Lines => {
                    self.visit.settle().await;
                    self.tell_lines()?;
                }
                Typed::Help => writeln!(io::stdout(), "{}", super::SHELL_HELP)?,
                Typed::Quit => return Ok(()),
                Typed::Node(node, command) => self.visit_node(node, &command).await?,
                Typed::Unknown(word) => {
                    writeln!(
                        io::stdout(),
                        "`{}` is neither a command nor a node; `help` names them",
                        printable(word)
                    )?;
                }
            }
        }
    }

    fn understood<'line>(&self, line: &'line str) -> Typed<'line> {
        let mut words = line.split_whitespace();
        let Some(word) = words.next() else {
            return Typed::Nothing;
        };
        let is_it = |node: &crate::scenario::Node| node.name == word;
        if let Some(node) = self.scenario.nodes.iter().position(is_it) {
            return Typed::Node(NodeIndex(node), words.collect());
        }
        match word {
            "step" | "s" => Typed::Step,
            "go" | "g" => Typed::Go,
            "lines" | "l" => Typed::Lines,
            "help" | "?" => Typed::Help,
            "quit" | "q" | "exit" => Typed::Quit,
            other => Typed::Unknown(other),
        }
    }

    /// Where the scenario has stopped.
    fn tell_place(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match (self.visit.next_step(), self.visit.outcome()) {
            (_, Some(outcome)) => {
                writeln!(out, "{}", sentence(outcome))?;
            }
            (Some(step), None) => {
                let file = self.scenario.path.display();
                writeln!(
                    out,
                    "stopped before {file}:{}: {}",
                    step.place,
                    written(self.scenario, step)
                )?;
            }
            (None, None) => writeln!(out, "stopped behind the last step")?,
        }
        let nodes = self.scenario.nodes.iter().enumerate();
        let nodes: Vec<String> = nodes
            .map(|(index, node)| {
                let what = match (node.sender(), self.visit.is_namespace(NodeIndex(index))) {
                    (Some(_), _) => "guest",
                    (None, true) => "namespace",
                    (None, false) => "built-in receiver",
                };
                format!("{} ({what})", node.name)
            })
            .collect();
        writeln!(out, "machines: {}", nodes.join(", "))
    }

    fn tell_lines(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for (index, node) in self.scenario.nodes.iter().enumerate() {
            let arrived = self.visit.arrived(NodeIndex(index));
            let earlier = arrived.len().saturating_sub(SHOWN);
            if earlier > 0 {
                writeln!(out, "{} | ({earlier} earlier lines)", node.name)?;
            }
            for text in &arrived[earlier..] {
                writeln!(out, "{} | {}", node.name, printable(text))?;
            }
        }
        Ok(())
    }

    /// A shell, or one command.
    async fn visit_node(&mut self, node: NodeIndex, command: &[&str]) -> io::Result<()> {
        let done = if command.is_empty() {
            self.shell(node).await
        } else {
            self.command(node, command).await
        };
        match done {
            Ok(told) => told,
            Err(error) => writeln!(io::stdout(), "{error}"),
        }
    }

    async fn command(
        &mut self,
        node: NodeIndex,
        command: &[&str],
    ) -> Result<io::Result<()>, VisitError> {
        let line = command.join(" ");
        let ran = self.visit.run(node, &line, COMMAND_WITHIN).await?;
        let mut out = io::stdout().lock();
        let told = write!(out, "{}{}", ran.output, ran.errors);
        Ok(told.and_then(|()| match ran.status {
            Some(0) => Ok(()),
            Some(status) => writeln!(out, "(status {status})"),
            None => writeln!(out, "(ended by a signal)"),
        }))
    }

    async fn shell(&mut self, node: NodeIndex) -> Result<io::Result<()>, VisitError> {
        if !relay::is_terminal() {
            let name = &self.scenario.node(node).name;
            return Ok(writeln!(
                io::stdout(),
                "a shell wants a terminal; `{name} COMMAND` runs one command there"
            ));
        }
        let mut terminal = self.visit.shell(node, relay::size()).await?;
        let farewell = self.visit.farewell();
        let relay = relay::relay(&mut self.keyboard, &mut terminal, farewell.as_bytes());
        let left = self.visit.meanwhile(relay).await;
        self.visit.take_back(node, terminal);
        let said = match left {
            Ok(Left::Exit) => {
                self.visit.shell_has_ended(node);
                Ok(())
            }
            Ok(Left::Gone | Left::Away) if self.visit.is_namespace(node) => Ok(()),
            Ok(Left::Away) => writeln!(io::stdout(), "\nthe shell goes on"),
            Ok(Left::Gone) => writeln!(io::stdout(), "\nthe machine is gone"),
            Err(error) => Err(error),
        };
        Ok(said)
    }
}

/// The line of the file at which a step stands.
fn written(scenario: &Scenario, step: &Step) -> String {
    let source = std::fs::read_to_string(&scenario.path).unwrap_or_default();
    let line = source.lines().nth(step.place.line.saturating_sub(1));
    printable(line.unwrap_or_default().trim()).to_string()
}

fn sentence(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Failed { failure } | Outcome::Known { failure, .. } => {
            format!("{}: {}", outcome.word(), printable(&failure.sentence))
        }
        Outcome::Error { causes } => format!("error: {}", printable(&causes.join(": "))),
        Outcome::Passed
        | Outcome::Flaky { .. }
        | Outcome::NotApplicable { .. }
        | Outcome::Missing { .. } => outcome.word().to_owned(),
    }
}

fn report(scenario: &Scenario, kernel: &Kernel, outcome: Outcome) -> CaseReport {
    crate::run::case::report(
        scenario,
        kernel,
        outcome,
        crate::run::case::Clock::default(),
    )
}

/// Tells what it came to, as `run` does.
fn ended(report: &CaseReport, leftovers: &[String]) -> Result<Exit, CommandError> {
    let mut human = Human::new(anstream::stdout(), Show::Verdicts);
    human.case(report).map_err(CommandError::Output)?;
    tell_leftovers(leftovers).map_err(CommandError::Output)?;
    let run = RunReport {
        cases: vec![report.clone()],
        duration: report.duration,
        leftovers: leftovers.to_vec(),
        interrupted: false,
        not_run: 0,
        demands: Demands::default(),
    };
    Ok(run.exit())
}

fn tell_leftovers(leftovers: &[String]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    leftovers
        .iter()
        .try_for_each(|leftover| writeln!(out, "left behind  {}", printable(leftover)))
}
