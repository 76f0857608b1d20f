//! A place of a test's own to run the program in: cache, home, working and temporary folder, and a look at what is left.
//!
//! The kernels are those of the machine's cache; they are fetched once where they are not there.

use std::{
    env, fs,
    os::unix::{fs::symlink, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command as StdCommand, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use assert_cmd::{Command, assert::Assert};
use tempfile::TempDir;

/// The kernel that tests run on.
pub(crate) const KERNEL: &str = "debian:6.1";
/// The variable by which a test finds the processes that are its own.
const MARK: &str = "LASTWORDS_TEST_HOME";
/// How long one call of the program may take, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(240);

/// The program under test.
pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_lastwords"))
}

/// The cache that the machine's user has, with [`KERNEL`] in it.
pub(crate) fn machine_cache() -> &'static Path {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    CACHE.get_or_init(|| {
        let fetched = StdCommand::new(program())
            .args(["kernel", "fetch", "--if-missing", KERNEL])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&fetched.stderr);
        assert!(fetched.status.success(), "no kernel to test with: {errors}");
        let named = env::var_os("LASTWORDS_CACHE").map(PathBuf::from);
        let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || PathBuf::from(env::var_os("HOME").unwrap()).join(".cache");
        named.unwrap_or_else(|| base.unwrap_or_else(home).join("lastwords"))
    })
}

/// The folder of [`KERNEL`] in the machine's cache: `vmlinux`, `image`, `modules`.
pub(crate) fn kernel_folder() -> PathBuf {
    let shelf = machine_cache().join("kernels");
    let mut folders: Vec<PathBuf> = fs::read_dir(shelf)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("debian_6.1.")
        })
        .collect();
    folders.sort();
    folders.pop().unwrap()
}

/// `$1` the machine's kernels, `$2` a scenario, `$3` the program, `$4` a folder.
const ELSEWHERE: &str = r#"
mount -t tmpfs -o mode=755 none $4
mkdir $4/cache $4/cache/kernels
cp $2 $4/scenario.toml
cp $3 $4/lastwords
mount --bind -o ro $1 $4/cache/kernels
cd $4
shift 4
"#;

/// A place of a test's own. Nothing may be left in it but what is in its cache, and no process.
pub(crate) struct Home {
    folder: TempDir,
    shares_templates: bool,
}

impl Home {
    /// With an empty cache but for the machine's kernels.
    pub(crate) fn new() -> Self {
        let home = Self::without_kernels();
        symlink(
            machine_cache().join("kernels"),
            home.cache().join("kernels"),
        )
        .unwrap();
        home
    }

    /// With an empty cache.
    pub(crate) fn without_kernels() -> Self {
        let folder = TempDir::with_prefix_in("it-", env!("CARGO_TARGET_TMPDIR")).unwrap();
        for part in ["cache", "empty/home", "empty/temporary", "work"] {
            fs::create_dir_all(folder.path().join(part)).unwrap();
        }
        Self {
            folder,
            shares_templates: false,
        }
    }

    /// With the machine's own cache, templates included: for tests that leave it as it is.
    pub(crate) fn shared() -> Self {
        machine_cache();
        Self {
            shares_templates: true,
            ..Self::without_kernels()
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.path().join("cache")
    }

    /// The working folder: for scenarios and what `--out` leaves.
    pub(crate) fn work(&self) -> PathBuf {
        self.path().join("work")
    }

    /// Writes a scenario and gives its path.
    pub(crate) fn scenario(&self, name: &str, text: &str) -> PathBuf {
        let path = self.work().join(format!("{name}.toml"));
        fs::write(&path, text).unwrap();
        path
    }

    /// Has root run a shell script in a folder that any user may read, and that is gone with it: in it are `cache`,
    /// empty but for the machine's kernels, the scenario `text` as `scenario.toml`, and the program as `lastwords`.
    pub(crate) fn elsewhere(&self, text: &str, script: &str, arguments: &[&str]) -> Output {
        let place = self.path().join("place");
        fs::create_dir(&place).unwrap();
        let mut command = StdCommand::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "sh", "-ec"])
            .arg(format!("{ELSEWHERE}{script}"))
            .arg("sh")
            .arg(machine_cache().join("kernels"))
            .arg(self.scenario("elsewhere", text))
            .arg(program())
            .arg(place)
            .args(arguments);
        self.settle(&mut command);
        command.output().unwrap()
    }

    /// A call of the program in this place, without any variable of the machine's but PATH.
    pub(crate) fn command(&self) -> StdCommand {
        let mut command = StdCommand::new(program());
        self.settle(&mut command);
        // SAFETY: between fork and exec only prctl is called, which touches no memory.
        unsafe { command.pre_exec(obey_permissions) };
        command
    }

    /// Gives `command` the variables of this place and no others but PATH.
    pub(crate) fn settle(&self, command: &mut StdCommand) {
        let cache = if self.shares_templates {
            machine_cache().to_owned()
        } else {
            self.cache()
        };
        command
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap())
            .env("HOME", self.path().join("empty/home"))
            .env("TMPDIR", self.path().join("empty/temporary"))
            .env("LASTWORDS_CACHE", cache)
            .env(MARK, self.path())
            .current_dir(self.work())
            .stdin(Stdio::null());
    }

    /// Runs the program to its end.
    #[track_caller]
    pub(crate) fn run<const N: usize>(&self, arguments: [&str; N]) -> Assert {
        let mut command = self.command();
        command.args(arguments);
        let assert = Command::from_std(command).timeout(PATIENCE).assert();
        self.nothing_is_left();
        assert
    }

    /// `lastwords run` with a scenario of this text.
    #[track_caller]
    pub(crate) fn play(&self, text: &str, arguments: &[&str]) -> Assert {
        let path = self.scenario("scenario", text);
        let mut command = self.command();
        command.arg("run").arg(path).args(arguments);
        let assert = Command::from_std(command).timeout(PATIENCE).assert();
        self.nothing_is_left();
        assert
    }

    /// The processes of this place: those that carry its mark in their environment.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let mark = format!("{MARK}={}", self.path().display()).into_bytes();
        let ours = |id: u32| {
            let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|word| word == mark)
        };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.filter(|id| ours(*id)).map(Process::new).collect()
    }

    /// Fails the test where a process or a file is left of what ran here.
    #[track_caller]
    pub(crate) fn nothing_is_left(&self) {
        let processes = self.processes();
        assert!(processes.is_empty(), "left behind: {processes:?}");
        self.no_file_is_left();
    }

    #[track_caller]
    pub(crate) fn no_file_is_left(&self) {
        for part in ["home", "temporary"] {
            let folder = self.path().join("empty").join(part);
            let left: Vec<_> = fs::read_dir(&folder).unwrap().collect();
            assert!(left.is_empty(), "left behind in {part}: {left:?}");
        }
    }

    /// Waits until no process is left: what SIGKILL leaves dies a moment later.
    #[track_caller]
    pub(crate) fn all_end(&self, within: Duration) {
        let start = Instant::now();
        while !self.processes().is_empty() {
            let late = start.elapsed() > within;
            assert!(!late, "still there: {:?}", self.processes());
            std::thread::yield_now();
        }
    }

    /// How many guests of this place run.
    pub(crate) fn guests(&self) -> usize {
        let processes = self.processes();
        processes
            .iter()
            .filter(|process| process.is("qemu-system-x86_64"))
            .count()
    }

    /// Waits for a process of this place whose command line begins with a program of that name.
    #[track_caller]
    pub(crate) fn process(&self, name: &str, within: Duration) -> Process {
        let start = Instant::now();
        loop {
            let found = self.processes().into_iter().find(|one| one.is(name));
            if let Some(process) = found {
                return process;
            }
            assert!(start.elapsed() < within, "no `{name}` was started");
            std::thread::yield_now();
        }
    }
}

/// A process, by its number.
#[derive(Debug)]
pub(crate) struct Process {
    pub id: u32,
    command: String,
}

impl Process {
    fn new(id: u32) -> Self {
        let command = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        Self { id, command }
    }

    fn is(&self, name: &str) -> bool {
        let program = self.command.split(' ').next().unwrap_or_default();
        Path::new(program)
            .file_name()
            .is_some_and(|file| file == name)
    }
}

/// The line of a scenario file that a simple test needs: one line printed, and expected.
pub(crate) const HELLO: &str = r#"
title = "A line arrives"
[[steps]]
kmsg = "hello"
[[steps]]
expect = "hello"
"#;

/// Standard output and standard error of a finished call.
pub(crate) fn said(assert: &Assert) -> (String, String) {
    let output = assert.get_output();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// Whether a test that needs `what` can go on here; where CI says that nothing may be left out, it must.
#[track_caller]
#[expect(
    clippy::print_stderr,
    reason = "libtest has no other way to say that a test did not run"
)]
pub(crate) fn missing(what: &str) {
    let no_skip =
        env::var_os("LASTWORDS_NO_SKIP").is_some_and(|value| value != "0" && !value.is_empty());
    assert!(
        !no_skip,
        "this test needs {what}, and LASTWORDS_NO_SKIP is set"
    );
    eprintln!("left out: this test needs {what}");
}

/// Root's programs, too, read and write only what the modes of files allow: capabilities that are not in the bounding
/// set do not survive an exec (capabilities(7)). Others have none to drop.
fn obey_permissions() -> std::io::Result<()> {
    const CAP_DAC_OVERRIDE: libc::c_ulong = 1;
    const CAP_DAC_READ_SEARCH: libc::c_ulong = 2;
    for capability in [CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH] {
        // SAFETY: PR_CAPBSET_DROP takes a number and touches no memory.
        let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        if dropped < 0 && is_root() {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The first number of QEMU's version.
pub(crate) fn qemu_major() -> u32 {
    let version = std::process::Command::new("qemu-system-x86_64")
        .arg("--version")
        .output()
        .unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let (_, number) = version.split_once("version ").unwrap();
    number.split_once('.').unwrap().0.parse().unwrap()
}
