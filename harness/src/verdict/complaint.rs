//! What a kernel says of a mistake of its own: that it oopses, meets a bug, or warns of one.
//!
//! Nothing is said here of processors and processes that hang: on a busy machine that is nobody's mistake.

use std::sync::LazyLock;

use regex::bytes::Regex;

use crate::{
    netconsole::{Record, escape::show_start},
    scenario::NodeIndex,
    verdict::{
        finding::{Finding, Findings, Kind},
        judge::Judge,
        matcher::Matcher,
    },
};

/// The kernel's own facility: what /dev/kmsg is given has another (`devkmsg_write`).
pub(crate) const KERNEL: u8 = 0;
/// How much of a complaint is told.
const SHOWN: usize = 120;

/// How oopses, bugs and warnings begin (`arch/x86/kernel/traps.c`, `arch/x86/mm/fault.c`, `kernel/panic.c`).
static HEAD: LazyLock<Regex> = LazyLock::new(|| {
    beginning_with(&[
        r"BUG: [^w]",
        r"kernel BUG at ",
        r"Oops: ",
        r"general protection fault",
        r"[a-z][a-z ]*: [0-9a-f]{4} \[#[0-9]+\]",
        r"WARNING: .* at .*\+0x[0-9a-f]+/0x",
        r"UBSAN: ",
    ])
});

/// Where processors and processes hang.
static HANG: LazyLock<Regex> = LazyLock::new(|| {
    beginning_with(&[
        r"watchdog: BUG: soft lockup",
        r"rcu: INFO: rcu_[a-z_]* (?:self-)?detected",
        r"INFO: task .* blocked for more than",
        r"NMI watchdog: Watchdog detected hard LOCKUP",
    ])
});

fn beginning_with(heads: &[&str]) -> Regex {
    Regex::new(&format!("^(?:{})", heads.join("|"))).expect("the expression is a constant")
}

/// Whether a record is the first line of a complaint.
pub(crate) fn is_complaint(record: &Record) -> bool {
    record.header.facility == KERNEL && HEAD.is_match(&record.text)
}

/// Whether a record says that something hangs.
pub(crate) fn is_hang(record: &Record) -> bool {
    record.header.facility == KERNEL && HANG.is_match(&record.text)
}

/// Finds what the kernel of a sender complained of since it was ready, unless a step makes it complain or an
/// expectation asks for just that line.
pub(crate) fn audit(judge: &Judge, sender: NodeIndex, findings: &mut Findings) {
    let (Some(log), Some(ready)) = (judge.logs.get(&sender), judge.ready.get(&sender)) else {
        return;
    };
    if judge.scene.tried.contains(&sender) {
        return;
    }
    let expected = Matcher::new(&judge.scene.expected);
    let is_expected = |text: &[u8]| {
        expected
            .first_in(text)
            .is_some_and(|start| start < place(text))
    };
    let unasked = log
        .after(*ready)
        .filter(|record| is_complaint(record) && !is_expected(&record.text));
    for record in unasked {
        let said = show_start(&record.text, SHOWN);
        let name = judge.scene.name(sender);
        let finding = Finding {
            kind: Kind::KernelComplained,
            sentence: format!(
                "the kernel of `{name}` complains, and no step asked for it: `{said}`"
            ),
            target: None,
            frames: Vec::new(),
            count: 1,
        };
        findings.add(&said, finding);
    }
}

/// Where a complaint comes to the file and the function that it happened in: what is found only from there on was not
/// meant by a line that is expected of, say, `netconsole`.
fn place(complaint: &[u8]) -> usize {
    let at = complaint.windows(4).position(|bytes| bytes == b" at ");
    at.unwrap_or(complaint.len())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::verdict::{
        Scene,
        kernel::{self, BOX, Kernel},
    };

    fn record(text: &str, priority: u8) -> Record {
        Record::parse(format!("{priority},1,2,-;{text}\n").as_bytes()).unwrap()
    }

    #[rstest]
    #[case::null("BUG: kernel NULL pointer dereference, address: 0000000000000000")]
    #[case::fault("BUG: unable to handle page fault for address: ffffffffc0a00000")]
    #[case::bug("kernel BUG at drivers/net/netconsole.c:12!")]
    #[case::oops("Oops: 0000 [#1] PREEMPT SMP NOPTI")]
    #[case::instruction("invalid opcode: 0000 [#1] PREEMPT SMP NOPTI")]
    #[case::stack("stack segment: 0000 [#1] PREEMPT SMP NOPTI")]
    #[case::protection(
        "general protection fault, probably for non-canonical address 0xdead: 0000 [#1]"
    )]
    #[case::atomic(
        "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:580"
    )]
    #[case::warning(
        "WARNING: CPU: 0 PID: 1 at /x/netconsole.c:924 init_netconsole+0x5/0x2dc [netconsole]"
    )]
    #[case::warning_since_6_19(
        "WARNING: drivers/net/netconsole.c:924 at init_netconsole+0x5/0x2dc, CPU#0: init/1"
    )]
    fn hears_a_complaint(#[case] text: &str) {
        assert!(is_complaint(&record(text, 4)));
        // What a program writes is no word of the kernel's.
        assert!(!is_complaint(&record(text, 12)));
    }

    #[rstest]
    #[case::advice("WARNING: Spectre v2 mitigation leaves CPU vulnerable at run time")]
    #[case::busy("BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 32s!")]
    #[case::soft("watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [init:1]")]
    #[case::line("FDC 0 is a S82078B")]
    #[case::code("RIP: 0010:init_netconsole+0x5/0x2dc [netconsole]")]
    fn hears_none(#[case] text: &str) {
        assert!(!is_complaint(&record(text, 4)));
    }

    /// What is found where a kernel, once it is ready, oopses, and something else is expected.
    #[rstest]
    #[case::nobody_asked(|_: &mut Scene| {}, 1)]
    #[case::a_step_makes_it(|scene: &mut Scene| scene.tried.extend([BOX]), 0)]
    #[case::the_line_is_expected(|scene: &mut Scene| scene.expected = vec![kernel::line("NULL pointer")], 0)]
    #[case::another_is_expected(|scene: &mut Scene| scene.expected = vec![kernel::line("hello")], 1)]
    #[case::its_place_is_expected(|scene: &mut Scene| scene.expected = vec![kernel::line("mutex.c")], 1)]
    fn finds_a_complaint_that_nobody_asked_for(
        #[case] change: fn(&mut Scene),
        #[case] found: usize,
    ) {
        let mut judge = Kernel::new().judge;
        change(&mut judge.scene);
        let said = |sequence: u64, text: &str| {
            Record::parse(format!("1,{sequence},{sequence},-;{text}\n").as_bytes()).unwrap()
        };
        judge.log(BOX, said(1, "Oops: 0000 [#1] while it boots"));
        judge.is_ready(BOX);
        judge.log(
            BOX,
            said(2, "BUG: kernel NULL pointer dereference at mutex.c:580"),
        );
        let mut findings = Findings::default();
        audit(&judge, BOX, &mut findings);
        assert_eq!(findings.list().len(), found, "{findings:?}");
    }

    #[test]
    fn hears_that_something_hangs() {
        assert!(is_hang(&record(
            "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [init:1]",
            0
        )));
        assert!(!is_hang(&record("FDC 0 is a S82078B", 6)));
    }
}
