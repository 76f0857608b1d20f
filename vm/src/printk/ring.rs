//! printk's ring buffer (`kernel/printk/printk_ringbuffer.c`): descriptors, what is known of each record, texts.

use crate::{
    printk::{
        LogError,
        paging::{Paging, number},
        record::{LogRecord, Shape},
        vmcoreinfo::Vmcoreinfo,
    },
    qemu::Qemu,
};

/// The most descriptors and bytes of text that are read, as powers of two: 64 times Debian's.
const MOST_DESCRIPTORS: u32 = 18;
const MOST_TEXT: u32 = 25;
/// The two uppermost bits of a descriptor's state say what it is (`DESC_FLAGS_SHIFT`, `desc_finalized`).
const STATE: u32 = 62;
const FINALIZED: u64 = 2;
/// Positions of texts that are none: an empty line, and one for which there was no room.
const EMPTY_LINE: u64 = 3;
const DATALESS: u64 = 1;
/// A text stands behind the number of its descriptor.
const OWNER: usize = 8;

/// The ring buffer, taken out of the guest's memory.
#[derive(Debug)]
pub(super) struct Ring {
    /// One behind the other, each of `descriptor` bytes.
    pub(super) descriptors: Vec<u8>,
    pub(super) infos: Vec<u8>,
    pub(super) texts: Vec<u8>,
    /// Numbers of the oldest and the newest descriptor.
    pub(super) tail: u64,
    pub(super) head: u64,
    pub(super) layout: Layout,
    pub(super) shape: Shape,
}

/// Where fields lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) descriptor: usize,
    pub(super) state: usize,
    pub(super) begin: usize,
    pub(super) next: usize,
}

impl Layout {
    fn of(info: &Vmcoreinfo) -> Result<Self, LogError> {
        let position = info.offset("prb_desc.text_blk_lpos")?;
        Ok(Self {
            descriptor: info.size("prb_desc")?,
            state: info.offset("prb_desc.state_var")? + info.offset("atomic_long_t.counter")?,
            begin: position + info.offset("prb_data_blk_lpos.begin")?,
            next: position + info.offset("prb_data_blk_lpos.next")?,
        })
    }
}

impl Ring {
    /// Takes it out of the guest's memory.
    pub(super) async fn find(qemu: &mut Qemu, info: &Vmcoreinfo) -> Result<Self, LogError> {
        let paging = Paging::new(info)?;
        let pointer = paging.read(qemu, info.symbol("prb")?, 8).await?;
        let size = info.size("printk_ringbuffer")?;
        let ring = paging.read(qemu, number(&pointer, 0)?, size as u64).await?;
        let descriptors = info.offset("printk_ringbuffer.desc_ring")?;
        let texts = info.offset("printk_ringbuffer.text_data_ring")?;
        let field = |base: usize, name: &str| number(&ring, base + info.offset(name)?);
        let count = bits(
            field(descriptors, "prb_desc_ring.count_bits")?,
            MOST_DESCRIPTORS,
        )?;
        let room = bits(field(texts, "prb_data_ring.size_bits")?, MOST_TEXT)?;
        let layout = Layout::of(info)?;
        let shape = Shape::of(info)?;
        let mut array = async |address: u64, element: usize, count: u64| {
            paging.read(qemu, address, element as u64 * count).await
        };
        Ok(Self {
            descriptors: array(
                field(descriptors, "prb_desc_ring.descs")?,
                layout.descriptor,
                count,
            )
            .await?,
            infos: array(
                field(descriptors, "prb_desc_ring.infos")?,
                shape.size,
                count,
            )
            .await?,
            texts: array(field(texts, "prb_data_ring.data")?, 1, room).await?,
            tail: field(descriptors, "prb_desc_ring.tail_id")?,
            head: field(descriptors, "prb_desc_ring.head_id")?,
            layout,
            shape,
        })
    }

    /// The records that a reader would be given, oldest first.
    pub(super) fn records(&self) -> Vec<LogRecord> {
        let count = self.count();
        let length = self.head.wrapping_sub(self.tail) & !(3 << STATE);
        let ids = (0..=length.min(count.saturating_sub(1)))
            .map(|step| self.tail.wrapping_add(step) & !(3 << STATE));
        let mut records: Vec<LogRecord> = ids.filter_map(|id| self.record(id)).collect();
        // Of a log that is torn, whatever still is in order.
        records.dedup_by(|later, earlier| later.sequence <= earlier.sequence);
        records
    }

    fn count(&self) -> u64 {
        (self.descriptors.len() / self.layout.descriptor.max(1)) as u64
    }

    /// The record of a descriptor, where it is whole.
    fn record(&self, id: u64) -> Option<LogRecord> {
        let place = usize::try_from(id & (self.count().checked_sub(1)?)).ok()?;
        let start = place * self.layout.descriptor;
        let descriptor = self
            .descriptors
            .get(start..start + self.layout.descriptor)?;
        let state = number(descriptor, self.layout.state).ok()?;
        if state >> STATE != FINALIZED || state & !(3 << STATE) != id {
            return None;
        }
        let info = self
            .infos
            .get(place * self.shape.size..(place + 1) * self.shape.size)?;
        let begin = number(descriptor, self.layout.begin).ok()?;
        let next = number(descriptor, self.layout.next).ok()?;
        let text = self.text(id, begin, next)?;
        self.shape.record(info, text)
    }

    /// The bytes from one position to the next; none where they were lost.
    fn text(&self, id: u64, begin: u64, next: u64) -> Option<&[u8]> {
        if begin & DATALESS != 0 && next & DATALESS != 0 {
            return (begin == EMPTY_LINE && next == EMPTY_LINE).then_some(&[]);
        }
        let size = self.texts.len() as u64;
        let (round, last_round) = (begin / size, next.wrapping_sub(1) / size);
        let (from, to) = if round == last_round && begin < next {
            (begin % size, (next - 1) % size + 1)
        } else if round.wrapping_add(1) == last_round {
            // It found no room at the end and stands at the start.
            (0, (next - 1) % size + 1)
        } else {
            return None;
        };
        let block = self.texts.get(from as usize..to as usize)?;
        let owner = number(block, 0).ok()?;
        (owner == id).then(|| &block[OWNER..])
    }
}

/// Two to the power of `bits`, where that is no more than can be.
fn bits(bits: u64, most: u32) -> Result<u64, LogError> {
    let bits = u32::try_from(bits & 0xffff_ffff)
        .ok()
        .filter(|bits| *bits <= most);
    bits.map(|bits| 1 << bits)
        .ok_or(LogError::Torn("it is larger than a log can be"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const LAYOUT: Layout = Layout {
        descriptor: 24,
        state: 0,
        begin: 8,
        next: 16,
    };
    const SHAPE: Shape = Shape {
        size: 32,
        sequence: 0,
        time: 8,
        length: 16,
        caller: 20,
        subsystem: (24, 4),
        device: (28, 4),
    };

    /// A ring of four descriptors and 64 bytes of text.
    fn ring(tail: u64, head: u64) -> Ring {
        Ring {
            descriptors: vec![0; 4 * 24],
            infos: vec![0; 4 * 32],
            texts: vec![0; 64],
            tail,
            head,
            layout: LAYOUT,
            shape: SHAPE,
        }
    }

    impl Ring {
        fn put(&mut self, id: u64, state: u64, (begin, next): (u64, u64), text: &[u8]) {
            let place = (id % 4) as usize;
            let numbers = [state << STATE | id, begin, next];
            let descriptor = numbers.map(u64::to_le_bytes).concat();
            self.descriptors[place * 24..][..24].copy_from_slice(&descriptor);
            let info = &mut self.infos[place * 32..][..32];
            info[..8].copy_from_slice(&(id + 100).to_le_bytes());
            info[16] = text.len() as u8;
            info[19] = 6 << 5;
            if begin & DATALESS == 0 {
                let wraps = begin / 64 != (next - 1) / 64;
                let start = if wraps { 0 } else { (begin % 64) as usize };
                self.texts[start..][..8].copy_from_slice(&id.to_le_bytes());
                self.texts[start + 8..][..text.len()].copy_from_slice(text);
            }
        }

        fn printed(&self) -> Vec<String> {
            let records = self.records();
            records
                .iter()
                .map(|record| record.kmsg(false, 80))
                .collect()
        }
    }

    #[test]
    fn gives_what_a_reader_would_get() {
        let mut ring = ring(5, 8);
        ring.put(5, FINALIZED, (40, 56), b"one");
        ring.put(6, FINALIZED, (56, 80), b"around");
        ring.put(7, FINALIZED, (3, 3), b"");
        ring.put(8, 1, (80, 96), b"still open");
        assert_eq!(
            ring.printed(),
            ["6,105,0,-;one\n", "6,106,0,-;around\n", "6,107,0,-;\n"]
        );
    }

    #[test]
    fn takes_a_text_that_ends_where_the_buffer_ends() {
        let mut ring = ring(5, 5);
        ring.put(5, FINALIZED, (48, 64), b"end");
        assert_eq!(ring.printed(), ["6,105,0,-;end\n"]);
    }

    #[rstest]
    #[case::reserved(0, (40, 56))]
    #[case::reusable(3, (40, 56))]
    #[case::lost(FINALIZED, (1, 1))]
    #[case::backwards(FINALIZED, (56, 40))]
    #[case::too_long(FINALIZED, (40, 400))]
    #[case::too_short(FINALIZED, (40, 44))]
    fn leaves_out_what_is_none(#[case] state: u64, #[case] position: (u64, u64)) {
        let mut ring = ring(5, 5);
        ring.put(5, FINALIZED, (40, 56), b"one");
        let numbers = [state << STATE | 5, position.0, position.1];
        ring.descriptors[24..48].copy_from_slice(&numbers.map(u64::to_le_bytes).concat());
        assert_eq!(ring.printed(), Vec::<String>::new());
    }

    #[test]
    fn leaves_out_a_text_that_was_overwritten() {
        let mut ring = ring(5, 5);
        ring.put(5, FINALIZED, (40, 56), b"one");
        ring.texts[40] = 9;
        assert_eq!(ring.printed(), Vec::<String>::new());
    }

    #[test]
    fn stands_whatever_is_there() {
        for seed in 0..2000_u64 {
            let mut state = seed;
            let mut random = || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                state >> 33
            };
            let mut ring = ring(random(), random() << (seed % 40));
            for byte in [&mut ring.descriptors, &mut ring.infos, &mut ring.texts]
                .into_iter()
                .flatten()
            {
                *byte = random() as u8;
            }
            for place in 0..4 {
                let id = ring.tail.wrapping_add(place) & !(3 << STATE);
                let state = (FINALIZED << STATE | id).to_le_bytes();
                ring.descriptors[(id % 4) as usize * 24..][..8].copy_from_slice(&state);
            }
            assert!(ring.records().len() <= 4);
        }
    }
}
