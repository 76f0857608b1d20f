//! Netconsole modules that bring their kernel down, or to complain, as soon as they are loaded: the stock module, with
//! other bytes at the beginning of its init function.

use std::{fs, path::PathBuf};

use rstest::rstest;

use crate::home::{HELLO, Home, kernel_folder, said};

/// The stock module's file.
fn stock() -> Vec<u8> {
    let path = kernel_folder().join("modules/kernel/drivers/net/netconsole.ko");
    fs::read(path).unwrap()
}

/// Without its signature, which a changed module would not fit (`scripts/sign-file.c`: the signature, 12 bytes of which
/// the last four are its length, a word).
fn unsigned(mut module: Vec<u8>) -> Vec<u8> {
    let word = b"~Module signature appended~\n";
    if module.ends_with(word) {
        let end = module.len() - word.len();
        let length = u32::from_be_bytes(module[end - 4..end].try_into().unwrap());
        module.truncate(end - 12 - usize::try_from(length).unwrap());
    }
    module
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> usize {
    let mut number = [0; 8];
    number[..N].copy_from_slice(&bytes[at..at + N]);
    usize::try_from(u64::from_le_bytes(number)).unwrap()
}

/// Where in an ELF file the section `.init.text` begins, which is where init_netconsole does (elf(5)).
fn init(module: &[u8]) -> usize {
    let (headers, size) = (number::<8>(module, 40), number::<2>(module, 58));
    let header = |index: usize| headers + index * size;
    let offset = |index: usize| number::<8>(module, header(index) + 24);
    let names = offset(number::<2>(module, 62));
    let is_init = |index: &usize| {
        let name = names + number::<4>(module, header(*index));
        module[name..].starts_with(b".init.text\0")
    };
    let found = (0..number::<2>(module, 60)).find(is_init);
    offset(found.expect("a module has .init.text"))
}

/// The stock module with `code` so many bytes into its init function.
fn broken(home: &Home, at: usize, code: &[u8]) -> PathBuf {
    let mut module = unsigned(stock());
    let at = init(&module) + at;
    module[at..at + code.len()].copy_from_slice(code);
    // Its own name, not that of its file, says what it is.
    let path = home.work().join("changed.ko");
    fs::write(&path, module).unwrap();
    path
}

/// Behind the call of ftrace's.
const CODE: usize = 5;

#[rstest]
#[case::oopses(CODE, &[0x31, 0xc0, 0x48, 0x8b, 0x00], &[
    "the kernel died: `BUG: kernel NULL pointer dereference, address: 0000000000000000`",
    "`Kernel panic - not syncing: Attempted to kill init!",
])]
#[case::meets_a_bug(CODE, &[0x0f, 0x0b], &[
    "the kernel died: `invalid opcode: 0000 [#1]",
    "`Kernel panic - not syncing: Attempted to kill init!",
])]
// A `mov` where ftrace has its call.
#[case::has_the_kernel_warn(0, &[0xb8], &[
    "the kernel of `sender` complains, and no step asked for it: `WARNING: CPU: 0 PID: 1 at kernel/trace/ftrace.c",
])]
fn fails_whose_init(#[case] at: usize, #[case] code: &[u8], #[case] sentences: &[&str]) {
    let home = Home::shared();
    let module = broken(&home, at, code);
    let arguments = ["--cold", "--module", module.to_str().unwrap()];
    let (output, _) = said(&home.play(HELLO, &arguments).code(1));
    for sentence in sentences {
        assert!(output.contains(sentence), "{output}");
    }
    let again = format!("--kernel debian:6.1 --module {}\n", module.display());
    assert!(output.contains(&again), "{output}");
}

/// The module is loaded where the kernel notices soon that a processor hangs.
const LOADED: &str = r#"
title = "The module is loaded"
targets = []
[nodes]
sender = { role = "sender", sysctl = { "kernel.watchdog_thresh" = 1 } }
receiver = { role = "receiver" }
[[steps]]
load = "netconsole"
within = "8s"
"#;

#[test]
fn fails_whose_init_spins() {
    let home = Home::shared();
    let module = broken(&home, CODE, &[0xeb, 0xfe]);
    let arguments = ["--cold", "--module", module.to_str().unwrap()];
    let (output, _) = said(&home.play(LOADED, &arguments).code(1));
    let sentence = "the kernel did not answer within 8s, and says `watchdog: BUG: soft lockup - CPU#0 stuck for ";
    assert!(output.contains(sentence), "{output}");
}

/// That the changed ones fail is not for the way they are made.
#[test]
fn passes_what_is_not_broken() {
    let home = Home::shared();
    let module = broken(&home, 0, &[]);
    home.play(HELLO, &["--cold", "--module", module.to_str().unwrap()])
        .code(0);
}
