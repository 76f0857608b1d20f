//! What can keep this crate from doing its work: one enum, its sentences, its remedies.

use std::{io, path::PathBuf, process::ExitStatus};

/// The result of everything in this crate that can go wrong.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a kernel, its modules, an initramfs or a machine could not be had.
///
/// A message names what it is about; the remedy, where there is one, is its second line; the cause is the source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// What was read.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file or folder could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// What was written.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file system, or the user's quota of it, filled up.
    #[error("no space left for `{}`\n(make room, prune the cached kernels, or let LASTWORDS_CACHE name a folder on another disk)", path.display())]
    DiskFull {
        /// What was written.
        path: PathBuf,
        /// How the system said so.
        source: io::Error,
    },
    /// The file system is too small for what is about to be written.
    #[error("`{}` needs {needed} MB more, and only {free} MB are free\n(make room, prune the cached kernels, or let LASTWORDS_CACHE name a folder on another disk)", path.display())]
    TooLittleSpace {
        /// The folder that would be written to.
        path: PathBuf,
        /// What will be needed, in megabytes.
        needed: u64,
        /// What is free, in megabytes.
        free: u64,
    },

    /// No place for the cache is known.
    #[error(
        "no folder for the cache: neither XDG_CACHE_HOME nor HOME is set\n(let LASTWORDS_CACHE name a folder)"
    )]
    CacheNowhere,
    /// The cache folder cannot be used.
    #[error("the cache folder `{}` cannot be used\n(let LASTWORDS_CACHE name a folder that you may write to)", path.display())]
    CacheUnusable {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something in the cache is not what was put there.
    #[error("`{}` in the cache is torn: {what}\n(fetch the kernel again)", path.display())]
    CacheTorn {
        /// The torn file or entry.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },

    /// The words that name a kernel are none of those that are known.
    #[error(
        "`{text}` names no kernel: {why}\n(debian:6.1, debian:=6.1.0-56, host, a kernel build tree, .deb files, a bzImage or a vmlinux)"
    )]
    SourceSyntax {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A path that should be a kernel is not there.
    #[error("there is no kernel at `{}`", path.display())]
    KernelMissing {
        /// The path.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// A folder holds no built kernel.
    #[error("`{}` holds neither arch/x86/boot/bzImage nor vmlinux\n(build the kernel there first)", path.display())]
    TreeNotBuilt {
        /// The build tree.
        path: PathBuf,
    },
    /// A file is no kernel that could be booted.
    #[error("`{}` is no x86 kernel: {why}", path.display())]
    NotAKernel {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A kernel image lacks its end.
    #[error("`{}` is torn: the image ends before its payload does\n(fetch or build it again)", path.display())]
    ImageTorn {
        /// The image.
        path: PathBuf,
    },
    /// The compressed kernel inside an image could not be unpacked.
    #[error("the {compression} payload of `{}` does not unpack\n(fetch or build the image again)", path.display())]
    Payload {
        /// The image.
        path: PathBuf,
        /// The compression that it announces.
        compression: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The running kernel's image cannot be had.
    #[error("the running kernel's image {release} is in none of its places, or not readable: {}\n(name a kernel by `debian:VERSION` or by a path)", tried.join(", "))]
    HostKernel {
        /// The running kernel's release.
        release: String,
        /// Where it was looked for.
        tried: Vec<String>,
    },

    /// No Debian mirror is known.
    #[error(
        "no Debian mirror is known: this machine's apt sources name none\n(set LASTWORDS_DEBIAN_MIRROR to one's address, and install debian-archive-keyring)"
    )]
    MirrorUnknown,
    /// Debian's archive cannot be trusted, since its keys are missing.
    #[error(
        "Debian's archive keys are not installed\n(install debian-archive-keyring; where the machine is no Debian, LASTWORDS_DEBIAN_MIRROR names the mirror)"
    )]
    KeyringMissing,
    /// The archive has no such kernel.
    #[error("{spec} is not in the archive at {mirror}; it has {offered}{skipped}")]
    NotInArchive {
        /// The kernel as it was named.
        spec: String,
        /// The mirror that was asked.
        mirror: String,
        /// The series that it has.
        offered: String,
        /// What could not be read of it, empty where all could.
        skipped: String,
    },
    /// The archive could not be reached.
    #[error(
        "the Debian archive at {mirror} cannot be reached; apt says:\n{said}\n(a kernel that was fetched once needs no network)"
    )]
    ArchiveUnreachable {
        /// The mirror.
        mirror: String,
        /// The last lines that apt printed.
        said: String,
    },
    /// A package could not be downloaded, or is not what the archive's signed list says.
    #[error("cannot download `{package}`; apt says:\n{said}")]
    Download {
        /// The package.
        package: String,
        /// What apt printed of it.
        said: String,
    },
    /// A package of the archive is incomplete.
    #[error("no {what} is in {packages}\n(name another build, or all packages of this one)")]
    PackageIncomplete {
        /// The packages.
        packages: String,
        /// What was looked for.
        what: &'static str,
    },
    /// A file is not the Debian package that it should be.
    #[error("`{}` is no usable Debian package: {why}", path.display())]
    BadPackage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A Debian package could not be unpacked.
    #[error("`{}` does not unpack", path.display())]
    Unpack {
        /// The package.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },

    /// A program that is needed is not installed.
    #[error("`{program}` is not installed\n(install the package `{package}`)")]
    ProgramMissing {
        /// The program.
        program: String,
        /// Debian's package of it.
        package: &'static str,
    },
    /// A program could not be started.
    #[error("cannot start `{command}`")]
    Spawn {
        /// The command as one can paste it.
        command: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A program failed.
    #[error("`{command}` failed ({status}); it says:\n{said}")]
    Command {
        /// The command as one can paste it.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines that it printed.
        said: String,
    },
    /// A program hung.
    #[error("`{command}` made no progress for two minutes and was ended; it says:\n{said}")]
    Stalled {
        /// The command as one can paste it.
        command: String,
        /// The last lines that it printed.
        said: String,
    },

    /// A kernel has no such module.
    #[error("{kernel} has no module `{module}`{hint}")]
    ModuleMissing {
        /// The kernel as it was named.
        kernel: String,
        /// The module.
        module: String,
        /// Why that may be so, in parentheses, or nothing.
        hint: &'static str,
    },
    /// A kernel came without any modules.
    #[error(
        "{kernel} comes without modules, and `{module}` is asked for\n(name their folder with --modules)"
    )]
    NoModules {
        /// The kernel as it was named.
        kernel: String,
        /// The module.
        module: String,
    },
    /// A folder of modules does not fit.
    #[error("`{}` holds no kernel modules for {release}{found}", path.display())]
    ModulesFolder {
        /// The folder.
        path: PathBuf,
        /// The kernel's release.
        release: String,
        /// What it holds instead.
        found: String,
    },
    /// A module was built for another kernel.
    #[error("`{}` was built for `{built_for}`, and the kernel is `{wanted}`: it would refuse the module\n(build the module against this kernel)", path.display())]
    ModuleForeign {
        /// The module's file.
        path: PathBuf,
        /// The vermagic that it carries.
        built_for: String,
        /// The vermagic or release that the kernel wants.
        wanted: String,
    },
    /// A file is no kernel module.
    #[error("`{}` is no kernel module: {why}", path.display())]
    BadModule {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },

    /// A program to be packed is not there.
    #[error("there is no program `{name}` on this machine to be packed")]
    NothingToPack {
        /// The program.
        name: String,
    },
    /// A program to be packed is neither ELF nor a script.
    #[error("`{}` cannot be packed: {why}", path.display())]
    BadProgram {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A library that a packed program needs is not there.
    #[error("`{}` needs the library `{library}`, which is in none of the loader's folders", program.display())]
    LibraryMissing {
        /// The program or library that needs it.
        program: PathBuf,
        /// The library.
        library: String,
    },
    /// The initramfs would hold something inside of what is no folder, or a name that cannot be.
    #[error("the initramfs cannot hold `{path}`: {why}")]
    InitramfsPath {
        /// The path in the initramfs.
        path: String,
        /// Why not.
        why: &'static str,
    },
}

impl Error {
    /// Names the reading of `path` as what failed.
    pub fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Read { path, source }
    }

    /// Names the writing of `path` as what failed, and tells a full disk apart.
    pub fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| {
            if is_full(&source) {
                Error::DiskFull { path, source }
            } else {
                Error::Write { path, source }
            }
        }
    }
}

/// Whether an error says that a disk or a quota is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_from_other_failures() {
        let full = Error::write("/cache/x")(io::Error::from(io::ErrorKind::StorageFull));
        assert!(matches!(full, Error::DiskFull { .. }));
        let closed = Error::write("/cache/x")(io::Error::from(io::ErrorKind::PermissionDenied));
        assert_eq!(closed.to_string(), "cannot write `/cache/x`");
    }
}
