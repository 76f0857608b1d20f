//! A receiver's /etc: a copy of what receivers are configured with, and the rest of the machine's as it is.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use crate::receiver::{
    order::Plan,
    place::{PlaceError, bind, doing, folder},
};

/// What is longer is no configuration.
const LARGEST: u64 = 1 << 20;
/// How deep folders of configuration are.
const DEEPEST: u32 = 6;

/// Makes /etc below `root`.
pub(crate) fn copy(root: &Path, plan: &Plan) -> Result<(), PlaceError> {
    let etc = root.join("etc");
    folder(&etc)?;
    see(Path::new("/etc"), &etc)?;
    if let Some(prefix) = &plan.prefix {
        let unpacked = prefix.join("etc");
        for (path, name) in entries(&unpacked) {
            let here = etc.join(&name);
            // A folder of the machine that is seen as it is cannot be written.
            if is_configuration(&name) || !here.is_dir() {
                copy_entry(&path, &here, DEEPEST)?;
            }
        }
    }
    let name = &plan.hostname;
    for (file, text) in [
        (
            "hosts",
            format!("127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost\n"),
        ),
        ("hostname", format!("{name}\n")),
        ("resolv.conf", String::new()),
    ] {
        write(&etc.join(file), text.as_bytes())?;
    }
    if has_one_user() {
        for file in ["passwd", "group"] {
            let path = etc.join(file);
            let text = fs::read_to_string(&path).unwrap_or_default();
            write(&path, all_root(&text).as_bytes())?;
        }
    }
    Ok(())
}

/// Files, and folders of configuration, as copies; other folders as they are.
fn see(from: &Path, to: &Path) -> Result<(), PlaceError> {
    for (path, name) in entries(from) {
        let here = to.join(&name);
        let is_folder = path.is_dir() && !path.is_symlink();
        if is_folder && !is_configuration(&name) {
            folder(&here)?;
            // What this user may not see is not there.
            let _ = bind(&path, &here);
        } else {
            copy_entry(&path, &here, DEEPEST)?;
        }
    }
    Ok(())
}

/// Whether a folder of /etc is one that receivers are configured in, or started from.
fn is_configuration(name: &str) -> bool {
    name == "init.d" || ["log", "default"].iter().any(|word| name.contains(word))
}

fn entries(folder: &Path) -> impl Iterator<Item = (PathBuf, String)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (entry.path(), name)
    })
}

fn copy_folder(from: &Path, to: &Path, depth: u32) -> Result<(), PlaceError> {
    folder(to)?;
    for (path, name) in entries(from) {
        copy_entry(&path, &to.join(name), depth)?;
    }
    Ok(())
}

/// What cannot be read, or is too long, is left out.
fn copy_entry(from: &Path, to: &Path, depth: u32) -> Result<(), PlaceError> {
    if from.is_symlink() {
        if let Ok(aim) = fs::read_link(from) {
            let _ = fs::remove_file(to);
            symlink(aim, to).map_err(doing(format!("make the link {}", to.display())))?;
        }
        return Ok(());
    }
    if from.is_dir() {
        return match depth.checked_sub(1) {
            Some(depth) => copy_folder(from, to, depth),
            None => Ok(()),
        };
    }
    let Ok(about) = fs::metadata(from) else {
        return Ok(());
    };
    match fs::read(from) {
        Ok(bytes) if about.is_file() && about.len() <= LARGEST => {
            write(to, &bytes)?;
            // A start script is run.
            let mode = Permissions::from_mode(0o600 | (about.permissions().mode() & 0o755));
            fs::set_permissions(to, mode).map_err(doing(format!("allow {}", to.display())))
        }
        _ => Ok(()),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), PlaceError> {
    // What stood there may be a link to elsewhere.
    let _ = fs::remove_file(path);
    fs::write(path, bytes).map_err(doing(format!("write {}", path.display())))
}

/// Whether the user namespace knows but one user, so that nothing can be given to another.
fn has_one_user() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let count = map.split_whitespace().nth(2);
    count.and_then(|count| count.parse().ok()) == Some(1_u32)
}

/// A passwd or group file in which every name means root: `adm` and `syslog` can be given files then.
fn all_root(text: &str) -> String {
    let line = |line: &str| {
        let mut fields: Vec<&str> = line.split(':').collect();
        let is_passwd = fields.len() >= 7;
        if let Some(id) = fields.get_mut(2) {
            *id = "0";
        }
        if let Some(group) = fields.get_mut(3).filter(|_| is_passwd) {
            *group = "0";
        }
        fields.join(":") + "\n"
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_means_root() {
        let passwd =
            "root:x:0:0:root:/root:/bin/bash\nsyslog:x:104:110::/home/syslog:/usr/sbin/nologin\n";
        let wanted =
            "root:x:0:0:root:/root:/bin/bash\nsyslog:x:0:0::/home/syslog:/usr/sbin/nologin\n";
        assert_eq!(all_root(passwd), wanted);
        assert_eq!(all_root("adm:x:4:a,b\n"), "adm:x:0:a,b\n");
    }
}
