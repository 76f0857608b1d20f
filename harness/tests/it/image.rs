//! Kernels and modules that are torn, foreign, or none at all: each has its sentence.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use rstest::rstest;

use crate::home::{HELLO, Home, kernel_folder, said};

/// `lastwords run` on `kernel`, which comes to nothing; standard output and standard error.
#[track_caller]
fn refused(home: &Home, kernel: &Path, more: &[&str]) -> String {
    let mut arguments = vec!["--kernel", kernel.to_str().unwrap()];
    arguments.extend(more);
    let (output, errors) = said(&home.play(HELLO, &arguments).code(3));
    output + &errors
}

fn image(home: &Home, length: impl Fn(u64) -> u64) -> PathBuf {
    let path = home.work().join("vmlinuz");
    fs::copy(kernel_folder().join("image"), &path).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(length(file.metadata().unwrap().len()))
        .unwrap();
    path
}

fn release() -> String {
    let description = fs::read(kernel_folder().join("kernel.json")).unwrap();
    let description: serde_json::Value = serde_json::from_slice(&description).unwrap();
    description["release"].as_str().unwrap().to_owned()
}

/// `…/lib/modules/RELEASE` of the kernel: the folder that holds `kernel/`.
fn modules() -> PathBuf {
    let mut folders = vec![kernel_folder().join("modules")];
    while let Some(folder) = folders.pop() {
        if folder.join("kernel").is_dir() {
            return folder;
        }
        let below = fs::read_dir(folder).into_iter().flatten();
        folders.extend(
            below
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.is_dir()),
        );
    }
    panic!("no modules");
}

#[rstest]
#[case::that_is_cut_in_half(|length| length / 2, "is torn: the image ends before its payload does")]
#[case::that_is_cut_early(|_| 4000, "is torn")]
#[case::that_is_empty(|_| 0, "is no x86 kernel")]
fn an_image(#[case] length: fn(u64) -> u64, #[case] sentence: &str) {
    let home = Home::without_kernels();
    let path = image(&home, length);
    let said = refused(&home, &path, &[]);
    assert!(said.contains(sentence), "{said}");
}

#[test]
fn an_image_whose_payload_is_spoiled_is_named() {
    let home = Home::without_kernels();
    let path = image(&home, |length| length);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    let said = refused(&home, &path, &[]);
    assert!(
        said.contains("does not unpack\n(fetch or build the image again)"),
        "{said}"
    );
}

#[rstest]
#[case::a_text("#!/bin/sh\necho no kernel\n")]
#[case::a_program("\x7fELF")]
fn a_file_that_is_no_kernel(#[case] content: &str) {
    let home = Home::without_kernels();
    let path = home.work().join("vmlinuz");
    fs::write(&path, content).unwrap();
    let said = refused(&home, &path, &[]);
    assert!(
        said.contains("is no x86 kernel") || said.contains("is torn"),
        "{said}"
    );
    assert!(said.contains("vmlinuz"), "{said}");
}

#[test]
fn a_kernel_that_is_not_there_is_named() {
    let home = Home::without_kernels();
    let said = refused(&home, Path::new("./nowhere/vmlinuz"), &[]);
    assert!(
        said.contains("there is no kernel at `./nowhere/vmlinuz`"),
        "{said}"
    );
}

#[test]
fn a_folder_without_a_kernel_is_named() {
    let home = Home::without_kernels();
    let said = refused(&home, Path::new("."), &[]);
    assert!(
        said.contains(
            "holds neither arch/x86/boot/bzImage nor vmlinux\n(build the kernel there first)"
        ),
        "{said}"
    );
}

#[test]
fn a_kernel_that_may_not_be_read_is_named() {
    let home = Home::without_kernels();
    let path = image(&home, |length| length);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let said = refused(&home, &path, &[]);
    assert!(
        said.contains("cannot read") && said.contains("Permission denied"),
        "{said}"
    );
}

#[test]
fn an_image_runs_with_its_modules() {
    let home = Home::without_kernels();
    let path = image(&home, |length| length);
    let arguments = [
        "--kernel",
        path.to_str().unwrap(),
        "--modules",
        modules().to_str().unwrap(),
    ]
    .map(str::to_owned);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    home.play(HELLO, &arguments).code(0);
}

#[test]
fn an_image_without_modules_has_no_netconsole() {
    let home = Home::without_kernels();
    let path = image(&home, |length| length);
    let said = refused(&home, &path, &[]);
    assert!(said.contains("netconsole"), "{said}");
    assert!(said.contains("--modules"), "{said}");
}

/// A folder of modules with only those whose file names begin so.
fn some_modules(home: &Home, release: &str, prefixes: &[&str]) -> PathBuf {
    let folder = home.work().join("modules").join(release);
    fs::create_dir_all(folder.join("kernel")).unwrap();
    let mut folders = vec![modules()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if name.contains(".ko") && prefixes.iter().any(|prefix| name.starts_with(prefix))
            {
                fs::copy(&path, folder.join("kernel").join(name)).unwrap();
            }
        }
    }
    folder
}

#[test]
fn a_kernel_without_netconsole_is_named_with_the_remedy() {
    let home = Home::without_kernels();
    let path = image(&home, |length| length);
    let folder = some_modules(&home, &release(), &["virtio", "net_failover", "failover"]);
    let said = refused(&home, &path, &["--modules", folder.to_str().unwrap()]);
    assert!(said.contains("has no netconsole"), "{said}");
    assert!(said.contains("(it needs CONFIG_NETCONSOLE=y or =m; with --modules, the folder must hold netconsole.ko)"), "{said}");
}

#[test]
fn a_kernel_without_a_driver_for_its_card_is_told() {
    let home = Home::without_kernels();
    let path = image(&home, |length| length);
    let folder = some_modules(&home, &release(), &["netconsole", "configfs"]);
    let said = refused(&home, &path, &["--modules", folder.to_str().unwrap()]);
    assert!(said.contains("virtio"), "{said}");
}

#[test]
fn modules_of_another_kernel_are_named() {
    let home = Home::without_kernels();
    let path = image(&home, |length| length);
    let folder = some_modules(&home, "lib/modules/6.1.0-0-other", &["virtio"]);
    let root = home.work().join("modules");
    let said = refused(&home, &path, &["--modules", root.to_str().unwrap()]);
    let sentence = format!(
        "holds no kernel modules for {}; it has those for 6.1.0-0-other",
        release()
    );
    assert!(said.contains(&sentence), "{said}");
    let said = refused(
        &home,
        &path,
        &["--modules", folder.join("nowhere").to_str().unwrap()],
    );
    assert!(said.contains("cannot read"), "{said}");
}

/// The kernel's own netconsole.ko, unpacked where it is compressed, with one text in it replaced by another as long.
fn module(home: &Home, from: &str, to: &str) -> PathBuf {
    assert_eq!(from.len(), to.len());
    let folder = some_modules(home, &release(), &["netconsole"]);
    let path = folder.join("kernel/netconsole.ko");
    let mut bytes = fs::read(&path).unwrap();
    let places: Vec<usize> = (0..bytes.len() - from.len())
        .filter(|place| bytes[*place..].starts_with(from.as_bytes()))
        .collect();
    assert!(!places.is_empty(), "no `{from}` in it");
    for place in places {
        bytes[place..place + to.len()].copy_from_slice(to.as_bytes());
    }
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_module_for_another_kernel_is_named() {
    let home = Home::shared();
    let release = release();
    let (start, _) = release.split_at(release.len() - 1);
    let path = module(
        &home,
        &format!("vermagic={release} "),
        &format!("vermagic={start}X "),
    );
    let (output, errors) = said(
        &home
            .play(HELLO, &["--module", path.to_str().unwrap()])
            .code(3),
    );
    let said = output + &errors;
    assert!(
        said.contains(&format!("was built for `{start}X ")),
        "{said}"
    );
    assert!(
        said.contains("(build the module against this kernel)"),
        "{said}"
    );
}

#[rstest]
#[case::a_text("no module", "is no kernel module")]
fn a_file_that_is_no_module(#[case] content: &str, #[case] sentence: &str) {
    let home = Home::shared();
    let path = home.work().join("netconsole.ko");
    fs::write(&path, content).unwrap();
    let (output, errors) = said(
        &home
            .play(HELLO, &["--module", path.to_str().unwrap()])
            .code(3),
    );
    assert!((output + &errors).contains(sentence), "{errors}");
}

/// The kernel of the cache is copied, all but its modules, into a cache of the test's own.
fn copied(home: &Home) -> PathBuf {
    let from = kernel_folder();
    let to = home.cache().join("kernels").join(from.file_name().unwrap());
    fs::create_dir_all(&to).unwrap();
    for entry in fs::read_dir(&from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if path.is_dir() {
            symlink(&path, to.join(name)).unwrap();
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
    to
}

#[rstest]
#[case::vmlinux("vmlinux")]
#[case::description("kernel.json")]
fn a_cached_kernel_that_is_torn_is_no_pass(#[case] file: &str) {
    let home = Home::without_kernels();
    let folder = copied(&home);
    let file = fs::File::options()
        .write(true)
        .open(folder.join(file))
        .unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    let scenario = home.scenario("hello", HELLO);
    let mut command = home.command();
    // No archive to fetch it again from.
    command
        .arg("run")
        .arg(scenario)
        .env("LASTWORDS_DEBIAN_MIRROR", "http://127.0.0.1:9/debian");
    let assert = assert_cmd::Command::from_std(command).assert().code(3);
    let (_, errors) = said(&assert);
    assert!(errors.contains("torn"), "{errors}");
    home.nothing_is_left();
}
