//! Where the kernel's functions are.

use std::{
    fs::File,
    io::{self, Read},
};

use memchr::{memmem, memrchr};

use crate::kernel::Refusal;

/// No line of /proc/kallsyms is longer (`KSYM_NAME_LEN` is 512).
const LONGEST_LINE: usize = 1024;

/// The addresses of `names`, read up to the last of them: the whole of /proc/kallsyms takes a second under emulation.
pub(crate) fn find(names: &[String]) -> Result<Vec<u64>, Refusal> {
    const DOING: &str = "cat /proc/kallsyms";
    let found = search(names).map_err(|error| Refusal::by_kernel(DOING, &error))?;
    let missing = |name: &String| {
        let reason = format!("it does not say where `{name}` is");
        Refusal::ours(DOING, reason)
    };
    let found = found.into_iter().zip(names);
    found
        .map(|(address, name)| address.ok_or_else(|| missing(name)))
        .collect()
}

fn search(names: &[String]) -> io::Result<Vec<Option<u64>>> {
    let mut file = File::open("/proc/kallsyms")?;
    let mut found = vec![None; names.len()];
    let mut window = Vec::new();
    let mut piece = [0; 16 << 10];
    while found.contains(&None) {
        let length = file.read(&mut piece)?;
        if length == 0 {
            break;
        }
        window.extend_from_slice(&piece[..length]);
        for (found, name) in found.iter_mut().zip(names) {
            *found = found.or_else(|| address(&window, name));
        }
        let done = window.len().saturating_sub(LONGEST_LINE);
        window.drain(..done);
    }
    Ok(found)
}

/// The address on the line of `name`, as in `ffffffff81411e30 t version_proc_show`.
fn address(lines: &[u8], name: &str) -> Option<u64> {
    let end = memmem::find(lines, format!(" {name}\n").as_bytes())?;
    let start = memrchr(b'\n', &lines[..end]).map_or(0, |newline| newline + 1);
    let address = lines[start..end].split(|byte| *byte == b' ').next()?;
    let address = u64::from_str_radix(str::from_utf8(address).ok()?, 16);
    // A kernel that hides them says 0.
    address.ok().filter(|address| *address != 0)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const LINES: &[u8] = b"ffffffff81000000 T _text\nffffffff81411e30 t version_proc_show\n\
        ffffffff81411e70 t version_proc_show_not\n0000000000000000 T hidden\nffffffffc0001000 t msleep\t[floppy]\n";

    #[rstest]
    #[case("_text", Some(0xffff_ffff_8100_0000))]
    #[case("version_proc_show", Some(0xffff_ffff_8141_1e30))]
    #[case("proc_show", None)]
    #[case("hidden", None)]
    #[case("msleep", None)]
    fn finds_the_kernels_own(#[case] name: &str, #[case] at: Option<u64>) {
        assert_eq!(address(LINES, name), at);
    }
}
