//! What an expectation asks about the messages that carry its lines.

use std::collections::BTreeMap;

use crate::{
    netconsole::{
        MacAddress,
        escape::show,
        message::{Content, Extended},
    },
    scenario::{
        RemoteMac,
        expectation::{Asked, Format, Release},
    },
    verdict::{
        attribution::Heading,
        finding::Kind,
        judge::Judge,
        scene::Scene,
        sighting::Sighting,
        userdata::{behind_dictionary, shown},
        way::interfaces_on,
    },
};

/// What is not as asked about a message.
pub(crate) fn check(judge: &Judge, asked: &Asked, sighting: &Sighting) -> Vec<(Kind, String)> {
    let mut wrong = Vec::new();
    let extended = match &sighting.message.content {
        Content::Extended(extended) => Some(extended),
        Content::Basic(_) => None,
    };
    let is = if extended.is_some() {
        Format::Extended
    } else {
        Format::Basic
    };
    if asked.format.is_some_and(|must| must != is) {
        wrong.push((Kind::WrongFormat, format!("it is {}", format_name(is))));
    }
    let header_asked = asked.level.is_some()
        || asked.facility.is_some()
        || asked.release.is_some()
        || asked.userdata.is_some();
    match extended {
        Some(extended) => check_header(judge, asked, (sighting, extended), &mut wrong),
        None if header_asked => check_prefix(asked, sighting, &mut wrong),
        None => {}
    }
    check_way(judge, asked, sighting, &mut wrong);
    wrong
}

fn check_header(
    judge: &Judge,
    asked: &Asked,
    (sighting, extended): (&Sighting, &Extended),
    wrong: &mut Vec<(Kind, String)>,
) {
    let header = &extended.header;
    check_priority(asked, header.level, header.facility.into(), wrong);
    let sender = judge.traffic.flows.flow(sighting.flow).heading.from;
    let running = judge.scene.releases.get(&sender).cloned();
    let must = match &asked.release {
        None => None,
        Some(Release::Absent) => Some(None),
        Some(Release::Running) => Some(running),
        Some(Release::Text(text)) => Some(Some(text.clone())),
    };
    if let Some(must) = must.filter(|must| *must != header.release) {
        let name = |release: &Option<String>| {
            release
                .as_ref()
                .map_or("none".to_owned(), |release| show(release.as_bytes()))
        };
        wrong.push((
            Kind::WrongRelease,
            format!(
                "its release is {}, expected {}",
                name(&header.release),
                name(&must)
            ),
        ));
    }
    if let Some(must) = &asked.userdata {
        check_userdata(must, &behind_dictionary(judge, sighting, extended), wrong);
    }
}

fn check_userdata(
    must: &BTreeMap<String, String>,
    lines: &[&[u8]],
    wrong: &mut Vec<(Kind, String)>,
) {
    let mut must: Vec<Vec<u8>> = must
        .iter()
        .map(|(key, value)| format!("{key}={value}").into_bytes())
        .collect();
    let mut are: Vec<Vec<u8>> = lines.iter().map(|line| line.to_vec()).collect();
    must.sort();
    are.sort();
    if must != are {
        let sentence = format!("its userdata is {}, expected {}", shown(&are), shown(&must));
        wrong.push((Kind::WrongUserdata, sentence));
    }
}

fn check_priority(asked: &Asked, level: u8, facility: u32, wrong: &mut Vec<(Kind, String)>) {
    if let Some(must) = asked.level.filter(|must| *must != level) {
        wrong.push((
            Kind::WrongLevel,
            format!("its level is {level}, expected {must}"),
        ));
    }
    if let Some(must) = asked.facility.filter(|must| u32::from(*must) != facility) {
        wrong.push((
            Kind::WrongFacility,
            format!("its facility is {facility}, expected {must}"),
        ));
    }
}

/// A basic message has level and facility only under `console_msg_format=syslog`.
fn check_prefix(asked: &Asked, sighting: &Sighting, wrong: &mut Vec<(Kind, String)>) {
    let Content::Basic(basic) = &sighting.message.content else {
        return;
    };
    match basic.prefix.priority {
        Some(priority) => check_priority(asked, (priority & 7) as u8, priority >> 3, wrong),
        None if asked.level.is_some() || asked.facility.is_some() => {
            wrong.push((
                Kind::WrongFormat,
                "it is basic and says nothing of its level and facility".to_owned(),
            ));
        }
        None => {}
    }
    let release = !matches!(asked.release, None | Some(Release::Absent));
    if release
        || asked
            .userdata
            .as_ref()
            .is_some_and(|userdata| !userdata.is_empty())
    {
        wrong.push((
            Kind::WrongFormat,
            "it is basic and has neither release nor userdata".to_owned(),
        ));
    }
}

/// Fragments, datagrams, addresses.
fn check_way(judge: &Judge, asked: &Asked, sighting: &Sighting, wrong: &mut Vec<(Kind, String)>) {
    let pieces = sighting.message.payloads.len();
    if let Some(must) = asked.fragments.filter(|must| must.get() as usize != pieces) {
        wrong.push((
            Kind::WrongFragments,
            format!("it came in {}, expected {must}", count(pieces, "fragment")),
        ));
    }
    if let Some(must) = asked.datagrams.filter(|must| must.get() as usize != pieces) {
        wrong.push((
            Kind::WrongDatagrams,
            format!("it came in {}, expected {must}", count(pieces, "datagram")),
        ));
    }
    let heading = &judge.traffic.flows.flow(sighting.flow).heading;
    let (address, port) = heading.source;
    if let Some(must) = asked.source_port.filter(|must| *must != port) {
        wrong.push((
            Kind::WrongSettings,
            format!("its source port is {port}, expected {must}"),
        ));
    }
    if let Some(must) = asked.source.filter(|must| *must != address) {
        wrong.push((
            Kind::WrongSettings,
            format!("its source address is {address}, expected {must}"),
        ));
    }
    let must = asked.destination_mac.as_ref();
    let must = must.map(|must| mac_on(&judge.scene, heading, must));
    if let Some(must) = must.filter(|must| *must != Some(heading.destination_mac)) {
        let must = must.map_or(
            "that of a node which is not on the sender's link".to_owned(),
            |must| must.to_string(),
        );
        wrong.push((
            Kind::WrongSettings,
            format!(
                "its destination MAC is {}, expected {must}",
                heading.destination_mac
            ),
        ));
    }
}

/// The MAC that is asked for; of a node, that of its interface on the link that the sender sent it on.
fn mac_on(scene: &Scene, heading: &Heading, asked: &RemoteMac) -> Option<MacAddress> {
    let node = match asked {
        RemoteMac::Address(mac) => return Some(*mac),
        RemoteMac::Node(node) => *node,
    };
    let mut interfaces = interfaces_on(scene, heading.link);
    let found = interfaces.find(|(owner, _)| *owner == node);
    found.map(|(_, interface)| interface.mac)
}

fn count(pieces: usize, what: &str) -> String {
    let plural = if pieces == 1 { "" } else { "s" };
    format!("{pieces} {what}{plural}")
}

fn format_name(format: Format) -> &'static str {
    match format {
        Format::Basic => "basic",
        Format::Extended => "extended",
    }
}
