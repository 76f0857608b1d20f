//! How long cases took the last time: a small file in the cache, from which the order of the next run is made.
//!
//! It is only a hint. One that is torn, or cannot be read or written, costs nothing but the better order.

use std::{collections::BTreeMap, fs, time::Duration};

use lastwords_vm::cache::Cache;

/// The file's name in the cache.
const FILE: &str = "times.json";
/// How many cases are remembered.
const MOST: usize = 10_000;
/// The longest file that is read.
const LONGEST: u64 = 8 << 20;

/// How long cases took the last time, in milliseconds, by kernel and name.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Times(BTreeMap<String, u64>);

impl Times {
    /// Reads what is remembered.
    pub(crate) fn read(cache: &Cache) -> Self {
        let path = cache.root().join(FILE);
        let is_small = fs::metadata(&path).is_ok_and(|metadata| metadata.len() <= LONGEST);
        let text = is_small.then(|| fs::read(&path).ok()).flatten();
        Self::parse(&text.unwrap_or_default())
    }

    /// Writes it whole or not at all.
    pub(crate) fn write(&self, cache: &Cache) {
        if let Ok(text) = serde_json::to_vec(&self.0) {
            let _ = cache.write(FILE, &text);
        }
    }

    fn parse(text: &[u8]) -> Self {
        Self(serde_json::from_slice(text).unwrap_or_default())
    }

    /// How long a case took.
    pub(crate) fn of(&self, name: &str, kernel: &str) -> Option<Duration> {
        let millis = self.0.get(&key(name, kernel))?;
        Some(Duration::from_millis(*millis))
    }

    /// Remembers a case; where there are too many, it is only remembered in the place of its own last time.
    pub(crate) fn remember(&mut self, name: &str, kernel: &str, took: Duration) {
        let key = key(name, kernel);
        if self.0.len() < MOST || self.0.contains_key(&key) {
            let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            self.0.insert(key, millis);
        }
    }

    /// Forgets all where it has become too many: what still runs is remembered anew.
    pub(crate) fn bound(&mut self) {
        if self.0.len() >= MOST {
            self.0.clear();
        }
    }
}

fn key(name: &str, kernel: &str) -> String {
    format!("{kernel} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_remembered_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(folder.path())).unwrap();
        assert_eq!(Times::read(&cache), Times::default());
        let mut times = Times::default();
        times.remember("smoke/kmsg", "debian:6.1", Duration::from_millis(470));
        times.write(&cache);
        let read = Times::read(&cache);
        assert_eq!(read, times);
        assert_eq!(
            read.of("smoke/kmsg", "debian:6.1"),
            Some(Duration::from_millis(470))
        );
        assert_eq!(read.of("smoke/kmsg", "debian:6.12"), None);
    }

    #[test]
    fn a_torn_file_is_as_good_as_none() {
        for text in ["", "{\"a\": 1", "[]", "{\"a\": -1}", "\0\0\0"] {
            assert_eq!(Times::parse(text.as_bytes()), Times::default(), "{text}");
        }
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let mut times = Times::default();
        for number in 0..MOST + 10 {
            times.remember(&number.to_string(), "k", Duration::ZERO);
        }
        assert_eq!(times.0.len(), MOST);
        times.bound();
        assert_eq!(times, Times::default());
    }
}
