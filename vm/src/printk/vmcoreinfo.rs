//! What a kernel says of itself for those who read its memory: symbols, sizes, offsets.

use std::collections::HashMap;

use crate::printk::LogError;

/// The longest note that is read; the kernel's is a page and its header (`VMCOREINFO_NOTE_SIZE`).
const MOST_BYTES: u64 = 64 << 10;

/// Where a kernel's vmcoreinfo lies in its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotePlace {
    pub(crate) address: u64,
    pub(crate) length: u64,
}

impl NotePlace {
    /// Reads what /sys/kernel/vmcoreinfo says: address and size, both hexadecimal.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.trim().split_once(' ')?;
        let hexadecimal = |text: &str| {
            let digits = text.trim_start_matches("0x");
            u64::from_str_radix(digits, 16).ok()
        };
        let place = Self {
            address: hexadecimal(address)?,
            length: hexadecimal(length)?,
        };
        (place.length <= MOST_BYTES).then_some(place)
    }
}

/// The lines of a vmcoreinfo, by what stands before `=`.
#[derive(Debug)]
pub(super) struct Vmcoreinfo(HashMap<String, String>);

impl Vmcoreinfo {
    /// Parses the ELF note that holds it.
    pub(super) fn parse(note: &[u8]) -> Result<Self, LogError> {
        const NAME: &[u8] = b"VMCOREINFO\0";
        let torn = LogError::Torn("there is no vmcoreinfo");
        let is_it = note.get(12..).is_some_and(|rest| rest.starts_with(NAME));
        let Some(text) = note.get(24..).filter(|_| is_it) else {
            return Err(torn);
        };
        let end = text.iter().position(|byte| *byte == 0);
        let text = String::from_utf8_lossy(&text[..end.unwrap_or(text.len())]);
        let lines = text.lines().filter_map(|line| line.split_once('='));
        Ok(Self(
            lines
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        ))
    }

    fn number(&self, key: String, radix: u32) -> Result<u64, LogError> {
        let value = self.0.get(&key).map(String::as_str).unwrap_or_default();
        let negative = value.strip_prefix('-');
        match u64::from_str_radix(negative.unwrap_or(value), radix) {
            Ok(value) if negative.is_some() => Ok(value.wrapping_neg()),
            Ok(value) => Ok(value),
            Err(_) => Err(LogError::Unsaid(key)),
        }
    }

    /// The virtual address of a symbol.
    pub(super) fn symbol(&self, name: &str) -> Result<u64, LogError> {
        self.number(format!("SYMBOL({name})"), 16)
    }

    /// A value; negative ones as their two's complement.
    pub(super) fn value(&self, name: &str) -> Result<u64, LogError> {
        self.number(format!("NUMBER({name})"), 10)
    }

    /// The size of a type.
    pub(super) fn size(&self, name: &str) -> Result<usize, LogError> {
        self.small(format!("SIZE({name})"))
    }

    /// The offset of a field, `printk_info.seq`.
    pub(super) fn offset(&self, name: &str) -> Result<usize, LogError> {
        self.small(format!("OFFSET({name})"))
    }

    /// The length of an array.
    pub(super) fn length(&self, name: &str) -> Result<usize, LogError> {
        self.small(format!("LENGTH({name})"))
    }

    /// No type of the log is larger than a page.
    fn small(&self, key: String) -> Result<usize, LogError> {
        let value = self.number(key.clone(), 10)?;
        let small = usize::try_from(value).ok().filter(|value| *value <= 4096);
        small.ok_or(LogError::Unsaid(key))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0x0000000005150000 1024\n", Some((0x515_0000, 0x1024)))]
    #[case("515000 24", Some((0x51_5000, 0x24)))]
    #[case("0x1000 ffffffff", None)]
    #[case("", None)]
    fn knows_where_the_note_lies(#[case] text: &str, #[case] place: Option<(u64, u64)>) {
        let place = place.map(|(address, length)| NotePlace { address, length });
        assert_eq!(NotePlace::parse(text), place);
    }

    #[test]
    fn reads_symbols_numbers_sizes_and_offsets() {
        let mut note = vec![0; 12];
        note.extend(b"VMCOREINFO\0\0");
        note.extend(b"SYMBOL(prb)=ffffffff82a6c2b8\nNUMBER(phys_base)=-4096\nSIZE(prb_desc)=24\nOFFSET(prb_desc.state_var)=0\nSIZE(huge)=4097\n\0\0\0");
        let info = Vmcoreinfo::parse(&note).unwrap();
        assert_eq!(info.symbol("prb").unwrap(), 0xffff_ffff_82a6_c2b8);
        assert_eq!(info.value("phys_base").unwrap(), 0_u64.wrapping_sub(4096));
        assert_eq!(info.size("prb_desc").unwrap(), 24);
        assert_eq!(info.offset("prb_desc.state_var").unwrap(), 0);
        assert!(info.size("huge").is_err());
        let error = info.symbol("nothing").unwrap_err().to_string();
        assert_eq!(
            error,
            "the kernel's vmcoreinfo does not say `SYMBOL(nothing)`"
        );
    }

    #[test]
    fn takes_nothing_else_for_a_note() {
        for note in [&b""[..], &[0; 24], &[0; 4096]] {
            assert!(Vmcoreinfo::parse(note).is_err());
        }
    }
}
