//! The order and the places in which nodes are unpacked: the kernel makes them one after the other, so that a folder must
//! come before what is in it, and a link to a folder is no place to put things under.

use std::{
    borrow::Cow,
    collections::{BTreeMap, VecDeque},
};

use crate::{
    error::{Error, Result},
    initramfs::Node,
};

/// As many links as the kernel follows.
const HOPS: usize = 40;

type Nodes = BTreeMap<String, Node>;
type Laid<'a> = BTreeMap<String, Cow<'a, Node>>;

/// Moves what was put below a link to where the link leads, and adds the folders on the way.
pub(crate) fn lay_out(nodes: &Nodes) -> Result<Laid<'_>> {
    let mut laid = Laid::new();
    for (path, node) in nodes {
        if path.is_empty() {
            continue;
        }
        let place = place(path, nodes)?;
        for (end, _) in place.match_indices('/') {
            add_folder(&mut laid, nodes, &place[..end])?;
        }
        laid.insert(place, Cow::Borrowed(node));
    }
    Ok(laid)
}

fn add_folder<'a>(laid: &mut Laid<'a>, nodes: &'a Nodes, folder: &str) -> Result<()> {
    let node = match nodes.get(folder) {
        Some(node) => Cow::Borrowed(node),
        None => Cow::Owned(Node::Directory { mode: 0o755 }),
    };
    if !matches!(*node, Node::Directory { .. }) {
        return Err(refuse(
            folder,
            "it is to be a folder as well as something else",
        ));
    }
    laid.entry(folder.to_owned()).or_insert(node);
    Ok(())
}

/// Follows the links among the folders of a path.
fn place(path: &str, nodes: &Nodes) -> Result<String> {
    if path.contains('\0') {
        return Err(refuse(path, "no path holds a NUL"));
    }
    let mut open: VecDeque<&str> = path.split('/').collect();
    let mut place: Vec<&str> = Vec::new();
    let mut hops = 0;
    while let Some(part) = open.pop_front() {
        match part {
            "" | "." => continue,
            ".." => {
                place
                    .pop()
                    .ok_or_else(|| refuse(path, "it leads out of the root"))?;
                continue;
            }
            _ => place.push(part),
        }
        let Some(Node::Symlink { target }) = nodes.get(&place.join("/")) else {
            continue;
        };
        if open.is_empty() {
            continue;
        }
        hops += 1;
        if hops > HOPS {
            return Err(refuse(path, "the links on its way go round in circles"));
        }
        if target.starts_with('/') {
            place.clear();
        } else {
            place.pop();
        }
        for part in target.rsplit('/') {
            open.push_front(part);
        }
    }
    Ok(place.join("/"))
}

fn refuse(path: &str, why: &'static str) -> Error {
    Error::InitramfsPath {
        path: path.to_owned(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::initramfs::Initramfs;
    use rstest::rstest;

    #[test]
    fn what_is_put_below_a_link_goes_where_it_leads() {
        let mut initramfs = Initramfs::new();
        initramfs
            .symlink("lib", "usr/lib")
            .symlink("lib64", "/lib")
            .file("lib/modules/a.ko", 0o644, "a")
            .file("lib64/ld.so", 0o755, "b");
        let laid = lay_out(&initramfs.nodes).unwrap();
        let paths: Vec<&str> = laid.keys().map(String::as_str).collect();
        let expected = [
            "lib",
            "lib64",
            "usr",
            "usr/lib",
            "usr/lib/ld.so",
            "usr/lib/modules",
            "usr/lib/modules/a.ko",
        ];
        assert_eq!(paths, expected);
    }

    #[rstest]
    #[case::a_file_as_a_folder(&["a", "a/b"], "`a`")]
    #[case::a_way_out(&["a/../../b"], "leads out")]
    fn what_cannot_be_is_refused(#[case] files: &[&str], #[case] sentence: &str) {
        let mut initramfs = Initramfs::new();
        for file in files {
            initramfs.file(file, 0o644, "");
        }
        let error = initramfs.finish().unwrap_err();
        assert!(error.to_string().contains(sentence), "{error}");
    }

    #[test]
    fn a_circle_of_links_is_refused() {
        let mut initramfs = Initramfs::new();
        initramfs
            .symlink("a", "b")
            .symlink("b", "a")
            .file("a/c", 0o644, "");
        assert!(initramfs.finish().is_err());
    }
}
