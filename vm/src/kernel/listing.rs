//! The kernels in the cache, as a list for people.

use crate::{
    cache::{Cache, Shelf, prune::Listed},
    error::Result,
    kernel::{
        debian,
        record::{Origin, Record},
        selection::split_release,
    },
};

/// A kernel in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedKernel {
    /// The words that name exactly this kernel.
    pub name: String,
    /// What `uname -r` says there.
    pub release: String,
    /// Its packages' version, or the files that it came from.
    pub origin: String,
    /// The number of its modules.
    pub modules: usize,
    /// Its size and its last use.
    pub listed: Listed,
}

impl Cache {
    /// Lists the kernels, the most lately used first; what is torn is left out, since it is made again when needed.
    pub fn kernels(&self) -> Result<Vec<CachedKernel>> {
        let listed = self.list(&[Shelf::Kernels])?;
        Ok(listed
            .into_iter()
            .filter_map(|listed| self.kernel(listed))
            .collect())
    }

    fn kernel(&self, listed: Listed) -> Option<CachedKernel> {
        let folder = self.folder(Shelf::Kernels, &listed.key);
        let record = Record::read(&folder).ok()?;
        let (name, origin) = match record.origin() {
            Origin::Debian { version, .. } => {
                let (release, _) = debian::split_key(&listed.key)?;
                (format!("debian:={}", short(&release)), version.clone())
            }
            Origin::Files { paths } => {
                let paths: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
                (paths.join(","), "files".to_owned())
            }
        };
        Some(CachedKernel {
            name,
            release: record.release().to_owned(),
            origin,
            modules: record.modules(),
            listed,
        })
    }
}

/// A release without the flavour that is meant where none is named.
fn short(release: &str) -> &str {
    match split_release(release) {
        Some((abi, "amd64")) => abi,
        Some(_) | None => release,
    }
}
