//! How much memory is left on this machine, or in the control group that the program runs in.

use std::fs;

/// What is available in MiB; none where the system does not tell.
pub(crate) fn available() -> Option<u64> {
    let read = |path: &str| fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| of_machine(&text));
    let group = read("/sys/fs/cgroup/memory.max")
        .zip(read("/sys/fs/cgroup/memory.current"))
        .or_else(|| {
            let folder = "/sys/fs/cgroup/memory/memory";
            read(&format!("{folder}.limit_in_bytes")).zip(read(&format!("{folder}.usage_in_bytes")))
        })
        .and_then(|(limit, used)| of_group(&limit, &used));
    machine.into_iter().chain(group).min()
}

/// `MemAvailable` of /proc/meminfo, in MiB.
fn of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes >> 10)
}

/// What a group's limit leaves, in MiB; none where it has no limit. Its page cache counts as used, though it can be had.
fn of_group(limit: &str, used: &str) -> Option<u64> {
    let limit: u64 = limit.trim().parse().ok()?;
    let used: u64 = used.trim().parse().ok()?;
    Some(limit.saturating_sub(used) >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("MemTotal:  100 kB\nMemAvailable:    20480 kB\n", Some(20))]
    #[case("MemTotal:  100 kB\n", None)]
    #[case("MemAvailable:   many kB\n", None)]
    fn the_machine_tells_what_is_available(#[case] meminfo: &str, #[case] expected: Option<u64>) {
        assert_eq!(of_machine(meminfo), expected);
    }

    #[rstest]
    #[case("1073741824\n", "536870912\n", Some(512))]
    #[case("max\n", "536870912\n", None)]
    #[case("1048576\n", "2097152\n", Some(0))]
    fn a_group_tells_what_is_left(
        #[case] limit: &str,
        #[case] used: &str,
        #[case] expected: Option<u64>,
    ) {
        assert_eq!(of_group(limit, used), expected);
    }
}
