//! Which mirror of Debian's archive is asked: the one that the machine itself uses, or the one that a setting names.

use std::{
    env,
    fmt::Write,
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, Result},
    kernel::debian::sources::{self, AptSource},
};

/// The variable that names the mirror where the machine's own sources do not.
pub(crate) const VARIABLE: &str = "LASTWORDS_DEBIAN_MIRROR";

/// The suites that are searched for kernels, beside those that the machine uses.
const SUITES: [&str; 7] = [
    "bookworm",
    "bookworm-updates",
    "bookworm-backports",
    "trixie",
    "trixie-updates",
    "trixie-backports",
    "sid",
];

/// The suites that live in the archive of security updates.
const SECURITY_SUITES: [&str; 2] = ["bookworm-security", "trixie-security"];

/// Where Debian's keys are, when no source names them.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// A mirror of Debian's archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mirror {
    uri: String,
    security_uri: Option<String>,
    suites: Vec<String>,
    keyring: PathBuf,
}

/// A suite and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suite {
    pub(crate) uri: String,
    pub(crate) name: String,
}

impl Mirror {
    /// Finds the mirror in the environment, else in the machine's apt sources.
    pub(crate) fn find() -> Result<Self> {
        let setting = env::var(VARIABLE).ok().filter(|uri| !uri.is_empty());
        let sources = sources::read(Path::new("/etc/apt"));
        let keyring = KEYRINGS
            .iter()
            .map(PathBuf::from)
            .find(|path| path.exists());
        Self::choose(setting.as_deref(), &sources, keyring)
    }

    pub(crate) fn choose(
        setting: Option<&str>,
        sources: &[AptSource],
        keyring: Option<PathBuf>,
    ) -> Result<Self> {
        let debian: Vec<&AptSource> = sources.iter().filter(|source| is_debian(source)).collect();
        let main = debian.iter().find(|source| !is_security(&source.suite));
        let security = debian.iter().find(|source| is_security(&source.suite));
        let uri = match (setting, main) {
            (Some(uri), _) => uri.trim_end_matches('/').to_owned(),
            (None, Some(source)) => source.uri.clone(),
            (None, None) => return Err(Error::MirrorUnknown),
        };
        let security_uri = match (setting, security) {
            (None, Some(source)) => Some(source.uri.clone()),
            _ => uri
                .strip_suffix("/debian")
                .map(|start| format!("{start}/debian-security")),
        };
        let named = main.and_then(|source| source.keyring.clone());
        let keyring = named
            .filter(|path| path.exists())
            .or(keyring)
            .ok_or(Error::KeyringMissing)?;
        let suites = debian.iter().map(|source| source.suite.clone()).collect();
        Ok(Self {
            uri,
            security_uri,
            suites,
            keyring,
        })
    }

    /// Its address, to be shown.
    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    /// All suites that are asked, each once.
    pub(crate) fn suites(&self) -> Vec<Suite> {
        let mut suites: Vec<Suite> = Vec::new();
        let known = SUITES.iter().chain(&SECURITY_SUITES).copied();
        for name in known.chain(self.suites.iter().map(String::as_str)) {
            let uri = if is_security(name) {
                self.security_uri.as_ref()
            } else {
                Some(&self.uri)
            };
            if let Some(uri) = uri
                && !suites.iter().any(|suite| suite.name == name)
            {
                suites.push(Suite {
                    uri: uri.clone(),
                    name: name.to_owned(),
                });
            }
        }
        suites
    }

    /// A sources.list for apt that names nothing but these suites.
    pub(crate) fn sources_list(&self) -> String {
        let mut list = String::new();
        for suite in self.suites() {
            let keyring = self.keyring.display();
            let _ = writeln!(
                list,
                "deb [arch=amd64 target=Packages signed-by={keyring}] {} {} main",
                suite.uri, suite.name
            );
        }
        list
    }
}

fn is_security(suite: &str) -> bool {
    suite.ends_with("-security")
}

/// The names under which Debian releases; others' archives with such a suite do not end in `/debian`.
const RELEASES: [&str; 11] = [
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "oldstable",
    "stable",
    "testing",
    "unstable",
    "experimental",
];

/// Whether a source is Debian's own archive, or a mirror or snapshot of it.
fn is_debian(source: &AptSource) -> bool {
    let release = source.suite.split('-').next().unwrap_or_default();
    let mut path = source.uri.split('/').skip(3);
    path.any(|part| part == "debian" || part == "debian-security")
        && RELEASES.contains(&release)
        && source
            .components
            .iter()
            .any(|component| component == "main")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uri: &str, suite: &str, component: &str) -> AptSource {
        AptSource {
            uri: uri.to_owned(),
            suite: suite.to_owned(),
            components: vec![component.to_owned()],
            keyring: None,
        }
    }

    fn keyring() -> Option<PathBuf> {
        Some(PathBuf::from("/keys.gpg"))
    }

    #[test]
    fn the_machines_own_mirror_is_asked() {
        let sources = [
            source("https://other.example/linux/debian", "bookworm", "stable"),
            source("https://vendor.example/apt", "stable", "main"),
            source("http://near.example/debian", "forky", "main"),
            source(
                "http://safe.example/debian-security",
                "bookworm-security",
                "main",
            ),
        ];
        let mirror = Mirror::choose(None, &sources, keyring()).unwrap();
        let list = mirror.sources_list();
        assert!(
            list.contains(
                "signed-by=/keys.gpg] http://near.example/debian trixie-backports main\n"
            )
        );
        assert!(list.contains("http://near.example/debian forky main\n"));
        assert!(list.contains("http://safe.example/debian-security trixie-security main\n"));
        assert!(!list.contains("other.example") && !list.contains("vendor.example"));
    }

    #[test]
    fn a_setting_stands_before_the_sources() {
        let sources = [source("http://near.example/debian", "bookworm", "main")];
        let mirror = Mirror::choose(Some("http://set.example/debian/"), &sources, keyring());
        let list = mirror.unwrap().sources_list();
        assert!(list.contains("http://set.example/debian sid main\n"));
        assert!(list.contains("http://set.example/debian-security bookworm-security main\n"));
        assert!(!list.contains("near.example"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = Mirror::choose(None, &[], keyring()).unwrap_err();
        assert!(error.to_string().contains("LASTWORDS_DEBIAN_MIRROR"));
        assert!(error.to_string().contains("debian-archive-keyring"));
        let error = Mirror::choose(Some("http://set.example/debian"), &[], None).unwrap_err();
        assert!(error.to_string().contains("debian-archive-keyring"));
    }
}
