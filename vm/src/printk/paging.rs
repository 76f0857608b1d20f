//! From the kernel's virtual addresses to physical ones.

use crate::{
    printk::{LogError, vmcoreinfo::Vmcoreinfo},
    qemu::Qemu,
};

/// Where the kernel's image is mapped (`__START_KERNEL_map`, `arch/x86/include/asm/page_64_types.h`).
const IMAGE: u64 = 0xffff_ffff_8000_0000;
/// The bits of a page-table entry that are an address.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// "Present", and "this entry maps a page and leads to no further table".
const PRESENT: u64 = 1;
const PAGE: u64 = 1 << 7;

/// The kernel's own view of memory.
pub(super) struct Paging {
    /// What is to be added to an address of the image.
    phys_base: u64,
    /// The physical address of the topmost table.
    root: u64,
    /// 4 or 5.
    levels: u32,
}

impl Paging {
    pub(super) fn new(info: &Vmcoreinfo) -> Result<Self, LogError> {
        let phys_base = info.value("phys_base")?;
        let root = info.symbol("init_top_pgt")?;
        let five = info.value("pgtable_l5_enabled").is_ok_and(|five| five == 1);
        Ok(Self {
            phys_base,
            root: root.wrapping_sub(IMAGE).wrapping_add(phys_base),
            levels: if five { 5 } else { 4 },
        })
    }

    /// Reads `length` bytes at a virtual address.
    pub(super) async fn read(
        &self,
        qemu: &mut Qemu,
        address: u64,
        length: u64,
    ) -> Result<Vec<u8>, LogError> {
        let physical = self.physical(qemu, address).await?;
        // What the log is made of lies in one piece, in the image or from memblock.
        let last = self
            .physical(qemu, address.wrapping_add(length.saturating_sub(1)))
            .await?;
        if last.wrapping_sub(physical) != length.saturating_sub(1) {
            return Err(LogError::Torn("it is in several pieces"));
        }
        Ok(qemu.read_memory(physical, length).await?)
    }

    async fn physical(&self, qemu: &mut Qemu, address: u64) -> Result<u64, LogError> {
        if address >= IMAGE {
            return Ok(address.wrapping_sub(IMAGE).wrapping_add(self.phys_base));
        }
        let mut table = self.root;
        for level in (0..self.levels).rev() {
            let shift = 12 + 9 * level;
            let entry = table + ((address >> shift) & 0x1ff) * 8;
            let entry = number(&qemu.read_memory(entry, 8).await?, 0)?;
            if entry & PRESENT == 0 {
                return Err(LogError::Torn("it is not mapped"));
            }
            if level == 0 || (level < 3 && entry & PAGE != 0) {
                let within = (1 << shift) - 1;
                return Ok((entry & ADDRESS & !within) | (address & within));
            }
            table = entry & ADDRESS;
        }
        Err(LogError::Torn("it is not mapped"))
    }
}

/// The eight bytes at `offset` as a number.
pub(super) fn number(bytes: &[u8], offset: usize) -> Result<u64, LogError> {
    let piece = bytes.get(offset..).and_then(<[u8]>::first_chunk);
    piece
        .map(|piece| u64::from_le_bytes(*piece))
        .ok_or(LogError::Torn("a field lies beyond its structure"))
}
