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

/// A kernel build tree as `make` leaves it, out of a package: image, vmlinux, configuration, release, and modules in their
/// places, listed in the order of the build. `suffix` is what the list calls a module: `.ko`, from 6.3 on `.o`.
fn build_tree(home: &Home, suffix: &str, image: bool) -> PathBuf {
    let tree = home.work().join("linux");
    for part in ["arch/x86/boot", "include/config"] {
        fs::create_dir_all(tree.join(part)).unwrap();
    }
    if image {
        fs::copy(
            kernel_folder().join("image"),
            tree.join("arch/x86/boot/bzImage"),
        )
        .unwrap();
    } else {
        fs::copy(kernel_folder().join("vmlinux"), tree.join("vmlinux")).unwrap();
    }
    fs::copy(kernel_folder().join("config"), tree.join(".config")).unwrap();
    fs::write(tree.join("include/config/kernel.release"), release() + "\n").unwrap();
    fs::write(
        tree.join("modules.builtin"),
        fs::read(modules().join("modules.builtin")).unwrap(),
    )
    .unwrap();
    let mut order = String::new();
    for part in fs::read_dir(modules().join("kernel")).unwrap() {
        let part = part.unwrap();
        symlink(part.path(), tree.join(part.file_name()))
            .unwrap_or_else(|_| fill(&part.path(), &tree.join(part.file_name())));
    }
    for line in fs::read_to_string(modules().join("modules.order"))
        .unwrap()
        .lines()
    {
        let place = line.strip_prefix("kernel/").unwrap_or(line);
        order += &place.replace(".ko", suffix);
        order.push('\n');
    }
    fs::write(tree.join("modules.order"), order).unwrap();
    tree
}

/// Links what is in one folder into another that is there already.
fn fill(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        symlink(entry.path(), &place).unwrap_or_else(|_| fill(&entry.path(), &place));
    }
}

const FLOPPY: &str = include_str!("../../../scenarios/smoke/floppy.toml");

#[rstest]
#[case::with_its_image(".ko", true)]
#[case::with_vmlinux_alone(".ko", false)]
#[case::of_a_newer_kernel(".o", true)]
fn a_build_tree_runs_with_the_modules_in_their_places(#[case] suffix: &str, #[case] image: bool) {
    let home = Home::without_kernels();
    let tree = build_tree(&home, suffix, image);
    let kernel = tree.to_str().unwrap();
    home.play(FLOPPY, &["--kernel", kernel]).code(0);
    home.play(HELLO, &["--kernel", kernel]).code(0);
}

/// Built anew, a tree is another kernel: nothing that was kept of the one before is used.
#[test]
fn a_tree_that_was_built_anew_is_booted_anew() {
    let home = Home::without_kernels();
    let tree = build_tree(&home, ".ko", false);
    let kernel = tree.to_str().unwrap();
    home.play(HELLO, &["--kernel", kernel]).code(0);
    let mut vmlinux = fs::read(tree.join("vmlinux")).unwrap();
    let name = b"debian-kernel@";
    for place in 0..vmlinux.len() - name.len() {
        if vmlinux[place..].starts_with(name) {
            vmlinux[place..place + 6].copy_from_slice(b"DEBIAN");
        }
    }
    fs::write(tree.join("vmlinux"), vmlinux).unwrap();
    let text = "title = 'x'\n[[steps]]\nexpect = { line = 'DEBIAN-kernel@', replay = true }\n";
    home.play(text, &["--kernel", kernel]).code(0);
}

#[test]
fn a_vmlinux_runs_with_its_modules() {
    let home = Home::without_kernels();
    let vmlinux = kernel_folder().join("vmlinux");
    let arguments = ["--kernel", vmlinux.to_str().unwrap(), "--modules"];
    home.play(
        FLOPPY,
        &[&arguments[..], &[modules().to_str().unwrap()]].concat(),
    )
    .code(0);
}

/// The running kernel: it runs, or it is said what of it cannot be read.
#[test]
fn the_running_kernel_runs_or_is_named_with_what_is_not_there() {
    let home = Home::without_kernels();
    let assert = home.play(HELLO, &["--kernel", "host"]);
    let code = assert.get_output().status.code();
    let (output, errors) = said(&assert);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let named = output.contains(release.trim()) || errors.contains(release.trim());
    assert!(
        code == Some(0) || code == Some(3) && named,
        "{code:?} {output}{errors}"
    );
}

/// Neither Debian kernel is compressed so: the payload of an image in another form, with its real header before it.
#[rstest]
#[case::with_gzip(gzip)]
#[case::with_lz4(lz4)]
fn an_image_compressed(#[case] compress: fn(&Path) -> Vec<u8>) {
    let home = Home::without_kernels();
    let path = image(&home, |length| length);
    let mut bytes = fs::read(&path).unwrap();
    let number =
        |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    // Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length.
    let start = (usize::from(bytes[0x1f1]) + 1) * 512 + number(&bytes, 0x248) as usize;
    let payload = compress(&kernel_folder().join("vmlinux"));
    bytes.truncate(start);
    bytes[0x24c..0x250].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
    bytes.extend(payload);
    fs::write(&path, bytes).unwrap();
    let (image, modules) = (path.to_str().unwrap(), modules());
    let arguments = ["--kernel", image, "--modules", modules.to_str().unwrap()];
    home.play(HELLO, &arguments).code(0);
}

fn gzip(file: &Path) -> Vec<u8> {
    let mut gzip = std::process::Command::new("gzip");
    gzip.args(["-1", "-c"]).arg(file).output().unwrap().stdout
}

/// LZ4's legacy frame as the kernel's build makes it, in blocks of 8 MB that are literals alone, the size behind it.
fn lz4(file: &Path) -> Vec<u8> {
    let content = fs::read(file).unwrap();
    let mut frame = vec![0x02, 0x21, 0x4c, 0x18];
    for block in content.chunks(8 << 20) {
        let more = block.len() - 15;
        let mut literals = vec![0xf0];
        literals.extend(vec![255; more / 255]);
        literals.push(u8::try_from(more % 255).unwrap());
        literals.extend(block);
        frame.extend(u32::try_from(literals.len()).unwrap().to_le_bytes());
        frame.extend(literals);
    }
    frame.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
    frame
}
