//! Senders whose kernel died, or hangs: how that is noticed, and their log, read from outside.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use lastwords_vm::{
    printk::{self, LogError, LogRecord, NotePlace},
    qemu::Qemu,
    qmp::QmpError,
};

use crate::{
    kernel::Answer,
    netconsole::{escape::show_start, record::Record},
    run::{
        guest::Guest,
        silence::Silence,
        stage::{Stage, chain},
    },
    scenario::{NodeIndex, needs::KernelVersion},
    verdict::complaint::{is_complaint, is_hang},
};

/// The last words of every panic that does not reboot (`kernel/panic.c`): behind them nothing is printed any more.
const LAST_WORDS: &str = "---[ end Kernel panic";
/// How an oops, or a warning, ends to speak (`kernel/panic.c`, `print_oops_end_marker`).
const END_OF_TRACE: &str = "---[ end trace";
/// How often a sender may say that it is dead and live: a line of a scenario can say so, too.
const MOST_FALSE_ALARMS: u32 = 100;
/// How much of a line is told.
const SHOWN: usize = 160;

/// What became of senders.
#[derive(Debug, Default)]
pub(crate) struct Fates {
    dead: BTreeMap<NodeIndex, Death>,
    /// Which have a processor that hangs, and whether another is left.
    hung: BTreeMap<NodeIndex, Hung>,
    /// Whose frames say that they are dead.
    suspects: BTreeSet<NodeIndex>,
    false_alarms: u32,
}

#[derive(Debug)]
struct Death {
    sentence: String,
    /// The machine ended, too: no frame can come any more.
    has_ended: bool,
}

/// A sender with a processor that hangs.
#[derive(Debug)]
pub(crate) struct Hung {
    pub(crate) sentence: String,
    /// Nothing of it can run any more.
    pub(crate) wholly: bool,
}

impl Fates {
    /// A sender has a new machine.
    pub(crate) fn forget(&mut self, node: NodeIndex) {
        self.dead.remove(&node);
        self.hung.remove(&node);
        self.suspects.remove(&node);
    }

    /// Looks at a frame of a sender.
    pub(crate) fn see(&mut self, node: NodeIndex, bytes: &[u8]) {
        if memchr::memmem::find(bytes, LAST_WORDS.as_bytes()).is_some() {
            self.suspects.insert(node);
        }
    }

    /// A processor of `node` hangs.
    pub(crate) fn hangs(&mut self, node: NodeIndex, hung: Hung) {
        self.hung.insert(node, hung);
    }

    pub(crate) fn is_dead(&self, node: NodeIndex) -> bool {
        self.dead.contains_key(&node)
    }

    pub(crate) fn has_ended(&self, node: NodeIndex) -> bool {
        self.dead.get(&node).is_some_and(|death| death.has_ended)
    }

    /// Whether it may be unable to print a marker.
    pub(crate) fn is_silent(&self, node: NodeIndex) -> bool {
        self.is_dead(node) || self.hung.contains_key(&node)
    }

    /// Why it can do nothing any more, where that is so.
    pub(crate) fn sentence(&self, node: NodeIndex) -> Option<String> {
        let hung = self.hung.get(&node).filter(|hung| hung.wholly);
        let dead = self.dead.get(&node).map(|death| &death.sentence);
        dead.or(hung.map(|hung| &hung.sentence)).cloned()
    }
}

impl Stage<'_> {
    /// Looks at the logs of senders whose frames say that they are dead; whether one is.
    pub(crate) async fn look_for_deaths(&mut self) -> Result<bool, Silence> {
        let mut any = false;
        while let Some(node) = self.fates.suspects.pop_first() {
            if self.fates.is_dead(node) || self.fates.false_alarms > MOST_FALSE_ALARMS {
                continue;
            }
            let dead = self.is_dead_now(node).await?;
            self.fates.false_alarms += u32::from(!dead);
            any |= dead;
        }
        Ok(any)
    }

    /// Looks at the log of a sender; whether its kernel is dead.
    pub(crate) async fn is_dead_now(&mut self, node: NodeIndex) -> Result<bool, Silence> {
        if self.fates.is_dead(node) {
            return Ok(true);
        }
        let is_read = self.read_memory(node).await?;
        let log = self.judge.logs.get(&node);
        let last = log.and_then(|log| log.after(None).last());
        let said = last.is_some_and(|record| record.is_kernels(LAST_WORDS));
        if is_read && !said {
            return Ok(false);
        }
        let sentence = match self.death_cry(node) {
            Some(said) => format!("the kernel died: {said}"),
            None => "the kernel died".to_owned(),
        };
        self.dies(node, sentence, false);
        Ok(true)
    }

    /// A machine ended itself, and QEMU holds it: its memory is still there.
    pub(crate) async fn machine_ended(
        &mut self,
        node: NodeIndex,
        reason: &str,
    ) -> Result<(), Silence> {
        let how = match reason {
            "guest-reset" => "was reset",
            "guest-shutdown" => "switched itself off",
            _ => "ended",
        };
        // Its card's frames come out while its processors run, in whatever circle.
        let mut taken = None;
        while taken != Some(self.frames) {
            taken = Some(self.frames);
            self.command(node, async |qemu| qemu.flush().await).await?;
            self.drain();
        }
        self.command(node, async |qemu| qemu.pause().await).await?;
        self.drain();
        let death = Death {
            sentence: format!("the machine {how}"),
            has_ended: true,
        };
        self.fates.dead.insert(node, death);
        self.read_memory(node).await?;
        let sentence = match self.death_cry(node) {
            Some(said) => format!("the kernel died and the machine {how}: {said}"),
            None => format!("the machine {how}"),
        };
        self.dies(node, sentence, true);
        Ok(())
    }

    fn dies(&mut self, node: NodeIndex, sentence: String, has_ended: bool) {
        let death = Death {
            sentence,
            has_ended,
        };
        self.fates.dead.insert(node, death);
        let of_it = |guest: &&Guest| guest.node == node;
        if self
            .guests
            .iter()
            .find(of_it)
            .is_some_and(|guest| guest.note.is_some())
        {
            self.judge.log_is_final(node);
        }
    }

    /// The first line of a sender's panic, and before it that of the oops, or whatever it was, that it followed.
    fn death_cry(&self, node: NodeIndex) -> Option<String> {
        let log = self.judge.logs.get(&node)?;
        let ready = self.judge.ready.get(&node).copied().flatten();
        let (mut complaint, mut is_over) = (None, true);
        for record in log.after(ready) {
            if record.is_panic() {
                let said = complaint.into_iter().chain([record]);
                return Some(quoted(said));
            }
            if is_complaint(record) && is_over {
                complaint = Some(record);
                is_over = false;
            }
            is_over |= record.is_kernels(END_OF_TRACE);
        }
        None
    }

    /// Has QEMU do something, with the lab alive meanwhile.
    async fn command<T>(
        &mut self,
        node: NodeIndex,
        work: impl AsyncFnOnce(&mut Qemu) -> Result<T, QmpError>,
    ) -> Result<T, Silence> {
        let guest = self.guests.iter_mut().find(|guest| guest.node == node);
        let Some(guest) = guest else {
            return Err(Silence::Gone);
        };
        match self.lab.drive(work(&mut guest.qemu)).await {
            Ok(done) => Ok(done),
            Err(QmpError::Closed | QmpError::Connection(_)) => Err(self.gone(node).await),
            Err(error) => Err(Silence::Unanswered(error)),
        }
    }

    /// Reads what is new in the log of `node` from its memory; false where that is not possible.
    pub(crate) async fn read_memory(&mut self, node: NodeIndex) -> Result<bool, Silence> {
        let guest = self.guests.iter().find(|guest| guest.node == node);
        let Some(note) = guest.and_then(|guest| guest.note) else {
            return Ok(false);
        };
        match self.records_in_memory(node, note).await? {
            Ok(records) => {
                self.log_from_outside(node, &records);
                Ok(true)
            }
            Err(error) => {
                let why = chain(&error);
                let fault = format!("the kernel's log cannot be read from outside: {why}");
                self.faults.push(fault);
                Ok(false)
            }
        }
    }

    async fn records_in_memory(
        &mut self,
        node: NodeIndex,
        note: NotePlace,
    ) -> Result<Result<Vec<LogRecord>, LogError>, Silence> {
        let has_ended = self.fates.has_ended(node);
        let read = async |qemu: &mut Qemu| {
            if !has_ended {
                qemu.pause().await?;
            }
            let records = printk::read(qemu, note).await;
            if !has_ended {
                qemu.resume().await?;
            }
            Ok(records)
        };
        self.command(node, read).await
    }

    /// Looks at a sender that owes an answer for long, though nothing has come that says so: a kernel can die where no
    /// line leaves it.
    pub(crate) async fn look_at_silent(&mut self, node: NodeIndex) -> Result<(), Silence> {
        let guest = self.guests.iter().find(|guest| guest.node == node);
        // A processor that stops somewhere is not to be sent on.
        let note = guest.and_then(|guest| guest.note.filter(|_| !guest.is_trapped));
        let Some(note) = note.filter(|_| !self.fates.is_silent(node)) else {
            return Ok(());
        };
        // What cannot be read now is read, or found unreadable, when it is needed.
        if let Ok(records) = self.records_in_memory(node, note).await? {
            let last = records.last().map(|record| record.kmsg(false, usize::MAX));
            let last = last.and_then(|line| Record::parse(line.as_bytes()).ok());
            if last.is_some_and(|record| record.is_kernels(LAST_WORDS)) {
                self.is_dead_now(node).await?;
            }
        }
        Ok(())
    }

    /// Why a sender gave no answer in time: also what its kernel has complained of since it was last heard.
    pub(crate) async fn overdue(&mut self, node: NodeIndex, within: Duration) -> Silence {
        let heard = self.judge.logs.get(&node).and_then(|log| log.last());
        let is_trapped = |guest: &Guest| guest.node == node && guest.is_trapped;
        if self.guests.iter().any(is_trapped) || self.fates.is_silent(node) {
            return Silence::Deadline(within);
        }
        match self.read_memory(node).await {
            Ok(true) => {}
            Ok(false) => return Silence::Deadline(within),
            Err(silence) => return silence,
        }
        let log = self.judge.logs.get(&node);
        let mut news = log.into_iter().flat_map(|log| log.after(heard));
        match news.find(|record| is_complaint(record) || is_hang(record)) {
            Some(record) => Silence::Dead(format!(
                "the kernel did not answer within {within:?}, and says {}",
                quoted([record])
            )),
            None => Silence::Deadline(within),
        }
    }

    /// Hands the judge what it does not know yet; what it knows must be the same.
    fn log_from_outside(&mut self, node: NodeIndex, records: &[LogRecord]) {
        let limit = buffer(self.judge.scene.releases.get(&node).map(String::as_str));
        let known = self.judge.logs.get(&node);
        let named =
            known.is_some_and(|log| log.after(None).any(|record| record.header.caller.is_some()));
        let last = known.and_then(|log| log.last());
        let mut news = Vec::new();
        for record in records {
            let line = record.kmsg(named, limit);
            match known.and_then(|log| log.get(record.sequence)) {
                Some(known) if known.raw != line.as_bytes() => {
                    let sequence = record.sequence;
                    self.faults.push(format!(
                        "record {sequence} of the kernel's log is another in its memory than it was in /dev/kmsg"
                    ));
                    return;
                }
                Some(_) => {}
                None if last.is_none_or(|last| record.sequence > last) => news.push(line),
                // Overwritten before it was read, or read and not kept.
                None => {}
            }
        }
        let lost = 0;
        self.log(
            node,
            Answer::Log {
                records: news,
                lost,
            },
        );
    }
}

/// The texts of records.
fn quoted<'a>(records: impl IntoIterator<Item = &'a Record>) -> String {
    let texts = records.into_iter();
    let texts: Vec<String> = texts
        .map(|record| format!("`{}`", show_start(&record.text, SHOWN)))
        .collect();
    texts.join(", ")
}

/// The size of the buffer that /dev/kmsg prints a record into (`CONSOLE_EXT_LOG_MAX`, `PRINTK_MESSAGE_MAX` from 6.4 on).
fn buffer(release: Option<&str>) -> usize {
    let version = release.and_then(KernelVersion::from_release);
    let old = version.is_some_and(|version| (version.major, version.minor) < (6, 4));
    if old { 8192 } else { 2048 }
}
