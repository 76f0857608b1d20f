//! Processors: PID 1 and the channel leave one that is about to hang, so that those that live can still be asked.

use std::fs;

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::kernel::Refusal;

/// Who is served by which interrupt.
const INTERRUPTS: &str = "/proc/interrupts";
/// How the driver of the channel, an ISA serial port, calls itself there.
const SERIAL: &str = "ttyS";

/// A set of this processor alone.
pub(crate) fn only(processor: u8) -> nix::Result<CpuSet> {
    let mut one = CpuSet::new();
    one.set(processor.into())?;
    Ok(one)
}

/// Has PID 1, and the interrupts of serial ports, leave a processor; nothing is done where it is the only one.
pub(crate) fn leave(processor: u8) -> Result<(), Refusal> {
    let doing = || format!("leaving processor {processor}");
    let refused = |error: nix::Error| Refusal::by_kernel(doing(), &error.into());
    let mut others = sched_getaffinity(Pid::from_raw(0)).map_err(refused)?;
    others.unset(processor.into()).map_err(refused)?;
    let numbers: Vec<String> = (0..CpuSet::count())
        .filter(|number| others.is_set(*number).unwrap_or(false))
        .map(|number| number.to_string())
        .collect();
    if numbers.is_empty() {
        return Ok(());
    }
    sched_setaffinity(Pid::from_raw(0), &others).map_err(refused)?;
    let interrupts = fs::read_to_string(INTERRUPTS)
        .map_err(|error| Refusal::by_kernel(format!("cat {INTERRUPTS}"), &error))?;
    for number in serial(&interrupts) {
        let path = format!("/proc/irq/{number}/smp_affinity_list");
        fs::write(&path, numbers.join(","))
            .map_err(|error| Refusal::by_kernel(format!("writing {path}"), &error))?;
    }
    Ok(())
}

/// The interrupts of serial ports in /proc/interrupts.
fn serial(interrupts: &str) -> Vec<u32> {
    let serial = interrupts.lines().filter(|line| {
        let devices = line.rsplit(' ').next();
        devices.is_some_and(|device| device.starts_with(SERIAL))
    });
    serial
        .filter_map(|line| line.split(':').next()?.trim().parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_serial_ports() {
        let interrupts = "\
           CPU0       CPU1
  1:          0          9   IO-APIC   1-edge      i8042
  4:        322          0   IO-APIC   4-edge      ttyS0
NMI:          0          0   Non-maskable interrupts
";
        assert_eq!(serial(interrupts), [4]);
    }
}
