//! Which of Debian's kernels is meant: a series or a build, and a flavour.

use std::fmt;

/// A kernel of Debian's archive as people name it: `6.1`, `6.12-cloud`, `=6.1.0-56`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    text: String,
    version: String,
    flavour: &'static str,
}

/// The flavours that are built for amd64, and how people call them.
const FLAVOURS: [(&str, &str); 6] = [
    ("-cloud-amd64", "cloud-amd64"),
    ("-rt-amd64", "rt-amd64"),
    ("-amd64", "amd64"),
    ("-cloud", "cloud-amd64"),
    ("-rt", "rt-amd64"),
    ("", "amd64"),
];

impl Selection {
    /// Reads what stands behind `debian:`, or says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let named = text.strip_prefix('=').unwrap_or(text);
        let (version, flavour) = FLAVOURS
            .iter()
            .find_map(|(suffix, flavour)| Some((named.strip_suffix(suffix)?, *flavour)))
            .unwrap_or((named, "amd64"));
        if !version.starts_with(|first: char| first.is_ascii_digit()) {
            return Err("a version starts with a digit");
        }
        let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || ".+~-".contains(letter);
        if !version.chars().all(is_allowed) {
            return Err("a version holds letters, digits, `.`, `+`, `~` and `-`");
        }
        if text.starts_with('=') && version.split(['.', '-']).count() < 3 {
            return Err("`=` asks for one build, as in debian:=6.1.0-56");
        }
        Ok(Self {
            text: text.to_owned(),
            version: version.to_owned(),
            flavour,
        })
    }

    /// Whether a build is meant: its release (`6.1.0-56-amd64`) or its package's version (`6.1.192-2`) is the named
    /// one, or goes on where that ends.
    pub(crate) fn means(&self, release: &str, version: &str) -> bool {
        let Some((abi, flavour)) = split_release(release) else {
            return false;
        };
        flavour == self.flavour && [abi, version].iter().any(|whole| self.is_start_of(whole))
    }

    /// `6.1` starts `6.1.0-56` and not `6.12.3`.
    fn is_start_of(&self, whole: &str) -> bool {
        whole
            .strip_prefix(&self.version)
            .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "debian:{}", self.text)
    }
}

/// Splits a release into the build's name and its flavour.
pub(crate) fn split_release(release: &str) -> Option<(&str, &'static str)> {
    FLAVOURS
        .iter()
        .filter(|(suffix, flavour)| suffix.strip_prefix('-') == Some(flavour))
        .find_map(|(suffix, flavour)| Some((release.strip_suffix(suffix)?, *flavour)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::series("6.1", "6.1.0-56-amd64", "6.1.192-2", true)]
    #[case::longer_number("6.1", "6.12.117+deb12-amd64", "6.12.117-1~deb12u1", false)]
    #[case::other_flavour("6.1", "6.1.0-56-cloud-amd64", "6.1.192-2", false)]
    #[case::cloud("6.12-cloud", "6.12.117+deb12-cloud-amd64", "6.12.117-1~deb12u1", true)]
    #[case::rt("6.12-rt", "6.12.117+deb12-rt-amd64", "6.12.117-1~deb12u1", true)]
    #[case::pinned("=6.1.0-56", "6.1.0-56-amd64", "6.1.192-2", true)]
    #[case::pinned_release("=6.1.0-56-amd64", "6.1.0-56-amd64", "6.1.192-2", true)]
    #[case::pinned_other("=6.1.0-5", "6.1.0-56-amd64", "6.1.192-2", false)]
    #[case::pinned_without_suffix("=6.12.117", "6.12.117+deb12-amd64", "6.12.117-1~deb12u1", true)]
    #[case::upstream_version("6.1.192", "6.1.0-56-amd64", "6.1.192-2", true)]
    #[case::package_version("=6.1.192-2", "6.1.0-56-amd64", "6.1.192-2", true)]
    fn a_name_means_builds(
        #[case] text: &str,
        #[case] release: &str,
        #[case] version: &str,
        #[case] is_meant: bool,
    ) {
        let selection = Selection::parse(text).unwrap();
        assert_eq!(selection.means(release, version), is_meant);
    }

    #[rstest]
    #[case::nothing("")]
    #[case::word("bookworm")]
    #[case::path("6.1/../../x")]
    #[case::pinned_series("=6.1")]
    fn what_is_no_version_is_refused(#[case] text: &str) {
        assert!(Selection::parse(text).is_err());
    }
}
