//! The lab's end of a veth pair: a packet socket that sees each frame that leaves the other end, and puts frames in.

use std::{
    cell::Cell,
    io,
    mem::{MaybeUninit, size_of, zeroed},
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    ptr,
    sync::Arc,
    task::{Context, Poll},
};

use nix::{
    errno::Errno,
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::socket::{MsgFlags, send},
    unistd::Pid,
};
use tokio::io::unix::AsyncFd;

use crate::lab::{namespace::NamespaceError, veth::index_of};

/// The longest frame that a virtual interface could bring.
const LONGEST_FRAME: usize = 65536 + 14;
/// Room for frames that wait for the lab: more than any boot log.
const BUFFER: libc::c_int = 16 << 20;
/// Where a VLAN tag stands in a frame, and how long it is.
const TAG_AT: usize = 12;

/// A packet socket that is open, without a runtime yet.
#[derive(Debug)]
pub(crate) struct PacketSocket(OwnedFd);

/// The lab's end of a veth pair.
pub(crate) struct Packets {
    socket: AsyncFd<OwnedFd>,
    buffer: Box<[u8]>,
    /// Frames that the kernel had no room for.
    overflowed: Cell<u64>,
    /// Frames that could not be put in.
    refused: u64,
    order: Option<Order>,
}

/// Keeps the order of what is put in: the kernel has a queue for each processor, and works them off independently.
struct Order {
    all: CpuSet,
    one: CpuSet,
}

impl PacketSocket {
    /// Opens the end called `name`, of the thread's namespace.
    pub(super) fn open(name: &str) -> Result<Self, NamespaceError> {
        open(name).map_err(NamespaceError::of(format!(
            "open a packet socket at {name}"
        )))
    }
}

fn open(name: &str) -> io::Result<PacketSocket> {
    let index = index_of(name).map_err(io::Error::other)?;
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // Protocol 0, so that frames of other interfaces do not slip in before it is bound.
    // SAFETY: plain system call; the descriptor is checked before it is owned.
    let socket = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was opened just now and belongs to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let descriptor = socket.as_raw_fd();
    set(
        descriptor,
        libc::SOL_PACKET,
        libc::PACKET_IGNORE_OUTGOING,
        1,
    )?;
    set(descriptor, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
    // Only root may go beyond net.core.rmem_max; what is lost without is counted.
    if set(descriptor, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER).is_err() {
        set(descriptor, libc::SOL_SOCKET, libc::SO_RCVBUF, BUFFER)?;
    }
    if set(descriptor, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, BUFFER).is_err() {
        set(descriptor, libc::SOL_SOCKET, libc::SO_SNDBUF, BUFFER)?;
    }
    // SAFETY: all zeroes is an address of this kind.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or_default();
    address.sll_protocol = u16::try_from(libc::ETH_P_ALL).unwrap_or_default().to_be();
    address.sll_ifindex = i32::try_from(index).unwrap_or_default();
    // SAFETY: the address is of the kind and length that it says.
    let bound = unsafe {
        libc::bind(
            descriptor,
            (&raw const address).cast(),
            length::<libc::sockaddr_ll>(),
        )
    };
    if bound < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(PacketSocket(socket))
}

impl Packets {
    /// Takes a socket into the runtime.
    pub(crate) fn new(socket: PacketSocket) -> io::Result<Self> {
        // SAFETY: the socket is owned by the value that is made, and its number never changes.
        let socket = unsafe { AsyncFd::register(socket.0) };
        let socket = socket.map_err(|error| error.into_parts().1)?;
        Ok(Self {
            socket,
            buffer: vec![0; LONGEST_FRAME].into(),
            overflowed: Cell::new(0),
            refused: 0,
            order: Order::new(),
        })
    }

    /// How many frames were lost between the lab and the node: either way.
    pub(crate) fn lost(&self) -> u64 {
        // Reading them sets them to zero.
        let dropped = dropped(self.socket.get_ref().as_raw_fd());
        self.overflowed.set(self.overflowed.get() + dropped);
        self.overflowed.get() + self.refused
    }

    /// Takes the next frame that left the node. Like [`crate::lab::wire::Wire`], it reads without asking the runtime first.
    pub(crate) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Arc<[u8]>>> {
        loop {
            match receive(self.socket.get_ref().as_raw_fd(), &mut self.buffer) {
                Ok(frame) => return Poll::Ready(Ok(frame)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            let mut ready = match self.socket.poll_read_ready(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(ready)) => ready,
            };
            // What came since it was asked is not forgotten by this.
            match receive(ready.get_inner().as_raw_fd(), &mut self.buffer) {
                Ok(frame) => return Poll::Ready(Ok(frame)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Puts a frame in, so that it arrives at the node. One that is longer than the link carries does not arrive, as on
    /// any Ethernet.
    pub(crate) fn push(&mut self, frame: &[u8]) {
        let descriptor = self.socket.get_ref().as_raw_fd();
        let sent = Order::kept(self.order.as_ref(), || {
            loop {
                match send(descriptor, frame, MsgFlags::MSG_DONTWAIT) {
                    Err(Errno::EINTR) => {}
                    sent => return sent,
                }
            }
        });
        match sent {
            // The node's own end is down.
            Ok(_) | Err(Errno::EMSGSIZE | Errno::EINVAL | Errno::ENETDOWN) => {}
            Err(_) => self.refused += 1,
        }
    }
}

impl Order {
    fn new() -> Option<Self> {
        let all = sched_getaffinity(Pid::from_raw(0)).ok()?;
        let first = (0..CpuSet::count()).find(|cpu| all.is_set(*cpu) == Ok(true))?;
        let mut one = CpuSet::new();
        one.set(first).ok()?;
        Some(Self { all, one })
    }

    /// Does `work` on the one processor whose queue all of ours go through.
    fn kept<T>(order: Option<&Self>, work: impl FnOnce() -> T) -> T {
        // Where it is not allowed the order is the kernel's own, which is right nearly always.
        let is_kept =
            order.is_some_and(|order| sched_setaffinity(Pid::from_raw(0), &order.one).is_ok());
        let result = work();
        if let Some(order) = order.filter(|_| is_kept) {
            let _ = sched_setaffinity(Pid::from_raw(0), &order.all);
        }
        result
    }
}

/// Reads one frame, and puts the VLAN tag back that the kernel hands out beside it.
fn receive(descriptor: RawFd, buffer: &mut [u8]) -> io::Result<Arc<[u8]>> {
    let mut control = MaybeUninit::<[libc::cmsghdr; 8]>::uninit();
    let mut piece = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: all zeroes is a message header without anything.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of::<[libc::cmsghdr; 8]>();
    // SAFETY: the header points to the buffers with their lengths, and all outlive the call.
    let length = unsafe { libc::recvmsg(descriptor, &raw mut message, libc::MSG_DONTWAIT) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let frame = &buffer[..length.min(buffer.len())];
    // SAFETY: the kernel has just filled the header in.
    let auxiliary = unsafe { auxiliary(&message) };
    let Some(auxiliary) = auxiliary else {
        return Ok(frame.into());
    };
    let mut frame = frame.to_vec();
    if auxiliary.tp_status & libc::TP_STATUS_VLAN_VALID != 0 && frame.len() >= TAG_AT {
        let kind = match auxiliary.tp_status & libc::TP_STATUS_VLAN_TPID_VALID {
            0 => 0x8100,
            _ => auxiliary.tp_vlan_tpid,
        };
        let tag = [kind.to_be_bytes(), auxiliary.tp_vlan_tci.to_be_bytes()].concat();
        frame.splice(TAG_AT..TAG_AT, tag);
    }
    Ok(frame.into())
}

/// What the kernel says of a frame beside its bytes.
///
/// # Safety
///
/// `message` was filled in by `recvmsg`.
unsafe fn auxiliary(message: &libc::msghdr) -> Option<libc::tpacket_auxdata> {
    // SAFETY: `CMSG_FIRSTHDR` and `CMSG_NXTHDR` stay within what the kernel says that it has written, and the data of
    // this kind of message is a whole `tpacket_auxdata`.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if ((*header).cmsg_level, (*header).cmsg_type)
                == (libc::SOL_PACKET, libc::PACKET_AUXDATA)
            {
                return Some(ptr::read_unaligned(libc::CMSG_DATA(header).cast()));
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    None
}

/// How many frames the kernel had no room for, since it was last asked.
fn dropped(descriptor: RawFd) -> u64 {
    // SAFETY: all zeroes is a statistic.
    let mut statistics: libc::tpacket_stats = unsafe { zeroed() };
    let mut size = length::<libc::tpacket_stats>();
    // SAFETY: the kernel writes at most `size` bytes.
    let asked = unsafe {
        libc::getsockopt(
            descriptor,
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut statistics).cast(),
            &raw mut size,
        )
    };
    if asked < 0 {
        0
    } else {
        statistics.tp_drops.into()
    }
}

fn set(descriptor: RawFd, level: i32, option: i32, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the kernel reads one int.
    let done = unsafe {
        libc::setsockopt(
            descriptor,
            level,
            option,
            (&raw const value).cast(),
            length::<libc::c_int>(),
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn length<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0)
}
