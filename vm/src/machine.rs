//! What a guest machine is made of, and the QEMU arguments that say so.
//!
//! Only decides: [`crate::qemu`] starts what is described here.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Whether a guest runs on the processor or is emulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// Hardware virtualization by `/dev/kvm`.
    Kvm,
    /// Emulation: QEMU's translator.
    Tcg,
}

/// One network card of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkCard {
    /// QEMU's device name, `virtio-net-pci`.
    pub model: String,
    /// Its address as QEMU reads it, `02:00:0a:00:00:01`.
    pub mac: String,
}

/// A guest machine.
///
/// Cards appear to the guest as `eth0`, `eth1`, … in their order (the kernel is told `net.ifnames=0`), and to QMP as
/// `nic0`, `nic1`, ….
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The kernel: a vmlinux with a PVH note, or a bzImage.
    pub kernel: PathBuf,
    /// Words for the kernel's command line, behind our own.
    pub cmdline: String,
    /// Processors.
    pub cpus: u8,
    /// Memory in MiB.
    pub memory: u32,
    /// Network cards, in order.
    pub cards: Vec<NetworkCard>,
    /// How it runs.
    pub accelerator: Accelerator,
    /// Whether it has a second serial port, for somebody at a terminal: [`crate::qemu::Qemu::terminal`].
    pub terminal: bool,
}

/// Where a guest's memory lives, and whether it starts from a saved state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Private to the process, gone with it.
    Private,
    /// A file that the guest writes to: a template in the making.
    Shared(PathBuf),
    /// A private copy-on-write view of a template's file; the machine waits for its device state.
    View(PathBuf),
}

/// What is known only when QEMU is started: the descriptors that it inherits, by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Descriptors {
    pub(crate) monitor: i32,
    pub(crate) channel: i32,
    pub(crate) terminal: Option<i32>,
    pub(crate) initramfs: Option<i32>,
    /// No descriptor: how fast the guest's time stamp counter runs, where it boots and is emulated.
    pub(crate) tsc_khz: Option<u64>,
    pub(crate) cards: Vec<i32>,
    /// No descriptor either.
    pub(crate) processor: Processor,
}

/// The processor that QEMU emulates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Processor {
    /// All that it can.
    Whole,
    /// Without the instruction CMPXCHG16B, for which kernels have a substitute.
    ///
    /// Before QEMU 8.0 that instruction takes the flags from what they were last stored as, however long ago
    /// (`gen_helper_cmpxchg16b` in target/i386/tcg/translate.c, without `gen_update_cc_op` before it). Behind an interrupt
    /// a pointer can so become the flags, TF with them, and a kernel, whose memory allocator uses the instruction, falls
    /// into debug exceptions for ever: one guest in a hundred.
    WithoutCmpxchg16b,
}

impl Processor {
    /// What suits a QEMU of this version.
    pub(crate) fn for_version((major, _, _): (u64, u64, u64)) -> Self {
        if major < 8 {
            Self::WithoutCmpxchg16b
        } else {
            Self::Whole
        }
    }

    /// QEMU's word for it.
    fn emulated(self) -> &'static str {
        match self {
            Self::Whole => "max",
            Self::WithoutCmpxchg16b => "max,cx16=off",
        }
    }
}

/// What every guest's kernel is told.
///
/// `panic=-1` ends QEMU at once where a kernel dies before it is ready (PID 1 sets `kernel.panic` back to 0 then); the
/// rest skips probes of hardware that is not there, which cost most of a boot under emulation.
const CMDLINE: &str = "panic=-1 net.ifnames=0 cryptomgr.notests random.trust_cpu=on tsc=reliable no_timer_check \
     i8042.noaux i8042.nomux i8042.nopnp i8042.dumbkbd rcupdate.rcu_expedited=1 noreplace-smp";

impl Machine {
    /// Words for the kernel's command line, all of them.
    #[must_use]
    pub fn command_line(&self) -> String {
        let mut words = CMDLINE.to_owned();
        if !self.cmdline.is_empty() {
            words.push(' ');
            words.push_str(&self.cmdline);
        }
        words
    }

    /// The arguments for QEMU.
    pub(crate) fn arguments(&self, memory: &Memory, descriptors: &Descriptors) -> Vec<String> {
        let mut arguments = self.board(memory, descriptors.processor);
        arguments.extend(self.boot(descriptors));
        arguments.extend(connections(descriptors));
        arguments.extend(self.network(descriptors));
        if matches!(memory, Memory::View(_)) {
            arguments.extend(["-incoming", "defer"].map(str::to_owned));
            // No announcements of the restored machine on its wires: a scenario must not see that it was restored.
            arguments.extend(["-global", "migration.announce-rounds=0"].map(str::to_owned));
        }
        arguments
    }

    /// Processor, memory, and the fewest devices that a floppy test can do with.
    fn board(&self, memory: &Memory, processor: Processor) -> Vec<String> {
        let (accelerator, cpu) = match self.accelerator {
            Accelerator::Kvm => ("kvm", "host,migratable=on"),
            Accelerator::Tcg => ("tcg", processor.emulated()),
        };
        let mut board =
            "pc,usb=off,vmport=off,graphics=off,hpet=off,dump-guest-core=off".to_owned();
        let mut arguments: Vec<String> = Vec::new();
        match memory {
            Memory::Private => {}
            Memory::Shared(file) => {
                board.push_str(",memory-backend=ram");
                arguments.extend([
                    "-object".to_owned(),
                    memory_backend(self.memory, file, "on"),
                ]);
            }
            Memory::View(file) => {
                board.push_str(",memory-backend=ram");
                arguments.extend([
                    "-object".to_owned(),
                    memory_backend(self.memory, file, "off"),
                ]);
            }
        }
        let fixed = "-nodefaults -no-user-config -display none -no-reboot -drive if=none,id=floppy0 \
                     -device floppy,drive=floppy0,drive-type=144";
        arguments.extend(fixed.split_whitespace().map(str::to_owned));
        for (flag, value) in [
            ("-machine", board.as_str()),
            ("-accel", accelerator),
            ("-cpu", cpu),
        ] {
            arguments.extend([flag.to_owned(), value.to_owned()]);
        }
        arguments.extend([
            "-m".to_owned(),
            format!("{}M", self.memory),
            "-smp".to_owned(),
            self.cpus.to_string(),
        ]);
        arguments
    }

    fn boot(&self, descriptors: &Descriptors) -> Vec<String> {
        let Some(initramfs) = descriptors.initramfs else {
            return Vec::new();
        };
        let kernel = self.kernel.display().to_string();
        let mut words = self.command_line();
        if let Some(khz) = descriptors.tsc_khz {
            words.push_str(&format!(" tsc_early_khz={khz}"));
        }
        [
            "-kernel",
            &kernel,
            "-initrd",
            &format!("/proc/self/fd/{initramfs}"),
            "-append",
            &words,
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn network(&self, descriptors: &Descriptors) -> Vec<String> {
        let mut arguments = Vec::new();
        for (index, (card, descriptor)) in self.cards.iter().zip(&descriptors.cards).enumerate() {
            arguments.extend([
                "-netdev".to_owned(),
                format!("socket,id=net{index},fd={descriptor}"),
            ]);
            // Without announcements after a restore (see `template`), QEMU 7.2 dies at the next reset of a virtio card
            // that could announce itself.
            let quiet = if card.model.starts_with("virtio-net") {
                ",guest_announce=off"
            } else {
                ""
            };
            let device = format!(
                "{},id=nic{index},netdev=net{index},mac={},romfile={quiet}",
                card.model, card.mac
            );
            arguments.extend(["-device".to_owned(), device]);
        }
        arguments
    }
}

fn memory_backend(size: u32, file: &std::path::Path, share: &str) -> String {
    // QEMU reads a comma in a path where it is doubled.
    let file = file.display().to_string().replace(',', ",,");
    format!("memory-backend-file,id=ram,size={size}M,mem-path={file},share={share}")
}

/// The monitor and the guest channel, an ISA serial port: built into every kernel, alive from first printk to last. A
/// terminal is another.
fn connections(descriptors: &Descriptors) -> Vec<String> {
    let mut arguments = [
        "-chardev".to_owned(),
        format!("socket,id=monitor,fd={}", descriptors.monitor),
        "-mon".to_owned(),
        "chardev=monitor,mode=control".to_owned(),
        "-chardev".to_owned(),
        format!("socket,id=channel,fd={}", descriptors.channel),
        "-device".to_owned(),
        "isa-serial,chardev=channel".to_owned(),
    ]
    .to_vec();
    if let Some(terminal) = descriptors.terminal {
        arguments.extend([
            "-chardev".to_owned(),
            format!("socket,id=terminal,fd={terminal}"),
            "-device".to_owned(),
            "isa-serial,chardev=terminal".to_owned(),
        ]);
    }
    arguments
}
