//! What all guests share that were restored from one template, made a guest's own.

use std::{fs::File, io, io::Write, os::fd::AsRawFd};

use nix::{
    sys::time::TimeSpec,
    time::{ClockId, clock_settime},
};

use crate::kernel::Refusal;

/// `RNDRESEEDCRNG` of `include/uapi/linux/random.h`: what was mixed in counts from now on.
const RESEED: libc::c_ulong = 0x5207;

/// Sets the clock, and stirs the random numbers with `seed`. The boot id follows from them: it is made up when somebody
/// asks for it first, which nobody has.
pub(crate) fn renew(time: i64, seed: &[u8]) -> Result<(), Refusal> {
    clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(time, 0))
        .map_err(|errno| Refusal::by_kernel("date --set", &errno.into()))?;
    stir(seed).map_err(|error| Refusal::by_kernel("writing /dev/urandom", &error))
}

fn stir(seed: &[u8]) -> io::Result<()> {
    let mut random = File::options().write(true).open("/dev/urandom")?;
    random.write_all(seed)?;
    // A kernel that has not gathered enough yet refuses (ENODATA), and mixes the seed in when it has.
    // SAFETY: the request takes no argument, and the descriptor is open.
    unsafe { libc::ioctl(random.as_raw_fd(), RESEED) };
    Ok(())
}
