//! Follows a missing line from the kernel's log to where it was lost.

mod routers;

use crate::{
    netconsole::message::Content,
    scenario::NodeIndex,
    verdict::{
        attribution::Heading,
        conclusion::End,
        console::ConsoleLevels,
        journey::{Cause, Journey},
        judge::{Ending, Judge},
        reception::Rejection,
        sighting::Sighting,
        stream::Stream,
        target::TargetState,
        trouble::first_hop_limit,
        watch::Watch,
    },
};

/// The journey of a line (`class`) that did not arrive from a stream's targets.
pub(crate) fn trace(
    judge: &Judge,
    watch: &Watch,
    end: &End,
    stream: Option<&Stream>,
    class: usize,
) -> Journey {
    let Some(stream) = stream else {
        return nobody(judge, watch.at);
    };
    let trace = Trace {
        judge,
        watch,
        end,
        stream,
        class,
    };
    let seen = trace.on_the_wire();
    let journey = trace.in_the_log(Journey {
        wire: Some(!seen.is_empty()),
        arrived: Some(false),
        ..Journey::default()
    });
    match seen.first() {
        Some(&number) => trace.lost_on_the_way(journey, number),
        None => trace.never_sent(journey),
    }
}

/// Whether it is seen of every message with the line that was sent and not taken that its hops are used up: then it cannot
/// come any more, though nothing comes through behind it.
pub(crate) fn has_expired(
    judge: &Judge,
    (watch, end): (&Watch, &End),
    stream: &Stream,
    class: usize,
) -> bool {
    let trace = Trace {
        judge,
        watch,
        end,
        stream,
        class,
    };
    let seen = trace.on_the_wire();
    let is_over = |number: &usize| {
        let journey = trace.lost_on_the_way(Journey::default(), *number);
        journey.cause == Some(Cause::TtlExpired)
    };
    !seen.is_empty() && seen.iter().all(is_over)
}

struct Trace<'judge> {
    judge: &'judge Judge,
    watch: &'judge Watch,
    end: &'judge End,
    stream: &'judge Stream,
    class: usize,
}

impl Trace<'_> {
    /// The messages with the line that were sent and that the receiver did not take.
    fn on_the_wire(&self) -> Vec<usize> {
        let sightings = &self.judge.traffic.sightings;
        let lost = |number: &usize| {
            let sighting = &sightings[*number];
            let of_it = sighting
                .target
                .is_none_or(|target| self.stream.targets.contains(&target))
                && sighting.marker.is_none()
                && sighting.passage.is_none();
            of_it
                && self
                    .copies(*number)
                    .all(|copy| self.rejection(copy).is_some())
                && self
                    .watch
                    .matcher
                    .find(&sighting.message)
                    .contains(&self.class)
        };
        (self.end.window.sightings..sightings.len())
            .filter(lost)
            .collect()
    }

    /// A message as it was sent, and as routers sent it on.
    fn copies(&self, number: usize) -> impl Iterator<Item = &Sighting> {
        let (sent, later) = self.judge.traffic.sightings[number..].split_at(1);
        let copies = later.iter();
        sent.iter()
            .chain(copies.filter(move |copy| copy.copy_of == Some(number)))
    }

    /// Where it was seen.
    fn heading(&self, sighting: &Sighting) -> &Heading {
        let flow = sighting.passage.unwrap_or(sighting.flow);
        &self.judge.traffic.flows.flow(flow).heading
    }

    /// Why the receiver did not take a message; where it is not on that link, without a reason of its own.
    fn rejection(&self, sighting: &Sighting) -> Option<Option<Rejection>> {
        if sighting.corrupted {
            return Some(Some(Rejection::Corrupted));
        }
        let flow = sighting.passage.unwrap_or(sighting.flow);
        let receptions = &self.judge.traffic.flows.flow(flow).receptions;
        match receptions
            .iter()
            .find(|reception| reception.at == self.watch.at)
        {
            Some(reception) => reception.rejection.clone().map(Some),
            None => Some(None),
        }
    }

    /// What the sender's log says.
    fn in_the_log(&self, mut journey: Journey) -> Journey {
        let Some(sender) = self.state().map(|state| state.on) else {
            return journey;
        };
        let Some(log) = self
            .judge
            .logs
            .get(&sender)
            .filter(|_| !self.watch.matcher.is_raw(self.class))
        else {
            return journey;
        };
        let levels: Vec<u8> = self
            .judge
            .records_since(sender, self.end.window.marker)
            .filter(|record| self.watch.matcher.holds(self.class, &record.text))
            .map(|record| record.header.level)
            .collect();
        let read = log.is_complete
            || self
                .end
                .marker
                .is_some_and(|marker| log.marker(marker).is_some());
        journey.printed = if levels.is_empty() {
            read.then_some(false)
        } else {
            Some(true)
        };
        let console = self
            .judge
            .console_levels
            .get(&sender)
            .and_then(ConsoleLevels::now);
        if let (Some(console), Some(&level)) = (console, levels.first()) {
            let passes = levels.iter().any(|level| *level < console);
            journey.level = Some(passes);
            if !passes {
                return journey.end(
                    self.judge.scene.name(sender),
                    Cause::ConsoleLevel,
                    format!("its level {level} does not pass the console level {console}"),
                );
            }
        }
        journey
    }

    fn never_sent(&self, journey: Journey) -> Journey {
        let Some(state) = self.state() else {
            return journey;
        };
        let sender = self.judge.scene.name(state.on);
        if self.was_replayed() {
            let because =
                "it came only in a replay of the log, which counts with `replay = true`".to_owned();
            Journey {
                because: Some(because),
                wire: Some(true),
                ..journey
            }
        } else if journey.cause.is_some() {
            journey
        } else if journey.printed == Some(false) {
            journey.end(
                sender,
                Cause::NeverPrinted,
                format!("it is not in {sender}'s kernel log"),
            )
        } else if !state.enabled {
            let because = format!("target `{}` is disabled", state.name);
            journey.end(sender, Cause::TargetDisabled, because)
        } else if !state.carries {
            let because = format!(
                "{sender}'s {} is down or without carrier",
                state.settings.dev_name
            );
            journey.end(sender, Cause::NoCarrier, because)
        } else if self.end.ending == Ending::KernelDied {
            journey.end(sender, Cause::KernelDied, format!("{sender}'s kernel died"))
        } else if journey.printed == Some(true) {
            let dropped = match self.dropped() {
                0 => String::new(),
                dropped => format!("; the kernel says that it dropped {dropped} records"),
            };
            let because =
                format!("it is in {sender}'s kernel log, but was not seen on the wire{dropped}");
            Journey {
                because: Some(because),
                lost: Some(sender.to_owned()),
                ..journey
            }
        } else {
            journey
        }
    }

    /// Whether the receiver took the line, but only as part of a replay.
    fn was_replayed(&self) -> bool {
        let sightings = self
            .judge
            .traffic
            .sightings
            .get(self.end.window.sightings..)
            .unwrap_or(&[]);
        sightings.iter().any(|sighting| {
            let of_it = sighting
                .target
                .is_some_and(|target| self.stream.targets.contains(&target));
            let holds = || {
                self.watch
                    .matcher
                    .find(&sighting.message)
                    .contains(&self.class)
            };
            sighting.replayed && of_it && sighting.marker.is_none() && holds()
        })
    }

    /// How many records the kernel says that it dropped before it could send them.
    fn dropped(&self) -> u64 {
        let sightings = self
            .judge
            .traffic
            .sightings
            .get(self.end.window.sightings..)
            .unwrap_or(&[]);
        let dropped = |sighting: &Sighting| match &sighting.message.content {
            Content::Basic(basic) => basic.dropped,
            Content::Extended(_) => 0,
        };
        sightings.iter().map(dropped).sum()
    }

    /// It was last seen where the receiver, or the router before it, should have taken it.
    fn lost_on_the_way(&self, journey: Journey, number: usize) -> Journey {
        let at = self.judge.scene.name(self.watch.at);
        let journey = Journey {
            cause: None,
            because: None,
            ..journey
        };
        let Some(last) = self.copies(number).last() else {
            return journey;
        };
        match self.rejection(last).flatten() {
            Some(rejection) => {
                let because = format!("{at} does not take it: {rejection}");
                journey.end(at, Cause::from(&rejection), because)
            }
            None => {
                let heading = self.heading(last);
                // Each router lowers it by one, and sends on nothing of which it would be zero.
                let passed = self.copies(number).count() - 1;
                if passed + 1 == usize::from(first_hop_limit(heading.source.0)) {
                    return self.expired(journey, heading);
                }
                self.lost_before_a_router(journey, heading)
            }
        }
    }

    fn state(&self) -> Option<&TargetState> {
        self.judge.targets.now(self.stream.targets[0])
    }
}

/// The journey where no enabled target serves the receiver.
fn nobody(judge: &Judge, at: NodeIndex) -> Journey {
    let journey = Journey {
        arrived: Some(false),
        ..Journey::default()
    };
    match judge.targets.all_now().find(|(_, state)| state.to == at) {
        Some((_, state)) => {
            let because = format!("target `{}` is disabled", state.name);
            journey.end(judge.scene.name(state.on), Cause::TargetDisabled, because)
        }
        None => {
            let because = format!("no target sends to {}", judge.scene.name(at));
            let sender = (0..judge.scene.nodes.len())
                .map(NodeIndex)
                .find(|node| judge.scene.is_sender(*node));
            journey.end(
                sender.map_or("", |sender| judge.scene.name(sender)),
                Cause::NoTarget,
                because,
            )
        }
    }
}
