//! Frames that the lab itself lost: nobody may be blamed for what did not arrive then.
//!
//! Frames of ours in a namespace are lost silently: the kernel only counts them. What a router or a real receiver's
//! socket throws away by rule is no loss: that is for the judge to tell.

use std::{collections::BTreeMap, fmt, fs};

use crate::{
    lab::{
        Lab, Port,
        namespace::{Namespace, NamespaceError},
    },
    scenario::NodeIndex,
};

/// Frames that were not taken in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loss {
    /// The port's name, or the node's.
    pub(crate) place: String,
    pub(crate) frames: u64,
    pub(crate) cause: Cause,
}

/// Who lost them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A guest that does not read, as one that hangs.
    Guest,
    /// This machine's kernel, between a node and the lab.
    Queue,
    /// This machine's kernel, within a node.
    Memory,
}

impl Lab {
    /// What was lost on the way between nodes and the lab, or in the lab's own kernel.
    pub(crate) fn losses(&self) -> Vec<Loss> {
        let mut losses: Vec<Loss> = self.ports.iter().filter_map(Port::loss).collect();
        for (node, network) in &self.networks {
            // What cannot be read was counted by nobody.
            let counters = Counters::read(network).unwrap_or_default();
            let before = self.counted.get(node).copied().unwrap_or_default();
            let name = &self.nodes[node.0].name;
            let unsent = counters.unsent.saturating_sub(before.unsent);
            let discarded = counters.discarded.saturating_sub(before.discarded);
            losses.extend(Loss::of(name, unsent, Cause::Queue));
            losses.extend(Loss::of(name, discarded, Cause::Memory));
        }
        losses
    }
}

impl Loss {
    /// None where nothing was lost.
    pub(super) fn of(place: &str, frames: u64, cause: Cause) -> Option<Self> {
        let place = place.to_owned();
        (frames > 0).then_some(Self {
            place,
            frames,
            cause,
        })
    }

    /// Whether lines may have been lost with them that would have arrived anywhere else: guests are senders.
    pub(crate) fn spoils_verdicts(&self) -> bool {
        match self.cause {
            Cause::Guest => false,
            Cause::Queue | Cause::Memory => true,
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, frames, .. } = self;
        let (way, because) = match self.cause {
            Cause::Guest => ("to", "its guest did not read them"),
            Cause::Queue => ("to or from", "the kernel had no room for them"),
            Cause::Memory => ("within", "the kernel had no memory for them"),
        };
        write!(
            f,
            "{frames} frames {way} `{place}` were dropped, since {because}"
        )
    }
}

/// What the kernel counts of a node that lives in a namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Frames that left the node and did not come out at the lab's end (`veth.c`, `tx_dropped`).
    pub(super) unsent: u64,
    /// Packets that its IP threw away for want of memory, and for no other reason (RFC 4293, `InDiscards` and
    /// `OutDiscards`).
    pub(super) discarded: u64,
}

impl Counters {
    /// Reads those of a node; none where the kernel does not tell.
    pub(super) fn read(network: &Namespace) -> Result<Self, NamespaceError> {
        network.enter(|| {
            let text = |name| {
                fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default()
            };
            Ok(Self {
                unsent: unsent(&text("dev")),
                discarded: discarded(&text("snmp")) + discarded_of_ipv6(&text("snmp6")),
            })
        })
    }
}

/// What is counted of these networks so far.
pub(super) fn counted(networks: &BTreeMap<NodeIndex, Namespace>) -> BTreeMap<NodeIndex, Counters> {
    let counted = networks.iter();
    counted
        .map(|(node, network)| (*node, Counters::read(network).unwrap_or_default()))
        .collect()
}

/// The sum of a table's column `drop` of what is sent: `eth0: ` and eight numbers for each direction.
fn unsent(table: &str) -> u64 {
    const SENT_DROP: usize = 11;
    let cards = table.lines().filter_map(|line| line.split_once(':'));
    let numbers = cards.map(|(_, numbers)| numbers.split_whitespace());
    let dropped = numbers.filter_map(|mut numbers| numbers.nth(SENT_DROP)?.parse::<u64>().ok());
    dropped.sum()
}

/// `Ip:` and names on one line, `Ip:` and numbers on the next.
fn discarded(table: &str) -> u64 {
    let mut rows = table.lines().filter_map(|line| line.strip_prefix("Ip: "));
    let (names, numbers) = (
        rows.next().unwrap_or_default(),
        rows.next().unwrap_or_default(),
    );
    let columns = names.split_whitespace().zip(numbers.split_whitespace());
    columns
        .filter(|(name, _)| matches!(*name, "InDiscards" | "OutDiscards"))
        .filter_map(|(_, number)| number.parse::<u64>().ok())
        .sum()
}

/// A name and a number on each line. An interface without IPv6 throws what comes in away, which is no loss.
fn discarded_of_ipv6(table: &str) -> u64 {
    table
        .lines()
        .filter_map(|line| line.strip_prefix("Ip6OutDiscards"))
        .filter_map(|number| number.trim().parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_counts() {
        let dev = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
  eth0:    1606      19    0    3    0     0          0         0     1606      19    0    7    0     0       0          0
  eth1:    1606      19    0    0    0     0          0         0     1606      19    0    1    0     0       0          0
";
        assert_eq!(unsent(dev), 8);
        let snmp = "\
Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers OutRequests OutDiscards OutNoRoutes
Ip: 1 64 100 1 2 97 0 4 0 0 5 9
Icmp: InMsgs InErrors
Icmp: 7 7
";
        assert_eq!(discarded(snmp), 9);
        assert_eq!(
            discarded_of_ipv6("Ip6InDiscards  \t3\nIp6OutDiscards \t2\nIp6OutNoRoutes \t4\n"),
            2
        );
    }

    #[test]
    fn has_nothing_to_say_of_no_loss() {
        assert_eq!(Loss::of("gw:eth0", 0, Cause::Queue), None);
        assert_eq!(
            (unsent(""), discarded(""), discarded_of_ipv6("")),
            (0, 0, 0)
        );
    }
}
