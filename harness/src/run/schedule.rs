//! Which case runs when, and how many side by side: decided before anything runs.
//!
//! Pure: the times of the last run and the machine's size are the caller's to find.

use std::{cmp::Reverse, num::NonZeroU32, time::Duration};

/// What one guest costs that was restored: what it writes to, and QEMU itself. Its other pages are shared.
const RESTORED: u64 = 64;
/// What QEMU costs besides a guest's memory.
const QEMU: u64 = 64;

/// A case that is to run; its place among all is that of the file order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) scenario: usize,
    pub(crate) kernel: usize,
    /// Counted from 0.
    pub(crate) repetition: u32,
}

/// In which order cases begin. Their results are told in the order of the files whatever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// As the files have it.
    Files,
    /// What took longest the last time begins first, so that nothing long is left for the end.
    LongestFirst,
    /// By chance: the same for the same seed and number of cases.
    Shuffled(u64),
}

/// All cases in the order of the files: scenario by scenario, kernel by kernel.
pub(crate) fn jobs(scenarios: usize, kernels: usize, repeat: u32) -> Vec<Job> {
    let on_kernels = |scenario| (0..kernels).map(move |kernel| (scenario, kernel));
    let cases = (0..scenarios).flat_map(on_kernels);
    cases
        .flat_map(|(scenario, kernel)| {
            (0..repeat).map(move |repetition| Job {
                scenario,
                kernel,
                repetition,
            })
        })
        .collect()
}

/// The places of the cases in the order in which they begin. `last` tells how long a case took the last time; one that
/// never ran may take long, so it begins early.
pub(crate) fn starts(
    jobs: &[Job],
    order: Order,
    last: impl Fn(&Job) -> Option<Duration>,
) -> Vec<usize> {
    let mut starts: Vec<usize> = (0..jobs.len()).collect();
    match order {
        Order::Files => {}
        Order::LongestFirst => {
            starts.sort_by_key(|place| Reverse(last(&jobs[*place]).unwrap_or(Duration::MAX)));
        }
        Order::Shuffled(seed) => shuffle(&mut starts, seed),
    }
    starts
}

/// Fisher and Yates, with numbers of our own: a seed must mean the same in each version of whatever library.
fn shuffle(places: &mut [usize], seed: u64) {
    let mut state = seed;
    for last in (1..places.len()).rev() {
        let bound = last as u64 + 1;
        // The bias of a remainder is far below what a shuffle of cases is for.
        let chosen = usize::try_from(split_mix(&mut state) % bound).unwrap_or(0);
        places.swap(last, chosen);
    }
}

/// The next number of SplitMix64 (Steele, Lea and Flood, 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// What a guest with so much memory costs in MiB.
pub(crate) fn cost(memory: u32, cold: bool) -> u64 {
    if cold {
        u64::from(memory) + QEMU
    } else {
        u64::from(memory).min(RESTORED) + QEMU
    }
}

/// How many cases run side by side, where the user does not say: as many as there are processors, as far as the memory
/// goes. `available` and `largest`, what the largest case costs, are in MiB.
pub(crate) fn side_by_side(processors: usize, available: Option<u64>, largest: u64) -> NonZeroU32 {
    let fit = available.map_or(u64::MAX, |available| available / largest.max(1));
    let jobs = u64::try_from(processors).unwrap_or(1).min(fit);
    u32::try_from(jobs)
        .ok()
        .and_then(NonZeroU32::new)
        .unwrap_or(NonZeroU32::MIN)
}

/// How many guests are started ahead of their turn: one, where there is memory for it beside those that run.
pub(crate) fn ahead(jobs: NonZeroU32, available: Option<u64>, largest: u64) -> usize {
    usize::from(has_room(available, (u64::from(jobs.get()) + 1) * largest))
}

/// Whether so many MiB are there; not where nobody knows.
pub(crate) fn has_room(available: Option<u64>, wanted: u64) -> bool {
    available.is_some_and(|available| wanted <= available)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn files_come_before_kernels_and_kernels_before_repetitions() {
        let places: Vec<_> = jobs(2, 2, 2)
            .into_iter()
            .map(|job| (job.scenario, job.kernel, job.repetition))
            .collect();
        let expected = [
            (0, 0, 0),
            (0, 0, 1),
            (0, 1, 0),
            (0, 1, 1),
            (1, 0, 0),
            (1, 0, 1),
            (1, 1, 0),
            (1, 1, 1),
        ];
        assert_eq!(places, expected);
    }

    fn order(order: Order, times: &[Option<u64>]) -> Vec<usize> {
        let jobs = jobs(times.len(), 1, 1);
        starts(&jobs, order, |job| {
            times[job.scenario].map(Duration::from_secs)
        })
    }

    #[rstest]
    #[case::as_the_files_have_it(Order::Files, &[Some(1), Some(9), Some(5)], &[0, 1, 2])]
    #[case::the_longest_first(Order::LongestFirst, &[Some(1), Some(9), Some(5)], &[1, 2, 0])]
    #[case::what_never_ran_before_all(Order::LongestFirst, &[Some(1), None, Some(9)], &[1, 2, 0])]
    #[case::equals_as_the_files_have_them(Order::LongestFirst, &[Some(1), Some(2), Some(2), Some(1)], &[1, 2, 0, 3])]
    #[case::nothing_ever_ran(Order::LongestFirst, &[None, None, None], &[0, 1, 2])]
    #[case::one(Order::Shuffled(7), &[None], &[0])]
    #[case::none(Order::Shuffled(7), &[], &[])]
    fn cases_begin(#[case] by: Order, #[case] times: &[Option<u64>], #[case] expected: &[usize]) {
        assert_eq!(order(by, times), expected);
    }

    /// Whoever was told a seed may use it with a later version.
    #[test]
    fn a_seed_means_the_same_for_ever() {
        let shuffled = order(Order::Shuffled(42), &[None; 10]);
        assert_eq!(shuffled, A_SEED_OF_42);
        assert_ne!(order(Order::Shuffled(43), &[None; 10]), shuffled);
    }

    const A_SEED_OF_42: [usize; 10] = [0, 9, 5, 8, 6, 4, 7, 2, 1, 3];

    #[test]
    fn a_shuffle_leaves_nothing_out_and_favours_nobody() {
        let mut first = [0; 4];
        for seed in 0..4000 {
            let mut shuffled = order(Order::Shuffled(seed), &[None; 4]);
            first[shuffled[0]] += 1;
            shuffled.sort_unstable();
            assert_eq!(shuffled, [0, 1, 2, 3]);
        }
        assert!(
            first.iter().all(|count| (900..1100).contains(count)),
            "{first:?}"
        );
    }

    #[rstest]
    #[case::by_processors(2, Some(64_000), 128, 2)]
    #[case::by_memory(8, Some(1_000), 320, 3)]
    #[case::too_little_memory_for_one(8, Some(100), 320, 1)]
    #[case::nobody_knows_the_memory(8, None, 320, 8)]
    fn as_many_run_side_by_side_as_fit(
        #[case] processors: usize,
        #[case] available: Option<u64>,
        #[case] largest: u64,
        #[case] expected: u32,
    ) {
        assert_eq!(side_by_side(processors, available, largest).get(), expected);
    }

    #[rstest]
    #[case::there_is_room(2, Some(384), 1)]
    #[case::there_is_none(2, Some(383), 0)]
    #[case::nobody_knows(2, None, 0)]
    fn one_is_started_ahead_where_memory_allows(
        #[case] jobs: u32,
        #[case] available: Option<u64>,
        #[case] expected: usize,
    ) {
        let jobs = NonZeroU32::new(jobs).unwrap();
        assert_eq!(ahead(jobs, available, 128), expected);
    }

    #[rstest]
    #[case::restored(256, false, 128)]
    #[case::small(32, false, 96)]
    #[case::cold(256, true, 320)]
    fn a_guest_costs(#[case] memory: u32, #[case] cold: bool, #[case] expected: u64) {
        assert_eq!(cost(memory, cold), expected);
    }
}
