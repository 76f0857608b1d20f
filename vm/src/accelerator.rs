//! Whether KVM is there *and works*.
//!
//! `/dev/kvm` can open, make a machine, and still only imitate virtualization, so slowly that a guest never boots. So
//! a guest of a few bytes is run and timed. That takes 25 ms where it is an imitation, so that is remembered for a while.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::{cache::Cache, machine::Accelerator};

// `include/uapi/linux/kvm.h` of the kernel.
const KVM_CREATE_VM: libc::c_ulong = 0xae01;
const KVM_GET_VCPU_MMAP_SIZE: libc::c_ulong = 0xae04;
const KVM_CREATE_VCPU: libc::c_ulong = 0xae41;
const KVM_RUN: libc::c_ulong = 0xae80;
const KVM_SET_USER_MEMORY_REGION: libc::c_ulong = 0x4020_ae46;
const KVM_GET_SREGS: libc::c_ulong = 0x8138_ae83;
const KVM_SET_SREGS: libc::c_ulong = 0x4138_ae84;
const KVM_SET_REGS: libc::c_ulong = 0x4090_ae82;
const KVM_EXIT_HLT: u32 = 5;

/// 10 000 turns of a loop in real mode, then halt: `mov ecx, 10000; 1: dec ecx; jnz 1b; hlt`.
const LOOP: [u8; 11] = [
    0x66, 0xb9, 0x10, 0x27, 0x00, 0x00, 0x66, 0x49, 0x75, 0xfc, 0xf4,
];
/// Real hardware takes far less than 0.1 ms; an imitation was seen to take 15 ms.
const TOO_SLOW: Duration = Duration::from_millis(1);
/// When the loop is not waited for any longer.
const HOPELESS: Duration = Duration::from_secs(2);

/// The accelerator to use, and why it is not KVM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// What to use.
    pub accelerator: Accelerator,
    /// One sentence on why KVM is not used.
    pub why_not_kvm: Option<String>,
}

/// Where the cache keeps what was found out about `/dev/kvm`.
const MEMORY: &str = "accelerator.json";
/// How long that counts: a busy machine may have been taken for an imitation.
const COUNTS_FOR: Duration = Duration::from_secs(60 * 60);
/// The machine's present boot (`Documentation/admin-guide/sysctl/kernel.rst`).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Why KVM was not used, in the boot of the machine in which that was found out.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    boot: String,
    why_not_kvm: String,
}

/// Chooses by trying, unless that was done in the last hour and KVM was of no use.
#[must_use]
pub fn choose(cache: &Cache) -> Choice {
    let file = cache.root().join(MEMORY);
    let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
    if let Some(why) = remembered(&file, &boot) {
        return tcg(why);
    }
    let (choice, slow) = tried();
    if let (Some(why), true) = (&choice.why_not_kvm, slow) {
        let remembered = Remembered {
            boot,
            why_not_kvm: why.clone(),
        };
        // Where it cannot be written down it is tried again.
        let _ = serde_json::to_vec(&remembered)
            .map_err(io::Error::from)
            .and_then(|text| fs::write(&file, text));
    }
    choice
}

fn remembered(file: &Path, boot: &str) -> Option<String> {
    let written = fs::metadata(file).and_then(|metadata| metadata.modified());
    let age = SystemTime::now().duration_since(written.ok()?).ok()?;
    if age > COUNTS_FOR {
        return None;
    }
    let remembered: Remembered = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    (remembered.boot == boot).then_some(remembered.why_not_kvm)
}

/// Chooses by trying; also whether that took long.
fn tried() -> (Choice, bool) {
    let (sender, receiver) = mpsc::channel();
    // On a thread of its own: nothing else interrupts a KVM_RUN that never comes back.
    thread::spawn(move || sender.send(time_of_loop()));
    let late = |_| Err(io::ErrorKind::TimedOut.into());
    match receiver.recv_timeout(HOPELESS).unwrap_or_else(late) {
        Ok(time) if time <= TOO_SLOW => {
            let choice = Choice {
                accelerator: Accelerator::Kvm,
                why_not_kvm: None,
            };
            (choice, false)
        }
        Ok(time) => {
            let why = format!(
                "/dev/kvm only imitates virtualization here: 10 000 turns of a loop took {time:?}"
            );
            (tcg(why), true)
        }
        Err(error) => {
            let slow = error.kind() == io::ErrorKind::TimedOut;
            (tcg(format!("/dev/kvm is of no use here: {error}")), slow)
        }
    }
}

fn tcg(why: String) -> Choice {
    Choice {
        accelerator: Accelerator::Tcg,
        why_not_kvm: Some(why),
    }
}

/// A mapping that is unmapped when dropped.
struct Mapping {
    address: *mut libc::c_void,
    length: usize,
}

impl Mapping {
    fn new(length: usize, file: Option<&OwnedFd>) -> io::Result<Self> {
        let (flags, descriptor) = match file {
            Some(file) => (libc::MAP_SHARED, file.as_raw_fd()),
            None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
        };
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                descriptor,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            Err(io::Error::last_os_error())
        } else {
            Ok(Self { address, length })
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, whole, and no reference into it outlives this value.
        unsafe { libc::munmap(self.address, self.length) };
    }
}

fn ioctl(file: &impl AsRawFd, request: libc::c_ulong, argument: u64) -> io::Result<i32> {
    // SAFETY: each caller passes either a number or the address of a value of the size that `request` names.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), request, argument) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn descriptor(file: &impl AsRawFd, request: libc::c_ulong, argument: u64) -> io::Result<OwnedFd> {
    let number = ioctl(file, request, argument)?;
    // SAFETY: these requests return a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Runs the loop in a guest and returns the better of two times.
fn time_of_loop() -> io::Result<Duration> {
    let kvm: File = OpenOptions::new().read(true).write(true).open("/dev/kvm")?;
    let machine = descriptor(&kvm, KVM_CREATE_VM, 0)?;
    let memory = Mapping::new(4096, None)?;
    // SAFETY: the mapping is 4096 bytes long and LOOP is shorter.
    unsafe { std::ptr::copy_nonoverlapping(LOOP.as_ptr(), memory.address.cast(), LOOP.len()) };
    // struct kvm_userspace_memory_region: slot and flags, guest address, size, our address.
    let region: [u64; 4] = [0, 0x1000, 4096, memory.address as u64];
    ioctl(&machine, KVM_SET_USER_MEMORY_REGION, region.as_ptr() as u64)?;
    let processor = descriptor(&machine, KVM_CREATE_VCPU, 0)?;
    let size =
        usize::try_from(ioctl(&kvm, KVM_GET_VCPU_MMAP_SIZE, 0)?).map_err(io::Error::other)?;
    let shared = Mapping::new(size, Some(&processor))?;
    real_mode(&processor)?;
    Ok(one_run(&processor, &shared)?.min(one_run(&processor, &shared)?))
}

/// Sets the code segment's base to 0, as a machine after reset has it elsewhere.
fn real_mode(processor: &OwnedFd) -> io::Result<()> {
    // struct kvm_sregs is 0x138 bytes; it begins with cs: base (u64), limit (u32), selector (u16).
    let mut special = [0_u64; 0x138 / 8];
    ioctl(processor, KVM_GET_SREGS, special.as_mut_ptr() as u64)?;
    special[0] = 0;
    special[1] &= 0xffff_0000_ffff_ffff;
    ioctl(processor, KVM_SET_SREGS, special.as_ptr() as u64).map(drop)
}

fn one_run(processor: &OwnedFd, shared: &Mapping) -> io::Result<Duration> {
    // struct kvm_regs is 18 words; rip and rflags are the last two. Bit 1 of rflags is always set.
    let mut registers = [0_u64; 18];
    registers[16] = 0x1000;
    registers[17] = 2;
    ioctl(processor, KVM_SET_REGS, registers.as_ptr() as u64)?;
    let start = Instant::now();
    ioctl(processor, KVM_RUN, 0)?;
    let time = start.elapsed();
    // SAFETY: exit_reason is the u32 at byte 8 of struct kvm_run, which the mapping holds.
    let reason = unsafe { shared.address.cast::<u32>().add(2).read_volatile() };
    if reason == KVM_EXIT_HLT {
        Ok(time)
    } else {
        Err(io::Error::other(format!(
            "a guest left with reason {reason}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_out_counts_for_this_boot_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(MEMORY);
        assert_eq!(remembered(&file, "one"), None);
        fs::write(&file, r#"{"boot":"one","why_not_kvm":"slow"}"#).unwrap();
        assert_eq!(remembered(&file, "one"), Some("slow".to_owned()));
        assert_eq!(remembered(&file, "other"), None);
        fs::write(&file, r#"{"boot":"on"#).unwrap();
        assert_eq!(remembered(&file, "one"), None);
    }

    #[test]
    fn what_was_found_out_long_ago_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(MEMORY);
        fs::write(&path, r#"{"boot":"one","why_not_kvm":"slow"}"#).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - 2 * COUNTS_FOR)
            .unwrap();
        assert_eq!(remembered(&path, "one"), None);
    }
}
