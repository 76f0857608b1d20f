//! Where a wire ends: the interface of a node on its link.

use std::{
    io,
    os::unix::net::UnixStream,
    task::{Context, Poll},
};

use crate::{
    lab::{
        Origin,
        loss::{Cause, Loss},
        namespace::NamespaceError,
        observer::{Observer, ObserverError},
        packet::{PacketSocket, Packets},
        wire::{Reading, Wire, WireError},
    },
    scenario::{Interface, Node, NodeIndex, Role, Route},
};

/// Which of a lab's ports is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PortIndex(pub(crate) usize);

/// The interface of a node on its link.
pub(crate) struct Port {
    /// `box:eth0`.
    pub(crate) name: String,
    pub(crate) node: NodeIndex,
    /// Index into the node's interfaces.
    pub(crate) interface: usize,
    /// Index into the scenario's links.
    pub(crate) link: usize,
    pub(crate) end: End,
    /// What wires that were unplugged had lost.
    lost: u64,
}

/// Who is behind a port.
pub(crate) enum End {
    /// Nobody: the guest has not been started, or it has ended.
    Unplugged,
    /// A QEMU.
    Guest(Wire),
    /// The built-in receiver.
    Observer(Box<Observer>),
    /// A router or a real receiver in its namespace.
    Veth(Box<Packets>),
}

/// Why a lab could not be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("cannot build `{node}`")]
    Namespace {
        node: String,
        source: NamespaceError,
    },
    #[error("cannot join the lab's namespaces")]
    Hub(#[source] NamespaceError),
    #[error("cannot make the observer of `{name}`")]
    Observer { name: String, source: ObserverError },
    #[error("cannot make a wire for `{name}`")]
    Wire { name: String, source: io::Error },
}

/// The end of a wire that a guest's QEMU takes: `-netdev socket,fd=…`.
#[derive(Debug)]
pub(crate) struct GuestNic {
    pub(crate) node: NodeIndex,
    pub(crate) socket: UnixStream,
}

impl End {
    /// What stands at the end of a node's interface when its lab is built, where nothing lives in a namespace.
    pub(crate) fn of(node: &Node, interface: usize) -> Result<Self, BuildError> {
        let routes = node.routes.iter().copied();
        let routes: Vec<Route> = routes
            .filter(|route| route.interface == interface)
            .collect();
        let interface = &node.interfaces[interface];
        let Role::Receiver(receiver) = &node.role else {
            return Ok(Self::Unplugged);
        };
        Observer::new(interface, &routes, &receiver.ports)
            .map(|observer| Self::Observer(Box::new(observer)))
            .map_err(|source| BuildError::Observer {
                name: name(node, interface),
                source,
            })
    }

    /// Takes the next frame that the node sends; nobody and the observer send none by themselves.
    pub(crate) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Reading> {
        match self {
            Self::Guest(wire) => {
                wire.poll_flush(context);
                wire.poll_read(context)
            }
            Self::Veth(packets) => packets.poll_read(context).map(|read| match read {
                Ok(frame) => Reading::Frame(frame),
                Err(error) => Reading::Broken(WireError::Read(error)),
            }),
            Self::Unplugged | Self::Observer(_) => Poll::Pending,
        }
    }

    /// Who makes the frames that the node sends.
    pub(crate) fn origin(&self) -> Origin {
        match self {
            Self::Guest(_) | Self::Unplugged => Origin::Guest,
            Self::Observer(_) => Origin::Observer,
            Self::Veth(_) => Origin::Machine,
        }
    }

    /// The lab's end of the interface of a node that lives in a namespace.
    pub(crate) fn veth(
        node: &Node,
        interface: usize,
        socket: PacketSocket,
    ) -> Result<Self, BuildError> {
        Packets::new(socket)
            .map(|packets| Self::Veth(Box::new(packets)))
            .map_err(|source| BuildError::Wire {
                name: name(node, &node.interfaces[interface]),
                source,
            })
    }
}

impl Port {
    pub(crate) fn new(node: &Node, index: NodeIndex, interface: usize, end: End) -> Self {
        let Interface { link, .. } = node.interfaces[interface];
        Self {
            name: name(node, &node.interfaces[interface]),
            node: index,
            interface,
            link,
            end,
            lost: 0,
        }
    }

    /// Puts a new wire into the port and gives its other end.
    pub(crate) fn plug(&mut self) -> io::Result<GuestNic> {
        let (ours, socket) = UnixStream::pair()?;
        self.unplug();
        self.end = End::Guest(Wire::new(ours)?);
        Ok(GuestNic {
            node: self.node,
            socket,
        })
    }

    /// Takes the wire away, where there is one.
    pub(crate) fn unplug(&mut self) {
        match &self.end {
            End::Guest(wire) => self.lost += wire.lost(),
            End::Veth(packets) => self.lost += packets.lost(),
            End::Unplugged | End::Observer(_) => return,
        }
        self.end = End::Unplugged;
    }

    /// What was lost between it and the lab, if anything.
    pub(crate) fn loss(&self) -> Option<Loss> {
        let (frames, cause) = match &self.end {
            End::Veth(packets) => (packets.lost(), Cause::Queue),
            End::Guest(wire) => (self.lost + wire.lost(), Cause::Guest),
            End::Unplugged | End::Observer(_) => (self.lost, Cause::Guest),
        };
        Loss::of(&self.name, frames, cause)
    }
}

/// `box:eth0`.
pub(crate) fn name(node: &Node, interface: &Interface) -> String {
    format!("{}:{}", node.name, interface.name)
}
