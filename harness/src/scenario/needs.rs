//! What a scenario needs to make sense, and what is known to fail.

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
