//! Does on the running kernel what a [`Request`] says.

use std::{fs, io, path::Path};

use crate::kernel::request::Startup;
use crate::kernel::{
    Answer, Refusal, Request, child, command, configfs, disk, interface, log::LogReader,
    module::Modules, neighbour, processor, renewal, request::Deed, startup, symbol, terminal,
};

/// Whoever executes requests: what it must remember between them.
pub(crate) struct Kernel {
    modules: Modules,
    log: LogReader,
    /// To be done once the last request is answered.
    doom: Option<Deed>,
    startup: Option<startup::Done>,
}

impl Kernel {
    /// Takes the modules that can be loaded and starts at the first record of the kernel log.
    pub(crate) fn new(modules: Modules) -> io::Result<Self> {
        Ok(Self {
            modules,
            log: LogReader::open()?,
            doom: None,
            startup: None,
        })
    }

    /// What is to be done now that the last request is answered.
    pub(crate) fn doom(&mut self) -> Option<Deed> {
        self.doom.take()
    }

    /// Starts as an installed system does, as far as modules are concerned.
    pub(crate) async fn start_up(&mut self, startup: Startup) -> Result<(), Refusal> {
        kmsg(&startup.marker, Some(0), true)?;
        self.startup = Some(startup::start_up(startup).await?);
        Ok(())
    }

    /// Executes one request.
    pub(crate) async fn execute(&mut self, request: Request) -> Result<Answer, Refusal> {
        match request {
            Request::Batch(requests) => self.batch(requests).await,
            Request::Renew { time, seed } => renewal::renew(time, &seed).map(done),
            Request::Facts => Ok(facts()),
            Request::ConsoleLevel(level) => write(
                "/proc/sys/kernel/printk",
                &level.to_string(),
                format!("dmesg -n {level}"),
            ),
            Request::Write { path, text } => {
                let doing = format!("writing {path}");
                write(&path, &text, doing)
            }
            Request::WriteFile {
                path,
                bytes,
                append,
            } => disk::write(&path, &bytes.to_vec(), append).map(done),
            Request::ReadFiles { paths } => disk::read(&paths).map(Answer::Files),
            Request::Booted => startup::booted(self.startup.as_ref())
                .await
                .map(Answer::Booted),
            Request::GoDown { restart } => Err(disk::go_down(restart)),
            Request::Load { module, parameters } => {
                self.modules.load(&module, &parameters).map(Answer::Loaded)
            }
            Request::Unload { module, if_loaded } => {
                self.modules.unload(&module, if_loaded).map(done)
            }
            Request::Kmsg {
                records,
                level,
                newline,
            } => records
                .iter()
                .try_for_each(|record| kmsg(record, level, newline))
                .map(done),
            Request::KmsgMeanwhile {
                records,
                level,
                newline,
            } => std::thread::Builder::new()
                .spawn(move || {
                    // What cannot be written does not arrive, which is what an expectation tells.
                    let _ = records
                        .iter()
                        .try_for_each(|record| kmsg(record, level, newline));
                })
                .map(|_| Answer::Done)
                .map_err(|error| Refusal::by_kernel("starting a thread", &error)),
            Request::Burst { text, lines, level } => (1..=lines)
                .try_for_each(|number| kmsg(&format!("{text} {number}"), level, true))
                .map(done),
            Request::Configfs(changes) => configfs::change(&mut self.modules, &changes).map(done),
            Request::Interface {
                name,
                mac,
                addresses,
            } => interface::configure(&name, mac, &addresses).await.map(done),
            Request::Route {
                to,
                gateway,
                interface,
            } => interface::route(to, gateway, &interface).await.map(done),
            Request::SetUp { interface, up } => interface::set_up(&interface, up).await.map(done),
            Request::WaitForCarrier {
                interface,
                carrier,
                within,
            } => interface::wait_for_carrier(&interface, carrier, within)
                .await
                .map(done),
            Request::NextHop {
                address,
                resolve,
                within,
            } => neighbour::next_hop(address, resolve, within).map(Answer::NextHop),
            Request::Read { path } => fs::read_to_string(&path)
                .map(Answer::Text)
                .map_err(|error| Refusal::by_kernel(format!("cat {path}"), &error)),
            Request::ReadLog => self
                .log
                .read()
                .map_err(|error| Refusal::by_kernel("reading /dev/kmsg", &error)),
            Request::Child(deed) => child::wait_for(&deed),
            Request::Doom(deed) => {
                self.doom = Some(deed);
                Ok(Answer::Done)
            }
            Request::Leave(number) => processor::leave(number).map(done),
            Request::Symbols(names) => symbol::find(&names).map(Answer::Symbols),
            Request::Run { command, within } => {
                command::run(&command, within).await.map(Answer::Ran)
            }
            Request::Shell(shell) => terminal::start(&shell).map(done),
            Request::TerminalSize { rows, columns } => terminal::resize(rows, columns).map(done),
        }
    }

    async fn batch(&mut self, requests: Vec<Request>) -> Result<Answer, Refusal> {
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            match Box::pin(self.execute(request)).await {
                Ok(answer) => answers.push(answer),
                Err(refusal) => {
                    return Err(Refusal {
                        before: answers,
                        ..refusal
                    });
                }
            }
        }
        Ok(Answer::Batch(answers))
    }
}

fn done((): ()) -> Answer {
    Answer::Done
}

fn facts() -> Answer {
    let release =
        nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    Answer::Facts {
        release: release.unwrap_or_default(),
        cpus,
        vmcoreinfo: fs::read_to_string("/sys/kernel/vmcoreinfo").ok(),
    }
}

fn write(path: impl AsRef<Path>, text: &str, doing: String) -> Result<Answer, Refusal> {
    fs::write(path, text)
        .map(done)
        .map_err(|error| Refusal::by_kernel(doing, &error))
}

/// One record: /dev/kmsg takes what one write(2) gives it, and limits the rate of each open file
/// (`Documentation/ABI/testing/dev-kmsg`).
fn kmsg(record: &str, level: Option<u8>, newline: bool) -> Result<(), Refusal> {
    let prefix = level.map(|level| format!("<{level}>")).unwrap_or_default();
    let text = format!("{prefix}{record}{}", if newline { "\n" } else { "" });
    let write = || {
        io::Write::write_all(
            &mut fs::OpenOptions::new().write(true).open("/dev/kmsg")?,
            text.as_bytes(),
        )
    };
    write().map_err(|error| {
        Refusal::by_kernel(format!("writing {} bytes to /dev/kmsg", text.len()), &error)
    })
}
