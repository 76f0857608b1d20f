//! The network cards of a guest: QEMU's names, the drivers, and the addresses in their ROMs.

use crate::{
    netconsole::MacAddress,
    scenario::{Node, node::Nic},
};

/// QEMU's name of a card.
pub(crate) fn model(nic: Nic) -> &'static str {
    match nic {
        Nic::VirtioNetPci => "virtio-net-pci",
        Nic::E1000 => "e1000",
        Nic::E1000e => "e1000e",
        Nic::Rtl8139 => "rtl8139",
    }
}

/// The drivers of a card; one that is built in costs nothing.
fn drivers(nic: Nic) -> &'static [&'static str] {
    match nic {
        Nic::VirtioNetPci => &["virtio_pci", "virtio_net"],
        Nic::E1000 => &["e1000"],
        Nic::E1000e => &["e1000e"],
        // QEMU's RTL8139 is the C+ variant.
        Nic::Rtl8139 => &["8139cp"],
    }
}

/// A card's address in its ROM: the same for all, so that guests of one shape share a template. The sender's own MAC is
/// set when its interface is brought up.
pub(crate) fn card_mac(index: usize) -> MacAddress {
    let index = u8::try_from(index).unwrap_or(u8::MAX);
    MacAddress([0x52, 0x54, 0x00, 0x6c, 0x77, index])
}

/// The drivers of a node's cards, in the order of the cards, which so become eth0, eth1, ….
pub(crate) fn card_drivers(node: &Node) -> Vec<&'static str> {
    let mut preload: Vec<&str> = Vec::new();
    let drivers = node
        .interfaces
        .iter()
        .flat_map(|interface| drivers(interface.nic));
    for driver in drivers {
        if !preload.contains(driver) {
            preload.push(driver);
        }
    }
    preload
}
