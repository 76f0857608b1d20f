//! What printk puts before each line of a record on a console.

use std::time::Duration;

/// `<PRI>[   12.882688][    T1] `, each part where the kernel is so configured (`printk.c`, `info_print_prefix`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Prefix {
    /// `console_msg_format=syslog`: facility times 8 plus level.
    pub(crate) priority: Option<u32>,
    /// `printk.time`: since boot; whole microseconds.
    pub(crate) timestamp: Option<Duration>,
    /// `CONFIG_PRINTK_CALLER`: `T1` or `C0`.
    pub(crate) caller: Option<String>,
}

/// Which parts a prefix has; a kernel gives the same ones to every line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Style {
    pub(crate) priority: bool,
    pub(crate) timestamp: bool,
    pub(crate) caller: bool,
}

impl Prefix {
    /// Parses the prefix at the start of `line`; says how long it is, too. No prefix is an empty one.
    pub(crate) fn parse(line: &[u8]) -> (Self, usize) {
        let mut prefix = Self::default();
        let mut rest = line;
        if let Some((priority, tail)) =
            bracketed(rest, b'<', b'>').and_then(|(inside, tail)| Some((number(inside)?, tail)))
        {
            prefix.priority = u32::try_from(priority).ok();
            rest = tail;
        }
        if let Some((timestamp, tail)) =
            bracketed(rest, b'[', b']').and_then(|(inside, tail)| Some((timestamp(inside)?, tail)))
        {
            prefix.timestamp = Some(timestamp);
            rest = tail;
        }
        if let Some((caller, tail)) =
            bracketed(rest, b'[', b']').and_then(|(inside, tail)| Some((caller(inside)?, tail)))
        {
            prefix.caller = Some(caller);
            rest = tail;
        }
        if prefix.timestamp.is_some() || prefix.caller.is_some() {
            match rest.strip_prefix(b" ") {
                Some(tail) => rest = tail,
                // Without its space it is none.
                None => return (Self::default(), 0),
            }
        }
        (prefix, line.len() - rest.len())
    }

    pub(crate) fn style(&self) -> Style {
        Style {
            priority: self.priority.is_some(),
            timestamp: self.timestamp.is_some(),
            caller: self.caller.is_some(),
        }
    }

    /// As the kernel writes it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::new();
        if let Some(priority) = self.priority {
            text += &format!("<{priority}>");
        }
        if let Some(timestamp) = self.timestamp {
            text += &format!(
                "[{:5}.{:06}]",
                timestamp.as_secs(),
                timestamp.subsec_micros()
            );
        }
        if let Some(caller) = &self.caller {
            text += &format!("[{caller:>6}]");
        }
        if self.timestamp.is_some() || self.caller.is_some() {
            text.push(' ');
        }
        text.into_bytes()
    }
}

/// What stands between `open`, which `text` must begin with, and the next `close`; and what follows.
fn bracketed(text: &[u8], open: u8, close: u8) -> Option<(&[u8], &[u8])> {
    let inside = text.strip_prefix(&[open])?;
    let end = inside.iter().take(24).position(|byte| *byte == close)?;
    Some((&inside[..end], &inside[end + 1..]))
}

fn number(digits: &[u8]) -> Option<u64> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| plain)?
        .parse()
        .ok()
}

/// `%5lu.%06lu`
fn timestamp(inside: &[u8]) -> Option<Duration> {
    let dot = inside.iter().position(|byte| *byte == b'.')?;
    let (seconds, microseconds) = (&inside[..dot], &inside[dot + 1..]);
    if seconds.len() < 5 || microseconds.len() != 6 {
        return None;
    }
    let duration = Duration::new(
        number(seconds.trim_ascii_start())?,
        u32::try_from(number(microseconds)?).ok()? * 1000,
    );
    Some(duration)
}

/// `%6s` of `T1` or `C0`.
fn caller(inside: &[u8]) -> Option<String> {
    let (kind, digits) = inside.trim_ascii_start().split_first()?;
    let known = inside.len() >= 6 && matches!(kind, b'T' | b'C');
    number(digits).filter(|_| known)?;
    std::str::from_utf8(inside.trim_ascii_start())
        .ok()
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::proptest;
    use rstest::rstest;

    use super::*;

    const AT: Option<Duration> = Some(Duration::from_micros(12_882_688));

    #[rstest]
    #[case::none("Floppy drive(s)", Prefix::default())]
    #[case::time("[   12.882688] ", Prefix { timestamp: AT, ..Prefix::default() })]
    #[case::zero("[    0.000000] ", Prefix { timestamp: Some(Duration::ZERO), ..Prefix::default() })]
    #[case::days("[123456.000001] ", Prefix { timestamp: Some(Duration::from_micros(123_456_000_001)), ..Prefix::default() })]
    #[case::caller("[   12.882688][    T1] ", Prefix { timestamp: AT, caller: Some("T1".into()), ..Prefix::default() })]
    #[case::caller_only("[    C0] ", Prefix { caller: Some("C0".into()), ..Prefix::default() })]
    #[case::syslog("<6>[   12.882688] ", Prefix { priority: Some(6), timestamp: AT, ..Prefix::default() })]
    #[case::syslog_only("<14>", Prefix { priority: Some(14), ..Prefix::default() })]
    fn parses_and_writes(#[case] text: &str, #[case] prefix: Prefix) {
        let written = prefix.to_bytes();
        let (parsed, length) = Prefix::parse(text.as_bytes());
        assert_eq!((&parsed, length), (&prefix, written.len()));
        assert!(text.as_bytes().starts_with(&written));
    }

    #[rstest]
    #[case::no_space("[   12.882688]x")]
    #[case::short_fraction("[   12.88268] x")]
    #[case::narrow("[12.882688] x")]
    #[case::text("[drm] x")]
    #[case::open("[   12.882688")]
    fn takes_for_text(#[case] line: &str) {
        assert_eq!(Prefix::parse(line.as_bytes()), (Prefix::default(), 0));
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let (_, length) = Prefix::parse(&bytes);
            assert!(length <= bytes.len());
        }
    }
}
