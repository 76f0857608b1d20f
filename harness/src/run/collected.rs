//! All that receivers' programs wrote, wherever they did: what explains a failure, and belongs to its recordings.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use crate::{
    receiver::order::{Answer, Order},
    run::{stage::Stage, trouble::Trouble},
    scenario::{NodeIndex, expectation::Source},
    verdict::Judge,
};

/// How long a look at a program's files may take.
const WITHIN: std::time::Duration = std::time::Duration::from_secs(5);

impl Stage<'_> {
    /// Reads all files that the program of `node` wrote, besides those that expectations read anyway.
    pub(crate) async fn collect(&mut self, node: NodeIndex) -> Result<(), Trouble> {
        if let Answer::Written(paths) = self.order(node, &Order::Written, WITHIN).await? {
            for path in paths {
                self.follow(node, &Source::File(path)).await?;
            }
            // The answer to anything comes behind what the last of them holds.
            self.attention(node).await?;
        }
        Ok(())
    }

    /// Reads the files of all programs, as far as they can still be asked.
    pub(crate) async fn collect_all(&mut self) {
        let nodes: Vec<NodeIndex> = self.receivers.keys().copied().collect();
        for node in nodes {
            // Whoever keeps it is gone then, which the failure itself says.
            let _ = self.collect(node).await;
        }
    }
}

/// Writes what the program of `node` wrote below `folder`: `printed`, and its files by their paths.
pub(crate) fn write(judge: &Judge, node: NodeIndex, folder: &Path) -> io::Result<()> {
    for (source, written) in judge.written_at(node) {
        let path = match source {
            Source::File(path) => folder.join(plain(path)),
            Source::Printed | Source::Wire => folder.join("printed"),
        };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, written.bytes())?;
    }
    Ok(())
}

/// A path below another, which leads nowhere else.
fn plain(path: &Path) -> PathBuf {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) if name != ".lastwords" => Some(name),
        _ => None,
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/var/log/net.log", "var/log/net.log")]
    #[case("../../etc/passwd", "etc/passwd")]
    #[case("/.lastwords/complained", "complained")]
    fn a_recording_stays_in_its_folder(#[case] path: &str, #[case] here: &str) {
        assert_eq!(plain(Path::new(path)), Path::new(here));
    }
}
