//! Reading the files of others.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::{Error, PageDamage};
use super::format::{
    BUCKET_LEN, HEAD_LEN, Head, Kind, META_LEN, Meta, PAGE_BYTES_MAX, PAGE_BYTES_MIN, decode_meta, u64_at,
};
use super::page::Page;
use super::write::FLAG_BUCKET;
use crate::env::File;

/// The longest leaf or branch that is read, with the pages that follow: far above the longest value that etcd takes.
const LONG_PAGE_BYTES_MAX: u64 = 1 << 30;
/// The deepest tree that is read. Branches of the smallest pages have at least two children each, and a file has fewer than
/// 2^48 pages.
const DEPTH_MAX: usize = 48;

/// A file that was opened, whose metas are fine. What is behind them is checked as it is read.
#[derive(Debug)]
pub struct Reader {
    file: Arc<dyn File>,
    meta: Meta,
}

/// One bucket of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    name: Vec<u8>,
    place: BucketPlace,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum BucketPlace {
    /// It has pages of its own.
    Root(u64),
    /// It is small enough to stand within a page, which it has the number of.
    Inline { page: u64, bytes: Vec<u8> },
}

/// A row: key and value.
pub type Row<'a> = (&'a [u8], &'a [u8]);

impl Reader {
    /// Opens the file that the first `len` bytes of `file` are.
    ///
    /// # Errors
    /// [`Error::NoMeta`], [`Error::Truncated`], [`Error::Io`].
    pub fn open(file: Arc<dyn File>, len: u64) -> Result<Reader, Error> {
        let meta = newest_meta(&*file, len)?;
        let expected = meta.pages.saturating_mul(u64::from(meta.page_bytes));
        if expected > len {
            return Err(Error::Truncated { expected, found: len });
        }
        Ok(Reader { file, meta })
    }

    /// The size of its pages in bytes.
    #[must_use]
    pub fn page_bytes(&self) -> u64 {
        u64::from(self.meta.page_bytes)
    }

    /// The length of what the file says that it has, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.meta.pages * u64::from(self.meta.page_bytes)
    }

    /// All buckets, in order of their names.
    ///
    /// # Errors
    /// [`Error::Page`], [`Error::Io`].
    pub fn buckets(&self) -> Result<Vec<Bucket>, Error> {
        self.buckets_seen(&mut Seen::default())
    }

    fn buckets_seen(&self, seen: &mut Seen) -> Result<Vec<Bucket>, Error> {
        let (mut buckets, mut walk) = (Vec::new(), Walk::begin(self, self.meta.root, seen)?);
        while let Some((page, element)) = walk.next(self, seen)? {
            let (id, found) = (page.head.id, page.row(element));
            let damaged = |why| Error::Page { page: id, why };
            if found.flags != FLAG_BUCKET {
                return Err(damaged(PageDamage::ElementKind(element)));
            }
            let Some((head, inline)) = found.value.split_first_chunk::<BUCKET_LEN>() else {
                return Err(damaged(PageDamage::Bucket(element)));
            };
            let place = match u64_at(head, 0) {
                0 => BucketPlace::Inline { page: id, bytes: inline.to_vec() },
                root => BucketPlace::Root(root),
            };
            buckets.push(Bucket { name: found.key.to_vec(), place });
        }
        Ok(buckets)
    }

    /// The rows of a bucket of this file, in order of their keys.
    ///
    /// # Errors
    /// [`Error::Page`], [`Error::Io`].
    pub fn rows(&self, bucket: &Bucket) -> Result<Rows<'_>, Error> {
        let mut seen = Seen::default();
        Ok(Rows { reader: self, walk: Walk::of(self, bucket, &mut seen)?, seen })
    }

    /// Reads all of the file: everything is where it should be, and no two places lead to the same page.
    ///
    /// # Errors
    /// [`Error::Page`], [`Error::Io`].
    pub fn check(&self, mut each: impl FnMut(u64)) -> Result<(), Error> {
        let mut seen = Seen::default();
        for bucket in self.buckets_seen(&mut seen)? {
            let mut walk = Walk::of(self, &bucket, &mut seen)?;
            while let Some((page, element)) = walk.next(self, &mut seen)? {
                check_row(page, element)?;
                if element == 0 {
                    each(u64::from(page.head.overflow) + 1);
                }
            }
        }
        Ok(())
    }

    /// Reads a leaf or branch that nobody has led to before.
    fn page(&self, id: u64, seen: &mut Seen) -> Result<Page, Error> {
        let damaged = |why| Error::Page { page: id, why };
        let (page_bytes, pages) = (u64::from(self.meta.page_bytes), self.meta.pages);
        if id < 2 || id >= pages {
            return Err(damaged(PageDamage::BeyondEnd(pages)));
        }
        let mut head = [0; HEAD_LEN];
        // No overflow: the file has all of its pages.
        self.file.read_exact_at(id * page_bytes, &mut head)?;
        let head = Head::decode(&head).map_err(damaged)?;
        if head.id != id {
            return Err(damaged(PageDamage::Misplaced(head.id)));
        }
        let taken = u64::from(head.overflow) + 1;
        if taken > pages - id {
            return Err(damaged(PageDamage::BeyondEnd(pages)));
        }
        if taken * page_bytes > LONG_PAGE_BYTES_MAX {
            return Err(damaged(PageDamage::TooLong(taken)));
        }
        if !seen.add(id, taken) {
            return Err(damaged(PageDamage::SeenTwice));
        }
        let mut bytes = vec![0; usize::try_from(taken * page_bytes).map_err(|_| damaged(PageDamage::TooLong(taken)))?];
        self.file.read_exact_at(id * page_bytes, &mut bytes)?;
        Page::new(bytes).map_err(damaged)
    }
}

impl Bucket {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }
}

/// The rows of a bucket that are still to come.
#[derive(Debug)]
pub struct Rows<'a> {
    reader: &'a Reader,
    walk: Walk,
    seen: Seen,
}

impl Rows<'_> {
    /// The next row.
    ///
    /// # Errors
    /// [`Error::Page`], [`Error::Io`]; nothing comes after one.
    #[expect(clippy::should_implement_trait, reason = "it lends the row, which an iterator cannot")]
    pub fn next(&mut self) -> Result<Option<Row<'_>>, Error> {
        match self.walk.next(self.reader, &mut self.seen)? {
            Some((page, element)) => check_row(page, element).map(Some),
            None => Ok(None),
        }
    }
}

/// A bucket within a bucket is not there in etcd's files.
fn check_row(page: &Page, element: usize) -> Result<Row<'_>, Error> {
    let found = page.row(element);
    if found.flags != 0 {
        return Err(Error::Page { page: page.head.id, why: PageDamage::ElementKind(element) });
    }
    Ok((found.key, found.value))
}

/// A walk over a tree, from its first leaf to its last.
#[derive(Debug)]
struct Walk {
    /// The way from the root to where it is: pages, and the element of each that comes next.
    path: Vec<(Page, usize)>,
    last_key: Vec<u8>,
}

impl Walk {
    fn begin(reader: &Reader, root: u64, seen: &mut Seen) -> Result<Walk, Error> {
        Ok(Walk { path: vec![(reader.page(root, seen)?, 0)], last_key: Vec::new() })
    }

    fn of(reader: &Reader, bucket: &Bucket, seen: &mut Seen) -> Result<Walk, Error> {
        match &bucket.place {
            BucketPlace::Root(root) => Walk::begin(reader, *root, seen),
            BucketPlace::Inline { page, bytes } => {
                let damaged = |why| Error::Page { page: *page, why };
                let inline = Page::new(bytes.clone()).map_err(damaged)?;
                if inline.head.kind != Kind::Leaf {
                    return Err(damaged(PageDamage::Kind(1)));
                }
                Ok(Walk { path: vec![(inline, 0)], last_key: Vec::new() })
            }
        }
    }

    /// The next leaf element: its page, and its number in it.
    fn next(&mut self, reader: &Reader, seen: &mut Seen) -> Result<Option<(&Page, usize)>, Error> {
        let found = loop {
            let depth = self.path.len();
            let Some((page, next)) = self.path.last_mut() else { return Ok(None) };
            if *next == page.count() {
                self.path.pop();
                continue;
            }
            *next += 1;
            match page.head.kind {
                Kind::Leaf => break *next - 1,
                Kind::Branch if depth > DEPTH_MAX => {
                    return Err(Error::Page { page: page.head.id, why: PageDamage::TooDeep(depth) });
                }
                Kind::Branch => {
                    let child = page.child(*next - 1);
                    let child = reader.page(child, seen)?;
                    self.path.push((child, 0));
                }
            }
        };
        let (page, _) = self.path.last().expect("the loop has left a leaf there");
        let key = page.row(found).key;
        // Within a page that was checked already.
        if found == 0 && !self.last_key.is_empty() && self.last_key.as_slice() >= key {
            return Err(Error::Page { page: page.head.id, why: PageDamage::Order(found) });
        }
        if found + 1 == page.count() {
            self.last_key.clear();
            self.last_key.extend_from_slice(key);
        }
        Ok(Some((page, found)))
    }
}

/// The pages that were read, as spans that do not touch: a whole file that is read in order is one of them.
#[derive(Debug, Default)]
struct Seen(BTreeMap<u64, u64>);

impl Seen {
    /// Adds `taken` pages from `id` on; `false` if one of them was there.
    fn add(&mut self, id: u64, taken: u64) -> bool {
        let (mut begin, mut end) = (id, id + taken);
        if let Some((&before, &before_end)) = self.0.range(..end).next_back() {
            if before_end > id {
                return false;
            }
            if before_end == id {
                begin = before;
            }
        }
        if let Some(after_end) = self.0.remove(&end) {
            end = after_end;
        }
        self.0.insert(begin, end);
        true
    }
}

fn newest_meta(file: &dyn File, len: u64) -> Result<Meta, Error> {
    let first = read_meta(file, 0, len)?;
    if let Ok(first) = first {
        let second = read_meta(file, u64::from(first.page_bytes), len)?;
        let newer = second
            .ok()
            .filter(|second| second.page_bytes == first.page_bytes && second.transaction > first.transaction);
        return Ok(newer.unwrap_or(first));
    }
    // Where the second one is depends on the size of pages, which only it can tell.
    let mut why = PageDamage::Magic;
    let sizes = std::iter::successors(Some(PAGE_BYTES_MIN), |size| size.checked_mul(2));
    for size in sizes.take_while(|size| *size <= PAGE_BYTES_MAX).map(u64::from) {
        match read_meta(file, size, len)? {
            Ok(meta) if u64::from(meta.page_bytes) == size => return Ok(meta),
            Ok(meta) => why = PageDamage::PageSize(meta.page_bytes),
            Err(damage) if damage != PageDamage::Magic && !matches!(damage, PageDamage::Kind(_)) => why = damage,
            Err(_) => {}
        }
    }
    Err(Error::NoMeta { first: first.expect_err("a valid one was returned"), second: why })
}

/// The meta at a place; a file that ends before has none there.
fn read_meta(file: &dyn File, at: u64, len: u64) -> Result<Result<Meta, PageDamage>, Error> {
    let mut page = [0; HEAD_LEN + META_LEN];
    if at + page.len() as u64 > len {
        return Ok(Err(PageDamage::BeyondEnd(0)));
    }
    file.read_exact_at(at, &mut page)?;
    Ok(decode_meta(&page))
}
