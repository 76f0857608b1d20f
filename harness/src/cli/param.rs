//! `lastwords param`: the parameter that logs to an address, or what a given one means here.

mod error;
mod receiver;
mod shown;

use std::{io, net::IpAddr, time::Duration};

use clap::{Args, ValueEnum};

pub(crate) use error::ParamError;

use crate::{
    cli::{
        CommandError, duration,
        param::receiver::{Receiver, receiver, target_name},
    },
    kernel::{
        machine,
        route::{self, Query, RouteError},
    },
    netconsole::{Parameter, Settings},
    param::{
        Explanation, Interface, Machine, NoWay, Proposal,
        document::{self, Content, Explained},
        explain::{Draft, LookedUp},
        finding,
        proposal::Wish,
        way::why_no_receiver,
    },
    report::Exit,
};

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ParamArguments {
    /// The receiver: an IPv4 or IPv6 address, a link-local one with its link, as in fe80::1%eth0
    #[arg(long, value_name = "ADDRESS", value_parser = receiver, required_unless_present = "explain")]
    pub(crate) to: Option<Receiver>,
    /// Reads a parameter and says field by field what it means here and what is wrong with it
    ///
    /// Also with `netconsole=` before it, a whole modprobe line, a line of modprobe.d, words of a kernel's command line
    #[arg(long, value_name = "PARAMETER", conflicts_with_all = ["to", "port", "local_port", "interface", "source", "extended", "release", "name"])]
    pub(crate) explain: Option<String>,
    /// The port that the receiver listens on
    #[arg(long, value_name = "PORT", default_value_t = Settings::REMOTE_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,
    /// The port that the datagrams come from
    #[arg(long, value_name = "PORT", default_value_t = Settings::LOCAL_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) local_port: u16,
    /// The interface to send from, where it is not to be the routing table's
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
    /// The source address, where it is not to be the routing table's
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) source: Option<IpAddr>,
    /// Level, sequence number and time before each text
    #[arg(long)]
    pub(crate) extended: bool,
    /// And the kernel's release before those (kernel 6.6)
    #[arg(long, requires = "extended")]
    pub(crate) release: bool,
    /// What the target is called in configfs
    #[arg(long, value_name = "NAME", default_value = "target1", value_parser = target_name)]
    pub(crate) name: String,
    /// How long a neighbour may take to tell its MAC
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) within: Duration,
    /// How the answer is written to standard output
    #[arg(long, value_enum, default_value_t = ParamFormat::Human)]
    pub(crate) format: ParamFormat,
}

/// How the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ParamFormat {
    /// For people
    Human,
    /// One JSON document, with a version of its schema
    Json,
}

const AFTER_HELP: &str = "\
Nothing is changed; a neighbour whose MAC is unknown is asked for it, as ping does.

Examples:
  lastwords param --to 10.2.0.2
  lastwords param --to fe80::1%eth0 --extended
  lastwords param --to 10.2.0.2 --format json | jq -r .proposal.modprobe
  lastwords param --explain '6665@10.1.0.1/eth0,6666@10.2.0.2/02:00:0a:01:00:fe'
  lastwords param --explain \"$(cat /etc/modprobe.d/netconsole.conf)\"

Exit codes: 0 fine, 1 an `error:` is among what is said: it will not work here, 2 usage,
3 no answer could be found: no route, nobody answers, the machine refuses";

/// Answers what the arguments ask.
pub(crate) fn param(arguments: &ParamArguments) -> Result<Exit, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CommandError::Runtime)?;
    let json = arguments.format == ParamFormat::Json;
    let mut machine = None;
    let answer = runtime.block_on(async {
        let machine = &*machine.insert(machine::read().await?);
        match (&arguments.explain, &arguments.to) {
            (Some(text), _) => explain(text, machine, arguments.within)
                .await
                .map(Answer::Explanation),
            (None, Some(to)) => propose(to, arguments, machine).await.map(Answer::Proposal),
            (None, None) => unreachable!("clap asks for one of the two"),
        }
    });
    let kernel = machine.as_ref().map(|machine| &machine.kernel);
    match answer {
        Ok(answer) => {
            let exit = answer.exit();
            let written = match (&answer, json) {
                (Answer::Proposal(proposal), false) => shown::proposal(proposal),
                (Answer::Explanation(explanation), false) => shown::explanation(explanation),
                (answer, true) => {
                    document::write(io::stdout(), exit.code(), kernel, answer.content())
                }
            };
            written.map_err(CommandError::Output)?;
            Ok(exit)
        }
        Err(error) => {
            if json {
                let content = Content::Error(error.to_string());
                document::write(io::stdout(), error.exit().code(), kernel, content)
                    .map_err(CommandError::Output)?;
            }
            Err(error.into())
        }
    }
}

enum Answer {
    Proposal(Proposal),
    Explanation(Explanation),
}

impl Answer {
    fn exit(&self) -> Exit {
        let is_wrong = match self {
            Self::Proposal(proposal) => finding::is_wrong(&proposal.findings),
            Self::Explanation(explanation) => {
                finding::is_wrong(explanation.findings.iter().map(|located| &located.finding))
            }
        };
        if is_wrong {
            Exit::Failed
        } else {
            Exit::Success
        }
    }

    fn content(&self) -> Content<'_> {
        match self {
            Self::Proposal(proposal) => Content::Proposal(proposal),
            Self::Explanation(explanation) => Content::Explanation(Explained::from(explanation)),
        }
    }
}

async fn propose(
    to: &Receiver,
    arguments: &ParamArguments,
    machine: &Machine,
) -> Result<Proposal, ParamError> {
    let interface = interface(to, arguments, machine)?;
    if let Some(source) = arguments.source {
        if source.is_ipv4() != to.address.is_ipv4() {
            return Err(ParamError::OtherFamily {
                to: to.address,
                source_address: source,
            });
        }
        if machine.owner(source).is_none() {
            return Err(ParamError::ForeignSource(source));
        }
    }
    let query = Query {
        to: to.address,
        interface: interface.map(|interface| interface.index),
        source: arguments.source,
        within: arguments.within,
    };
    let way = route::way(&query, machine).await?;
    let wish = Wish {
        to: to.address,
        port: arguments.port,
        local_port: arguments.local_port,
        source: arguments.source,
        extended: arguments.extended,
        release: arguments.release,
        name: arguments.name.clone(),
    };
    let proposal = Proposal::new(&wish, machine, &way)?;
    proposal.ok_or_else(|| silent(to.address, &way, machine, arguments.within).into())
}

/// The interface that the user names.
fn interface<'machine>(
    to: &Receiver,
    arguments: &ParamArguments,
    machine: &'machine Machine,
) -> Result<Option<&'machine Interface>, ParamError> {
    if let (Some(link), Some(interface)) = (&to.link, &arguments.interface)
        && link != interface
    {
        return Err(ParamError::TwoLinks {
            link: link.clone(),
            interface: interface.clone(),
        });
    }
    let Some(name) = to.link.as_ref().or(arguments.interface.as_ref()) else {
        return match to.address {
            IpAddr::V6(address) if address.is_unicast_link_local() => {
                Err(ParamError::NoLink(address))
            }
            _ => Ok(None),
        };
    };
    let by_index = || machine.interface(name.parse().ok()?);
    let found = machine.named(name).or_else(by_index);
    found.map(Some).ok_or_else(|| {
        let there: Vec<&str> = machine
            .interfaces
            .iter()
            .map(|interface| interface.name.as_str())
            .collect();
        ParamError::NoInterface {
            name: name.clone(),
            there: there.join(", "),
        }
    })
}

fn silent(to: IpAddr, way: &crate::param::Way, machine: &Machine, within: Duration) -> NoWay {
    let hop = way.hop(to);
    let has_carrier = machine
        .interface(way.interface)
        .is_some_and(|interface| interface.carrier);
    let guess = match (has_carrier, way.gateway) {
        (false, _) => "the interface has no carrier\n(plug the cable in)",
        (true, Some(_)) => {
            "its gateway is down, or the route is wrong\n(`ip route` shows it; `--within` waits longer)"
        }
        (true, None) => "no such machine is up on that network\n(ping it; `--within` waits longer)",
    };
    NoWay::Silent {
        hop,
        interface: machine.name(way.interface),
        within,
        guess: guess.to_owned(),
    }
}

async fn explain(
    text: &str,
    machine: &Machine,
    within: Duration,
) -> Result<Explanation, ParamError> {
    let draft = Draft::new(text);
    let mut looked_up = Vec::new();
    for target in draft.targets() {
        looked_up.push(match target {
            Some(parameter) => look_up(parameter, machine, within).await?,
            None => LookedUp {
                interface: None,
                way: None,
            },
        });
    }
    Ok(draft.explain(machine, &looked_up))
}

async fn look_up<'machine>(
    parameter: &Parameter,
    machine: &'machine Machine,
    within: Duration,
) -> Result<LookedUp<'machine>, ParamError> {
    let to = parameter.remote_ip;
    let interface = machine.device(parameter);
    let needs_link = matches!(to, IpAddr::V6(address) if address.is_unicast_link_local());
    if why_no_receiver(to).is_some() || (needs_link && interface.is_none()) {
        return Ok(LookedUp {
            interface,
            way: None,
        });
    }
    let query = Query {
        to,
        interface: interface.map(|interface| interface.index),
        source: parameter
            .local_ip
            .filter(|source| machine.owner(*source).is_some()),
        within,
    };
    let way = match route::way(&query, machine).await {
        Ok(way) => Ok(way),
        Err(RouteError::NoWay(no_way)) => Err(no_way),
        Err(RouteError::Kernel(refusal)) => return Err(refusal.into()),
    };
    Ok(LookedUp {
        interface,
        way: Some(way),
    })
}
