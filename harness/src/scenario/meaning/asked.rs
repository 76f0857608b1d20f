//! What is asked about the messages that carry the expected lines.

use crate::scenario::{
    NodeIndex,
    expectation::{Asked, Format, Release},
    meaning::{
        expectation::judged,
        settings::mac_or_node,
        step::{Script, times},
        value,
    },
    mistake::{Mistake, Mistakes},
    read::{Either, table::Keyed, word::Word},
    tree::{At, Span},
    written,
};

/// Only extended messages have headers, fragments and userdata.
pub(crate) fn check_headers(
    script: &Script<'_, '_>,
    expect: &written::expectation::Expect,
    about: (Option<NodeIndex>, Option<usize>),
    mistakes: &mut Mistakes<'_>,
) {
    let told = |target: &usize| !script.aims.aim(*target).parameter;
    let targets: Vec<usize> = judged(script, about.0, about.1)
        .into_iter()
        .filter(told)
        .collect();
    let name = |target: usize| &script.aims.aim(target).name.value;
    if let Some(format) = &expect.format {
        let other = |target: &usize| script.extended[*target] != (format.value == Format::Extended);
        if let Some(target) = targets.iter().copied().find(other) {
            let title = format!(
                "the messages of `{}` are not {}",
                name(target),
                format.value.name()
            );
            mistakes.add(of_target(script, target, format.span, title));
        }
    }
    let Some(basic) = targets.into_iter().find(|target| !script.extended[*target]) else {
        return;
    };
    for key in keys_of_headers(expect, has_syslog_prefix(script, basic)) {
        let Some(span) = expect.place(key) else {
            continue;
        };
        let title = format!(
            "`{key}` is asked for, but the messages of `{}` are basic and have none",
            name(basic)
        );
        mistakes.add(of_target(script, basic, span, title));
    }
}

/// The keys that ask for what basic messages have not; `prefixed` ones have level and facility.
fn keys_of_headers(
    expect: &written::expectation::Expect,
    prefixed: bool,
) -> impl Iterator<Item = &'static str> {
    let no_release = expect
        .release
        .as_ref()
        .is_some_and(|key| matches!(key.value, Either::One(false)));
    let no_userdata = expect
        .userdata
        .as_ref()
        .is_some_and(|key| key.value.0.is_empty());
    let keys = [
        ("level", !prefixed),
        ("facility", !prefixed),
        ("fragments", true),
        ("userdata", !no_userdata),
        ("release", !no_release),
    ];
    keys.into_iter()
        .filter(|(_, asked)| *asked)
        .map(|(key, _)| key)
}

/// Whether the sender's kernel puts `<PRIORITY>` before basic messages.
fn has_syslog_prefix(script: &Script<'_, '_>, target: usize) -> bool {
    let node = script
        .aims
        .aim(target)
        .on
        .and_then(|on| script.roster.member(on).written);
    let cmdline = node.and_then(|node| node.cmdline.as_ref());
    cmdline.is_some_and(|cmdline| cmdline.value.contains("console_msg_format=syslog"))
}

/// A mistake that the format of `target` makes one.
fn of_target(script: &Script<'_, '_>, target: usize, span: Span, title: String) -> Mistake {
    let aim = script.aims.aim(target);
    let mistake = Mistake::at(span, title).context(aim.span, "the target");
    match (aim.span == Span::default(), script.extended[target]) {
        (true, _) => mistake
            .help("write a `[[targets]]` with `extended = true`, the default target is basic"),
        (false, false) => mistake.help("write `extended = true` in the target"),
        (false, true) => mistake.help("leave `extended` out of the target"),
    }
}

/// What is asked of the messages; `None`: there is a mistake.
pub(crate) fn asked(
    script: &Script<'_, '_>,
    expect: &written::expectation::Expect,
    mistakes: &mut Mistakes<'_>,
) -> Option<Asked> {
    let userdata = expect.userdata.as_ref().map(|userdata| &userdata.value.0);
    let texts = |entries: &Vec<(At<String>, Option<At<String>>)>| {
        entries
            .iter()
            .filter_map(|(key, text)| Some((key.value.clone(), text.as_ref()?.value.clone())))
            .collect()
    };
    let destination_mac = match &expect.destination_mac {
        None => None,
        Some(mac) => Some(mac_or_node(mac, script.roster, mistakes)?),
    };
    Some(Asked {
        format: value(expect.format.as_ref()),
        level: expect.level.as_ref().map(|level| level.value.get()),
        facility: expect
            .facility
            .as_ref()
            .map(|facility| facility.value.get()),
        contiguous: expect.sequence.is_some(),
        fragments: expect.fragments.as_ref().map(|count| times(count.value)),
        datagrams: expect.datagrams.as_ref().map(|count| times(count.value)),
        userdata: userdata.map(texts),
        release: expect.release.as_ref().map(|release| match &release.value {
            Either::One(true) => Release::Running,
            Either::One(false) => Release::Absent,
            Either::Other(text) => Release::Text(text.clone()),
        }),
        source_port: expect.source_port.as_ref().map(|port| port.value.get()),
        source: expect.source.as_ref().map(|address| address.value.0),
        destination_mac,
    })
}
