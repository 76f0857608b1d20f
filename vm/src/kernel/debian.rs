//! Kernels of Debian's archive: the newest of a series, fetched through apt without root, kept in the cache.

use std::{cmp::Ordering, path::Path, time::Duration};

use crate::{
    archive::deb::Deb,
    cache::{Cache, Entry, Shelf},
    error::{Error, Result},
    kernel::{
        debian::{
            apt::Apt,
            index::{Build, Index},
            mirror::Mirror,
            version::compare,
        },
        package::unpack,
        progress::{Observer, Progress},
        record::{Origin, Record},
        selection::Selection,
    },
};

mod apt;
mod index;
mod mirror;
mod parent;
mod sources;
mod version;

/// A list of packages of that age still serves for a kernel that is not in the cache.
const LIST_SERVES: Duration = Duration::from_secs(6 * 60 * 60);

/// A list of that age is what an explicit fetch takes for new, so that fetching several kernels reads it once.
const LIST_IS_NEW: Duration = Duration::from_secs(60);

/// Takes a kernel from the cache, where that has one, and from the archive otherwise.
pub(crate) fn resolve(
    selection: &Selection,
    cache: &Cache,
    observer: Observer,
) -> Result<(Entry, Record)> {
    match cached(selection, cache, observer)? {
        Some(found) => Ok(found),
        None => newest(selection, cache, observer, LIST_SERVES),
    }
}

/// Takes the archive's newest kernel of a series.
pub(crate) fn fetch(
    selection: &Selection,
    cache: &Cache,
    observer: Observer,
) -> Result<(Entry, Record)> {
    newest(selection, cache, observer, LIST_IS_NEW)
}

/// The newest whole kernel in the cache that is meant. Where a newer one is torn, none: it is to be fetched again.
fn cached(
    selection: &Selection,
    cache: &Cache,
    observer: Observer,
) -> Result<Option<(Entry, Record)>> {
    let mut best: Option<(String, String, String)> = None;
    for key in cache.keys(Shelf::Kernels)? {
        let Some((release, version)) = split_key(&key) else {
            continue;
        };
        let is_newer = best
            .as_ref()
            .is_none_or(|(_, _, newest)| compare(&version, newest) == Ordering::Greater);
        if selection.means(&release, &version) && is_newer {
            best = Some((key, release, version));
        }
    }
    let Some((key, release, _)) = best else {
        return Ok(None);
    };
    let entry = cache.take(Shelf::Kernels, &key, &Record::is_whole)?;
    if entry.is_none() {
        observer(Progress::Torn { release });
    }
    let Some(entry) = entry else {
        return Ok(None);
    };
    let record = Record::read(entry.folder())?;
    Ok(Some((entry, record)))
}

fn newest(
    selection: &Selection,
    cache: &Cache,
    observer: Observer,
    age: Duration,
) -> Result<(Entry, Record)> {
    let mirror = Mirror::find()?;
    let apt = Apt::open(&cache.root().join("debian"))?;
    let listed = |age| -> Result<Option<Build>> {
        let index = Index::obtain((&apt, cache), &mirror, age, observer)?;
        match index.newest(selection) {
            None if age <= LIST_IS_NEW => Err(index.lacks(selection, &mirror)),
            build => Ok(build),
        }
    };
    if let Some(build) = listed(age)? {
        match obtain(&build, &apt, cache, observer) {
            // The archive drops a package when it has a newer one: an old list may name what is gone.
            Err(Error::Download { .. }) if age > LIST_IS_NEW => {}
            result => return result,
        }
    }
    let build = listed(LIST_IS_NEW)?.expect("a new list names the kernel or is an error");
    obtain(&build, &apt, cache, observer)
}

fn obtain(build: &Build, apt: &Apt, cache: &Cache, observer: Observer) -> Result<(Entry, Record)> {
    let entry = cache.obtain(
        (Shelf::Kernels, &key(build)),
        &Record::is_whole,
        &|| {
            observer(Progress::Waiting {
                what: build.release.clone(),
            });
        },
        &mut |folder| make(build, apt, cache, (folder, observer)),
    )?;
    let record = Record::read(entry.folder())?;
    Ok((entry, record))
}

/// Downloads the packages of a build, one after the other, and unpacks them into `folder`.
fn make(
    build: &Build,
    apt: &Apt,
    cache: &Cache,
    (folder, observer): (&Path, Observer),
) -> Result<()> {
    cache.needs_room(build.room())?;
    let staging = cache.staging()?;
    let mut files = Vec::new();
    for package in &build.packages {
        let path = staging.path().join(format!("{}.deb", package.name));
        apt.download(package, &path, observer)?;
        files.push(path);
    }
    let debs: Vec<Deb> = files.iter().map(|path| Deb::trusted(path)).collect();
    let origin = Origin::Debian {
        version: build.version.clone(),
        packages: build
            .packages
            .iter()
            .map(|package| package.name.clone())
            .collect(),
    };
    unpack(&debs, folder, origin, observer)
}

/// The name of a build's entry. Neither a release nor a version can hold a `_`, as package files show.
fn key(build: &Build) -> String {
    format!("debian_{}_{}", build.release, build.version)
}

/// Splits the name of an entry into release and version; none where the entry is not from the archive.
pub(crate) fn split_key(key: &str) -> Option<(String, String)> {
    let (release, version) = key.strip_prefix("debian_")?.split_once('_')?;
    Some((release.to_owned(), version.to_owned()))
}
