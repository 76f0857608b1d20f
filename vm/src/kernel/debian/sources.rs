//! The machine's own apt sources: both formats of sources.list(5), read for what they say of Debian's archive.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// One archive and suite that the machine fetches binary packages from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AptSource {
    pub(crate) uri: String,
    pub(crate) suite: String,
    pub(crate) components: Vec<String>,
    /// The key file that the source names.
    pub(crate) keyring: Option<PathBuf>,
}

/// Reads all sources below `/etc/apt`; what cannot be read or understood is left out, as another's file.
pub(crate) fn read(etc: &Path) -> Vec<AptSource> {
    let mut paths = vec![etc.join("sources.list")];
    if let Ok(listing) = fs::read_dir(etc.join("sources.list.d")) {
        paths.extend(listing.flatten().map(|item| item.path()));
    }
    paths[1..].sort();
    let mut sources = Vec::new();
    for path in paths {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(text.lines().flat_map(parse_line)),
            Some("sources") => sources.extend(parse_stanzas(&text)),
            _ => {}
        }
    }
    sources
}

/// Reads a line like `deb [signed-by=KEY] URI SUITE COMPONENT…`.
fn parse_line(line: &str) -> Option<AptSource> {
    let line = line.split('#').next()?.trim();
    let mut rest = line.strip_prefix("deb")?.trim_start();
    if rest.len() == line.len() - "deb".len() {
        return None;
    }
    let mut keyring = None;
    if let Some(options) = rest.strip_prefix('[') {
        let (options, behind) = options.split_once(']')?;
        keyring = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="))
            .and_then(key_file);
        rest = behind;
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(AptSource {
        uri: plain_uri(&words.next()?)?,
        suite: words.next()?,
        components: words.collect(),
        keyring,
    })
}

/// Reads stanzas of `Key: value` lines.
fn parse_stanzas(text: &str) -> Vec<AptSource> {
    let text: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    text.split(|line| line.trim().is_empty())
        .flat_map(|lines| sources_of(&fields(lines)))
        .collect()
}

fn fields(lines: &[&str]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::<String, String>::new();
    let mut current = String::new();
    for line in lines {
        if line.starts_with([' ', '\t']) {
            let value = fields.entry(current.clone()).or_default();
            value.push(' ');
            value.push_str(line.trim());
        } else if let Some((key, value)) = line.split_once(':') {
            current = key.to_ascii_lowercase();
            fields.insert(current.clone(), value.trim().to_owned());
        }
    }
    fields
}

fn sources_of(fields: &BTreeMap<String, String>) -> Vec<AptSource> {
    let words = |key: &str| -> Vec<String> {
        let value = fields.get(key).map_or("", String::as_str);
        value.split_whitespace().map(str::to_owned).collect()
    };
    let is_off = ["no", "false", "0"].contains(&words("enabled").concat().as_str());
    if is_off || !words("types").iter().any(|kind| kind == "deb") {
        return Vec::new();
    }
    let keyring = fields.get("signed-by").and_then(|path| key_file(path));
    let mut sources = Vec::new();
    for uri in words("uris").iter().filter_map(|uri| plain_uri(uri)) {
        for suite in words("suites") {
            sources.push(AptSource {
                uri: uri.clone(),
                suite,
                components: words("components"),
                keyring: keyring.clone(),
            });
        }
    }
    sources
}

/// A key file's path; a fingerprint or an embedded key is none.
fn key_file(text: &str) -> Option<PathBuf> {
    text.starts_with('/').then(|| PathBuf::from(text))
}

/// An address that apt can fetch files below: a file of mirrors is replaced by the first that it lists.
fn plain_uri(uri: &str) -> Option<String> {
    let uri = uri.trim_end_matches('/');
    if let Some(path) = uri.strip_prefix("mirror+file:") {
        let path = format!("/{}", path.trim_start_matches('/'));
        let text = fs::read_to_string(path).ok()?;
        let line = text
            .lines()
            .find(|line| !line.trim().is_empty() && !line.starts_with('#'))?;
        return plain_uri(line.split_whitespace().next()?);
    }
    let is_usable = !uri.starts_with("cdrom:") && uri.contains(":/") && !uri.contains(['"', ' ']);
    is_usable.then(|| uri.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn write(files: &[(&str, &str)]) -> tempfile::TempDir {
        let etc = tempfile::tempdir().unwrap();
        fs::create_dir(etc.path().join("sources.list.d")).unwrap();
        for (name, text) in files {
            fs::write(etc.path().join(name), text).unwrap();
        }
        etc
    }

    #[rstest]
    #[case::plain("deb http://mirror.example/debian/ bookworm main contrib", None)]
    #[case::with_options(
        "deb [ arch=amd64 signed-by=/usr/share/keyrings/k.gpg ] http://mirror.example/debian bookworm main contrib # x",
        Some("/usr/share/keyrings/k.gpg")
    )]
    fn a_line_is_read(#[case] line: &str, #[case] keyring: Option<&str>) {
        let etc = write(&[("sources.list", line)]);
        let expected = AptSource {
            uri: "http://mirror.example/debian".to_owned(),
            suite: "bookworm".to_owned(),
            components: vec!["main".to_owned(), "contrib".to_owned()],
            keyring: keyring.map(PathBuf::from),
        };
        assert_eq!(read(etc.path()), [expected]);
    }

    #[test]
    fn stanzas_are_read() {
        let text = "# comment\nTypes: deb deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm\n bookworm-updates\n\
                    Components: main\nSigned-By: /k.gpg\n\nTypes: deb\nURIs: http://off.example\nSuites: x\nEnabled: no\n\n\
                    Types: deb-src\nURIs: http://source.example\nSuites: x\n";
        let etc = write(&[("sources.list.d/debian.sources", text)]);
        let sources = read(etc.path());
        let suites: Vec<&str> = sources.iter().map(|source| source.suite.as_str()).collect();
        assert_eq!(suites, ["bookworm", "bookworm-updates"]);
        assert_eq!(sources[0].keyring.as_deref(), Some(Path::new("/k.gpg")));
    }

    #[test]
    fn a_file_of_mirrors_is_replaced_by_its_first() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("debian.list");
        fs::write(
            &list,
            "# mirrors\nhttps://near.example/debian/\tpriority:1\n",
        )
        .unwrap();
        let line = format!("deb mirror+file://{} bookworm main", list.display());
        let etc = write(&[("sources.list", &line)]);
        assert_eq!(read(etc.path())[0].uri, "https://near.example/debian");
    }

    #[rstest]
    #[case::source("deb-src http://mirror.example/debian bookworm main")]
    #[case::disc("deb cdrom:[Debian]/ bookworm main")]
    #[case::torn("deb [signed-by=")]
    #[case::nothing("deb")]
    fn other_lines_are_left_out(#[case] line: &str) {
        let etc = write(&[("sources.list", line)]);
        assert_eq!(read(etc.path()), []);
    }
}
