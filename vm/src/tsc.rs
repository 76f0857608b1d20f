//! How fast this machine's time stamp counter runs. An emulated guest sees the same counter, and measures it at boot:
//! wrongly for good where others have the processor meanwhile.

use std::{
    arch::x86_64::_rdtsc,
    time::{Duration, Instant},
};

/// How long it is watched.
const WATCHED: Duration = Duration::from_millis(20);
/// How often each end is read; the reading that was interrupted least counts.
const READINGS: usize = 10;

/// Its frequency in kHz, for the kernel's `tsc_early_khz` (`arch/x86/kernel/tsc.c`).
pub(crate) fn khz() -> u64 {
    let (start, first) = reading();
    while start.elapsed() < WATCHED {
        std::hint::spin_loop();
    }
    let (end, last) = reading();
    let micros = (end - start).as_micros().max(1);
    let cycles = u128::from(last.wrapping_sub(first));
    u64::try_from(cycles * 1000 / micros).unwrap_or(0)
}

/// A moment and the counter's value then.
fn reading() -> (Instant, u64) {
    let one = |_| {
        let before = Instant::now();
        // SAFETY: every x86-64 processor has the instruction, and it touches no memory.
        let cycles = unsafe { _rdtsc() };
        (before.elapsed(), before, cycles)
    };
    let best = (1..READINGS).map(one).fold(
        one(0),
        |best, next| {
            if next.0 < best.0 { next } else { best }
        },
    );
    (best.1, best.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_same_each_time() {
        let readings: Vec<u64> = (0..5).map(|_| khz()).collect();
        let (least, most) = (readings.iter().min(), readings.iter().max());
        let (least, most) = (*least.unwrap(), *most.unwrap());
        assert!(least > 100_000, "{readings:?}");
        assert!(most - least < most / 100, "{readings:?}");
    }
}
