//! Lines and datagrams that the harness itself sends, so that it can tell when something is over.

/// The text of marker `number`; written to /dev/kmsg at level 0 it passes every console level.
pub(crate) fn marker(token: &str, number: u64) -> String {
    format!("lastwords-marker {token} {number}")
}

/// The payload of probe `number`: a UDP datagram that the harness puts on the wire behind a marker's frame.
pub(crate) fn probe(token: &str, number: u64) -> Vec<u8> {
    format!("lastwords-probe {token} {number}").into_bytes()
}

/// Probes that were sent together, one by each sender: by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probes {
    first: u64,
    last: u64,
}

impl Probes {
    /// From the `first` number to the `last`.
    pub(crate) fn new(first: u64, last: u64) -> Self {
        Self { first, last }
    }

    pub(crate) fn numbers(self) -> std::ops::RangeInclusive<u64> {
        self.first..=self.last
    }
}

/// The number of the marker that `text` is; a text that only holds one is none.
pub(crate) fn marker_number(token: &str, text: &[u8]) -> Option<u64> {
    number_behind(b"lastwords-marker ", token, text)
}

/// The number of the probe that `payload` is.
pub(crate) fn probe_number(token: &str, payload: &[u8]) -> Option<u64> {
    number_behind(b"lastwords-probe ", token, payload)
}

fn number_behind(word: &[u8], token: &str, bytes: &[u8]) -> Option<u64> {
    let digits = bytes
        .strip_prefix(word)?
        .strip_prefix(token.as_bytes())?
        .strip_prefix(b" ")?;
    let plain = digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| plain)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn knows_its_own() {
        assert_eq!(marker_number("ab12", marker("ab12", 7).as_bytes()), Some(7));
        assert_eq!(probe_number("ab12", &probe("ab12", 7)), Some(7));
    }

    #[rstest]
    #[case::glued("x lastwords-marker ab12 7")]
    #[case::more("lastwords-marker ab12 7 x")]
    #[case::other_run("lastwords-marker ab13 7")]
    #[case::sign("lastwords-marker ab12 +7")]
    #[case::none("lastwords-marker ab12 ")]
    #[case::probe("lastwords-probe ab12 7")]
    fn takes_nothing_else(#[case] text: &str) {
        assert_eq!(marker_number("ab12", text.as_bytes()), None);
    }
}
