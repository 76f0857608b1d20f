//! A room: where the programs of one node run, and what they can see and write.
//!
//! Its network is the node's [`Namespace`]. Its processes are a family of their own, which ends with the room, or with
//! us, however we end; what a program forks, and what tears itself off, too. Of the machine's files they see all and can
//! write none, but in the [`Place`]s; /dev and /proc are their own.
//!
//! ```ignore
//! let room = Room::new(lab.network(agent), "agent", &places_in(folder)?)?;
//! let mut command = tokio::process::Command::new("nc");
//! command.args(["-u", "-l", "-p", "6666"]).stdin(Stdio::null()).stdout(Stdio::piped());
//! let mut netcat = room.spawn(command)?;       // a tokio Child: wait(), start_kill(), stdout
//! let log = room.enter(|| File::open("/var/log/10.1.0.1/netconsole.log"))?;
//! room.kill();                                 // all at once, also what tore itself off
//! netcat.wait().await?;
//! room.down().await?;
//! ```

mod keeper;
mod mounts;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sched::{CloneFlags, setns, unshare};
use tokio::{
    process::{Child, Command},
    runtime::Handle,
};

use crate::lab::{
    namespace::{Namespace, NamespaceError, on_a_thread},
    room::keeper::Keeper,
};

/// What daemons write to, wherever they come from.
const WRITTEN: [&str; 4] = ["/run", "/tmp", "/var/log", "/var/tmp"];
/// How long the kernel may take to end all processes of a room.
const DOWN_WITHIN: Duration = Duration::from_secs(30);
/// What a room has for itself.
const OWN: CloneFlags = CloneFlags::CLONE_NEWNS
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWIPC);

/// Where the programs of one node run. Dropped, it kills them; [`Room::down`] also waits for their end.
#[derive(Debug)]
pub(crate) struct Room {
    keeper: Keeper,
}

/// A file or folder of ours that stands in a room in the place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) ours: PathBuf,
    /// The path as the programs see it; there must be something of that kind on the machine.
    pub(crate) theirs: PathBuf,
}

/// Empty folders below `folder` in place of all that daemons write to anyway: what stands in /var/log of the room is in
/// `FOLDER/var/log`.
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "receivers make a place of their own")
)]
pub(crate) fn places_in(folder: &Path) -> io::Result<Vec<Place>> {
    let place = |written: &&str| {
        let ours = folder.join(written.trim_start_matches('/'));
        fs::create_dir_all(&ours)?;
        Ok(Place {
            ours,
            theirs: written.into(),
        })
    };
    WRITTEN.iter().map(place).collect()
}

impl Room {
    /// A room with the network of `network`, on a machine that is called `name`.
    pub(crate) fn new(
        network: &Namespace,
        name: &str,
        places: &[Place],
    ) -> Result<Self, NamespaceError> {
        let keeper = on_a_thread(|| {
            setns(network, CloneFlags::CLONE_NEWNET)
                .map_err(NamespaceError::of("enter a network namespace"))?;
            unshare(OWN).map_err(NamespaceError::of("make a mount namespace"))?;
            nix::unistd::sethostname(name)
                .map_err(NamespaceError::of(format!("call a machine `{name}`")))?;
            mounts::arrange(places)?;
            unshare(CloneFlags::CLONE_NEWPID)
                .map_err(NamespaceError::of("make a process namespace"))?;
            Keeper::start()
        })??;
        Ok(Self { keeper })
    }

    /// Starts a program in the room. Give it its streams and its folder (`current_dir`) yourself; dropped, it is killed.
    ///
    /// Its path is looked up in the room. Not to be used from outside a tokio runtime.
    pub(crate) fn spawn(&self, mut command: Command) -> Result<Child, NamespaceError> {
        let runtime = Handle::current();
        let program = command
            .as_std()
            .get_program()
            .to_string_lossy()
            .into_owned();
        on_a_thread(|| {
            self.go_in(OWN | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWPID)?;
            let _runtime = runtime.enter();
            command.kill_on_drop(true);
            command
                .spawn()
                .map_err(NamespaceError::of(format!("start `{program}`")))
        })?
    }

    /// Does `work` in the room, in a thread of its own: paths mean what they mean to the programs, sockets are theirs.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "receivers make a place of their own")
    )]
    pub(crate) fn enter<T: Send>(
        &self,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, NamespaceError> {
        on_a_thread(|| {
            self.go_in(OWN | CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        })?
    }

    /// All that runs in the room now, by the machine's own numbers.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.keeper.family()
    }

    /// Kills all that runs in the room; nothing can be started in it any more.
    pub(crate) fn kill(&self) {
        self.keeper.kill();
    }

    /// Kills all that runs in the room and waits until it is gone. Wait for what [`Room::spawn`] gave, or drop it, before:
    /// the kernel keeps a room until all children are reaped, and a `Child` that is neither waited for nor dropped is not.
    pub(crate) async fn down(self) -> Result<(), NamespaceError> {
        self.keeper.end(DOWN_WITHIN).await
    }

    fn go_in(&self, what: CloneFlags) -> Result<(), NamespaceError> {
        // A thread that shares its folder with others cannot change its mounts.
        unshare(CloneFlags::CLONE_FS)
            .and_then(|()| setns(&self.keeper, what))
            .map_err(NamespaceError::of("enter a room"))
    }
}

#[cfg(test)]
mod tests;
