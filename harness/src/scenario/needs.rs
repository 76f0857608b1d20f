//! What a scenario needs to make sense, and what is known to fail.

use std::{fmt, str::FromStr};

/// Conditions without which a scenario is `n/a` or `missing`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Needs {
    /// All must hold.
    pub(crate) kernel: Vec<KernelRange>,
    /// Kernel configuration options that must be `y` or `m`, without `CONFIG_`.
    pub(crate) config: Vec<String>,
    pub(crate) module: Vec<String>,
    pub(crate) program: Vec<String>,
    /// A shared kernel (`netns`, `live`) will not do.
    pub(crate) own_kernel: bool,
}

/// A failure that the file announces as the kernel's own.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    pub(crate) kernel: Vec<KernelRange>,
    /// Backend that it is limited to.
    pub(crate) backend: Option<String>,
    pub(crate) because: String,
    pub(crate) link: Option<String>,
}

/// One comparison with a kernel's version, `>=6.9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KernelRange {
    pub(crate) comparison: Comparison,
    pub(crate) version: KernelVersion,
    /// How many parts of the version were written, 1 to 3.
    pub(crate) parts: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

/// major.minor.patch of a kernel; `7.1-rc2` counts as 7.1.0, `6.12.117+deb12-amd64` as 6.12.117.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KernelVersion {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) patch: u32,
}

/// A text that is no comparison with a kernel's version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no range of kernel versions\n(write it as in `>=6.9` or `<7.3`)")]
pub(crate) struct InvalidRange(String);

impl KernelVersion {
    /// The version at the start of a kernel's release; `None` where there is none. Missing parts count as 0.
    pub(crate) fn from_release(release: &str) -> Option<Self> {
        let mut numbers = [0; 3];
        let mut rest = release;
        for (index, number) in numbers.iter_mut().enumerate() {
            let digits = rest
                .find(|character: char| !character.is_ascii_digit())
                .unwrap_or(rest.len());
            match rest[..digits].parse() {
                Ok(parsed) => *number = parsed,
                Err(_) if index == 0 => return None,
                Err(_) => break,
            }
            match rest[digits..].strip_prefix('.') {
                Some(after) => rest = after,
                None => break,
            }
        }
        let [major, minor, patch] = numbers;
        Some(Self {
            major,
            minor,
            patch,
        })
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if self.patch > 0 {
            write!(f, ".{}", self.patch)
        } else {
            Ok(())
        }
    }
}

impl Comparison {
    const SIGNS: [(&str, Self); 5] = [
        ("<=", Self::LessOrEqual),
        (">=", Self::GreaterOrEqual),
        ("<", Self::Less),
        (">", Self::Greater),
        ("=", Self::Equal),
    ];
}

impl KernelRange {
    /// Whether `version` is in it. A range compares as many parts as it is written with: `=6.1` and `<=6.1` hold for 6.1.192,
    /// `>6.1` does not.
    pub(crate) fn holds(self, version: KernelVersion) -> bool {
        let cut = |version: KernelVersion| {
            let parts = [version.major, version.minor, version.patch];
            (
                parts[0],
                (self.parts > 1).then_some(parts[1]),
                (self.parts > 2).then_some(parts[2]),
            )
        };
        let (version, limit) = (cut(version), cut(self.version));
        match self.comparison {
            Comparison::Less => version < limit,
            Comparison::LessOrEqual => version <= limit,
            Comparison::Equal => version == limit,
            Comparison::GreaterOrEqual => version >= limit,
            Comparison::Greater => version > limit,
        }
    }
}

/// Whether some version is in all of `ranges`.
pub(crate) fn can_hold(ranges: &[KernelRange]) -> bool {
    // A version that is in all of them can be moved down to where one of them begins, or to the very first.
    let first = KernelVersion {
        major: 0,
        minor: 0,
        patch: 0,
    };
    let starts = ranges
        .iter()
        .flat_map(|range| [range.version, range.after()])
        .chain([first]);
    starts
        .into_iter()
        .any(|version| ranges.iter().all(|range| range.holds(version)))
}

impl KernelRange {
    /// The first version beyond those that equal the range's, as far as it is written.
    fn after(self) -> KernelVersion {
        let KernelVersion {
            major,
            minor,
            patch,
        } = self.version;
        match self.parts {
            1 => KernelVersion {
                major: major.saturating_add(1),
                minor: 0,
                patch: 0,
            },
            2 => KernelVersion {
                major,
                minor: minor.saturating_add(1),
                patch: 0,
            },
            _ => KernelVersion {
                major,
                minor,
                patch: patch.saturating_add(1),
            },
        }
    }
}

impl FromStr for KernelRange {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let invalid = || InvalidRange(text.to_owned());
        let sign = Comparison::SIGNS
            .into_iter()
            .find(|(sign, _)| text.starts_with(sign));
        let (sign, comparison) = sign.ok_or_else(invalid)?;
        let version = text[sign.len()..].trim();
        let parts: Vec<&str> = version.split('.').collect();
        let numeric = |part: &&str| {
            !part.is_empty() && part.len() < 10 && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if parts.len() > 3 || !parts.iter().all(numeric) {
            return Err(invalid());
        }
        let parts = u8::try_from(parts.len()).map_err(|_| invalid())?;
        let version = KernelVersion::from_release(version).ok_or_else(invalid)?;
        Ok(Self {
            comparison,
            version,
            parts,
        })
    }
}

impl fmt::Display for KernelRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = Comparison::SIGNS
            .into_iter()
            .find(|(_, comparison)| *comparison == self.comparison);
        let numbers = [self.version.major, self.version.minor, self.version.patch]
            .map(|number| number.to_string());
        write!(
            f,
            "{}{}",
            sign.map_or("", |(sign, _)| sign),
            numbers[..usize::from(self.parts)].join(".")
        )
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::debian("6.12.117+deb12-amd64", (6, 12, 117))]
    #[case::pinned("6.1.0-56-amd64", (6, 1, 0))]
    #[case::candidate("7.1-rc2", (7, 1, 0))]
    #[case::short("7", (7, 0, 0))]
    fn reads_the_version_of_a_release(#[case] release: &str, #[case] version: (u32, u32, u32)) {
        let (major, minor, patch) = version;
        assert_eq!(
            KernelVersion::from_release(release),
            Some(KernelVersion {
                major,
                minor,
                patch
            })
        );
    }

    #[test]
    fn finds_no_version_in_a_word() {
        assert_eq!(KernelVersion::from_release("linux"), None);
    }

    #[rstest]
    #[case(">=6.9", "6.9.0", true)]
    #[case(">=6.9", "6.8.12", false)]
    #[case("<7.3", "7.2.9", true)]
    #[case("<7.3", "7.3-rc1", false)]
    #[case("=6.1", "6.1.192", true)]
    #[case("<=6.1", "6.1.192", true)]
    #[case(">6.1", "6.1.192", false)]
    #[case(">6.1", "6.2", true)]
    #[case("=6.1.5", "6.1.6", false)]
    #[case("<6.12.100", "6.12.99-x", true)]
    #[case(">=7", "6.19", false)]
    fn compares_as_many_parts_as_are_written(
        #[case] range: &str,
        #[case] release: &str,
        #[case] holds: bool,
    ) {
        let range: KernelRange = range.parse().unwrap();
        assert_eq!(
            range.holds(KernelVersion::from_release(release).unwrap()),
            holds
        );
    }

    #[rstest]
    #[case::window(&[">=6.9", "<7.3"], true)]
    #[case::one_version(&[">=6.1", "<=6.1"], true)]
    #[case::nothing(&["<6.1", ">=6.12"], false)]
    #[case::nothing_between(&[">6.1", "<6.2"], false)]
    #[case::patches_between(&[">6.1.1", "<6.1.3"], true)]
    #[case::two_versions(&["=6.1", "=6.12"], false)]
    #[case::below_the_first(&["<0"], false)]
    fn knows_ranges_that_hold_for_nothing(#[case] ranges: &[&str], #[case] possible: bool) {
        let ranges: Vec<KernelRange> = ranges.iter().map(|range| range.parse().unwrap()).collect();
        assert_eq!(can_hold(&ranges), possible);
    }

    #[rstest]
    #[case::no_sign("6.1")]
    #[case::no_version(">=")]
    #[case::word(">=six")]
    #[case::candidate(">=7.1-rc2")]
    #[case::four_parts("<6.1.2.3")]
    #[case::sign_twice(">>6")]
    fn refuses(#[case] range: &str) {
        assert!(range.parse::<KernelRange>().is_err());
    }
}
