//! Words of a module's parameters and of the kernel's command line, split as the kernel splits them
//! (`lib/cmdline.c`, `next_arg`).

/// The value of `key` in `text`, the last one where it is there more than once: a later one takes the place of an
/// earlier one.
pub(crate) fn value_of(key: &str, text: &str) -> Option<String> {
    let mut values = words(text).into_iter().filter_map(|word| {
        let (name, value) = word.split_once('=')?;
        (name.replace('-', "_") == key).then(|| unquoted(value).to_owned())
    });
    values.next_back()
}

/// `KEY=VALUE` as one word, quoted where a blank would end it.
pub(crate) fn word(key: &str, value: &str) -> String {
    if value.contains(char::is_whitespace) {
        format!("{key}=\"{value}\"")
    } else {
        format!("{key}={value}")
    }
}

/// What blanks part that are not between quotes.
fn words(text: &str) -> Vec<&str> {
    let mut quoted = false;
    let is_end = |letter: char| {
        quoted ^= letter == '"';
        letter.is_whitespace() && !quoted
    };
    let words = text.split(is_end).filter(|word| !word.is_empty());
    words.map(unquoted).collect()
}

fn unquoted(text: &str) -> &str {
    let inner = text.strip_prefix('"');
    inner.map_or(text, |inner| inner.strip_suffix('"').unwrap_or(inner))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::alone("netconsole=@/,@10.0.0.2/", Some("@/,@10.0.0.2/"))]
    #[case::among_others("oops_only=1 netconsole=a quiet", Some("a"))]
    #[case::quoted_value("netconsole=\"a b\" c", Some("a b"))]
    #[case::quoted_word("\"netconsole=a b\" c", Some("a b"))]
    #[case::several_targets("netconsole=a;b", Some("a;b"))]
    #[case::the_last_counts("netconsole=a netconsole=b", Some("b"))]
    #[case::misspelt("netconsol=a", None)]
    #[case::of_another("netconsole.netconsole=a", None)]
    fn finds_a_value(#[case] text: &str, #[case] value: Option<&str>) {
        assert_eq!(value_of("netconsole", text).as_deref(), value);
    }

    #[rstest]
    #[case::plain("a;b", "netconsole=a;b")]
    #[case::with_a_blank("a b", "netconsole=\"a b\"")]
    fn quotes_what_a_blank_would_end(#[case] value: &str, #[case] quoted: &str) {
        assert_eq!(word("netconsole", value), quoted);
        assert_eq!(value_of("netconsole", quoted).as_deref(), Some(value));
    }
}
