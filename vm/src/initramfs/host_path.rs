//! Paths of this machine in the guest: the links on their way lead there where they lead here.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs,
    path::{Component, Path, PathBuf},
};

use crate::{
    error::{Error, Result},
    initramfs::Initramfs,
};

/// As many links as the kernel follows.
const HOPS: usize = 40;

/// Folders that are links on many machines, which scripts rely on without naming them.
const USUAL_LINKS: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib64", "/usr/sbin", "/usr/lib64"];

/// Puts the links on the way to a path, and returns where they lead.
pub(crate) fn follow(initramfs: &mut Initramfs, path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path).map_err(Error::read(path))?;
    let mut open: VecDeque<OsString> = parts(&path);
    let mut real = PathBuf::from("/");
    let mut hops = 0;
    while let Some(part) = open.pop_front() {
        if part == ".." {
            real.pop();
            continue;
        }
        let next = real.join(&part);
        let metadata = fs::symlink_metadata(&next).map_err(Error::read(&next))?;
        if !metadata.is_symlink() {
            real = next;
            continue;
        }
        hops += 1;
        if hops > HOPS {
            return Err(Error::BadProgram {
                path,
                why: "the links on its way go round in circles".to_owned(),
            });
        }
        let target = fs::read_link(&next).map_err(Error::read(&next))?;
        initramfs.symlink(&next.to_string_lossy(), &target.to_string_lossy());
        if target.is_absolute() {
            real = PathBuf::from("/");
        }
        for part in parts(&target).into_iter().rev() {
            open.push_front(part);
        }
    }
    Ok(real)
}

/// Puts the links to folders that this machine has where most have them.
pub(crate) fn follow_usual_links(initramfs: &mut Initramfs) -> Result<()> {
    for link in USUAL_LINKS {
        if Path::new(link).is_symlink() && Path::new(link).is_dir() {
            follow(initramfs, Path::new(link))?;
        }
    }
    Ok(())
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(part) => Some(part.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_to_files_and_folders_lead_where_they_lead_here() {
        let root = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(root.path()).unwrap();
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::write(root.join("usr/bin/mawk"), "x").unwrap();
        symlink("usr/bin", root.join("bin")).unwrap();
        symlink(root.join("alternative"), root.join("usr/bin/awk")).unwrap();
        symlink("bin/../bin/mawk", root.join("alternative")).unwrap();
        let mut initramfs = Initramfs::new();
        let real = follow(&mut initramfs, &root.join("bin/awk")).unwrap();
        assert_eq!(real, root.join("usr/bin/mawk"));
        for link in ["bin", "usr/bin/awk", "alternative"] {
            assert!(initramfs.holds(root.join(link).to_str().unwrap()));
        }
    }

    #[test]
    fn a_circle_of_links_ends() {
        let root = tempfile::tempdir().unwrap();
        symlink("b", root.path().join("a")).unwrap();
        symlink("a", root.path().join("b")).unwrap();
        let error = follow(&mut Initramfs::new(), &root.path().join("a")).unwrap_err();
        assert!(error.to_string().contains("circles"), "{error}");
    }
}
