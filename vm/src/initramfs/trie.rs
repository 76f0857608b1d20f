//! The index that kmod searches: a trie in a file. kmod's sources (libkmod/libkmod-index.h) describe the format; it reads
//! no other, so the text lists alone would not serve a `modprobe` in the guest.

use std::collections::BTreeMap;

const MAGIC: u32 = 0xb007_f457;
const VERSION: u32 = 0x0002_0001;

/// What a node has beside, said by the topmost bits of where it lies.
const HAS_PREFIX: u32 = 0x8000_0000;
const HAS_VALUES: u32 = 0x4000_0000;
const HAS_CHILDREN: u32 = 0x2000_0000;

/// Keys with their values.
#[derive(Debug, Default)]
pub(crate) struct Trie {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    values: Vec<Value>,
    children: BTreeMap<u8, Node>,
}

#[derive(Debug)]
struct Value {
    priority: u32,
    text: String,
}

impl Trie {
    /// Adds a value. Keys and values that the format cannot hold are no modules' names, paths or aliases.
    pub(crate) fn add(&mut self, key: &str, priority: usize, text: &str) {
        let is_plain = |text: &str| text.bytes().all(|byte| (1..0x80).contains(&byte));
        if !is_plain(key) || !is_plain(text) {
            return;
        }
        let mut node = &mut self.root;
        for byte in key.bytes() {
            node = node.children.entry(byte).or_default();
        }
        node.values.push(Value {
            priority: priority as u32,
            text: text.to_owned(),
        });
    }

    /// The file.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut file = Vec::new();
        for word in [MAGIC, VERSION, 0] {
            file.extend(word.to_be_bytes());
        }
        if !self.root.is_empty() {
            let root = self.root.write(&mut file);
            file[8..12].copy_from_slice(&root.to_be_bytes());
        }
        file
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.values.is_empty() && self.children.is_empty()
    }

    /// Writes what is below, then the node itself; returns where it lies and what it has. Nodes that have nothing but one
    /// child become a prefix of that.
    fn write(&self, file: &mut Vec<u8>) -> u32 {
        let mut prefix = Vec::new();
        let mut node = self;
        while node.values.is_empty()
            && let [(byte, child)] = node.children.iter().collect::<Vec<_>>()[..]
        {
            prefix.push(*byte);
            node = child;
        }
        let children = node.write_children(file);
        let mut place = file.len() as u32;
        if !prefix.is_empty() {
            place |= HAS_PREFIX;
            file.extend(&prefix);
            file.push(0);
        }
        if let (Some((first, _)), Some((last, _))) = (
            node.children.first_key_value(),
            node.children.last_key_value(),
        ) {
            place |= HAS_CHILDREN;
            file.extend([*first, *last]);
            for byte in *first..=*last {
                let child = children.get(&byte).copied().unwrap_or_default();
                file.extend(child.to_be_bytes());
            }
        }
        if !node.values.is_empty() {
            place |= HAS_VALUES;
            node.write_values(file);
        }
        place
    }

    fn write_children(&self, file: &mut Vec<u8>) -> BTreeMap<u8, u32> {
        let children = self.children.iter();
        children
            .map(|(&byte, child)| (byte, child.write(file)))
            .collect()
    }

    fn write_values(&self, file: &mut Vec<u8>) {
        file.extend((self.values.len() as u32).to_be_bytes());
        for value in &self.values {
            file.extend(value.priority.to_be_bytes());
            file.extend(value.text.as_bytes());
            file.push(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(file: &[u8], at: usize) -> u32 {
        u32::from_be_bytes(file[at..at + 4].try_into().unwrap())
    }

    fn text(file: &[u8], at: &mut usize) -> String {
        let length = file[*at..].iter().position(|&byte| byte == 0).unwrap();
        let text = String::from_utf8(file[*at..*at + length].to_vec()).unwrap();
        *at += length + 1;
        text
    }

    /// Searches as kmod does.
    fn search(file: &[u8], key: &str) -> Vec<String> {
        let mut place = word(file, 8);
        let mut key = key.as_bytes();
        loop {
            if place == 0 {
                return Vec::new();
            }
            let mut at = (place & 0x0fff_ffff) as usize;
            if place & HAS_PREFIX != 0 {
                let prefix = text(file, &mut at);
                let Some(rest) = key.strip_prefix(prefix.as_bytes()) else {
                    return Vec::new();
                };
                key = rest;
            }
            let mut children = (1, 0, 0);
            if place & HAS_CHILDREN != 0 {
                children = (file[at], file[at + 1], at + 2);
                at += 2 + 4 * (children.1 - children.0 + 1) as usize;
            }
            let Some((&byte, rest)) = key.split_first() else {
                if place & HAS_VALUES == 0 {
                    return Vec::new();
                }
                let count = word(file, at);
                at += 4;
                return (0..count)
                    .map(|_| {
                        at += 4;
                        text(file, &mut at)
                    })
                    .collect();
            };
            let (first, last, table) = children;
            if !(first..=last).contains(&byte) {
                return Vec::new();
            }
            place = word(file, table + 4 * (byte - first) as usize);
            key = rest;
        }
    }

    #[test]
    fn what_was_added_is_found() {
        let mut trie = Trie::default();
        let keys = ["net", "netconsole", "net_failover", "floppy", "n"];
        for (priority, key) in keys.iter().enumerate() {
            trie.add(key, priority, &format!("{key}.ko:"));
        }
        trie.add("floppy", 9, "again");
        let file = trie.to_bytes();
        assert_eq!(search(&file, "netconsole"), ["netconsole.ko:"]);
        assert_eq!(search(&file, "floppy"), ["floppy.ko:", "again"]);
        for key in keys {
            assert!(!search(&file, key).is_empty(), "{key}");
        }
        for key in ["ne", "netconsoles", "flop", "", "x"] {
            assert!(search(&file, key).is_empty(), "{key}");
        }
    }

    #[test]
    fn an_empty_one_is_a_file_without_a_root() {
        assert_eq!(Trie::default().to_bytes().len(), 12);
    }
}
