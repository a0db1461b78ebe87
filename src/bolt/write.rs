//! Writing a file from its first byte to its last.

use std::io::{self, Write};

use super::format::{BUCKET_LEN, KEY_BYTES_MAX, Meta, VALUE_BYTES_MAX, encode_meta};
use super::tree::Tree;

/// Marks an entry of the tree of buckets.
pub(super) const FLAG_BUCKET: u32 = 1;
/// Pages that stand before the first tree.
const METAS: u64 = 2;
/// The transaction that all of the file is of.
const TRANSACTION: u64 = 2;

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Whoever takes the bytes takes no more.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Rows and buckets come in ascending order.
    #[error("the key {0:?} is not above the one before it")]
    Order(Vec<u8>),
    /// bbolt has no such key.
    #[error("a key of {0} bytes cannot be written")]
    Key(usize),
    /// bbolt has no such value.
    #[error("a value of {0} bytes cannot be written")]
    Value(usize),
    /// A row belongs to a bucket.
    #[error("a row comes before the first bucket")]
    NoBucket,
    /// The rows are not those that the layout was planned with.
    #[error("the second pass has other rows than the first: {found:?} instead of {planned:?}")]
    OtherRows {
        /// What the first pass came to.
        planned: Layout,
        /// What the second came to.
        found: Layout,
    },
}

/// Where everything is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    page_bytes: usize,
    root: u64,
    pages: u64,
}

impl Layout {
    /// The length of the file in bytes, a multiple of the size of a page.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.pages * self.page_bytes as u64
    }
}

/// Finds out the layout of the file whose buckets and rows `fill` gives.
///
/// # Errors
/// What `fill` says, or [`WriteError`].
pub fn plan<E: From<WriteError>>(
    page_bytes: usize,
    fill: impl FnOnce(&mut Writer<'_>) -> Result<(), E>,
) -> Result<Layout, E> {
    let mut nowhere = io::sink();
    let mut writer = Writer::new(&mut nowhere, page_bytes);
    fill(&mut writer)?;
    Ok(writer.finish()?)
}

/// Writes the file that was planned, whose buckets and rows `fill` gives again.
///
/// # Errors
/// What `fill` says, or [`WriteError`].
pub fn write<E: From<WriteError>>(
    layout: Layout,
    out: &mut dyn Write,
    fill: impl FnOnce(&mut Writer<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let page_bytes = u32::try_from(layout.page_bytes).expect("a size of pages that a file can tell");
    for id in 0..METAS {
        let meta = Meta { page_bytes, root: layout.root, pages: layout.pages, transaction: TRANSACTION - id };
        out.write_all(&encode_meta(id, &meta)).map_err(WriteError::Io)?;
    }
    let mut writer = Writer::new(out, layout.page_bytes);
    fill(&mut writer)?;
    match writer.finish()? {
        found if found == layout => Ok(()),
        found => Err(WriteError::OtherRows { planned: layout, found }.into()),
    }
}

/// A file that is being written, bucket by bucket and row by row, in ascending order of names and of keys.
pub struct Writer<'a> {
    pages: Pages<'a>,
    /// Those that have ended, with their roots.
    buckets: Vec<(Vec<u8>, u64)>,
    /// The one that rows are added to.
    bucket: Option<(Vec<u8>, Tree)>,
    last_key: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(out: &'a mut dyn Write, page_bytes: usize) -> Writer<'a> {
        let pages = Pages { out, page_bytes, next: METAS };
        Writer { pages, buckets: Vec::new(), bucket: None, last_key: Vec::new() }
    }

    /// Begins the next bucket.
    ///
    /// # Errors
    /// [`WriteError::Order`], [`WriteError::Key`], [`WriteError::Io`].
    pub fn bucket(&mut self, name: &str) -> Result<(), WriteError> {
        self.end_bucket()?;
        let name = name.as_bytes().to_vec();
        check_key(self.buckets.last().map(|(last, _)| last.as_slice()), &name)?;
        self.bucket = Some((name, Tree::default()));
        self.last_key.clear();
        Ok(())
    }

    /// Adds a row to the bucket that was begun last.
    ///
    /// # Errors
    /// Any [`WriteError`] but [`WriteError::OtherRows`].
    pub fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), WriteError> {
        let (_, tree) = self.bucket.as_mut().ok_or(WriteError::NoBucket)?;
        check_key(Some(&self.last_key), key)?;
        if value.len() > VALUE_BYTES_MAX {
            return Err(WriteError::Value(value.len()));
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        tree.push(0, key, value, &mut self.pages)
    }

    fn end_bucket(&mut self) -> Result<(), WriteError> {
        if let Some((name, tree)) = self.bucket.take() {
            self.buckets.push((name, tree.finish(&mut self.pages)?));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Layout, WriteError> {
        self.end_bucket()?;
        let mut tree = Tree::default();
        for (name, root) in &self.buckets {
            let mut bucket = [0; BUCKET_LEN];
            bucket[..8].copy_from_slice(&root.to_le_bytes());
            tree.push(FLAG_BUCKET, name, &bucket, &mut self.pages)?;
        }
        let root = tree.finish(&mut self.pages)?;
        Ok(Layout { page_bytes: self.pages.page_bytes, root, pages: self.pages.next })
    }
}

impl std::fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("pages", &self.pages.next).finish_non_exhaustive()
    }
}

fn check_key(last: Option<&[u8]>, key: &[u8]) -> Result<(), WriteError> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(WriteError::Key(key.len()));
    }
    match last {
        Some(last) if last >= key => Err(WriteError::Order(key.to_vec())),
        _ => Ok(()),
    }
}

/// Pages on their way out, in order of their ids.
pub(super) struct Pages<'a> {
    out: &'a mut dyn Write,
    page_bytes: usize,
    /// The id of the next one.
    next: u64,
}

impl Pages<'_> {
    pub(super) fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    /// Writes a page of `len` bytes, or several if it is longer than one; `bytes` gets the id, and how many follow. Gives
    /// the id.
    pub(super) fn put(&mut self, len: usize, bytes: impl FnOnce(u64, u32) -> Vec<u8>) -> Result<u64, WriteError> {
        let (id, taken) = (self.next, len.div_ceil(self.page_bytes).max(1));
        let overflow = u32::try_from(taken - 1).map_err(|_| WriteError::Value(len))?;
        let mut page = bytes(id, overflow);
        debug_assert_eq!(page.len(), len, "a page is as long as was said");
        page.resize(taken * self.page_bytes, 0);
        self.out.write_all(&page)?;
        self.next += taken as u64;
        Ok(id)
    }
}
