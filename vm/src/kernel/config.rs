//! A kernel's configuration: which options are on.

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
};

use flate2::read::GzDecoder;

use crate::error::{Error, Result};

/// The most that a configuration may take.
const LIMIT: u64 = 16 << 20;

/// The text of a `.config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config(String);

/// How an option is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// It is not set.
    Off,
    /// As a module.
    Module,
    /// As a part of the image; so is an option with a value.
    BuiltIn,
}

impl Config {
    /// Takes the text of a `.config`.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Reads a `.config`, packed with gzip or not.
    pub fn read(path: &Path) -> Result<Self> {
        let is_packed = path.extension().is_some_and(|extension| extension == "gz");
        if !is_packed {
            let text = fs::read(path).map_err(Error::read(path))?;
            return Ok(Self(String::from_utf8_lossy(&text).into_owned()));
        }
        let file = File::open(path).map_err(Error::read(path))?;
        let mut text = String::new();
        GzDecoder::new(file)
            .take(LIMIT)
            .read_to_string(&mut text)
            .map_err(Error::read(path))?;
        Ok(Self(text))
    }

    /// How an option is set; `CONFIG_` before its name may be left out.
    pub fn has(&self, option: &str) -> Setting {
        match self.value(option) {
            None | Some("n") => Setting::Off,
            Some("m") => Setting::Module,
            Some(_) => Setting::BuiltIn,
        }
    }

    /// What an option is set to, as it is written.
    pub fn value(&self, option: &str) -> Option<&str> {
        let option = option.strip_prefix("CONFIG_").unwrap_or(option);
        self.0.lines().find_map(|line| {
            line.strip_prefix("CONFIG_")?
                .strip_prefix(option)?
                .strip_prefix('=')
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::on("NETCONSOLE_DYNAMIC", Setting::BuiltIn)]
    #[case::module("NETCONSOLE", Setting::Module)]
    #[case::with_its_prefix("CONFIG_NETCONSOLE", Setting::Module)]
    #[case::off("LKDTM", Setting::Off)]
    #[case::unknown("NETCON", Setting::Off)]
    #[case::value("HZ", Setting::BuiltIn)]
    fn an_option_is_looked_up(#[case] option: &str, #[case] setting: Setting) {
        let text = "CONFIG_NETCONSOLE=m\nCONFIG_NETCONSOLE_DYNAMIC=y\n# CONFIG_LKDTM is not set\nCONFIG_HZ=250\n";
        let config = Config::new(text.to_owned());
        assert_eq!(config.has(option), setting);
        assert_eq!(config.value("HZ"), Some("250"));
    }
}
