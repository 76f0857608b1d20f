//! What went over the links, kept in memory until somebody wants it as files.

use std::{
    borrow::Cow,
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use pcap_file::{
    DataLink, PcapError,
    pcapng::{
        PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
        },
    },
};

use crate::{
    lab::{Frame, Origin, Port, PortIndex, wire},
    scenario::Scenario,
};

/// How much is kept of one lab: the frames' bytes, and for each frame what it costs to keep it.
const LIMIT: usize = 64 << 20;
const COST: usize = 128;
/// A longer name of a link does not make a file name.
const LONGEST_NAME: usize = 100;
/// pcap-file writes nanoseconds, whatever the file says of them; so the file must say nanoseconds.
const NANOSECONDS: u8 = 9;

/// The recorded frames of a lab's links.
pub(crate) struct Captures {
    /// When the lab was built, which is zero in [`Frame::time`].
    started: SystemTime,
    /// By the scenario's links.
    links: Vec<Recording>,
    room: usize,
    left_out: u64,
}

/// What is recorded of one link.
struct Recording {
    /// `box-agent`. Invariant: unique in the lab, and a file name's part.
    name: String,
    /// Each is an interface of the file.
    ports: Vec<(PortIndex, String)>,
    frames: Vec<Frame>,
}

/// A recording that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the recording `{path}`", path = path.display())]
pub(crate) struct CaptureError {
    path: PathBuf,
    source: PcapError,
}

impl Captures {
    pub(crate) fn new(scenario: &Scenario, ports: &[Port]) -> Self {
        Self::with_limit(scenario, ports, LIMIT)
    }

    fn with_limit(scenario: &Scenario, ports: &[Port], limit: usize) -> Self {
        let links = names(scenario).into_iter().enumerate().map(|(link, name)| {
            let members = ports
                .iter()
                .enumerate()
                .filter(|(_, port)| port.link == link);
            let ports = members
                .map(|(index, port)| (PortIndex(index), port.name.clone()))
                .collect();
            Recording {
                name,
                ports,
                frames: Vec::new(),
            }
        });
        Self {
            started: SystemTime::now(),
            links: links.collect(),
            room: limit,
            left_out: 0,
        }
    }

    /// Keeps a frame, or counts it where there is no more room.
    pub(crate) fn record(&mut self, frame: &Frame) {
        match self.room.checked_sub(frame.bytes.len() + COST) {
            Some(room) => {
                self.room = room;
                self.links[frame.link].frames.push(frame.clone());
            }
            None => {
                // What comes later is left out as well, so that the recording has one gap only: its end.
                self.room = 0;
                self.left_out += 1;
            }
        }
    }

    /// How many frames, the last ones of the lab, were not kept.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Writes `wire-LINK.pcapng` for each link into `folder`; the files' paths by link.
    pub(crate) fn write(&self, folder: &Path) -> Result<Vec<PathBuf>, CaptureError> {
        self.links
            .iter()
            .map(|recording| self.write_link(recording, folder))
            .collect()
    }

    fn write_link(&self, recording: &Recording, folder: &Path) -> Result<PathBuf, CaptureError> {
        let path = folder.join(format!("wire-{}.pcapng", recording.name));
        let written = File::create(&path)
            .map_err(PcapError::IoError)
            .and_then(|file| {
                let mut writer = PcapNgWriter::new(BufWriter::new(file))?;
                self.write_blocks(recording, &mut writer)?;
                writer.into_inner().flush().map_err(PcapError::IoError)
            });
        match written {
            Ok(()) => Ok(path),
            Err(source) => Err(CaptureError { path, source }),
        }
    }

    fn write_blocks<W: Write>(
        &self,
        recording: &Recording,
        writer: &mut PcapNgWriter<W>,
    ) -> Result<(), PcapError> {
        for (_, port) in &recording.ports {
            writer.write_pcapng_block(interface(&recording.name, port))?;
        }
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        for frame in &recording.frames {
            let from = recording
                .ports
                .iter()
                .zip(0..)
                .find(|((port, _), _)| *port == frame.port);
            let Some(((_, name), interface_id)) = from else {
                continue;
            };
            writer.write_pcapng_block(packet(frame, name, interface_id, started))?;
        }
        Ok(())
    }
}

fn interface<'a>(link: &'a str, port: &'a str) -> InterfaceDescriptionBlock<'a> {
    let options = vec![
        InterfaceDescriptionOption::IfName(Cow::Borrowed(port)),
        InterfaceDescriptionOption::IfDescription(Cow::Borrowed(link)),
        InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
    ];
    let snaplen = u32::try_from(wire::LONGEST_FRAME).unwrap_or(u32::MAX);
    InterfaceDescriptionBlock {
        linktype: DataLink::ETHERNET,
        snaplen,
        options,
    }
}

fn packet<'a>(
    frame: &'a Frame,
    port: &str,
    interface_id: u32,
    started: Duration,
) -> EnhancedPacketBlock<'a> {
    let comment = match frame.origin {
        Origin::Guest | Origin::Machine | Origin::Observer => format!("from {port}"),
        Origin::Probe => format!("from {port}: a probe of the harness"),
    };
    EnhancedPacketBlock {
        interface_id,
        timestamp: started + frame.time,
        original_len: u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX),
        data: Cow::Borrowed(&frame.bytes),
        options: vec![EnhancedPacketOption::Comment(comment.into())],
    }
}

/// The links' names, `box-agent`; the second link of the same nodes is `box-agent-2`.
fn names(scenario: &Scenario) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (link, number) in scenario.links.iter().zip(1..) {
        let nodes: Vec<&str> = link
            .nodes
            .iter()
            .map(|node| scenario.node(*node).name.as_str())
            .collect();
        let mut stem = nodes.join("-").replace(['/', '\0'], "_");
        if stem.len() > LONGEST_NAME {
            stem = format!("link{number}");
        }
        let numbered = (2..).map(|count| format!("{stem}-{count}"));
        let free = std::iter::once(stem.clone())
            .chain(numbered)
            .find(|name| !names.contains(name));
        names.extend(free);
    }
    names
}

#[cfg(test)]
mod tests;
