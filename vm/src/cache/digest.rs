//! Content digests of files, remembered in the cache as long as the file looks untouched.

use std::{
    fmt::Write,
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};

use crate::{
    cache::{Cache, staging::write_whole},
    error::{Error, Result},
};

/// A file that was changed so lately may change again within the same tick of the file system's clock.
const SETTLED: Duration = Duration::from_secs(2);

impl Cache {
    /// The SHA-256 of a file's content in hexadecimal; a file that looks as it did the last time is not read again.
    pub fn digest(&self, path: &Path) -> Result<String> {
        self.digest_by("sha256", path, digest_file)
    }

    /// A digest that `compute` makes of a file; `kind` tells ways of computing apart.
    pub(crate) fn digest_by(
        &self,
        kind: &str,
        path: &Path,
        compute: impl FnOnce(&Path) -> Result<String>,
    ) -> Result<String> {
        let path = fs::canonicalize(path).map_err(Error::read(path))?;
        let metadata = fs::metadata(&path).map_err(Error::read(&path))?;
        let note = self
            .root()
            .join("digests")
            .join(digest_of(path.as_os_str().as_encoded_bytes()));
        let looks = format!("{kind} {}", looks(&metadata));
        if let Some(digest) = remembered(&note, &looks) {
            return Ok(digest);
        }
        let digest = compute(&path)?;
        if is_settled(&metadata) {
            // A note that cannot be written only costs the next run the time to read the file.
            let _ = self.part("digests");
            remember(&note, &looks, &digest);
        }
        Ok(digest)
    }
}

/// The SHA-256 of some bytes in hexadecimal.
pub fn digest_of(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// The SHA-256 of a file's content in hexadecimal.
pub fn digest_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::read(path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hexadecimal(&hasher.finalize())),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::read(path)(error)),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn looks(metadata: &Metadata) -> String {
    format!(
        "{} {} {} {}.{} {}.{}",
        metadata.dev(),
        metadata.ino(),
        metadata.size(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    )
}

fn is_settled(metadata: &Metadata) -> bool {
    metadata
        .modified()
        .ok()
        .and_then(|modified| SystemTime::now().duration_since(modified).ok())
        .is_some_and(|age| age > SETTLED)
}

fn remembered(note: &Path, looks: &str) -> Option<String> {
    let text = fs::read_to_string(note).ok()?;
    let (digest, noted) = text.split_once(' ')?;
    (noted == looks && digest.len() == 64).then(|| digest.to_owned())
}

/// Notes a digest. A note that cannot be written only costs the next run the time to read the file.
fn remember(note: &Path, looks: &str, digest: &str) {
    let folder = note.parent().unwrap_or(Path::new("/"));
    if fs::create_dir_all(folder).is_ok() {
        let _ = write_whole(note, format!("{digest} {looks}").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_has_another_digest() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(&folder.path().join("cache"))).unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "abc").unwrap();
        let old = SystemTime::now() - Duration::from_secs(60);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(old)
            .unwrap();
        let first = cache.digest(&path).unwrap();
        assert_eq!(first, digest_of(b"abc"));
        assert_eq!(cache.digest(&path).unwrap(), first);
        fs::write(&path, "abd").unwrap();
        assert_eq!(cache.digest(&path).unwrap(), digest_of(b"abd"));
    }
}
