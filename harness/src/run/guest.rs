//! A sender as a guest: what is packed into it, and how it is started.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    future::pending,
    io,
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use lastwords_vm::{
    boot::Boot,
    cache::Entry,
    channel::ChannelError,
    debugger::Debugger,
    initramfs::Initramfs,
    kernel::Kernel,
    machine::{Machine, NetworkCard},
    modules::{Presence, name::ModuleName},
    printk::NotePlace,
    qemu::Qemu,
    template::Templates,
};

use crate::{
    kernel::{Answer, Refusal, Request, agent::FOLDER, module::underscored, request::GuestPlan},
    netconsole::MacAddress,
    run::{Error, case::Setting, need, preparation, tools},
    scenario::{Action, Node, NodeIndex, Scenario, node::Nic, step::Run},
};

/// Packed, where a kernel has them, for every guest: so that most scenarios share a template.
const OFTEN: [&str; 3] = ["netconsole", "configfs", "floppy"];

/// A running sender.
pub(crate) struct Guest {
    pub(crate) node: NodeIndex,
    pub(crate) qemu: Qemu,
    /// `uname -r`.
    pub(crate) release: String,
    /// The kernel log up to the moment at which the guest was ready.
    pub(crate) boot_log: Vec<String>,
    /// The answer to what [`preparation`] asks, where that was asked before the guest was ready.
    pub(crate) prepared: Option<Answer>,
    /// Where the kernel says how its memory is laid out.
    pub(crate) note: Option<NotePlace>,
    /// Whether QEMU holds the machine when it ends itself.
    pub(crate) is_held: bool,
    /// Takes hold of the processors, once that was needed.
    pub(crate) debugger: Option<Debugger>,
    /// Whether a processor is to stop somewhere.
    pub(crate) is_trapped: bool,
    /// Where a processor that ends the machine is stopped, and how the machine ends then.
    pub(crate) exits: Vec<(u64, &'static str)>,
    /// Why a template had to be made again.
    pub(crate) renewed: Option<String>,
    _template: Option<Entry>,
}

/// What comes from a guest besides frames.
pub(crate) enum Word {
    /// The answer to the last question.
    Answer(Result<Result<Answer, Refusal>, ChannelError>),
    /// It ended its machine, and QEMU holds it: QEMU's word for how.
    Ended(String),
    /// A processor stopped where it should.
    Trapped,
}

impl Guest {
    /// Waits for what comes from it; for answers only where it was `asked`. Cancel safe.
    pub(crate) async fn word(&mut self, asked: bool) -> Word {
        let Qemu { channel, qmp, .. } = &mut self.qemu;
        let (held, trapped) = (self.is_held, self.is_trapped);
        let stopped = async {
            match &mut self.debugger {
                Some(debugger) => debugger.stopped().await,
                None => pending().await,
            }
        };
        let ended = async {
            match qmp.guests_end().await {
                Ok(reason) => reason,
                // Its channel closes, too, and says so.
                Err(_) => pending().await,
            }
        };
        tokio::select! {
            answer = channel.answer(), if asked => Word::Answer(answer),
            reason = ended, if held => Word::Ended(reason),
            Ok(()) = stopped, if trapped => Word::Trapped,
            else => pending().await,
        }
    }
}

/// What a guest is started with: the same for all runs of a scenario on a kernel.
#[derive(PartialEq)]
pub(crate) struct Plan {
    machine: Machine,
    prelude: Request,
    initramfs: Initramfs,
    within: Duration,
}

impl Plan {
    /// Packs what `scenario` needs of `kernel` for its sender `node`.
    pub(crate) fn new(
        scenario: &Scenario,
        node: &Node,
        kernel: &Kernel,
        setting: &Setting,
    ) -> Result<Self, Error> {
        let cmdline = node.sender().and_then(|sender| sender.cmdline.clone());
        let (cpus, memory) = node
            .sender()
            .map_or((1, 256), |sender| (sender.cpus, sender.memory));
        let cards = node.interfaces.iter().enumerate();
        let cards = cards.map(|(index, interface)| NetworkCard {
            model: model(interface.nic).to_owned(),
            mac: card_mac(index).to_string(),
        });
        let machine = Machine {
            kernel: kernel.boot_file().to_owned(),
            cmdline: cmdline.unwrap_or_default(),
            cpus,
            memory,
            cards: cards.collect(),
            accelerator: setting.accelerator,
            terminal: setting.shell,
        };
        let mut prelude = vec![Request::Facts];
        prelude.extend(preparation::is_usual(node).then(|| preparation::request(node)));
        prelude.push(Request::ReadLog);
        Ok(Self {
            machine,
            prelude: Request::Batch(prelude),
            initramfs: initramfs(scenario, node, kernel, setting)?,
            within: setting.boot_within,
        })
    }

    /// Starts the guest and waits until it can be asked.
    pub(crate) async fn start(
        &self,
        node: NodeIndex,
        cards: Vec<OwnedFd>,
        templates: Option<&Templates>,
    ) -> Result<Guest, Error> {
        let prelude = serde_json::to_value(&self.prelude)
            .map_err(|error| Error::Answer(error.to_string()))?;
        let boot = Boot {
            machine: &self.machine,
            initramfs: &self.initramfs,
            prelude: &prelude,
            within: self.within,
        };
        // What a kernel's command line does is seen in its boot.
        let templates = templates.filter(|_| self.machine.cmdline.is_empty());
        let (qemu, answer, template, renewed) = match templates {
            Some(templates) => {
                let started = templates.start(&boot, cards).await?;
                (started.qemu, started.answer, started.entry, started.renewed)
            }
            None => {
                let (qemu, answer) = boot.boot(cards).await?;
                (qemu, answer, None, None)
            }
        };
        let (release, note, prepared, boot_log) = introduction(answer)?;
        Ok(Guest {
            node,
            qemu,
            release,
            boot_log,
            prepared,
            note,
            is_held: false,
            debugger: None,
            is_trapped: false,
            exits: Vec::new(),
            renewed,
            _template: template,
        })
    }
}

/// The answer to the prelude: the release, where the kernel describes itself, what came of the preparation if that was
/// part of it, and the log of the boot.
type Introduction = (String, Option<NotePlace>, Option<Answer>, Vec<String>);

fn introduction(answer: serde_json::Value) -> Result<Introduction, Error> {
    let wrong = |answer: &dyn std::fmt::Debug| Error::Answer(format!("{answer:?}"));
    let answer: Result<Answer, Refusal> =
        serde_json::from_value(answer).map_err(|error| wrong(&error))?;
    match answer.map_err(Error::Sender)? {
        Answer::Batch(mut answers) => {
            let prepared = (answers.len() == 3).then(|| answers.remove(1));
            match <[Answer; 2]>::try_from(answers) {
                Ok(
                    [
                        Answer::Facts {
                            release,
                            vmcoreinfo,
                            ..
                        },
                        Answer::Log { records, .. },
                    ],
                ) => {
                    let note = vmcoreinfo.and_then(|text| NotePlace::parse(&text));
                    Ok((release, note, prepared, records))
                }
                other => Err(wrong(&other)),
            }
        }
        other => Err(wrong(&other)),
    }
}

/// QEMU's name of a card.
fn model(nic: Nic) -> &'static str {
    match nic {
        Nic::VirtioNetPci => "virtio-net-pci",
        Nic::E1000 => "e1000",
        Nic::E1000e => "e1000e",
        Nic::Rtl8139 => "rtl8139",
    }
}

/// The drivers of a card; one that is built in costs nothing.
fn drivers(nic: Nic) -> &'static [&'static str] {
    match nic {
        Nic::VirtioNetPci => &["virtio_pci", "virtio_net"],
        Nic::E1000 => &["e1000"],
        Nic::E1000e => &["e1000e"],
        // QEMU's RTL8139 is the C+ variant.
        Nic::Rtl8139 => &["8139cp"],
    }
}

/// A card's address in its ROM: the same for all, so that guests of one shape share a template. The sender's own MAC is
/// set when its interface is brought up.
fn card_mac(index: usize) -> MacAddress {
    let index = u8::try_from(index).unwrap_or(u8::MAX);
    MacAddress([0x52, 0x54, 0x00, 0x6c, 0x77, index])
}

fn initramfs(
    scenario: &Scenario,
    node: &Node,
    kernel: &Kernel,
    setting: &Setting,
) -> Result<Initramfs, Error> {
    // In the order of the cards, which so become eth0, eth1, ….
    let mut preload: Vec<&str> = Vec::new();
    let drivers = node
        .interfaces
        .iter()
        .flat_map(|interface| drivers(interface.nic));
    for driver in drivers {
        if !preload.contains(driver) {
            preload.push(driver);
        }
    }
    let wanted = preload
        .iter()
        .copied()
        .chain(OFTEN)
        .chain(scenario.modules());
    let wanted: BTreeSet<&str> = wanted.collect();
    let mut initramfs = Initramfs::new();
    let mut plan = GuestPlan::default();
    for name in wanted.iter().copied() {
        if kernel.modules.presence(&ModuleName::new(name))? == Presence::Absent {
            continue;
        }
        let mut files = Vec::new();
        for module in kernel.modules.closure([name])? {
            let file = format!("{}.ko", module.name);
            initramfs.file(&format!("{FOLDER}/modules/{file}"), 0o644, module.bytes);
            files.push(file);
        }
        plan.modules.insert(underscored(name), files);
    }
    // What a distribution has long mounted by the time that somebody loads netconsole, which needs it.
    preload.extend(plan.modules.contains_key("configfs").then_some("configfs"));
    plan.preload = preload.into_iter().map(str::to_owned).collect();
    plan.cards = (0..node.interfaces.len()).map(card_mac).collect();
    let plan = serde_json::to_vec(&plan).map_err(|error| Error::Answer(error.to_string()))?;
    initramfs.file(&format!("{FOLDER}/guest.json"), 0o644, plan);
    pack_programs(&mut initramfs, programs(scenario, node), kernel, &wanted)?;
    for (there, here) in files(scenario, node) {
        let (mode, bytes) = read(&here).map_err(|source| Error::Folder { path: here, source })?;
        initramfs.file(there, mode, bytes);
    }
    if setting.shell {
        tools::pack(&mut initramfs)?;
    }
    let program = std::env::current_exe().map_err(|source| Error::Folder {
        path: "/proc/self/exe".into(),
        source,
    })?;
    initramfs.init(&program)?;
    Ok(initramfs)
}

/// Packs programs, and what they do not say that they need: this program is there already, and modprobe looks for the
/// kernel's modules.
fn pack_programs(
    initramfs: &mut Initramfs,
    programs: BTreeSet<&str>,
    kernel: &Kernel,
    modules: &BTreeSet<&str>,
) -> Result<(), Error> {
    for program in programs {
        if program == need::OWN {
            initramfs.symlink(&format!("usr/bin/{program}"), "/init");
            continue;
        }
        initramfs.program(program)?;
        if program == "modprobe" {
            let mut there = Vec::new();
            for name in modules.iter().copied() {
                if need::presence(kernel, name)? != Presence::Absent {
                    there.push(name);
                }
            }
            let closure = kernel.modules.closure(there)?;
            initramfs.modules(&kernel.modules, &closure)?;
        }
    }
    Ok(())
}

/// The programs that the scenario runs on `node`: the commands, and what they need besides.
fn programs<'scenario>(scenario: &'scenario Scenario, node: &Node) -> BTreeSet<&'scenario str> {
    runs(scenario, node)
        .flat_map(|run| run.command.first().into_iter().chain(&run.programs))
        .map(String::as_str)
        .collect()
}

/// The files that the scenario copies to `node`: where they go, and where they are.
fn files<'scenario>(
    scenario: &'scenario Scenario,
    node: &Node,
) -> BTreeMap<&'scenario str, PathBuf> {
    let folder = scenario.path.parent().unwrap_or(Path::new(""));
    runs(scenario, node)
        .flat_map(|run| &run.files)
        .map(|(there, here)| (there.as_str(), folder.join(here)))
        .collect()
}

/// What runs on `node`.
fn runs<'scenario>(
    scenario: &'scenario Scenario,
    node: &Node,
) -> impl Iterator<Item = &'scenario Run> {
    let steps = scenario
        .steps
        .iter()
        .filter(move |step| scenario.node(step.on).name == node.name);
    steps.filter_map(|step| match &step.action {
        Action::Run(run) => Some(run),
        _ => None,
    })
}

/// A file's mode and content.
fn read(path: &Path) -> io::Result<(u32, Vec<u8>)> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    Ok((mode, fs::read(path)?))
}
