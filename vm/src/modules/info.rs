//! What a module says of itself: its `.modinfo` section.

use object::{
    LittleEndian,
    elf::{EM_X86_64, FileHeader64},
    read::elf::{FileHeader, SectionHeader},
};

use crate::modules::name::ModuleName;

/// The `key=value` pairs of a module, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModuleInfo(Vec<(String, String)>);

impl ModuleInfo {
    /// Reads the pairs out of an ELF object, or says why it is no module.
    pub(crate) fn parse(object: &[u8]) -> Result<Self, String> {
        let bytes = section(object).map_err(|error| error.to_string())?;
        let Some(bytes) = bytes else {
            return Err("it has no .modinfo section".to_owned());
        };
        let pairs = bytes
            .split(|&byte| byte == 0)
            .filter_map(|pair| {
                let pair = String::from_utf8_lossy(pair);
                let (key, value) = pair.split_once('=')?;
                Some((key.to_owned(), value.to_owned()))
            })
            .collect();
        Ok(Self(pairs))
    }

    /// All values of a key.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(found, _)| found == key)
            .map(|(_, value)| value.as_str())
    }

    /// By what name the kernel knows the module once it is loaded.
    pub fn name(&self) -> Option<ModuleName> {
        self.values("name").next().map(ModuleName::new)
    }

    /// The release and the options of the kernel that the module was built for.
    pub fn vermagic(&self) -> &str {
        self.values("vermagic").next().unwrap_or_default()
    }

    /// The modules that must be loaded before.
    pub fn depends(&self) -> impl Iterator<Item = ModuleName> {
        self.values("depends")
            .flat_map(|names| names.split(','))
            .filter(|name| !name.is_empty())
            .map(ModuleName::new)
    }

    /// The modules that should be loaded before (`pre`) or after (`post`), if the kernel has them.
    pub fn soft_depends(&self, when: SoftDependency) -> Vec<ModuleName> {
        let mut names = Vec::new();
        for line in self.values("softdep") {
            let mut current = None;
            for word in line.split_whitespace() {
                match word {
                    "pre:" => current = Some(SoftDependency::Before),
                    "post:" => current = Some(SoftDependency::After),
                    name if current == Some(when) => names.push(ModuleName::new(name)),
                    _ => {}
                }
            }
        }
        names
    }
}

/// When a module would like to see another one loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SoftDependency {
    /// Before itself.
    Before,
    /// After itself.
    After,
}

fn section(object: &[u8]) -> Result<Option<&[u8]>, object::read::Error> {
    let header = FileHeader64::<LittleEndian>::parse(object)?;
    let endian = header.endian()?;
    if header.e_machine(endian) != EM_X86_64 {
        return Ok(None);
    }
    let sections = header.sections(endian, object)?;
    let Some((_, section)) = sections.section_by_name(endian, b".modinfo") else {
        return Ok(None);
    };
    section.data(endian, object).map(Some)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rstest::rstest;

    /// Makes an ELF object that holds nothing but a `.modinfo` section.
    pub(crate) fn elf_with_modinfo(pairs: &[&str]) -> Vec<u8> {
        let mut modinfo = pairs.join("\0").into_bytes();
        modinfo.push(0);
        let names = b"\0.modinfo\0.shstrtab\0";
        let headers = 64 + modinfo.len() + names.len();
        let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        elf.extend([1, 0, 62, 0, 1, 0, 0, 0]);
        elf.extend([0; 16]);
        elf.extend((headers as u64).to_le_bytes());
        elf.extend([0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 64, 0, 3, 0, 2, 0]);
        elf.extend(&modinfo);
        elf.extend(names);
        elf.extend([0; 64]);
        let mut section = |name: u32, kind: u32, offset: usize, size: usize| {
            elf.extend(name.to_le_bytes());
            elf.extend(kind.to_le_bytes());
            elf.extend([0; 16]);
            elf.extend((offset as u64).to_le_bytes());
            elf.extend((size as u64).to_le_bytes());
            elf.extend([0; 24]);
        };
        section(1, 1, 64, modinfo.len());
        section(10, 3, 64 + modinfo.len(), names.len());
        elf
    }

    #[test]
    fn reads_what_a_module_says() {
        let elf = elf_with_modinfo(&[
            "license=GPL",
            "depends=configfs,net-failover",
            "softdep=pre: a-b c post: d",
            "vermagic=6.1.0 SMP ",
        ]);
        let info = ModuleInfo::parse(&elf).unwrap();
        let depends: Vec<_> = info.depends().collect();
        assert_eq!(
            depends,
            [ModuleName::new("configfs"), ModuleName::new("net_failover")]
        );
        let before = info.soft_depends(SoftDependency::Before);
        assert_eq!(before, [ModuleName::new("a_b"), ModuleName::new("c")]);
        let after = info.soft_depends(SoftDependency::After);
        assert_eq!(after, [ModuleName::new("d")]);
        assert_eq!(info.vermagic(), "6.1.0 SMP ");
    }

    #[rstest]
    #[case::nothing(0)]
    #[case::half_a_header(40)]
    #[case::no_sections(80)]
    fn a_torn_object_is_an_error(#[case] length: usize) {
        let elf = elf_with_modinfo(&["license=GPL", "depends=a", "vermagic=6.1.0"]);
        assert!(ModuleInfo::parse(&elf[..length]).is_err());
    }

    #[test]
    fn any_changed_byte_is_survived() {
        let elf = elf_with_modinfo(&["license=GPL"]);
        for position in 0..elf.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut hostile = elf.clone();
                hostile[position] = value;
                let _ = ModuleInfo::parse(&hostile);
            }
        }
    }
}
