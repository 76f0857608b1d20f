//! Addresses: what a file says, what follows from the order of a link's nodes, and what collides.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use crate::{
    netconsole::MacAddress,
    scenario::{
        NodeIndex,
        meaning::{
            interface::EndOf,
            node::Roster,
            subnet::{host, special},
        },
        mistake::{Mistake, Mistakes},
        tree::{At, Span},
    },
};

/// The addresses that are taken, by whom and where the file says so.
pub(crate) struct Addresses<'r, 'f> {
    roster: &'r Roster<'f>,
    ips: BTreeMap<IpAddr, Taken>,
    macs: BTreeMap<MacAddress, Taken>,
}

#[derive(Clone, Copy)]
struct Taken {
    by: NodeIndex,
    span: Span,
    /// Whether the file says so, or it follows from the place on the link.
    written: bool,
}

/// What the file says of an end.
pub(crate) struct Written {
    /// With the subnet's prefix length.
    pub(crate) addresses: Vec<IpNet>,
    pub(crate) mac: Option<MacAddress>,
}

impl<'r, 'f> Addresses<'r, 'f> {
    pub(crate) fn new(roster: &'r Roster<'f>) -> Self {
        Self {
            roster,
            ips: BTreeMap::new(),
            macs: BTreeMap::new(),
        }
    }

    /// Takes the addresses and the MAC that the file gives to `end`.
    pub(crate) fn written(
        &mut self,
        subnets: &[At<IpNet>],
        end: &EndOf<'_>,
        mistakes: &mut Mistakes<'_>,
    ) -> Written {
        let own = end.own.and_then(|node| node.address.as_ref());
        let addresses = end.end.and_then(|end| end.address.as_ref()).or(own);
        let mut taken: Vec<IpNet> = Vec::new();
        let addresses = addresses
            .into_iter()
            .flat_map(|addresses| &addresses.value.0);
        for address in addresses {
            let address = address.with(address.value.0);
            let Some(net) = place(&address, subnets, mistakes) else {
                continue;
            };
            if taken.iter().any(|other| other.trunc() == net.trunc()) {
                let title = format!("a second address in {}", net.trunc());
                mistakes.add(
                    Mistake::at(address.span, title)
                        .help("an interface has one address in each subnet of its link"),
                );
                continue;
            }
            let owner = Taken {
                by: end.node,
                span: address.span,
                written: true,
            };
            self.take_ip(net.addr(), owner, mistakes);
            taken.push(net);
        }
        Written {
            addresses: taken,
            mac: self.written_mac(end, mistakes),
        }
    }

    fn written_mac(&mut self, end: &EndOf<'_>, mistakes: &mut Mistakes<'_>) -> Option<MacAddress> {
        let own = end.own.and_then(|node| node.mac.as_ref());
        let mac = end.end.and_then(|end| end.mac.as_ref()).or(own)?;
        if mac.value.is_group() || mac.value == MacAddress([0; 6]) {
            let title = format!("{} is no address of one machine", mac.value);
            mistakes.add(
                Mistake::at(mac.span, title)
                    .help("the first byte must be even, and not all may be zero"),
            );
        } else {
            self.take_mac(
                mac.value,
                Taken {
                    by: end.node,
                    span: mac.span,
                    written: true,
                },
                mistakes,
            );
        }
        Some(mac.value)
    }

    /// The addresses of the end at `position` of its link: those written, else those that follow from the position.
    pub(crate) fn given(
        &mut self,
        subnets: &[At<IpNet>],
        end: (usize, &EndOf<'_>),
        written: &[IpNet],
        mistakes: &mut Mistakes<'_>,
    ) -> Vec<IpNet> {
        let (position, end) = end;
        let mut addresses = Vec::new();
        for subnet in subnets {
            if let Some(address) = written
                .iter()
                .find(|address| address.trunc() == subnet.value)
            {
                addresses.push(*address);
                continue;
            }
            // A subnet that is too small is noted already.
            let Some(address) = host(&subnet.value, position + 1) else {
                continue;
            };
            self.take_ip(
                address.addr(),
                Taken {
                    by: end.node,
                    span: end.span,
                    written: false,
                },
                mistakes,
            );
            addresses.push(address);
        }
        addresses
    }

    /// The MAC that follows from the addresses of an end, or from its position on its link.
    pub(crate) fn mac(
        &mut self,
        addresses: &[IpNet],
        end: (usize, usize, &EndOf<'_>),
        mistakes: &mut Mistakes<'_>,
    ) -> MacAddress {
        let (link, position, end) = end;
        let ipv4 = addresses.iter().find_map(|address| match address.addr() {
            IpAddr::V4(address) => Some(address.octets()),
            IpAddr::V6(_) => None,
        });
        let mac = match ipv4 {
            Some([a, b, c, d]) => MacAddress([0x02, 0, a, b, c, d]),
            None => {
                // Scenarios are far from 65536 links or nodes; the check below would tell.
                let [a, b] = u16::try_from(link).unwrap_or(u16::MAX).to_be_bytes();
                let [c, d] = u16::try_from(position + 1)
                    .unwrap_or(u16::MAX)
                    .to_be_bytes();
                MacAddress([0x02, 0x06, a, b, c, d])
            }
        };
        self.take_mac(
            mac,
            Taken {
                by: end.node,
                span: end.span,
                written: false,
            },
            mistakes,
        );
        mac
    }

    /// Notes a second owner. Two addresses that both follow from something else collide only where what they follow from
    /// does, which is noted already.
    fn take_ip(&mut self, address: IpAddr, taken: Taken, mistakes: &mut Mistakes<'_>) {
        let first = self.ips.insert(address, taken);
        if let Some(first) = first.filter(|first| first.written || taken.written) {
            mistakes.add(self.collision(&address.to_string(), first, taken));
        }
    }

    /// See [`Self::take_ip`].
    fn take_mac(&mut self, mac: MacAddress, taken: Taken, mistakes: &mut Mistakes<'_>) {
        let first = self.macs.insert(mac, taken);
        if let Some(first) = first.filter(|first| first.written || taken.written) {
            mistakes.add(self.collision(&mac.to_string(), first, taken));
        }
    }

    fn collision(&self, address: &str, first: Taken, second: Taken) -> Mistake {
        let names = (self.roster.name(first.by), self.roster.name(second.by));
        if second.written {
            let title = format!("`{}` and `{}` both have {address}", names.0, names.1);
            return Mistake::at(second.span, title).context(first.span, "the first");
        }
        Mistake::at(
            first.span,
            format!("{address} is the address of `{}`", names.1),
        )
        .context(second.span, "its place on the link gives it that")
        .help("take another address, or give that node one")
    }
}

/// `address` with the prefix length of the subnet that it lies in, or a mistake.
fn place(
    address: &At<IpAddr>,
    subnets: &[At<IpNet>],
    mistakes: &mut Mistakes<'_>,
) -> Option<IpNet> {
    let Some(subnet) = subnets
        .iter()
        .find(|subnet| subnet.value.contains(&address.value))
    else {
        if let Some(first) = subnets.first() {
            let mistake = Mistake::at(
                address.span,
                format!("{} lies in no subnet of its link", address.value),
            );
            mistakes.add(if first.span.start == first.span.end {
                mistake
            } else {
                mistake.context(first.span, "the subnet")
            });
        }
        return None;
    };
    if let Some(special) = special(&subnet.value, address.value) {
        let title = format!(
            "{} is the {special} address of {}",
            address.value, subnet.value
        );
        mistakes.add(Mistake::at(address.span, title).context(subnet.span, "the subnet"));
    }
    IpNet::new(address.value, subnet.value.prefix_len()).ok()
}
