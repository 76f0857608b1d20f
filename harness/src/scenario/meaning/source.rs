//! What an expectation reads: frames, what a program printed, or a file of its.

use crate::scenario::{
    Lines, NodeIndex, Pattern,
    expectation::Source,
    meaning::step::Script,
    mistake::{Mistake, Mistakes},
    read::table::Keyed,
    tree::{At, Span},
};

/// What can be asked of frames only.
const KEYS_OF_FRAMES: [&str; 11] = [
    "raw",
    "format",
    "level",
    "facility",
    "sequence",
    "fragments",
    "datagrams",
    "userdata",
    "release",
    "source-port",
    "source",
];

/// The keys of an expectation that say what is read.
pub(crate) struct Reading<'w> {
    pub(crate) keys: &'w dyn Keyed,
    pub(crate) file: Option<&'w At<String>>,
    pub(crate) wire: Option<&'w At<bool>>,
}

/// What an expectation at `at` reads that says no more.
pub(crate) fn usual(script: &Script<'_, '_>, at: Option<NodeIndex>) -> Source {
    if at.is_some_and(|at| script.roster.has_program(at)) {
        Source::Printed
    } else {
        Source::Wire
    }
}

/// What an expectation at `at` reads; what cannot be asked there is noted.
pub(crate) fn source(
    script: &Script<'_, '_>,
    reading: &Reading<'_>,
    at: Option<NodeIndex>,
    mistakes: &mut Mistakes<'_>,
) -> Source {
    let wire = reading.wire.is_some_and(|wire| wire.value);
    let Some(at) = at else {
        return Source::Wire;
    };
    if !script.roster.has_program(at) {
        if let Some(file) = reading.file {
            let name = script.roster.name(at);
            let title = format!("`{name}` is the observer, which writes no file");
            mistakes.add(
                Mistake::at(file.span, title)
                    .help("give the receiver a `program`, or leave `file` out"),
            );
        }
        return Source::Wire;
    }
    match (reading.file, wire) {
        (Some(file), true) => {
            let title = "an expectation reads either a file or the wire";
            mistakes.add(Mistake::at(file.span, title).help("leave `file` or `wire` out"));
            Source::Wire
        }
        (None, true) => Source::Wire,
        (file, false) => {
            refuse_keys_of_frames(script.roster.name(at), reading.keys, mistakes);
            file.map_or(Source::Printed, |file| {
                Source::File(file.value.clone().into())
            })
        }
    }
}

fn refuse_keys_of_frames(name: &str, keys: &dyn Keyed, mistakes: &mut Mistakes<'_>) {
    let asked = KEYS_OF_FRAMES.iter().chain(&["destination-mac"]);
    for (key, span) in asked.filter_map(|key| Some((key, keys.place(key)?))) {
        let title =
            format!("`{key}` is asked of frames, and what the program of `{name}` wrote has none");
        mistakes.add(Mistake::at(span, title).help("write `wire = true`, and frames are read"));
    }
    if let Some(span) = keys.place("target") {
        let title = format!("what the program of `{name}` wrote does not tell targets apart");
        mistakes.add(Mistake::at(span, title).help(
            "write `wire = true`, or read the `file` that the program writes for one source",
        ));
    }
}

/// Notes lines that cannot be in what a program wrote.
pub(crate) fn check_lines(source: &Source, lines: &Lines, span: Span, mistakes: &mut Mistakes<'_>) {
    if *source == Source::Wire {
        return;
    }
    for line in lines {
        match &line.pattern {
            Pattern::Literal(text) if text.contains('\n') => mistakes.add(
                Mistake::at(span, "no line that a program wrote has a newline in it")
                    .help("write each line as one of its own"),
            ),
            _ if line.raw => mistakes.add(
                Mistake::at(
                    span,
                    "`raw` is asked of frames, and what a program wrote has none",
                )
                .help("write `wire = true`, and frames are read"),
            ),
            Pattern::Literal(_) | Pattern::Regex(_) => {}
        }
    }
}
