//! Programs of this machine: found as a shell finds them, packed with what they need to run.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, Result},
    initramfs::{Initramfs, host_path, library},
};

/// The most that a program may take.
const LIMIT: u64 = 1 << 30;

/// How many scripts may be run by scripts.
const DEPTH: u32 = 4;

/// Folders of programs that a user's PATH may lack.
const FOLDERS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Packs a program, and what it needs. Returns where it is.
pub(crate) fn pack(initramfs: &mut Initramfs, name: &Path) -> Result<PathBuf> {
    let path = find(name).ok_or_else(|| Error::NothingToPack {
        name: name.display().to_string(),
    })?;
    host_path::follow_usual_links(initramfs)?;
    pack_found(initramfs, &path, DEPTH)?;
    Ok(path)
}

fn pack_found(initramfs: &mut Initramfs, path: &Path, depth: u32) -> Result<()> {
    let real = host_path::follow(initramfs, path)?;
    if initramfs.holds(&real.to_string_lossy()) {
        return Ok(());
    }
    let bytes = read(&real)?;
    if bytes.starts_with(b"#!") {
        if depth == 0 {
            return Err(Error::BadProgram {
                path: path.to_owned(),
                why: "its interpreter is a script of a script of a script".to_owned(),
            });
        }
        for program in interpreters(&bytes) {
            let found = find(Path::new(&program)).ok_or(Error::NothingToPack { name: program })?;
            pack_found(initramfs, &found, depth - 1)?;
        }
    } else {
        library::pack(initramfs, path, &bytes)?;
    }
    place(initramfs, &real, bytes)
}

/// Puts a file of this machine, of which the real path is known, at the same place.
pub(crate) fn place(initramfs: &mut Initramfs, real: &Path, bytes: Vec<u8>) -> Result<()> {
    let mode = fs::metadata(real).map_err(Error::read(real))?;
    let mode = mode.permissions().mode() & 0o777;
    initramfs.file(&real.to_string_lossy(), mode, bytes);
    Ok(())
}

/// Reads a program or library.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let metadata = fs::metadata(path).map_err(Error::read(path))?;
    let refuse = |why: &str| Error::BadProgram {
        path: path.to_owned(),
        why: why.to_owned(),
    };
    if !metadata.is_file() {
        return Err(refuse("it is no file"));
    }
    if metadata.len() > LIMIT {
        return Err(refuse("it is larger than 1 GB"));
    }
    fs::read(path).map_err(Error::read(path))
}

/// Finds a program by its path, or by its name in PATH and in the folders of the system.
pub(crate) fn find(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 || name.is_absolute() {
        return name.is_file().then(|| name.to_owned());
    }
    let own = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&own).chain(env::split_paths(FOLDERS));
    folders
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// The programs that a script's first line names: the interpreter, and what `env` is to find.
fn interpreters(script: &[u8]) -> Vec<String> {
    let line = script.split(|&byte| byte == b'\n').next();
    let line = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
    let mut words = line.trim_start_matches("#!").split_whitespace();
    let Some(interpreter) = words.next() else {
        return Vec::new();
    };
    let mut programs = vec![interpreter.to_owned()];
    if interpreter.ends_with("/env") {
        let is_program = |word: &&str| !word.starts_with('-') && !word.contains('=');
        programs.extend(words.find(is_program).map(str::to_owned));
    }
    programs
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::shell("#!/bin/sh\nx", &["/bin/sh"])]
    #[case::with_option("#! /bin/sh -e\n", &["/bin/sh"])]
    #[case::env("#!/usr/bin/env python3\n", &["/usr/bin/env", "python3"])]
    #[case::env_with_options("#!/usr/bin/env -S A=1 awk -f\n", &["/usr/bin/env", "awk"])]
    #[case::nothing("#!\n", &[])]
    fn a_script_names_its_interpreters(#[case] script: &str, #[case] expected: &[&str]) {
        assert_eq!(interpreters(script.as_bytes()), expected);
    }

    #[test]
    fn a_script_brings_its_interpreter() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        fs::write(&script, "#!/bin/sh\ntrue\n").unwrap();
        let mut initramfs = Initramfs::new();
        initramfs.program(&script).unwrap();
        for path in [script.as_path(), Path::new("/bin/sh")] {
            let real = fs::canonicalize(path).unwrap();
            assert!(initramfs.holds(real.to_str().unwrap()));
        }
        initramfs.finish().unwrap();
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = Initramfs::new().program("no-such-program").unwrap_err();
        assert!(error.to_string().contains("`no-such-program`"), "{error}");
    }

    #[test]
    fn what_is_no_program_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        fs::write(&path, "only text").unwrap();
        let error = Initramfs::new().program(&path).unwrap_err();
        assert!(matches!(error, Error::BadProgram { .. }), "{error}");
        let error = Initramfs::new().program(folder.path()).unwrap_err();
        assert!(matches!(error, Error::NothingToPack { .. }), "{error}");
    }

    #[test]
    fn a_script_that_runs_itself_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("script");
        fs::write(&path, format!("#!{}\n", path.display())).unwrap();
        assert!(Initramfs::new().program(&path).is_err());
    }
}
