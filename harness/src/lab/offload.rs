//! Switches off what a network card would do for the kernel: a veth has no card, so checksums would stay unfinished and
//! segments unsplit, and that is what would be recorded.

use std::{io, os::fd::AsRawFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::lab::namespace::NamespaceError;

/// `include/uapi/linux/ethtool.h`: receive and transmit checksums, scatter and gather, and the segmentations. Without
/// transmit checksums a kernel has no segmentation either.
const COMMANDS: [u32; 5] = [
    0x0000_0017, // ETHTOOL_STXCSUM
    0x0000_0019, // ETHTOOL_SSG
    0x0000_001f, // ETHTOOL_STSO
    0x0000_0024, // ETHTOOL_SGSO
    0x0000_002c, // ETHTOOL_SGRO
];

/// `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Switches all of it off for the interface called `name`, of the thread's namespace.
pub(super) fn switch_off(name: &str) -> Result<(), NamespaceError> {
    let doing = || format!("switch the offloads of {name} off");
    let socket = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .map_err(NamespaceError::of(doing()))?;
    for command in COMMANDS {
        let mut value = EthtoolValue { command, data: 0 };
        let mut request = libc::ifreq {
            ifr_name: interface_name(name),
            ifr_ifru: libc::__c_anonymous_ifr_ifru {
                ifru_data: (&raw mut value).cast(),
            },
        };
        // SAFETY: the kernel reads and writes `request` and the `ethtool_value` that it points to; both outlive the call.
        let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
        if done < 0 {
            return Err(NamespaceError::of(doing())(io::Error::last_os_error()));
        }
    }
    Ok(())
}

/// A name as the kernel takes it: what does not fit is not there, so that it finds no such interface.
fn interface_name(name: &str) -> [libc::c_char; libc::IFNAMSIZ] {
    let mut bytes = [0; libc::IFNAMSIZ];
    for (place, byte) in bytes[..libc::IFNAMSIZ - 1].iter_mut().zip(name.bytes()) {
        *place = libc::c_char::from_ne_bytes([byte]);
    }
    bytes
}
