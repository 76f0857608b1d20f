//! Words as a shell reads them.

/// `word` so that a shell reads it as one word: as it is where it can be, else in single quotes.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@%+=:,./_-".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::parameter("6665@10.0.0.1/eth0,6666@10.0.0.2/02:00:0a:00:00:02", None)]
    #[case::flags("+r@fd00::1/eth0.100,@fd00::2/", None)]
    #[case::two_targets("@/,@10.0.0.2/;@/,@10.0.0.3/", Some("'@/,@10.0.0.2/;@/,@10.0.0.3/'"))]
    #[case::empty("", Some("''"))]
    #[case::quote("e'h0", Some(r"'e'\''h0'"))]
    #[case::dollar("$x", Some("'$x'"))]
    fn is_one_word(#[case] word: &str, #[case] expected: Option<&str>) {
        assert_eq!(quoted(word), expected.unwrap_or(word));
    }
}
