//! Bytes as text: the kernel's `\xNN`, and how hostile bytes are shown to a person.

use std::fmt::Write;

/// Takes the kernel's escapes away (`printk.c`, `msg_add_ext_text`): `\xNN` becomes its byte.
///
/// Total: a backslash that begins no escape, as where the kernel's buffer ended within one, stands for itself.
pub(crate) fn unescape(escaped: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((&first, tail)) = rest.split_first() {
        match escape_at(rest) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    bytes
}

/// The byte that an escape at the very start of `bytes` stands for.
fn escape_at(bytes: &[u8]) -> Option<u8> {
    let [b'\\', b'x', high, low, ..] = bytes else {
        return None;
    };
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .filter(|_| !byte.is_ascii_uppercase())
    };
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

/// Whether `text` is as the kernel escapes it: printable ASCII, a backslash only in an escape.
pub(crate) fn is_escaped(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        rest = match first {
            b'\\' if escape_at(rest).is_some() => &rest[4..],
            b'\\' => return false,
            b' '..=b'~' => tail,
            _ => return false,
        };
    }
    true
}

/// Shows bytes in one line that no terminal, no XML and no reader can take for anything else.
///
/// Printable characters stand for themselves; all others, a backslash included, are escaped.
pub(crate) fn show(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            show_character(character, &mut shown);
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// [`show`], of a text that may be long: cut after `most` bytes, the rest as a count.
pub(crate) fn show_start(bytes: &[u8], most: usize) -> String {
    match bytes.get(..most) {
        Some(start) if bytes.len() > most => {
            format!("{}… ({} bytes more)", show(start), bytes.len() - most)
        }
        Some(_) | None => show(bytes),
    }
}

fn show_character(character: char, shown: &mut String) {
    let tricks = matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{ffff}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{10ffff}' | '\u{61c}');
    match character {
        '\n' => shown.push_str("\\n"),
        '\t' => shown.push_str("\\t"),
        '\\' => shown.push_str("\\\\"),
        '\0'..='\x7f' if character.is_control() => {
            let _ = write!(shown, "\\x{:02x}", u32::from(character));
        }
        _ if tricks || character.is_control() => {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(character));
        }
        _ => shown.push(character),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::acpi(
        br"ACPI: \x5c_SB_.LNKC: Enabled at IRQ 11",
        br"ACPI: \_SB_.LNKC: Enabled at IRQ 11"
    )]
    #[case::lines(br"L1\x0aL2\x0aL3", b"L1\nL2\nL3")]
    #[case::cut_within(br"abc\x0", br"abc\x0")]
    #[case::no_escape(br"a\nb\", br"a\nb\")]
    #[case::upper_case_is_none(br"\x0A", br"\x0A")]
    #[case::an_escaped_backslash_begins_no_escape(br"\x5cx41", br"\x41")]
    fn unescapes(#[case] escaped: &[u8], #[case] bytes: &[u8]) {
        assert_eq!(unescape(escaped), bytes);
    }

    #[rstest]
    #[case::plain(b"ext one", true)]
    #[case::escape(br"a\x09b", true)]
    #[case::backslash(br"a\b", false)]
    #[case::newline(b"a\nb", false)]
    #[case::delete(b"a\x7f", false)]
    #[case::high(b"\xc3\xa4", false)]
    fn knows_what_the_kernel_would_have_escaped(#[case] text: &[u8], #[case] escaped: bool) {
        assert_eq!(is_escaped(text), escaped);
    }

    #[rstest]
    #[case::plain("fd0 is 1.44M".as_bytes(), "fd0 is 1.44M")]
    #[case::umlaut("für".as_bytes(), "für")]
    #[case::terminal(b"\x1b[31mred", "\\x1b[31mred")]
    #[case::not_utf8(b"a\xffb", "a\\xffb")]
    #[case::bidirectional("a\u{202e}b".as_bytes(), "a\\u{202e}b")]
    #[case::no_xml("\u{fffe}".as_bytes(), "\\u{fffe}")]
    #[case::newline(b"a\nb\\", "a\\nb\\\\")]
    fn shows_hostile_bytes(#[case] bytes: &[u8], #[case] shown: &str) {
        assert_eq!(show(bytes), shown);
    }

    #[test]
    fn says_how_much_it_left_out() {
        assert_eq!(show_start(b"abcdef", 4), "abcd… (2 bytes more)");
        assert_eq!(show_start(b"abcd", 4), "abcd");
    }
}
