//! What an ELF program or library asks of the loader.

use object::{
    LittleEndian,
    elf::{
        DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_STRSZ, DT_STRTAB, EM_X86_64, FileHeader64, PT_DYNAMIC,
        PT_INTERP, PT_LOAD,
    },
    read::elf::{Dyn, FileHeader, ProgramHeader},
};

/// The loader's part of an ELF file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Linkage {
    /// The interpreter that it names.
    pub(crate) interpreter: Option<String>,
    /// The libraries that it is linked with.
    pub(crate) needed: Vec<String>,
    /// The folders in which it wants them to be looked for.
    pub(crate) search: Vec<String>,
}

impl Linkage {
    /// Reads an ELF file for x86-64, or says why it is none.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let header =
            FileHeader64::<LittleEndian>::parse(bytes).map_err(|error| error.to_string())?;
        let endian = header.endian().map_err(|error| error.to_string())?;
        if header.e_machine(endian) != EM_X86_64 {
            return Err("it is a program for another machine".to_owned());
        }
        Self::read(header, endian, bytes).map_err(|error| error.to_string())
    }

    fn read(
        header: &FileHeader64<LittleEndian>,
        endian: LittleEndian,
        bytes: &[u8],
    ) -> object::read::Result<Self> {
        let segments = header.program_headers(endian, bytes)?;
        let mut linkage = Self::default();
        for segment in segments {
            if segment.p_type(endian) == PT_INTERP {
                let name = segment.interpreter(endian, bytes)?;
                linkage.interpreter = name.map(text);
            }
        }
        let dynamic = segments
            .iter()
            .find(|segment| segment.p_type(endian) == PT_DYNAMIC);
        let Some(entries) = dynamic
            .map(|segment| segment.dynamic(endian, bytes))
            .transpose()?
            .flatten()
        else {
            return Ok(linkage);
        };
        let value = |tag| {
            let entry = entries.iter().find(|entry| entry.d_tag(endian) == tag);
            entry.map_or(0, |entry| entry.d_val(endian))
        };
        let strings = strings(segments, endian, bytes, (value(DT_STRTAB), value(DT_STRSZ)));
        for entry in entries {
            let word = || string_at(strings, entry.d_val(endian));
            match entry.d_tag(endian) {
                DT_NEEDED => linkage.needed.extend(word()),
                DT_RPATH | DT_RUNPATH => {
                    let folders = word().unwrap_or_default();
                    linkage.search.extend(folders.split(':').map(str::to_owned));
                }
                _ => {}
            }
        }
        Ok(linkage)
    }
}

/// Whether a file that begins so is a program for x86-64 that needs no interpreter.
pub(crate) fn is_static(headers: &[u8]) -> bool {
    let read = || {
        let header = FileHeader64::<LittleEndian>::parse(headers).ok()?;
        let endian = header.endian().ok()?;
        let segments = header.program_headers(endian, headers).ok()?;
        let interpreted = segments
            .iter()
            .any(|segment| segment.p_type(endian) == PT_INTERP);
        Some(header.e_machine(endian) == EM_X86_64 && !segments.is_empty() && !interpreted)
    };
    read().unwrap_or(false)
}

/// The string table, which is named by where it will be in memory.
fn strings<'a>(
    segments: &[object::elf::ProgramHeader64<LittleEndian>],
    endian: LittleEndian,
    bytes: &'a [u8],
    (address, size): (u64, u64),
) -> &'a [u8] {
    let loaded = segments
        .iter()
        .filter(|segment| segment.p_type(endian) == PT_LOAD);
    for segment in loaded {
        if let Ok(Some(found)) = segment.data_range(endian, bytes, address, size) {
            return found;
        }
    }
    &[]
}

fn string_at(strings: &[u8], at: u64) -> Option<String> {
    let rest = strings.get(usize::try_from(at).ok()?..)?;
    let end = rest.iter().position(|&byte| byte == 0)?;
    Some(text(&rest[..end]))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_is_linked_with_its_library() {
        let bytes = std::fs::read("/bin/sh").unwrap();
        let linkage = Linkage::parse(&bytes).unwrap();
        // A static shell asks for nothing, any other names both.
        assert_eq!(linkage.interpreter.is_some(), !linkage.needed.is_empty());
    }

    #[test]
    fn a_torn_program_is_survived() {
        let bytes = std::fs::read("/bin/sh").unwrap();
        for length in (0..bytes.len().min(1 << 16)).step_by(97) {
            let _ = Linkage::parse(&bytes[..length]);
        }
        let mut hostile = bytes[..1 << 14].to_vec();
        for position in 0..0x400 {
            let was = std::mem::replace(&mut hostile[position], 0xff);
            let _ = Linkage::parse(&hostile);
            hostile[position] = was;
        }
    }
}
