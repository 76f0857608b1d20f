//! Debian's order of versions (deb-version(7)).

use std::cmp::Ordering;

/// Compares two versions as dpkg does.
pub(crate) fn compare(left: &str, right: &str) -> Ordering {
    let (left, right) = (split(left), split(right));
    left.epoch
        .cmp(&right.epoch)
        .then_with(|| compare_part(left.upstream, right.upstream))
        .then_with(|| compare_part(left.revision, right.revision))
}

struct Version<'a> {
    epoch: u64,
    upstream: &'a str,
    revision: &'a str,
}

fn split(version: &str) -> Version<'_> {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    Version {
        epoch: epoch.parse().unwrap_or(0),
        upstream,
        revision,
    }
}

/// Compares runs of other characters and runs of digits in turn.
fn compare_part(mut left: &str, mut right: &str) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        let (left_text, right_text) = (take(&mut left, false), take(&mut right, false));
        let (left_number, right_number) = (take(&mut left, true), take(&mut right, true));
        let order = compare_text(left_text, right_text)
            .then_with(|| compare_number(left_number, right_number));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// Cuts off the leading run of digits, or of anything else.
fn take<'a>(text: &mut &'a str, digits: bool) -> &'a str {
    let end = text
        .find(|letter: char| letter.is_ascii_digit() != digits)
        .unwrap_or(text.len());
    let (run, rest) = text.split_at(end);
    *text = rest;
    run
}

/// A tilde sorts before the end, the end before letters, letters before all else.
fn compare_text(left: &str, right: &str) -> Ordering {
    let weight = |letter: Option<char>| match letter {
        Some('~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => letter as i32,
        Some(letter) => letter as i32 + 256,
    };
    let (mut left, mut right) = (left.chars(), right.chars());
    loop {
        let (left, right) = (left.next(), right.next());
        let order = weight(left).cmp(&weight(right));
        if order != Ordering::Equal || (left.is_none() && right.is_none()) {
            return order;
        }
    }
}

fn compare_number(left: &str, right: &str) -> Ordering {
    let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::number("6.1.9-1", "6.1.10-1")]
    #[case::backport("6.12.117-1~deb12u1", "6.12.117-1")]
    #[case::backport_of_a_backport("6.12.117-1~bpo12+1", "6.12.117-1~deb12u1")]
    #[case::revision("6.1.192-1", "6.1.192-2")]
    #[case::epoch("9.9", "1:0.1")]
    #[case::candidate("7.1~rc2-1", "7.1-1")]
    #[case::letters_before_signs("1.0a", "1.0+")]
    #[case::end_before_letters("1.0", "1.0a")]
    #[case::longer_number("6.9", "6.10000000000000000000000000")]
    fn versions_stand_in_order(#[case] older: &str, #[case] newer: &str) {
        assert_eq!(compare(older, newer), Ordering::Less);
        assert_eq!(compare(newer, older), Ordering::Greater);
    }

    #[rstest]
    #[case::same("6.1.192-2", "6.1.192-2")]
    #[case::leading_zero("1.02", "1.2")]
    #[case::no_epoch("0:1.2", "1.2")]
    fn some_versions_are_equal(#[case] left: &str, #[case] right: &str) {
        assert_eq!(compare(left, right), Ordering::Equal);
    }
}
