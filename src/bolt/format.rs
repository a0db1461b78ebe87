//! What stands where in a page.

use super::error::PageDamage;

/// The size of the pages that a [`super::Writer`] makes unless it is told another.
pub const PAGE_BYTES: usize = 4096;
/// The smallest and the largest pages that are read.
pub(super) const PAGE_BYTES_MIN: u32 = 512;
pub(super) const PAGE_BYTES_MAX: u32 = 16 << 20;

/// Id, kind, how many elements, and how many pages follow that belong to it.
pub(super) const HEAD_LEN: usize = 16;
/// An element of a leaf or of a branch.
pub(super) const ELEMENT_LEN: usize = 16;
/// A meta without the head of its page, up to its checksum.
const SUMMED_LEN: usize = 56;
pub(super) const META_LEN: usize = SUMMED_LEN + 8;
/// What stands before an inline bucket, or for one that has pages of its own: its root, and a counter that etcd leaves at 0.
pub(super) const BUCKET_LEN: usize = 16;

/// The most elements of a page: their number has two bytes, of which bbolt keeps one value for itself.
pub(super) const ELEMENTS_MAX: usize = 0xfffe;
/// The longest key. Source: bbolt, `MaxKeySize`.
pub(super) const KEY_BYTES_MAX: usize = 32768;
/// The longest value. Source: bbolt, `MaxValueSize`.
pub(super) const VALUE_BYTES_MAX: usize = (1 << 31) - 2;

const KIND_BRANCH: u16 = 0x01;
const KIND_LEAF: u16 = 0x02;
const KIND_META: u16 = 0x04;

const MAGIC: u32 = 0xed0c_daed;
const VERSION: u32 = 2;
/// In place of the page that lists free pages: there is none, and whoever opens the file looks for them.
const NO_FREELIST: u64 = u64::MAX;

/// What a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Branch,
    Leaf,
}

/// The head of a leaf or branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) id: u64,
    pub(super) kind: Kind,
    pub(super) count: u16,
    /// Pages that follow and belong to it.
    pub(super) overflow: u32,
}

impl Head {
    pub(super) fn encode(self) -> [u8; HEAD_LEN] {
        let kind = match self.kind {
            Kind::Branch => KIND_BRANCH,
            Kind::Leaf => KIND_LEAF,
        };
        head_bytes(self.id, kind, self.count, self.overflow)
    }

    /// Reads the head of a page that should be a leaf or a branch.
    pub(super) fn decode(bytes: &[u8; HEAD_LEN]) -> Result<Head, PageDamage> {
        let kind = match u16_at(bytes, 8) {
            KIND_BRANCH => Kind::Branch,
            KIND_LEAF => Kind::Leaf,
            other => return Err(PageDamage::Kind(other)),
        };
        Ok(Head { id: u64_at(bytes, 0), kind, count: u16_at(bytes, 10), overflow: u32_at(bytes, 12) })
    }
}

fn head_bytes(id: u64, kind: u16, count: u16, overflow: u32) -> [u8; HEAD_LEN] {
    let mut head = [0; HEAD_LEN];
    head[..8].copy_from_slice(&id.to_le_bytes());
    head[8..10].copy_from_slice(&kind.to_le_bytes());
    head[10..12].copy_from_slice(&count.to_le_bytes());
    head[12..].copy_from_slice(&overflow.to_le_bytes());
    head
}

/// What a meta says of the whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Of every page, in bytes.
    pub page_bytes: u32,
    /// The root of the tree of buckets.
    pub root: u64,
    /// How many pages there are.
    pub pages: u64,
    /// Of two valid metas the one of the later transaction counts.
    pub transaction: u64,
}

/// The page of a meta, `id` 0 or 1.
///
/// # Panics
/// If pages are too small for one.
#[must_use]
pub fn encode_meta(id: u64, meta: &Meta) -> Vec<u8> {
    let mut page = Vec::with_capacity(meta.page_bytes as usize);
    page.extend_from_slice(&head_bytes(id, KIND_META, 0, 0));
    for number in [MAGIC, VERSION, meta.page_bytes, 0] {
        page.extend_from_slice(&number.to_le_bytes());
    }
    for number in [meta.root, 0, NO_FREELIST, meta.pages, meta.transaction] {
        page.extend_from_slice(&number.to_le_bytes());
    }
    let sum = fnv64(&page[HEAD_LEN..]);
    page.extend_from_slice(&sum.to_le_bytes());
    assert!(page.len() <= meta.page_bytes as usize, "a page has room for a meta");
    page.resize(meta.page_bytes as usize, 0);
    page
}

/// Reads a meta that begins with the head of its page.
pub(super) fn decode_meta(page: &[u8; HEAD_LEN + META_LEN]) -> Result<Meta, PageDamage> {
    if u16_at(page, 8) != KIND_META {
        return Err(PageDamage::Kind(u16_at(page, 8)));
    }
    let meta = &page[HEAD_LEN..];
    if u32_at(meta, 0) != MAGIC {
        return Err(PageDamage::Magic);
    }
    if u32_at(meta, 4) != VERSION {
        return Err(PageDamage::Version(u32_at(meta, 4)));
    }
    if u64_at(meta, SUMMED_LEN) != fnv64(&meta[..SUMMED_LEN]) {
        return Err(PageDamage::Checksum);
    }
    let page_bytes = u32_at(meta, 8);
    if !(PAGE_BYTES_MIN..=PAGE_BYTES_MAX).contains(&page_bytes) || !page_bytes.is_multiple_of(PAGE_BYTES_MIN) {
        return Err(PageDamage::PageSize(page_bytes));
    }
    Ok(Meta { page_bytes, root: u64_at(meta, 16), pages: u64_at(meta, 40), transaction: u64_at(meta, 48) })
}

/// FNV-1a with 64 bits.
fn fnv64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A number within bytes that are long enough for it.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

/// As [`u16_at`].
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

/// As [`u16_at`].
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("callers have checked the length")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first bytes of a snapshot that etcd 3.7.1 sent.
    #[test]
    fn a_meta_is_the_one_that_bbolt_writes() {
        let meta = Meta { page_bytes: 4096, root: 2, pages: 6, transaction: 11 };
        let page = encode_meta(0, &meta);
        assert_eq!(page.len(), 4096);
        let sum = [0x6c, 0xe7, 0xa3, 0xb0, 0xc7, 0x8f, 0x3a, 0x47];
        assert_eq!(page[HEAD_LEN + SUMMED_LEN..][..8], sum);
        assert_eq!(decode_meta(page.first_chunk().unwrap()), Ok(meta));
    }

    #[test]
    fn a_meta_with_any_bit_changed_is_none() {
        let page = encode_meta(1, &Meta { page_bytes: 512, root: 7, pages: 9, transaction: 3 });
        let page: [u8; HEAD_LEN + META_LEN] = *page.first_chunk().unwrap();
        // Neither the id nor the rest of the head is believed.
        for bit in (8 * 8..10 * 8).chain(HEAD_LEN * 8..page.len() * 8) {
            let mut damaged = page;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_meta(&damaged).is_err(), "bit {bit}");
        }
    }
}
