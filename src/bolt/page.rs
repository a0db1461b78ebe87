//! One leaf or branch of a foreign file, checked as a whole before anything in it is used.

use super::error::PageDamage;
use super::format::{ELEMENT_LEN, HEAD_LEN, Head, Kind, u32_at, u64_at};

/// A leaf or branch, with the pages that follow and belong to it.
#[derive(Debug)]
pub(super) struct Page {
    bytes: Vec<u8>,
    pub(super) head: Head,
}

/// What an element of a leaf leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeafElement<'a> {
    pub(super) flags: u32,
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

impl Page {
    /// Checks that every element is within the page, and that keys ascend.
    pub(super) fn new(bytes: Vec<u8>) -> Result<Page, PageDamage> {
        let head = Head::decode(bytes.first_chunk().ok_or(PageDamage::Elements(0))?)?;
        if HEAD_LEN + usize::from(head.count) * ELEMENT_LEN > bytes.len() {
            return Err(PageDamage::Elements(head.count));
        }
        if head.kind == Kind::Branch && head.count == 0 {
            return Err(PageDamage::Childless);
        }
        let page = Page { bytes, head };
        let mut last: &[u8] = &[];
        for element in 0..page.count() {
            let key = match head.kind {
                Kind::Leaf => page.find_row(element).map(|row| row.key),
                Kind::Branch => page.find_child(element).map(|(key, _)| key),
            };
            let key = key.ok_or(PageDamage::Element(element))?;
            if key.is_empty() {
                return Err(PageDamage::NoKey(element));
            }
            if element > 0 && last >= key {
                return Err(PageDamage::Order(element));
            }
            last = key;
        }
        Ok(page)
    }

    pub(super) fn count(&self) -> usize {
        usize::from(self.head.count)
    }

    /// An element of a leaf, below [`Page::count`].
    pub(super) fn row(&self, element: usize) -> LeafElement<'_> {
        self.find_row(element).expect("all elements were checked")
    }

    /// An element of a branch, below [`Page::count`]: the page that it leads to.
    pub(super) fn child(&self, element: usize) -> u64 {
        self.find_child(element).expect("all elements were checked").1
    }

    fn find_row(&self, element: usize) -> Option<LeafElement<'_>> {
        let at = HEAD_LEN + element * ELEMENT_LEN;
        let number = |offset| u32_at(&self.bytes, at + offset);
        let key_len = usize::try_from(number(8)).ok()?;
        let data = self.data(at, number(4), key_len.checked_add(usize::try_from(number(12)).ok()?)?)?;
        let (key, value) = data.split_at(key_len);
        Some(LeafElement { flags: number(0), key, value })
    }

    fn find_child(&self, element: usize) -> Option<(&[u8], u64)> {
        let at = HEAD_LEN + element * ELEMENT_LEN;
        let key_len = usize::try_from(u32_at(&self.bytes, at + 4)).ok()?;
        Some((self.data(at, u32_at(&self.bytes, at), key_len)?, u64_at(&self.bytes, at + 8)))
    }

    /// What is `offset` bytes behind the element at `at`.
    fn data(&self, at: usize, offset: u32, len: usize) -> Option<&[u8]> {
        let begin = at.checked_add(usize::try_from(offset).ok()?)?;
        self.bytes.get(begin..begin.checked_add(len)?)
    }
}
