//! The vmlinux of an image that the user named by path, extracted once into the cache.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    cache::{Cache, Entry, Shelf},
    error::{Error, Result},
    kernel::{
        image::Image,
        progress::{Observer, Progress},
        vmlinux::Vmlinux,
    },
};

const VMLINUX: &str = "vmlinux";

/// Holds the size of the vmlinux; 0 where the image has none that QEMU can boot.
const SIZE: &str = "size";

/// What was found inside of an image.
#[derive(Debug)]
pub(crate) struct Extracted {
    pub(crate) vmlinux: Option<PathBuf>,
    pub(crate) entry: Entry,
}

/// Extracts an image's vmlinux, or takes it from the cache; `digest` is the image's.
pub(crate) fn extracted(
    image: &Path,
    digest: &str,
    cache: &Cache,
    observer: Observer,
) -> Result<Extracted> {
    let release = Image::open(image)?.release().to_owned();
    let told = |progress: fn(String) -> Progress| observer(progress(release.clone()));
    let entry = cache.obtain(
        (Shelf::Images, digest),
        &is_whole,
        &|| told(|what| Progress::Waiting { what }),
        &mut |folder| {
            told(|release| Progress::Extracting { release });
            extract(image, folder)
        },
    )?;
    let vmlinux = entry.folder().join(VMLINUX);
    Ok(Extracted {
        vmlinux: vmlinux.is_file().then_some(vmlinux),
        entry,
    })
}

fn extract(image: &Path, folder: &Path) -> Result<()> {
    let vmlinux = folder.join(VMLINUX);
    Image::open(image)?.extract(&vmlinux)?;
    let mut size = fs::metadata(&vmlinux).map_err(Error::read(&vmlinux))?.len();
    if !Vmlinux::open(&vmlinux)?.has_pvh_entry() {
        fs::remove_file(&vmlinux).map_err(Error::write(vmlinux))?;
        size = 0;
    }
    let path = folder.join(SIZE);
    fs::write(&path, size.to_string()).map_err(Error::write(path))
}

fn is_whole(folder: &Path) -> bool {
    let noted = fs::read_to_string(folder.join(SIZE)).ok();
    let found = fs::metadata(folder.join(VMLINUX)).map_or(0, |metadata| metadata.len());
    noted.is_some_and(|noted| noted == found.to_string())
}
