//! `expect` and `absent`.

use std::time::Duration;

use crate::scenario::{
    Absent, Action, Expect, Lines, NodeIndex, Order, cause,
    expectation::{Asked, Source},
    meaning::{
        asked::{asked, check_headers},
        lines::{Common, long, short},
        source::{self, Reading, check_lines},
        step::{Script, times},
        target::Aim,
        value,
    },
    mistake::{Mistake, Mistakes},
    read::Either,
    tree::{At, Span},
    written::{self, expectation::Short, node::RoleWord},
};

/// The action, and how long it may take if it says so.
type Judged = (Option<Action>, Option<Duration>);

/// `expect`.
pub(crate) fn expect(
    script: &Script<'_, '_>,
    expect: &At<Either<Short, written::expectation::Expect>>,
    mistakes: &mut Mistakes<'_>,
) -> Judged {
    match &expect.value {
        Either::One(lines) => {
            let lines = short(&expect.with(lines.clone()), mistakes);
            let at = script
                .roster
                .choose(("at", None), RoleWord::Receiver, expect.span, mistakes);
            check_that_something_can_arrive(script, at, expect.span, mistakes);
            let source = source::usual(script, at);
            if let Some(lines) = &lines {
                check_lines(&source, lines, expect.span, mistakes);
            }
            let expect = lines
                .zip(at)
                .map(|(lines, at)| Action::Expect(Expect::plain(at, lines, source)));
            (expect, None)
        }
        Either::Other(written) => {
            let within = written.within.as_ref().map(|within| within.value.0);
            (
                long_expect(script, &expect.with(written), mistakes).map(Action::Expect),
                within,
            )
        }
    }
}

fn long_expect(
    script: &Script<'_, '_>,
    expect: &At<&written::expectation::Expect>,
    mistakes: &mut Mistakes<'_>,
) -> Option<Expect> {
    let written = expect.value;
    let keys = (written.lines.as_ref(), written.line.as_ref());
    let lines = long(keys, common(written), mistakes);
    let at = script.roster.choose(
        ("at", written.at.as_ref()),
        RoleWord::Receiver,
        expect.span,
        mistakes,
    );
    let target = target(script, written.target.as_ref(), at, mistakes);
    if written.target.is_none() {
        check_that_something_can_arrive(script, at, expect.span, mistakes);
    }
    check_headers(script, written, (at, target.flatten()), mistakes);
    let reading = Reading {
        keys: written,
        file: written.file.as_ref(),
        wire: written.wire.as_ref(),
    };
    let source = source::source(script, &reading, at, mistakes);
    if let Some(lines) = &lines {
        check_lines(&source, lines, expect.span, mistakes);
    }
    let asked = asked(script, written, mistakes);
    Some(Expect {
        at: at?,
        target: target?,
        order: value(written.order.as_ref()).unwrap_or_default(),
        exactly: value(written.exactly.as_ref()).unwrap_or(false),
        replay: value(written.replay.as_ref()).unwrap_or(false),
        source,
        lines: lines?,
        asked: asked?,
    })
}

fn common(expect: &written::expectation::Expect) -> Common {
    let count = expect.times.as_ref().map(|count| times(count.value));
    Common {
        times: count.unwrap_or(Common::default().times),
        raw: value(expect.raw.as_ref()).unwrap_or(false),
    }
}

/// `absent`.
pub(crate) fn absent(
    script: &Script<'_, '_>,
    absent: &At<Either<Short, written::expectation::Absent>>,
    mistakes: &mut Mistakes<'_>,
) -> Judged {
    let default = written::expectation::Absent::default();
    let (lines, written) = match &absent.value {
        Either::One(lines) => (short(&absent.with(lines.clone()), mistakes), &default),
        Either::Other(written) => {
            let keys = (written.lines.as_ref(), written.line.as_ref());
            (long(keys, Common::default(), mistakes), written)
        }
    };
    let at = script.roster.choose(
        ("at", written.at.as_ref()),
        RoleWord::Receiver,
        absent.span,
        mistakes,
    );
    let target = target(script, written.target.as_ref(), at, mistakes);
    let death = death(script, written, mistakes);
    let lasting = written.lasting.as_ref().map(|wait| wait.value.0);
    let replay = value(written.replay.as_ref()).unwrap_or(false);
    let reading = Reading {
        keys: written,
        file: written.file.as_ref(),
        wire: written.wire.as_ref(),
    };
    let source = match &absent.value {
        Either::One(_) => source::usual(script, at),
        Either::Other(_) => source::source(script, &reading, at, mistakes),
    };
    if let Some(lines) = &lines {
        check_lines(&source, lines, absent.span, mistakes);
    }
    let action = (|| {
        let (lost, because) = death?;
        Some(Absent {
            at: at?,
            target: target?,
            lines: lines?,
            replay,
            source,
            lasting,
            lost,
            because,
        })
    })();
    let within = written.within.as_ref().map(|within| within.value.0);
    (action.map(Action::Absent), within)
}

/// Where the lines died and why, as far as the file says so; `None`: there is a mistake.
fn death(
    script: &Script<'_, '_>,
    absent: &written::expectation::Absent,
    mistakes: &mut Mistakes<'_>,
) -> Option<(Option<NodeIndex>, Option<String>)> {
    let lost = match &absent.lost {
        None => Some(None),
        Some(lost) => script.roster.find(lost, mistakes).map(Some),
    };
    let because = match &absent.because {
        None => Some(None),
        Some(because) => self::because(because, mistakes).map(Some),
    };
    lost.zip(because)
}

fn because(because: &At<String>, mistakes: &mut Mistakes<'_>) -> Option<String> {
    let known = cause::NAMES.contains(&because.value.as_str());
    if !known {
        let mistake = Mistake::at(
            because.span,
            format!("there is no cause `{}`", because.value),
        );
        mistakes.add(mistake.did_you_mean(&because.value, cause::NAMES.iter().copied()));
    }
    known.then(|| because.value.clone())
}

/// The target that `target` names, where it does; `None`: there is a mistake.
fn target(
    script: &Script<'_, '_>,
    target: Option<&At<String>>,
    at: Option<NodeIndex>,
    mistakes: &mut Mistakes<'_>,
) -> Option<Option<usize>> {
    let Some(name) = target else {
        return Some(None);
    };
    let index = script.aims.find(name, mistakes)?;
    let aim = script.aims.aim(index);
    if let (Some(at), Some(on)) = (at, aim.on)
        && !script.net.reaches(on, at, script.roster)
    {
        let names = (script.roster.name(on), script.roster.name(at));
        let title = format!(
            "`{}` cannot reach `{}`: there is no way from `{}`",
            name.value, names.1, names.0
        );
        mistakes.add(Mistake::at(name.span, title).context(aim.span, "the target"));
        return None;
    }
    Some(Some(index))
}

/// The targets that an expectation is about: the one that is named, else those that are aimed at the receiver, else
/// (frames for everybody, or for nobody) those that could reach it.
pub(crate) fn judged(
    script: &Script<'_, '_>,
    at: Option<NodeIndex>,
    target: Option<usize>,
) -> Vec<usize> {
    let (None, Some(at)) = (target, at) else {
        return target.into_iter().collect();
    };
    let those = |fits: &dyn Fn(&Aim) -> bool| {
        let aims = script.aims.iter().enumerate().filter(|(_, aim)| fits(aim));
        aims.map(|(index, _)| index).collect::<Vec<_>>()
    };
    let aimed = those(&|aim| aim.to == Some(at));
    if !aimed.is_empty() {
        return aimed;
    }
    those(&|aim| {
        aim.on
            .is_none_or(|on| script.net.reaches(on, at, script.roster))
    })
}

/// Where no target can send anything and no step loads netconsole by hand, nothing can be expected.
fn check_that_something_can_arrive(
    script: &Script<'_, '_>,
    at: Option<NodeIndex>,
    span: Span,
    mistakes: &mut Mistakes<'_>,
) {
    let Some(at) = at.filter(|_| !script.loads_netconsole) else {
        return;
    };
    if judged(script, Some(at), None).is_empty() {
        let name = script.roster.name(at);
        let title = format!("no target can reach `{name}`, so no line can be expected there");
        mistakes.add(
            Mistake::at(span, title).help("aim a target at it, or expect the lines elsewhere"),
        );
    }
}

impl Expect {
    /// Only lines, nothing asked about them.
    fn plain(at: NodeIndex, lines: Lines, source: Source) -> Self {
        Self {
            at,
            target: None,
            lines,
            order: Order::default(),
            exactly: false,
            replay: false,
            source,
            asked: Asked::default(),
        }
    }
}
