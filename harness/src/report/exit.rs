//! The exit codes of `lastwords`, as the README documents them.

use std::process::ExitCode;

/// What the program ends with. A later variant outweighs an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// 0: nothing failed.
    Success,
    /// 4: nothing ran, all was `n/a` or `missing`.
    NothingRan,
    /// 1: a verdict is `failed`; under `LASTWORDS_NO_SKIP` also where one is `missing`.
    Failed,
    /// 3: no verdict could be reached.
    NoVerdict,
    /// 2: the command line or a scenario file is wrong.
    Usage,
}

impl Exit {
    /// The number that the shell sees.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NoVerdict => 3,
            Self::NothingRan => 4,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
