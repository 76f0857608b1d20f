//! What stands around a parameter where it is written: a modprobe line, a line of modprobe.d, a kernel's command line.

use std::ops::Range;

use crate::param::Finding;

/// The parameter's name, and what ends it.
const NAME: &str = "netconsole=";

/// What the kernel keeps of its command line on x86 and arm64 (`COMMAND_LINE_SIZE`, with a zero behind it).
const LONGEST_CMDLINE: usize = 2047;

/// A parameter within a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where its value stands.
    pub(crate) value: Range<usize>,
    /// What is wrong around it, and where.
    pub(crate) findings: Vec<(Range<usize>, Finding)>,
}

/// Finds the parameter in what a user gives: the value alone, `netconsole=…`, a modprobe line, a line of modprobe.d, or
/// words of the kernel's command line.
pub(crate) fn find(text: &str) -> Found {
    match place_of_name(text) {
        Some(name) => named(text, name),
        None => bare(text),
    }
}

/// Where the parameter's name begins: at the start of a word, or behind the module's name and a dot, and in no comment.
fn place_of_name(text: &str) -> Option<usize> {
    let starts_a_word = |place: &usize| {
        let before = text[..*place].chars().next_back();
        let is_comment = text[start_of_line(text, *place)..]
            .trim_start()
            .starts_with('#');
        let is_start = |letter: char| letter.is_whitespace() || matches!(letter, '.' | '"' | '\'');
        before.is_none_or(is_start) && !is_comment
    };
    text.match_indices(NAME)
        .map(|(place, _)| place)
        .find(starts_a_word)
}

fn start_of_line(text: &str, place: usize) -> usize {
    text[..place].rfind('\n').map_or(0, |newline| newline + 1)
}

fn named(text: &str, name: usize) -> Found {
    let start = name + NAME.len();
    let before = text[..name].chars().next_back();
    let outer = before.filter(|letter| matches!(letter, '"' | '\''));
    let inner = text[start..]
        .chars()
        .next()
        .filter(|letter| matches!(letter, '"' | '\''));
    let start = start + inner.map_or(0, char::len_utf8);
    let rest = &text[start..];
    let length = match outer.or(inner) {
        Some(quote) => rest.find(quote),
        None => rest.find(char::is_whitespace),
    };
    let value = start..start + length.unwrap_or(rest.len());
    let mut findings = Vec::new();
    let line = start_of_line(text, name);
    let words: Vec<(usize, &str)> = words(&text[line..name])
        .map(|(place, word)| (line + place, word))
        .collect();
    match words.as_slice() {
        [(_, "options"), (place, module), ..] if *module != "netconsole" => {
            let text = format!("these are options of a module `{module}`");
            let finding = Finding::error("other-module", text).help("write `options netconsole`");
            findings.push((*place..place + module.len(), finding));
        }
        [.., (_, "modprobe" | "insmod"), _]
            if outer.or(inner).is_none() && text[value.clone()].contains(';') =>
        {
            let text = "a shell ends the command at a `;` without quotes";
            let finding = Finding::warning("unquoted", text).help("put the parameter in quotes");
            findings.push((value.clone(), finding));
        }
        _ => {}
    }
    findings.extend(too_long(text, before));
    Found { value, findings }
}

/// `netconsole.netconsole=` stands on the kernel's command line only, which is cut without a word.
fn too_long(text: &str, before: Option<char>) -> Option<(Range<usize>, Finding)> {
    let line = text.trim();
    let start = text.len() - text.trim_start().len();
    let kept = line.char_indices().map(|(place, _)| place);
    let cut = kept.take_while(|place| *place <= LONGEST_CMDLINE).last()?;
    if before != Some('.') || line.len() <= LONGEST_CMDLINE {
        return None;
    }
    let text = format!(
        "the command line has {} bytes, the kernel keeps {LONGEST_CMDLINE} and says nothing of the rest",
        line.len()
    );
    let finding = Finding::error("cmdline-too-long", text);
    let finding = finding.help("leave words out, or put the parameter into /etc/modprobe.d");
    Some((start + cut..start + line.len(), finding))
}

fn bare(text: &str) -> Found {
    let trimmed = text.trim();
    let start = text.len() - text.trim_start().len();
    let quoted = ['"', '\''].iter().find_map(|quote| {
        let inner = trimmed.strip_prefix(*quote)?.strip_suffix(*quote)?;
        Some(start + 1..start + 1 + inner.len())
    });
    let value = quoted.unwrap_or(start..start + trimmed.len());
    let first = words(text).next();
    let mut findings = Vec::new();
    if let Some((place, word @ ("options" | "modprobe"))) = first {
        let help = format!("write `{word} netconsole netconsole=…`");
        let finding = Finding::error("no-parameter", "there is no `netconsole=` in it").help(help);
        findings.push((place..text.len(), finding));
    }
    Found { value, findings }
}

/// The words of a text, and where each begins.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_whitespace()
        .map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const VALUE: &str = "@/eth0,@10.0.0.2/";

    #[rstest]
    #[case::bare("@/eth0,@10.0.0.2/")]
    #[case::spaces("  @/eth0,@10.0.0.2/\n")]
    #[case::quoted("\"@/eth0,@10.0.0.2/\"")]
    #[case::named("netconsole=@/eth0,@10.0.0.2/")]
    #[case::modprobe("modprobe netconsole netconsole=@/eth0,@10.0.0.2/ oops_only=1")]
    #[case::modprobe_quoted("sudo modprobe netconsole 'netconsole=@/eth0,@10.0.0.2/'")]
    #[case::inner_quotes("modprobe netconsole netconsole=\"@/eth0,@10.0.0.2/\"")]
    #[case::options("options netconsole netconsole=@/eth0,@10.0.0.2/\n")]
    #[case::file("# netconsole=x\noptions netconsole netconsole=@/eth0,@10.0.0.2/\n")]
    #[case::command_line("quiet netconsole.netconsole=@/eth0,@10.0.0.2/ panic=1")]
    fn finds_the_value(#[case] text: &str) {
        let found = find(text);
        assert_eq!(
            (&text[found.value], found.findings.as_slice()),
            (VALUE, &[][..])
        );
    }

    #[rstest]
    #[case::module(
        "options netconsol netconsole=@/,@10.0.0.2/",
        "other-module",
        "netconsol"
    )]
    #[case::nothing(
        "options netconsole @/,@10.0.0.2/",
        "no-parameter",
        "options netconsole @/,@10.0.0.2/"
    )]
    #[case::shell(
        "modprobe netconsole netconsole=@/,@10.0.0.2/;@/,@10.0.0.3/",
        "unquoted",
        "@/,@10.0.0.2/;@/,@10.0.0.3/"
    )]
    fn says_what_is_wrong_around_it(#[case] text: &str, #[case] code: &str, #[case] place: &str) {
        let found = find(text);
        let (range, finding) = &found.findings[0];
        assert_eq!((finding.code, &text[range.clone()]), (code, place));
    }

    #[rstest]
    #[case::fits(2047, false)]
    #[case::cut(2048, true)]
    fn knows_how_long_a_command_line_can_be(#[case] length: usize, #[case] is_cut: bool) {
        let line = format!("netconsole.netconsole={VALUE} ");
        let text = format!("{line}{}\n", "x".repeat(length - line.len()));
        let found = find(&text);
        assert_eq!(&text[found.value], VALUE);
        let place = found.findings.first().map(|(range, _)| range.clone());
        assert_eq!(place, is_cut.then_some(2047..2048));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in proptest::prelude::any::<String>(), with_name: bool) {
            let text = if with_name { text + " netconsole.netconsole=" + "'" + &"ä".repeat(1500) } else { text };
            let _ = &text[find(&text).value];
        }
    }
}
