//! Where a wire ends: the interface of a node on its link.

use std::{fmt, io, os::unix::net::UnixStream};

use crate::{
    lab::{
        observer::{Observer, ObserverError},
        wire::Wire,
    },
    scenario::{Interface, Node, NodeIndex, Role, node::Program},
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
}

/// Why a lab could not be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("`{0}` is a router, and the lab cannot build routers yet")]
    Router(String),
    #[error("`{node}` receives with `{program}`, and the lab cannot run programs yet")]
    RealReceiver { node: String, program: String },
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

/// Frames that a guest did not take in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loss {
    /// The port's name.
    pub(crate) port: String,
    pub(crate) frames: u64,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} frames to `{}` were dropped, since its guest did not read them",
            self.frames, self.port
        )
    }
}

impl End {
    /// What stands at the end of a node's interface when its lab is built.
    pub(crate) fn of(node: &Node, interface: usize) -> Result<Self, BuildError> {
        let interface = &node.interfaces[interface];
        let receiver = match &node.role {
            Role::Sender(_) => return Ok(Self::Unplugged),
            Role::Router => return Err(BuildError::Router(node.name.clone())),
            Role::Receiver(receiver) => receiver,
        };
        match &receiver.program {
            Program::Real { name, .. } => Err(BuildError::RealReceiver {
                node: node.name.clone(),
                program: name.clone(),
            }),
            Program::Observer => Observer::new(interface, &receiver.ports)
                .map(|observer| Self::Observer(Box::new(observer)))
                .map_err(|source| BuildError::Observer {
                    name: name(node, interface),
                    source,
                }),
        }
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

    /// Takes the guest's wire away, where there is one.
    pub(crate) fn unplug(&mut self) {
        if let End::Guest(wire) = &self.end {
            self.lost += wire.lost();
            self.end = End::Unplugged;
        }
    }

    /// What its guest did not take, if anything.
    pub(crate) fn loss(&self) -> Option<Loss> {
        let live = if let End::Guest(wire) = &self.end {
            wire.lost()
        } else {
            0
        };
        let frames = self.lost + live;
        (frames > 0).then(|| Loss {
            port: self.name.clone(),
            frames,
        })
    }
}

/// `box:eth0`.
pub(crate) fn name(node: &Node, interface: &Interface) -> String {
    format!("{}:{}", node.name, interface.name)
}
