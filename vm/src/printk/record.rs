//! One record of a kernel's log as it lies in memory, and as /dev/kmsg would print it.

use crate::printk::{LogError, paging::number, vmcoreinfo::Vmcoreinfo};

/// It continues the record before it (`LOG_CONT`, `kernel/printk/printk.c`).
const CONTINUES: u8 = 8;
/// The uppermost bit of a caller's number tells a processor from a thread.
const PROCESSOR: u32 = 0x8000_0000;

/// One record of a kernel's log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogRecord {
    /// Counts all records of the kernel.
    pub sequence: u64,
    nanoseconds: u64,
    facility: u8,
    level: u8,
    continues: bool,
    caller: u32,
    text: Vec<u8>,
    subsystem: Vec<u8>,
    device: Vec<u8>,
}

/// Where the fields of `struct printk_info` lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) size: usize,
    pub(super) sequence: usize,
    pub(super) time: usize,
    /// Behind it: the facility, and a byte of flags and level.
    pub(super) length: usize,
    pub(super) caller: usize,
    /// Offset and length of the names of subsystem and device.
    pub(super) subsystem: (usize, usize),
    pub(super) device: (usize, usize),
}

impl Shape {
    pub(super) fn of(info: &Vmcoreinfo) -> Result<Self, LogError> {
        let device_info = info.offset("printk_info.dev_info")?;
        let name = |field: &str, length: &str| {
            let offset = device_info + info.offset(field)?;
            Ok::<_, LogError>((offset, info.length(length)?))
        };
        Ok(Self {
            size: info.size("printk_info")?,
            sequence: info.offset("printk_info.seq")?,
            time: info.offset("printk_info.ts_nsec")?,
            length: info.offset("printk_info.text_len")?,
            caller: info.offset("printk_info.caller_id")?,
            subsystem: name("dev_printk_info.subsystem", "printk_info_subsystem")?,
            device: name("dev_printk_info.device", "printk_info_device")?,
        })
    }

    /// A record with this text.
    pub(super) fn record(&self, info: &[u8], text: &[u8]) -> Option<LogRecord> {
        let byte = |offset: usize| info.get(offset).copied();
        let length = u16::from_le_bytes([byte(self.length)?, byte(self.length + 1)?]);
        let flags = byte(self.length + 3)?;
        let caller = *info.get(self.caller..)?.first_chunk()?;
        Some(LogRecord {
            sequence: number(info, self.sequence).ok()?,
            nanoseconds: number(info, self.time).ok()?,
            facility: byte(self.length + 2)?,
            level: flags >> 5,
            continues: flags & CONTINUES != 0,
            caller: u32::from_le_bytes(caller),
            text: text[..text.len().min(length.into())].to_vec(),
            subsystem: name(info, self.subsystem),
            device: name(info, self.device),
        })
    }
}

/// A name that ends at its first zero.
fn name(info: &[u8], (offset, length): (usize, usize)) -> Vec<u8> {
    let field = info.get(offset..offset + length).unwrap_or_default();
    let name = field.split(|byte| *byte == 0).next();
    name.unwrap_or_default().to_vec()
}

impl LogRecord {
    /// The record as one read(2) of /dev/kmsg gives it, cut at the `limit` of the kernel's buffer (`info_print_ext_header`,
    /// `msg_print_ext_body`). `with_caller`: the kernel was built to name the caller.
    #[must_use]
    pub fn kmsg(&self, with_caller: bool, limit: usize) -> String {
        let mut line = format!(
            "{},{},{},{}",
            (u32::from(self.facility) << 3) | u32::from(self.level),
            self.sequence,
            self.nanoseconds / 1000,
            if self.continues { 'c' } else { '-' }
        );
        if with_caller {
            let kind = if self.caller & PROCESSOR == 0 {
                'T'
            } else {
                'C'
            };
            line += &format!(",caller={kind}{}", self.caller & !PROCESSOR);
        }
        line.push(';');
        escape(&mut line, &self.text);
        line.push('\n');
        for (key, value) in [("SUBSYSTEM", &self.subsystem), ("DEVICE", &self.device)] {
            if !value.is_empty() {
                line += &format!(" {key}=");
                escape(&mut line, value);
                line.push('\n');
            }
        }
        // All of it is ASCII.
        line.truncate(limit);
        line
    }
}

fn escape(line: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        if (b' '..127).contains(&byte) && byte != b'\\' {
            line.push(char::from(byte));
        } else {
            line.push_str(&format!("\\x{byte:02x}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_the_kernel_does() {
        let record = LogRecord {
            sequence: 7,
            nanoseconds: 12_345_678,
            facility: 1,
            level: 4,
            text: b"a\\b\xff\n".to_vec(),
            ..LogRecord::default()
        };
        let plain = "12,7,12345,-;a\\x5cb\\xff\\x0a\n";
        assert_eq!(record.kmsg(false, 8192), plain);
        assert_eq!(record.kmsg(false, 15), &plain[..15]);
        let called = LogRecord {
            caller: PROCESSOR | 3,
            continues: true,
            text: Vec::new(),
            ..record
        };
        assert_eq!(called.kmsg(true, 8192), "12,7,12345,c,caller=C3;\n");
    }

    #[test]
    fn names_device_and_subsystem() {
        let record = LogRecord {
            subsystem: b"pci".to_vec(),
            device: b"+pci:0000:00:03.0".to_vec(),
            ..LogRecord::default()
        };
        let dictionary = " SUBSYSTEM=pci\n DEVICE=+pci:0000:00:03.0\n";
        assert_eq!(record.kmsg(false, 8192), format!("0,0,0,-;\n{dictionary}"));
    }
}
