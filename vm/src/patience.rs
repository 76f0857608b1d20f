//! Patience: deadlines on a machine that does other things besides.
//!
//! A deadline says how long somebody may do nothing, not how long the machine may be busy with others. So the clock of a
//! deadline slows down while those who are waited for are ready to run and get no processor: the kernel counts that for
//! each thread (second field of `/proc/PID/schedstat`, `Documentation/scheduler/sched-stats.rst`). Where it does not
//! count, the clock is the wall's.

use std::{
    collections::BTreeMap,
    fs,
    future::Future,
    pin::pin,
    time::{Duration, Instant as WallInstant},
};

use tokio::time::{Instant, timeout_at};

/// The clock never runs slower than the wall's by this factor, so that every wait ends.
const SLOWEST: u32 = 10;
/// How old a look at the threads may be.
const FRESH: Duration = Duration::from_millis(20);
/// What is left of a deadline that counts as nothing.
const NOTHING: Duration = Duration::from_millis(5);

/// A clock for deadlines, which slows down while the processes that it watches wait for a processor.
///
/// Its times are tokio's, and never later than the wall's: a deadline that was made with the wall's is only longer.
#[derive(Debug)]
pub struct Patience {
    processes: Vec<u32>,
    /// How long each thread has waited for a processor since it began.
    waited: BTreeMap<u32, Duration>,
    looked: WallInstant,
    begun: WallInstant,
    /// How far the clock is behind the wall's.
    behind: Duration,
}

/// The time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late;

impl Default for Patience {
    fn default() -> Self {
        Self::new()
    }
}

impl Patience {
    /// A clock that watches this program.
    #[must_use]
    pub fn new() -> Self {
        let mut patience = Self::wall();
        patience.watch(std::process::id());
        patience
    }

    /// A clock that watches nobody yet.
    fn wall() -> Self {
        let now = WallInstant::now();
        Self {
            processes: Vec::new(),
            waited: BTreeMap::new(),
            looked: now,
            begun: now,
            behind: Duration::ZERO,
        }
    }

    /// A clock for a process that has just been started.
    pub(crate) fn with(process: Option<u32>) -> Self {
        let mut patience = Self::wall();
        // What its threads have waited up to now counts: nothing has been looked at.
        patience.processes.extend(process);
        patience
    }

    /// Watches one more process, from now on; watching it twice is watching it once.
    pub fn watch(&mut self, process: u32) {
        if self.processes.contains(&process) {
            return;
        }
        self.look();
        self.waited.extend(waited(process));
        self.processes.push(process);
    }

    /// The clock's time.
    pub fn now(&mut self) -> Instant {
        if self.looked.elapsed() > FRESH {
            self.look();
        }
        Instant::now() - self.behind
    }

    /// Whether `deadline`, a time of this clock, has passed.
    pub fn has_passed(&mut self, deadline: Instant) -> bool {
        if Instant::now() - self.behind + NOTHING < deadline {
            return false;
        }
        self.look();
        Instant::now() - self.behind + NOTHING >= deadline
    }

    /// Waits for `future` until `deadline`, a time of this clock. Cancel safe where the future is.
    pub async fn until<F: Future>(
        &mut self,
        deadline: Instant,
        future: F,
    ) -> Result<F::Output, Late> {
        let mut future = pin!(future);
        loop {
            if let Ok(output) = timeout_at(deadline + self.behind, future.as_mut()).await {
                return Ok(output);
            }
            if self.has_passed(deadline) {
                return Err(Late);
            }
        }
    }

    /// As [`Patience::until`], from now on.
    pub(crate) async fn within<F: Future>(
        &mut self,
        within: Duration,
        future: F,
    ) -> Result<F::Output, Late> {
        let deadline = Instant::now() - self.behind + within;
        self.until(deadline, future).await
    }

    /// How long `within` lasts on the wall's clock, at the pace so far: for a deadline that somebody else holds.
    #[must_use]
    pub fn stretched(&self, within: Duration) -> Duration {
        let wall = self.begun.elapsed();
        let own = wall.saturating_sub(self.behind);
        let pace = wall.as_secs_f64() / own.as_secs_f64().max(1e-3);
        within.mul_f64(pace.clamp(1.0, f64::from(SLOWEST)))
    }

    /// Looks how long each thread has waited since the last time.
    fn look(&mut self) {
        let now = WallInstant::now();
        let mut since = Duration::ZERO;
        let threads = self.processes.iter().flat_map(|process| waited(*process));
        let threads: BTreeMap<u32, Duration> = threads.collect();
        for (thread, total) in &threads {
            let before = self.waited.get(thread).copied().unwrap_or_default();
            since += total.saturating_sub(before);
        }
        self.waited = threads;
        self.behind += lag(now - self.looked, since);
        self.looked = now;
    }
}

/// How far the clock falls back in a time in which threads waited for a processor so long, all together.
fn lag(wall: Duration, waited: Duration) -> Duration {
    waited.min(wall * (SLOWEST - 1) / SLOWEST)
}

/// The threads of a process, with the time that each has waited for a processor; none of a process that is gone.
fn waited(process: u32) -> Vec<(u32, Duration)> {
    let folder = format!("/proc/{process}/task");
    let threads = fs::read_dir(&folder).into_iter().flatten().flatten();
    threads
        .filter_map(|thread| {
            let name = thread.file_name();
            let id = name.to_str()?.parse().ok()?;
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            Some((id, run_delay(&text)?))
        })
        .collect()
}

/// The second of three numbers: nanoseconds on a run queue.
fn run_delay(schedstat: &str) -> Option<Duration> {
    let nanoseconds = schedstat.split_whitespace().nth(1)?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const SECOND: Duration = Duration::from_secs(1);

    #[rstest]
    #[case::a_quiet_machine(Duration::ZERO, Duration::ZERO)]
    #[case::half_of_the_time(SECOND / 2, SECOND / 2)]
    #[case::all_of_the_time(SECOND, SECOND * 9 / 10)]
    #[case::several_threads_at_once(SECOND * 7, SECOND * 9 / 10)]
    fn the_clock_falls_back_by_what_was_waited(
        #[case] waited: Duration,
        #[case] expected: Duration,
    ) {
        assert_eq!(lag(SECOND, waited), expected);
    }

    #[rstest]
    #[case("123 456 7\n", Some(Duration::from_nanos(456)))]
    #[case("0 0 0\n", Some(Duration::ZERO))]
    #[case("", None)]
    #[case("1 -2 3", None)]
    fn reads_what_the_scheduler_counts(#[case] text: &str, #[case] expected: Option<Duration>) {
        assert_eq!(run_delay(text), expected);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_deadline_waits_for_the_clock_that_is_behind() {
        let mut patience = Patience::wall();
        let begun = Instant::now();
        let deadline = patience.now() + SECOND / 50;
        patience.behind = SECOND / 10;
        let late = patience.until(deadline, std::future::pending::<()>());
        assert_eq!(late.await, Err(Late));
        assert!(begun.elapsed() >= SECOND / 10);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_comes_in_time_is_given() {
        let mut patience = Patience::new();
        let given = patience.within(SECOND, std::future::ready(7)).await;
        assert_eq!(given, Ok(7));
    }

    /// Ended with the test.
    struct Busy(std::process::Child);

    impl Drop for Busy {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// Two processes that never stop have one processor to share.
    #[test]
    fn a_process_that_wants_a_processor_slows_the_clock_down() {
        let busy = || {
            let mut command = std::process::Command::new("sh");
            Busy(command.args(["-c", "while :; do :; done"]).spawn().unwrap())
        };
        let processes = [busy(), busy()];
        let mut one = nix::sched::CpuSet::new();
        let all = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap();
        let some = (0..nix::sched::CpuSet::count()).find(|cpu| all.is_set(*cpu).unwrap());
        one.set(some.unwrap()).unwrap();
        let mut patience = Patience::wall();
        for process in &processes {
            let id = i32::try_from(process.0.id()).unwrap();
            nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(id), &one).unwrap();
            patience.watch(process.0.id());
        }
        let begun = WallInstant::now();
        while patience.behind < SECOND / 5 {
            assert!(begun.elapsed() < SECOND * 60, "{patience:?}");
            patience.look();
            std::thread::yield_now();
        }
        assert!(begun.elapsed() >= SECOND / 5);
    }

    #[test]
    fn another_ones_deadline_is_stretched_by_the_pace_so_far() {
        let mut patience = Patience::wall();
        assert_eq!(patience.stretched(SECOND).as_secs(), 1);
        patience.begun -= SECOND * 100;
        patience.behind = SECOND * 50;
        assert_eq!(patience.stretched(SECOND).as_secs_f64().round(), 2.0);
        patience.behind = SECOND * 100;
        assert_eq!(patience.stretched(SECOND), SECOND * 10);
    }
}
