//! The kernels that the archive offers, as its lists of packages name them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::PathBuf,
    thread,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::{
    cache::{Cache, lock_patiently, staging::write_whole},
    error::{Error, Result},
    kernel::{
        debian::{
            apt::Apt,
            mirror::{Mirror, Suite},
            version::compare,
        },
        progress::{Observer, Progress},
        selection::{Selection, split_release},
    },
};

/// The starts of the names of packages that a kernel can be made of. Which of them there are has changed with time:
/// one package up to 6.18, image and modules apart from 6.19 on, the configuration in a package of its own.
const PARTS: [&str; 4] = [
    "linux-image-",
    "linux-binary-",
    "linux-modules-",
    "linux-base-",
];

/// Below this, a package named like a kernel only names another one; in kilobytes.
const EMPTY: u64 = 1_000;

/// What a kernel takes beside its packages' content, when its vmlinux has been extracted; in bytes.
const EXTRACTED: u64 = 100_000_000;

/// What the archive's lists take while they are fetched, in bytes.
const LISTS: u64 = 200_000_000;

/// A package as the archive's list describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) uri: String,
    pub(crate) size: u64,
    /// Size when unpacked, in kilobytes.
    pub(crate) installed: u64,
    pub(crate) sha256: String,
}

impl Package {
    /// The release of the kernel that the package is a part of.
    fn release(&self) -> Option<&str> {
        let release = PARTS.iter().find_map(|part| self.name.strip_prefix(part))?;
        let starts_with_digit = release.starts_with(|first: char| first.is_ascii_digit());
        (starts_with_digit && split_release(release).is_some()).then_some(release)
    }

    fn is_full(&self, part: &str) -> bool {
        self.name.starts_with(part) && self.installed >= EMPTY
    }
}

/// A kernel: all packages of one release and version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Build {
    pub(crate) release: String,
    pub(crate) version: String,
    pub(crate) packages: Vec<Package>,
}

impl Build {
    /// The room that it takes while it is fetched and unpacked, in bytes.
    pub(crate) fn room(&self) -> u64 {
        let packages = self.packages.iter();
        let sizes = packages.map(|package| package.size + package.installed * 1024);
        sizes.sum::<u64>() + EXTRACTED
    }
}

/// All kernels of the archive.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Index {
    mirror: String,
    packages: Vec<Package>,
    /// The suites whose lists could not be had.
    skipped: Vec<String>,
}

impl Index {
    /// Takes the index that was made before, if it is of this mirror and younger than `age`; else makes it. Runs at
    /// the same time wait for each other.
    pub(crate) fn obtain(
        (apt, cache): (&Apt, &Cache),
        mirror: &Mirror,
        age: Duration,
        observer: Observer,
    ) -> Result<Self> {
        let gate = apt.folder().join("gate");
        let lock = File::create(&gate).map_err(Error::write(&gate))?;
        let waiting = || {
            observer(Progress::Waiting {
                what: "the archive's lists".to_owned(),
            });
        };
        lock_patiently(&lock, &waiting).map_err(Error::write(&gate))?;
        let path = apt.folder().join("index.json");
        if let Some(index) = Self::remembered(&path, mirror, age) {
            return Ok(index);
        }
        observer(Progress::Listing {
            mirror: mirror.uri().to_owned(),
        });
        cache.needs_room(LISTS)?;
        apt.update(mirror)?;
        let index = Self::read(apt, mirror)?;
        let text = serde_json::to_vec(&index).expect("an index is plain data");
        write_whole(&path, &text)?;
        Ok(index)
    }

    fn remembered(path: &PathBuf, mirror: &Mirror, age: Duration) -> Option<Self> {
        let made = fs::metadata(path).ok()?.modified().ok()?;
        let is_young = SystemTime::now().duration_since(made).ok()? < age;
        let index: Self = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (is_young && index.mirror == mirror.uri()).then_some(index)
    }

    fn read(apt: &Apt, mirror: &Mirror) -> Result<Self> {
        let mut index = Self {
            mirror: mirror.uri().to_owned(),
            packages: Vec::new(),
            skipped: Vec::new(),
        };
        let suites = mirror.suites();
        let lists = thread::scope(|scope| {
            let read = |suite| scope.spawn(move || packages(apt, suite));
            let readers: Vec<_> = suites.iter().map(read).collect();
            let join =
                |reader: thread::ScopedJoinHandle<_>| reader.join().expect("no reader panics");
            readers.into_iter().map(join).collect::<Result<Vec<_>>>()
        })?;
        for (suite, packages) in suites.into_iter().zip(lists) {
            match packages {
                Some(packages) => index.packages.extend(packages),
                None => index.skipped.push(suite.name),
            }
        }
        let key = |package: &Package| (package.name.clone(), package.version.clone());
        index.packages.sort_by_key(key);
        index.packages.dedup_by_key(|package| key(package));
        Ok(index)
    }

    /// The newest kernel that is meant.
    pub(crate) fn newest(&self, selection: &Selection) -> Option<Build> {
        self.builds()
            .into_iter()
            .filter(|build| selection.means(&build.release, &build.version))
            .max_by(|left, right| compare(&left.version, &right.version))
    }

    fn builds(&self) -> Vec<Build> {
        let mut builds = BTreeMap::<(&str, &str), Vec<Package>>::new();
        for package in &self.packages {
            if let Some(release) = package.release() {
                let packages = builds.entry((release, &package.version)).or_default();
                packages.push(package.clone());
            }
        }
        builds
            .into_iter()
            .filter(|(_, packages)| is_complete(packages))
            .map(|((release, version), packages)| Build {
                release: release.to_owned(),
                version: version.to_owned(),
                packages,
            })
            .collect()
    }

    /// Says that a kernel is not in the archive, and what is.
    pub(crate) fn lacks(&self, selection: &Selection, mirror: &Mirror) -> Error {
        let mut series: Vec<(u32, u32)> = self
            .builds()
            .iter()
            .filter_map(|build| series(&build.release))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        series.sort_unstable();
        let series: Vec<String> = series
            .iter()
            .map(|(major, minor)| format!("{major}.{minor}"))
            .collect();
        let offered = if series.is_empty() {
            "no kernels".to_owned()
        } else {
            series.join(", ")
        };
        let skipped = if self.skipped.is_empty() {
            String::new()
        } else {
            format!(
                "\n(these suites could not be read: {})",
                self.skipped.join(", ")
            )
        };
        Error::NotInArchive {
            spec: selection.to_string(),
            mirror: mirror.uri().to_owned(),
            offered,
            skipped,
        }
    }
}

/// Whether packages hold an image and modules. The archive drops old modules before the image that needs them.
fn is_complete(packages: &[Package]) -> bool {
    let has = |part| packages.iter().any(|package| package.is_full(part));
    has("linux-image-") || has("linux-binary-") && has("linux-modules-")
}

fn series(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The packages of kernels in a suite; none where its list could not be had.
fn packages(apt: &Apt, suite: &Suite) -> Result<Option<Vec<Package>>> {
    let Some(path) = apt.list(suite) else {
        return Ok(None);
    };
    let mut packages = Vec::new();
    let mut stanza = Stanza::new(suite);
    apt.read_list(&path, |line| packages.extend(stanza.line(line)))?;
    Ok(Some(packages))
}

/// A stanza of a list of packages while it is read.
struct Stanza {
    archive: String,
    package: Option<Package>,
}

impl Stanza {
    fn new(suite: &Suite) -> Self {
        Self {
            archive: suite.uri.clone(),
            package: None,
        }
    }

    /// Takes a line; at the end of a kernel's stanza, the package comes out.
    fn line(&mut self, line: &[u8]) -> Option<Package> {
        if line.is_empty() {
            return self
                .package
                .take()
                .filter(|package| !package.uri.is_empty());
        }
        if let Some(name) = line.strip_prefix(b"Package: ") {
            let package = Package {
                name: String::from_utf8_lossy(name).into_owned(),
                ..Package::default()
            };
            self.package = package.release().is_some().then_some(package);
            return None;
        }
        let package = self.package.as_mut()?;
        let (key, value) = std::str::from_utf8(line).ok()?.split_once(": ")?;
        match key {
            "Version" => value.clone_into(&mut package.version),
            "Filename" => package.uri = format!("{}/{value}", self.archive),
            "Size" => package.size = value.parse().ok()?,
            "Installed-Size" => package.installed = value.parse().ok()?,
            "SHA256" => value.clone_into(&mut package.sha256),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, installed: u64) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            installed,
            uri: "x".to_owned(),
            ..Package::default()
        }
    }

    fn index(packages: Vec<Package>) -> Index {
        Index {
            mirror: "http://near.example/debian".to_owned(),
            packages,
            skipped: Vec::new(),
        }
    }

    fn newest(index: &Index, text: &str) -> Option<(String, usize)> {
        let build = index.newest(&Selection::parse(text).unwrap())?;
        Some((build.release, build.packages.len()))
    }

    #[test]
    fn the_newest_of_a_series_is_chosen_among_real_kernels() {
        let index = index(vec![
            package("linux-image-6.12-amd64", "6.12.200-1", 15),
            package(
                "linux-image-6.12.9+deb12-amd64",
                "6.12.9-1~deb12u1",
                100_000,
            ),
            package(
                "linux-image-6.12.117+deb12-amd64",
                "6.12.117-1~deb12u1",
                100_000,
            ),
            package(
                "linux-image-6.12.117+deb12-amd64-unsigned",
                "6.12.118-1",
                100_000,
            ),
            package(
                "linux-image-6.12.117+deb12-amd64-dbg",
                "6.12.118-1",
                100_000,
            ),
            package(
                "linux-image-6.12.118+deb12-cloud-amd64",
                "6.12.118-1",
                100_000,
            ),
        ]);
        let expected = Some(("6.12.117+deb12-amd64".to_owned(), 1));
        assert_eq!(newest(&index, "6.12"), expected);
        let expected = Some(("6.12.118+deb12-cloud-amd64".to_owned(), 1));
        assert_eq!(newest(&index, "6.12-cloud"), expected);
        assert_eq!(newest(&index, "6.1"), None);
    }

    #[test]
    fn a_kernel_of_several_packages_is_one() {
        let index = index(vec![
            package("linux-image-7.3.4+deb13-amd64", "7.3.4-1", 15),
            package("linux-binary-7.3.4+deb13-amd64", "7.3.4-1", 14_000),
            package("linux-modules-7.3.4+deb13-amd64", "7.3.4-1", 106_000),
            package("linux-base-7.3.4+deb13-amd64", "7.3.4-1", 500),
            package("linux-modules-7.3.3+deb13-amd64", "7.3.3-1", 106_000),
            package("linux-image-7.3.5+deb13-amd64", "7.3.5-1", 15),
            package("linux-binary-7.3.5+deb13-amd64", "7.3.5-1", 14_000),
        ]);
        let expected = Some(("7.3.4+deb13-amd64".to_owned(), 4));
        assert_eq!(newest(&index, "7.3"), expected);
        assert_eq!(newest(&index, "7.3.3"), None);
    }

    #[test]
    fn a_list_of_packages_is_read() {
        let suite = Suite {
            uri: "http://near.example/debian".to_owned(),
            name: "bookworm".to_owned(),
        };
        let mut stanza = Stanza::new(&suite);
        let list = "Package: linux-doc\nVersion: 1\nFilename: pool/doc.deb\n\nPackage: linux-image-6.1.0-56-amd64\n\
                    Source: linux-signed-amd64 (6.1.192+2)\nVersion: 6.1.192-2\nInstalled-Size: 400000\n\
                    Filename: pool/main/l/image.deb\nSize: 70550672\nSHA256: abc\n\n";
        let packages: Vec<Package> = list
            .as_bytes()
            .split(|&byte| byte == b'\n')
            .filter_map(|line| stanza.line(line))
            .collect();
        assert_eq!(packages.len(), 1);
        assert_eq!(
            packages[0].uri,
            "http://near.example/debian/pool/main/l/image.deb"
        );
        assert_eq!(packages[0].size, 70_550_672);
        assert_eq!(packages[0].version, "6.1.192-2");
    }

    #[test]
    fn what_the_archive_has_instead_is_said() {
        let index = index(vec![
            package("linux-image-6.12.9+deb12-amd64", "6.12.9-1", 100_000),
            package("linux-image-6.1.0-5-amd64", "6.1.9-1", 100_000),
        ]);
        let sources = [super::super::sources::AptSource {
            uri: "http://near.example/debian".to_owned(),
            suite: "sid".to_owned(),
            components: vec!["main".to_owned()],
            keyring: None,
        }];
        let mirror = Mirror::choose(None, &sources, Some(PathBuf::from("/k"))).unwrap();
        let error = index.lacks(&Selection::parse("5.10").unwrap(), &mirror);
        let sentence =
            "debian:5.10 is not in the archive at http://near.example/debian; it has 6.1, 6.12";
        assert_eq!(error.to_string(), sentence);
    }
}
