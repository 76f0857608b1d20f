//! Actions that stand for themselves: modules, /dev/kmsg, commands.

use crate::scenario::{
    Action,
    meaning::{texts, value},
    mistake::{Mistake, Mistakes},
    read::{Either, Map},
    step::{Content, Hang, Kmsg, Oops, Run, Write},
    tree::{At, Span},
    written,
};

/// More records than this in one step are a mistake.
const MOST_RECORDS: u64 = 100_000;

pub(crate) fn load(load: &Either<String, written::step::Load>) -> Option<Action> {
    let (module, parameters) = match load {
        Either::One(module) => (module.clone(), None),
        Either::Other(load) => (
            value(load.module.as_ref())?,
            value(load.parameters.as_ref()),
        ),
    };
    Some(Action::Load {
        module,
        parameters: parameters.unwrap_or_default(),
    })
}

pub(crate) fn unload(unload: &Either<String, written::step::Unload>) -> Option<Action> {
    let (module, if_loaded) = match unload {
        Either::One(module) => (module.clone(), None),
        Either::Other(unload) => (
            value(unload.module.as_ref())?,
            value(unload.if_loaded.as_ref()),
        ),
    };
    Some(Action::Unload {
        module,
        if_loaded: if_loaded.unwrap_or(false),
    })
}

pub(crate) fn kmsg(
    kmsg: &At<Either<String, written::step::Kmsg>>,
    mistakes: &mut Mistakes<'_>,
) -> Option<Kmsg> {
    let written = match &kmsg.value {
        Either::One(text) => return Some(Kmsg::line(text)),
        Either::Other(written) => written,
    };
    let times: u32 = written.times.as_ref().map_or(1, |times| times.value.get());
    let burst = written.burst.as_ref().map(|burst| &burst.value);
    let (text, lines) = match (&written.text, burst) {
        (Some(text), _) => (text.value.clone(), None),
        (None, Some(burst)) => (
            value(burst.text.as_ref())?,
            Some(burst.lines.as_ref()?.value.get::<u32>()),
        ),
        (None, None) => return None,
    };
    if u64::from(times) * u64::from(lines.unwrap_or(1)) > MOST_RECORDS {
        let title = format!("more than {MOST_RECORDS} records in one step");
        mistakes.add(Mistake::at(kmsg.span, title));
        return None;
    }
    let once: Vec<String> = match lines {
        None => vec![text],
        Some(lines) => (1..=lines)
            .map(|number| format!("{text} {number}"))
            .collect(),
    };
    let records = (0..times).flat_map(|_| once.iter().cloned()).collect();
    Some(Kmsg {
        records,
        level: written.level.as_ref().map(|level| level.value.get()),
        newline: value(written.newline.as_ref()).unwrap_or(true),
        background: value(written.background.as_ref()).unwrap_or(false),
    })
}

pub(crate) fn run(
    run: &At<Either<Vec<At<String>>, written::step::Run>>,
    mistakes: &mut Mistakes<'_>,
) -> Option<Run> {
    let (command, further) = match &run.value {
        Either::One(command) => (command, None),
        Either::Other(written) => (&written.command.as_ref()?.value, Some(written)),
    };
    if command.is_empty() {
        mistakes.add(
            Mistake::at(run.span, "the command is empty")
                .help("write the program and its arguments, each a text"),
        );
    }
    Some(Run {
        command: command.iter().map(|word| word.value.clone()).collect(),
        programs: texts(further.and_then(|run| run.programs.as_ref())).collect(),
        files: map(further.and_then(|run| run.files.as_ref()))
            .map(|(there, here)| (there, here.into()))
            .collect(),
        prints: further.and_then(|run| value(run.prints.as_ref())),
    })
}

/// Makes something hang on a node's processor, which it must have.
pub(crate) fn hang(
    hang: &At<Either<Hang, written::ordeal::Hanging>>,
    cpus: u8,
    mistakes: &mut Mistakes<'_>,
) -> Option<Action> {
    let written = match &hang.value {
        Either::One(kind) => return Some(Action::Hang(*kind, 0)),
        Either::Other(written) => written,
    };
    let kind = written.kind.as_ref()?.value;
    let Some(cpu) = &written.cpu else {
        return Some(Action::Hang(kind, 0));
    };
    let number: u8 = cpu.value.get();
    if number >= cpus {
        let title = format!("the sender has no processor {number}");
        let help = format!("they are counted from 0, and it has {cpus}: see `cpus` of the node");
        mistakes.add(Mistake::at(cpu.span, title).help(help));
    }
    Some(Action::Hang(kind, number))
}

/// What else a kernel is made to go through, and where the step's key stands.
pub(crate) fn ordeal(step: &written::step::Step) -> Option<(Span, Action)> {
    let sysrq = step.sysrq.as_ref();
    let oops = step.oops.as_ref();
    let panic = step.panic.as_ref();
    let nmi = step.nmi.as_ref();
    None.or_else(|| sysrq.map(|key| (key.span, Action::SysRq(key.value.0))))
        .or_else(|| nmi.map(|nmi| (nmi.span, Action::Nmi)))
        .or_else(|| {
            oops.map(|oops| match oops.value {
                Either::One(_) => (oops.span, Action::Oops(Oops::Bug)),
                Either::Other(kind) => (oops.span, Action::Oops(kind)),
            })
        })
        .or_else(|| {
            let panic = panic?;
            let timeout = match &panic.value {
                Either::One(_) => None,
                Either::Other(written) => value(written.timeout.as_ref()).map(|value| value.0),
            };
            Some((panic.span, Action::Panic { timeout }))
        })
}

pub(crate) fn write(
    write: &At<written::step::Write>,
    mistakes: &mut Mistakes<'_>,
) -> Option<Write> {
    let written = &write.value;
    let path = written.path.as_ref()?;
    if !path.value.starts_with('/') || path.value.ends_with('/') || path.value.contains('\0') {
        let title = format!("`{}` is no absolute path of a file", path.value);
        mistakes.add(
            Mistake::at(path.span, title)
                .help("write it from the root, as in `\"/etc/modprobe.d/netconsole.conf\"`"),
        );
        return None;
    }
    let content = match (&written.text, &written.file) {
        (Some(text), _) => Content::Text(text.value.clone()),
        (None, Some(file)) => Content::File(file.value.clone().into()),
        (None, None) => return None,
    };
    Some(Write {
        path: path.value.clone(),
        content,
        append: value(written.append.as_ref()).unwrap_or(false),
    })
}

/// Whether a key that is there to be `true` is.
pub(crate) fn only_true(key: &At<bool>, mistakes: &mut Mistakes<'_>) -> bool {
    if !key.value {
        let mistake = Mistake::at(key.span, "expected `true`, found `false`");
        mistakes.add(mistake.help("leave the step out"));
    }
    key.value
}

pub(crate) fn map(key: Option<&At<Map<String>>>) -> impl Iterator<Item = (String, String)> {
    let entries = key.into_iter().flat_map(|map| &map.value.0);
    entries.filter_map(|(key, text)| Some((key.value.clone(), text.as_ref()?.value.clone())))
}
