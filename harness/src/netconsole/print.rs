//! A record as the kernel prints it to a console without extended headers.

use crate::netconsole::{
    prefix::{Prefix, Style},
    record::Record,
};

/// The buffers that kernels print into: 1024 bytes in 6.1, 2048 in 6.12 (`printk.c`, `CONSOLE_LOG_MAX`,
/// `PRINTK_MESSAGE_MAX`).
const OLD: usize = 1024;
const NEW: usize = 2048;

/// The size of the buffer that a kernel of this release prints into; both sizes where it is not known.
pub(crate) fn buffers(release: Option<&str>) -> &'static [usize] {
    let mut numbers = release
        .unwrap_or_default()
        .split(['.', '-', '+'])
        .map(|number| number.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) if (major, minor) <= (6, 1) => &[OLD],
        (Some(major), Some(minor)) if (major, minor) >= (6, 5) => &[NEW],
        // It changed somewhere in between.
        _ => &[NEW, OLD],
    }
}

/// The bytes that a basic message of this record has: every line prefixed, a newline at its end.
///
/// Follows `record_print_text` of `printk.c`, also in what it leaves out where `buffer` is full: whole lines at the end.
pub(crate) fn print(record: &Record, style: Style, buffer: usize) -> Vec<u8> {
    let prefix = prefix(record, style).to_bytes();
    let mut printed = Vec::new();
    let mut rest = record.text.as_slice();
    let mut truncated = false;
    loop {
        let newline = rest.iter().position(|byte| *byte == b'\n');
        if newline.is_none() && truncated {
            break;
        }
        let line = newline.unwrap_or(rest.len());
        if printed.len() + prefix.len() + rest.len() + 2 > buffer {
            if printed.len() + prefix.len() + line + 2 > buffer {
                break;
            }
            rest = &rest[..buffer - printed.len() - prefix.len() - 2];
            truncated = true;
        }
        printed.extend_from_slice(&prefix);
        printed.extend_from_slice(&rest[..line]);
        printed.push(b'\n');
        if line == rest.len() {
            break;
        }
        rest = &rest[line + 1..];
    }
    printed
}

/// The prefix of each of the record's lines.
pub(crate) fn prefix(record: &Record, style: Style) -> Prefix {
    Prefix {
        priority: style.priority.then(|| record.header.priority()),
        timestamp: style.timestamp.then_some(record.header.timestamp),
        caller: record.header.caller.clone().filter(|_| style.caller),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const TIME: Style = Style {
        priority: false,
        timestamp: true,
        caller: false,
    };

    fn record(text: &str) -> Record {
        Record::parse(
            format!(
                "14,412,12882688,-,caller=T1;{}\n",
                text.replace('\n', "\\x0a")
            )
            .as_bytes(),
        )
        .unwrap()
    }

    #[rstest]
    #[case::time("a", TIME, "[   12.882688] a\n")]
    #[case::nothing("a", Style::default(), "a\n")]
    #[case::all("a", Style { priority: true, timestamp: true, caller: true }, "<14>[   12.882688][    T1] a\n")]
    #[case::lines("a\nb", TIME, "[   12.882688] a\n[   12.882688] b\n")]
    #[case::empty("", TIME, "[   12.882688] \n")]
    #[case::ends_with_a_newline("a\n", TIME, "[   12.882688] a\n[   12.882688] \n")]
    fn prints(#[case] text: &str, #[case] style: Style, #[case] printed: &str) {
        assert_eq!(
            String::from_utf8(print(&record(text), style, 2048)).unwrap(),
            printed
        );
    }

    #[rstest]
    #[case(Some("6.1.0-56-amd64"), &[1024])]
    #[case(Some("5.10.0"), &[1024])]
    #[case(Some("6.12.117+deb12-amd64"), &[2048])]
    #[case(Some("7.3-rc1"), &[2048])]
    #[case(Some("6.3.1"), &[2048, 1024])]
    #[case(None, &[2048, 1024])]
    fn knows_the_buffers(#[case] release: Option<&str>, #[case] sizes: &[usize]) {
        assert_eq!(buffers(release), sizes);
    }

    #[test]
    fn leaves_out_whole_lines_where_the_buffer_is_full() {
        let printed = print(&record(&vec!["x"; 300].join("\n")), TIME, 1024);
        assert!(printed.len() <= 1023, "{}", printed.len());
        assert_eq!(printed.len() % 17, 0);
        assert!(printed.len() > 1000);
    }

    #[test]
    fn never_prints_a_line_that_does_not_fit() {
        assert_eq!(print(&record(&"x".repeat(1020)), TIME, 1024), b"");
        assert_eq!(print(&record(&"x".repeat(1007)), TIME, 1024).len(), 1023);
    }
}
