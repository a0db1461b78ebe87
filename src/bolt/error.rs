//! Why a file cannot be read.

use std::io;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk refused.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Neither meta is one.
    #[error("is no bbolt database: page 0: {first}; page 1: {second}")]
    NoMeta {
        /// What is wrong with the first.
        first: PageDamage,
        /// What is wrong with the second.
        second: PageDamage,
    },
    /// It ends before the last page.
    #[error("is cut short: it has {found} bytes of {expected}")]
    Truncated {
        /// How long it should be at least.
        expected: u64,
        /// How long it is.
        found: u64,
    },
    /// A page is not what it should be.
    #[error("is damaged: page {page}: {why}")]
    Page {
        /// Its id.
        page: u64,
        /// What is wrong.
        why: PageDamage,
    },
    /// There must be a bucket.
    #[error("has no bucket {name:?}")]
    NoBucket {
        /// Its name.
        name: &'static str,
    },
}

/// What is wrong with a page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageDamage {
    /// It is of another kind than it should be.
    #[error("its kind is {0:#x}")]
    Kind(u16),
    /// It does not begin as a meta.
    #[error("it does not begin as a meta")]
    Magic,
    /// The format is another one.
    #[error("its format is {0}, not 2")]
    Version(u32),
    /// The checksum of a meta is wrong.
    #[error("its checksum is wrong")]
    Checksum,
    /// Pages of such a size are not read.
    #[error("it says that pages have {0} bytes")]
    PageSize(u32),
    /// It says that it is another one.
    #[error("it says that it is page {0}")]
    Misplaced(u64),
    /// It is outside of the file.
    #[error("it is beyond the end, {0} pages")]
    BeyondEnd(u64),
    /// It is longer than any page is.
    #[error("it goes on for {0} pages")]
    TooLong(u64),
    /// Two places lead to it.
    #[error("two places lead to it")]
    SeenTwice,
    /// The tree is deeper than any tree is.
    #[error("it is {0} levels below the root")]
    TooDeep(usize),
    /// An element points out of the page.
    #[error("element {0} points out of it")]
    Element(usize),
    /// Its elements take more than its length.
    #[error("it has no room for {0} elements")]
    Elements(u16),
    /// A branch leads nowhere.
    #[error("it is a branch without children")]
    Childless,
    /// Keys must ascend.
    #[error("the key of element {0} is out of order")]
    Order(usize),
    /// A key must have bytes.
    #[error("element {0} has no key")]
    NoKey(usize),
    /// A bucket where a row should be, or the reverse.
    #[error("element {0} is of an unknown kind")]
    ElementKind(usize),
    /// A bucket within the page ends early.
    #[error("the bucket in element {0} is cut short")]
    Bucket(usize),
}
