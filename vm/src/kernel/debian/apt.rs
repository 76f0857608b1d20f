//! The machine's apt, with a state of its own inside the cache: it checks signatures and hashes, knows the machine's
//! proxies, and touches nothing of the machine's own state.

use std::{
    cell::Cell,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    cache::staging::write_whole,
    error::{Error, Result},
    kernel::{
        debian::{
            index::Package,
            mirror::{Mirror, Suite},
            parent::{self, Ended},
        },
        progress::{Observer, Progress},
    },
};

const HELPER: &str = "/usr/lib/apt/apt-helper";

/// An apt whose state is a folder of ours.
#[derive(Debug)]
pub(crate) struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Prepares the folder.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let is_there = which::which("apt-get").is_ok() && Path::new(HELPER).exists();
        if !is_there {
            return Err(Error::ProgramMissing {
                program: "apt-get".to_owned(),
                package: "apt",
            });
        }
        for part in ["lists/partial", "cache/archives/partial"] {
            let part = folder.join(part);
            fs::create_dir_all(&part).map_err(Error::write(part))?;
        }
        let apt = Self {
            folder: folder.to_owned(),
        };
        // Other runs may be about to read it.
        write_whole(&apt.folder.join("apt.conf"), apt.configuration().as_bytes())?;
        Ok(apt)
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Read by apt behind the machine's own configuration, whose proxies it needs and whose hooks it must not run.
    fn configuration(&self) -> String {
        let folder = self.folder.display();
        format!(
            r#"#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::CompressionTypes::Order;
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::CompressionTypes::Order {{ "xz"; }};
Acquire::GzipIndexes "true";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Dir::Cache "{folder}/cache";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State "{folder}";
Dir::State::lists "{folder}/lists";
pkgCacheFile::Generate "false";
"#
        )
    }

    /// Fetches the lists of packages of all suites of a mirror. A suite that the mirror does not have is no error;
    /// a mirror that cannot be reached is.
    pub(crate) fn update(&self, mirror: &Mirror) -> Result<()> {
        let sources = self.folder.join("sources.list");
        write_whole(&sources, mirror.sources_list().as_bytes())?;
        let mut command = self.command("apt-get");
        command.args(["--quiet", "update"]);
        let lists = self.folder.join("lists");
        let ended = parent::run(command, &|| size(&lists) + size(&lists.join("partial")))?;
        let is_answer = |line: &str| line.starts_with("Get:") || line.starts_with("Hit:");
        if ended.status.success() || ended.output.lines().any(is_answer) {
            return check_disk(&ended, &self.folder);
        }
        check_disk(&ended, &self.folder)?;
        Err(Error::ArchiveUnreachable {
            mirror: mirror.uri().to_owned(),
            said: complaints(&ended),
        })
    }

    /// The list of packages of a suite, if the last update got it.
    pub(crate) fn list(&self, suite: &Suite) -> Option<PathBuf> {
        let ending = format!("_dists_{}_main_binary-amd64_Packages", suite.name);
        let listing = fs::read_dir(self.folder.join("lists")).ok()?;
        listing.flatten().map(|item| item.path()).find(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            let start = name.map(|name| name.split_once('.').map_or(name, |_| name));
            start.is_some_and(|name| {
                name.find(&ending).is_some_and(|at| {
                    let behind = &name[at + ending.len()..];
                    behind.is_empty() || behind.starts_with('.')
                })
            })
        })
    }

    /// Reads a list line by line, however apt keeps it.
    pub(crate) fn read_list(&self, path: &Path, mut each: impl FnMut(&[u8])) -> Result<()> {
        let mut command = self.command(HELPER);
        command.arg("cat-file").arg(path);
        let shown = parent::show(&command);
        let mut child = parent::dies_with_us(&mut command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|source| Error::Spawn {
                command: shown,
                source,
            })?;
        let stdout = child
            .stdout
            .take()
            .expect("the output was asked to be piped");
        let mut reader = BufReader::with_capacity(1 << 16, stdout);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .map_err(Error::read(path))?
            > 0
        {
            each(line.strip_suffix(b"\n").unwrap_or(&line));
            line.clear();
        }
        child.wait().map_err(Error::read(path))?;
        Ok(())
    }

    /// Downloads a package; apt compares its hash with the one that the signed list names.
    pub(crate) fn download(&self, package: &Package, to: &Path, observer: Observer) -> Result<()> {
        let mut command = self.command(HELPER);
        let hash = format!("SHA256:{}", package.sha256);
        command
            .args(["download-file", &package.uri])
            .arg(to)
            .arg(hash);
        let told = Cell::new(u64::MAX);
        let glance = || {
            let done = fs::metadata(to).map_or(0, |metadata| metadata.len());
            if told.replace(done) != done {
                observer(Progress::Downloading {
                    package: package.name.clone(),
                    done,
                    total: package.size,
                });
            }
            done
        };
        glance();
        let ended = parent::run(command, &glance)?;
        check_disk(&ended, to)?;
        if glance() == package.size && ended.status.success() {
            return Ok(());
        }
        Err(Error::Download {
            package: package.name.clone(),
            said: complaints(&ended),
        })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("LC_ALL", "C")
            .arg("--config-file")
            .arg(self.folder.join("apt.conf"))
            // Said again, so that no fault of the file lets apt work on the machine's own state.
            .args(["-o", &format!("Dir::State={}", self.folder.display())])
            .args(["-o", &format!("Dir::Cache={}/cache", self.folder.display())])
            .current_dir(&self.folder);
        command
    }
}

/// The size of all files of a folder.
fn size(folder: &Path) -> u64 {
    let listing = fs::read_dir(folder).into_iter().flatten().flatten();
    let metadata = listing.filter_map(|item| item.metadata().ok());
    metadata.map(|metadata| metadata.len()).sum()
}

/// Finds a full disk in what apt says.
fn check_disk(ended: &Ended, path: &Path) -> Result<()> {
    let is_full = ["No space left on device", "Disk quota exceeded"]
        .iter()
        .any(|sentence| ended.output.contains(sentence));
    if is_full {
        return Err(Error::DiskFull {
            path: path.to_owned(),
            source: std::io::ErrorKind::StorageFull.into(),
        });
    }
    Ok(())
}

/// The lines of apt's output that say what went wrong.
fn complaints(ended: &Ended) -> String {
    let mut lines: Vec<&str> = ended
        .output
        .lines()
        .filter(|line| line.starts_with("E:") || line.starts_with("W:"))
        .collect();
    if lines.is_empty() {
        return ended.last_lines();
    }
    lines.dedup();
    lines.truncate(3);
    lines.join("\n")
}
