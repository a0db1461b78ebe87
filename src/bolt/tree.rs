//! A tree that is built from its first row to its last, page by page.
//!
//! A leaf is filled until the next row has no room in it, and then written; so is the branch above it, and the one above
//! that. A page is written after those that it leads to, so all that is held is one page of each level. Long rows share
//! several pages, so that little of them is wasted.
//!
//! ```text
//! level 1                            [4 ...
//! level 0      [2 3] -> page 4       [5 ...
//! leaves       2   3                 5   [rows ...
//! ```

use super::format::{ELEMENT_LEN, ELEMENTS_MAX, HEAD_LEN, Head, Kind};
use super::write::{Pages, WriteError};

/// A leaf that would waste more than one part in so many of its pages goes on, if there are rows.
const LEAF_WASTE_MAX: usize = 8;
/// Until it has so many pages.
const LEAF_PAGES_MAX: usize = 16;

/// A tree that is being built.
#[derive(Debug, Default)]
pub(super) struct Tree {
    leaf: Filling,
    /// Branches, those over leaves first.
    branches: Vec<Filling>,
}

impl Tree {
    /// Adds the next row, whose key is above all that came.
    pub(super) fn push(
        &mut self,
        flags: u32,
        key: &[u8],
        value: &[u8],
        pages: &mut Pages<'_>,
    ) -> Result<(), WriteError> {
        if self.leaf.count() >= 1 && !self.leaf.takes_row(key.len() + value.len(), pages.page_bytes()) {
            self.end_leaf(pages)?;
        }
        self.leaf.push(Element::Row { flags, value_len: value.len() }, key, value);
        Ok(())
    }

    /// Writes what is left; gives the id of the root.
    pub(super) fn finish(mut self, pages: &mut Pages<'_>) -> Result<u64, WriteError> {
        if self.branches.is_empty() {
            // Also if there is no row at all.
            return self.leaf.write(Kind::Leaf, pages);
        }
        self.end_leaf(pages)?;
        let mut level = 0;
        loop {
            let is_top = level + 1 == self.branches.len();
            if let (true, Some(only)) = (is_top, self.branches[level].only_child()) {
                return Ok(only);
            }
            self.end_branch(level, pages)?;
            level += 1;
        }
    }

    fn end_leaf(&mut self, pages: &mut Pages<'_>) -> Result<(), WriteError> {
        if self.leaf.count() == 0 {
            return Ok(());
        }
        let first = self.leaf.first_key().to_vec();
        let id = self.leaf.write(Kind::Leaf, pages)?;
        self.push_child(0, &first, id, pages)
    }

    fn end_branch(&mut self, level: usize, pages: &mut Pages<'_>) -> Result<(), WriteError> {
        let first = self.branches[level].first_key().to_vec();
        let id = self.branches[level].write(Kind::Branch, pages)?;
        self.push_child(level + 1, &first, id, pages)
    }

    /// Each level has at most half as many pages as the one below it, so this does not go deep.
    fn push_child(&mut self, level: usize, key: &[u8], id: u64, pages: &mut Pages<'_>) -> Result<(), WriteError> {
        if level == self.branches.len() {
            self.branches.push(Filling::default());
        }
        let branch = &self.branches[level];
        // Keys may be longer than a page: two children at least, or levels would not end.
        if branch.count() >= 2 && !branch.has_room(key.len(), pages.page_bytes()) {
            self.end_branch(level, pages)?;
        }
        self.branches[level].push(Element::Child { id }, key, &[]);
        Ok(())
    }
}

/// A page that is being filled.
#[derive(Debug, Default)]
struct Filling {
    /// Each with the length of its key.
    elements: Vec<(Element, usize)>,
    /// Keys and values, one after another.
    data: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Element {
    Row { flags: u32, value_len: usize },
    Child { id: u64 },
}

impl Filling {
    fn count(&self) -> usize {
        self.elements.len()
    }

    fn bytes(&self) -> usize {
        HEAD_LEN + self.count() * ELEMENT_LEN + self.data.len()
    }

    fn has_room(&self, len: usize, page_bytes: usize) -> bool {
        self.count() < ELEMENTS_MAX && self.bytes() + ELEMENT_LEN + len <= page_bytes
    }

    /// Whether a row of `len` bytes belongs into this leaf: it has room for it, or ending it here would waste much of its
    /// last page. A leaf is one page unless rows are a large part of one.
    fn takes_row(&self, len: usize, page_bytes: usize) -> bool {
        let taken = self.bytes().next_multiple_of(page_bytes);
        let wastes = (taken - self.bytes()) * LEAF_WASTE_MAX > taken;
        self.has_room(len, if wastes { taken.max(LEAF_PAGES_MAX * page_bytes) } else { taken })
    }

    fn push(&mut self, element: Element, key: &[u8], value: &[u8]) {
        self.elements.push((element, key.len()));
        self.data.extend_from_slice(key);
        self.data.extend_from_slice(value);
    }

    fn first_key(&self) -> &[u8] {
        &self.data[..self.elements.first().map_or(0, |(_, key_len)| *key_len)]
    }

    /// The only child of a branch that has one.
    fn only_child(&self) -> Option<u64> {
        match self.elements.as_slice() {
            [(Element::Child { id }, _)] => Some(*id),
            _ => None,
        }
    }

    /// Writes the page and begins it anew; gives its id.
    fn write(&mut self, kind: Kind, pages: &mut Pages<'_>) -> Result<u64, WriteError> {
        let heads_len = HEAD_LEN + self.count() * ELEMENT_LEN;
        let count = u16::try_from(self.count()).expect("a page was full before");
        pages.put(heads_len + self.data.len(), |id, overflow| {
            let mut heads = Vec::with_capacity(heads_len);
            heads.extend_from_slice(&Head { id, kind, count, overflow }.encode());
            // Where the data of the next element begins.
            let mut data_at = heads_len;
            for (element, key_len) in self.elements.drain(..) {
                // Counted from the element itself.
                let at = length(data_at - heads.len()).to_le_bytes();
                let key = length(key_len).to_le_bytes();
                match element {
                    Element::Row { flags, value_len } => {
                        let value = length(value_len).to_le_bytes();
                        [flags.to_le_bytes(), at, key, value].iter().for_each(|part| heads.extend_from_slice(part));
                        data_at += key_len + value_len;
                    }
                    Element::Child { id } => {
                        [at, key].iter().for_each(|part| heads.extend_from_slice(part));
                        heads.extend_from_slice(&id.to_le_bytes());
                        data_at += key_len;
                    }
                }
            }
            heads.append(&mut self.data);
            heads
        })
    }
}

fn length(len: usize) -> u32 {
    u32::try_from(len).expect("a page is a few keys and at most one long value, whose length was checked")
}
