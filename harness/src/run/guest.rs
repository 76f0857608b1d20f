//! A sender as a guest: what is packed into it, and how it is started.

use std::{collections::BTreeSet, future::pending, os::fd::OwnedFd, time::Duration};

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
    kernel::{
        Answer, Refusal, Request,
        agent::FOLDER,
        module::underscored,
        request::{Booted, GuestPlan, Startup, StoredFile},
    },
    netconsole::MacAddress,
    run::{
        Error,
        card::{card_drivers, card_mac, model},
        case::Setting,
        need,
        packing::{files, pack_programs, programs, read},
        preparation,
        system::{self, System},
        tools,
    },
    scenario::{Node, NodeIndex, Scenario},
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
    /// What its boot has made of netconsole; nothing where it was started from a template.
    pub(crate) booted: Booted,
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
    guest: GuestPlan,
    /// The cards' addresses in the lab.
    macs: Vec<MacAddress>,
    system: Option<System>,
    has_built_in_netconsole: bool,
    within: Duration,
}

/// How a boot differs from one for a template.
pub(crate) struct Installed<'a> {
    /// The files that its disk has kept; none: those that it was installed with.
    pub(crate) files: Option<&'a [StoredFile]>,
    /// Words for the kernel's command line.
    pub(crate) cmdline: &'a str,
    /// Printed before the modules are loaded.
    pub(crate) marker: &'a str,
}

impl Plan {
    /// Packs what `scenario` needs of `kernel` for its sender `node`.
    pub(crate) fn new(
        scenario: &Scenario,
        index: NodeIndex,
        kernel: &Kernel,
        setting: &Setting,
    ) -> Result<Self, Error> {
        let node = scenario.node(index);
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
        let (mut initramfs, guest) = initramfs(scenario, index, kernel, setting)?;
        put_plan(&mut initramfs, &guest)?;
        let system = if scenario.boots(index) {
            let wanted = wanted(scenario, node);
            Some(System::install(&mut initramfs, kernel, &wanted)?)
        } else {
            None
        };
        Ok(Self {
            machine,
            prelude: Request::Batch(prelude),
            initramfs,
            guest,
            macs: node.interfaces.iter().map(|card| card.mac).collect(),
            system,
            has_built_in_netconsole: need::presence(kernel, "netconsole")? == Presence::BuiltIn,
            within: setting.boot_within,
        })
    }

    /// Whether netconsole may be there as soon as the machine has booted.
    pub(crate) fn boots_netconsole(&self) -> bool {
        self.system.is_some() && self.machine.cmdline.contains("netconsole")
    }

    /// Whether netconsole is no module of its kernel but part of it.
    pub(crate) fn has_built_in_netconsole(&self) -> bool {
        self.has_built_in_netconsole
    }

    /// Starts the guest and waits until it can be asked.
    pub(crate) async fn start(
        &self,
        node: NodeIndex,
        cards: Vec<OwnedFd>,
        templates: Option<&Templates>,
    ) -> Result<Guest, Error> {
        let prelude = prelude(&self.prelude)?;
        let boot = Boot {
            machine: &self.machine,
            initramfs: &self.initramfs,
            prelude: &prelude,
            within: self.within,
        };
        // What a kernel's command line does is seen in its boot.
        let templates = templates.filter(|_| self.machine.cmdline.is_empty());
        match templates {
            Some(templates) => {
                let started = templates.start(&boot, cards).await?;
                let guest = admitted(node, started.qemu, started.answer)?;
                Ok(Guest {
                    renewed: started.renewed,
                    _template: started.entry,
                    ..guest
                })
            }
            None => {
                let (qemu, answer) = boot.boot(cards).await?;
                admitted(node, qemu, answer)
            }
        }
    }

    /// Boots the guest from what it has installed, with the lab's addresses in its cards, and waits until it can be
    /// asked.
    pub(crate) async fn boot(
        &self,
        node: NodeIndex,
        cards: Vec<OwnedFd>,
        installed: Installed<'_>,
    ) -> Result<Guest, Error> {
        let mut machine = self.machine.clone();
        for (card, mac) in machine.cards.iter_mut().zip(&self.macs) {
            card.mac = mac.to_string();
        }
        machine.cmdline = format!("{} {}", machine.cmdline, installed.cmdline);
        let mut initramfs = self.initramfs.clone();
        if let Some(files) = installed.files {
            system::restore(&mut initramfs, files);
        }
        let startup = self.system.as_ref().map(|system| Startup {
            marker: installed.marker.to_owned(),
            modules_load: system.modules_load.clone(),
            modprobe: system.modprobe.clone(),
        });
        let guest = GuestPlan {
            cards: self.macs.clone(),
            startup,
            ..self.guest.clone()
        };
        put_plan(&mut initramfs, &guest)?;
        let prelude = prelude(&Request::Batch(vec![
            Request::Facts,
            Request::ReadLog,
            Request::Booted,
        ]))?;
        let boot = Boot {
            machine: &machine,
            initramfs: &initramfs,
            prelude: &prelude,
            within: self.within,
        };
        let (qemu, answer) = boot.boot(cards).await?;
        admitted(node, qemu, answer)
    }
}

fn prelude(request: &Request) -> Result<serde_json::Value, Error> {
    serde_json::to_value(request).map_err(|error| Error::Answer(error.to_string()))
}

/// Puts what PID 1 reads.
fn put_plan(initramfs: &mut Initramfs, guest: &GuestPlan) -> Result<(), Error> {
    let plan = serde_json::to_vec(guest).map_err(|error| Error::Answer(error.to_string()))?;
    initramfs.file(&format!("{FOLDER}/guest.json"), 0o644, plan);
    Ok(())
}

/// The guest, by its answer to the prelude: the release, the log of the boot, and what else there is.
fn admitted(node: NodeIndex, qemu: Qemu, answer: serde_json::Value) -> Result<Guest, Error> {
    let wrong = |answer: &dyn std::fmt::Debug| Error::Answer(format!("{answer:?}"));
    let answer: Result<Answer, Refusal> =
        serde_json::from_value(answer).map_err(|error| wrong(&error))?;
    let answers = match answer.map_err(Error::Sender)? {
        Answer::Batch(answers) => answers,
        other => return Err(wrong(&other)),
    };
    let mut guest = Guest {
        node,
        qemu,
        release: String::new(),
        boot_log: Vec::new(),
        prepared: None,
        booted: Booted::default(),
        note: None,
        is_held: false,
        debugger: None,
        is_trapped: false,
        exits: Vec::new(),
        renewed: None,
        _template: None,
    };
    for answer in answers {
        match answer {
            Answer::Facts {
                release,
                vmcoreinfo,
                ..
            } => {
                guest.release = release;
                guest.note = vmcoreinfo.and_then(|text| NotePlace::parse(&text));
            }
            Answer::Log { records, .. } => guest.boot_log = records,
            Answer::Booted(booted) => guest.booted = booted,
            prepared @ Answer::Batch(_) => guest.prepared = Some(prepared),
            other => return Err(wrong(&other)),
        }
    }
    Ok(guest)
}

/// The modules that a guest may load.
fn wanted<'a>(scenario: &'a Scenario, node: &Node) -> BTreeSet<&'a str> {
    card_drivers(node)
        .into_iter()
        .chain(OFTEN)
        .chain(scenario.modules())
        .collect()
}

/// All that is packed but the plan, and the plan.
fn initramfs(
    scenario: &Scenario,
    index: NodeIndex,
    kernel: &Kernel,
    setting: &Setting,
) -> Result<(Initramfs, GuestPlan), Error> {
    let node = scenario.node(index);
    let mut initramfs = Initramfs::new();
    let mut plan = GuestPlan::default();
    let wanted = wanted(scenario, node);
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
    plan.preload = card_drivers(node).into_iter().map(str::to_owned).collect();
    // What a distribution has long mounted by the time that somebody loads netconsole, which needs it.
    let has_configfs = plan.modules.contains_key("configfs") && !scenario.boots(index);
    plan.preload
        .extend(has_configfs.then(|| "configfs".to_owned()));
    plan.cards = (0..node.interfaces.len()).map(card_mac).collect();
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
    Ok((initramfs, plan))
}
