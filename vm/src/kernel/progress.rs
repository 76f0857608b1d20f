//! What getting a kernel is doing: told while it goes on, since it can take a minute.

/// A step of the way; whoever started it may show it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The archive's lists of packages are read.
    Listing {
        /// The mirror.
        mirror: String,
    },
    /// A package is on its way.
    Downloading {
        /// The package.
        package: String,
        /// Bytes that are there.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A package is unpacked.
    Unpacking {
        /// The package.
        package: String,
    },
    /// The uncompressed kernel is taken out of its image.
    Extracting {
        /// The kernel's release.
        release: String,
    },
    /// Another run is doing what is needed; it is awaited.
    Waiting {
        /// What is awaited, as it would stand behind "waiting for".
        what: String,
    },
    /// A kernel in the cache is broken and is fetched again.
    Torn {
        /// The kernel's release.
        release: String,
    },
}

/// Whoever is told.
pub type Observer<'a> = &'a dyn Fn(Progress);
