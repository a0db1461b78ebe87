//! bbolt: the file format of etcd's database, and of the snapshots that its tools make and read.
//!
//! A file is pages of one size. The first two are **metas**, each with a checksum, of which the newer valid one counts: it
//! names the root of a tree. The entries of that tree are **buckets**, and a bucket is a tree of rows, keys in ascending
//! order of bytes:
//!
//! ```text
//! page   0      1      2      3      ...                                                       n-1
//!        meta   meta   leaf   leaf   branch   leaf   ...                                       root leaf
//!          root = n-1, pages = n     └ 2, 3                                                    └ "key" -> its branch, ...
//! ```
//!
//! A leaf or branch is a head, one element of 16 bytes for each entry, and then the keys and values that the elements point
//! to; one that is longer than a page takes the pages that follow. All numbers are little-endian.
//!
//! A [`Writer`] gets rows in order and gives pages in order of their ids, so the file may be a stream: it holds one page for
//! each level of a tree. What the metas say at the beginning is known only at the end, so it is run twice over the same rows:
//! once for the [`Layout`], into nothing, and once for the bytes. A [`Reader`] takes files of others. It believes nothing that
//! it has not checked: a damaged file is an [`Error`] that names the page.
//!
//! This folder knows bytes only; what is in etcd's buckets is known by `etcd_file`.
//!
//! Source: etcd-io/bbolt, `internal/common` (`page.go`, `meta.go`, `bucket.go`).

mod error;
mod format;
mod page;
mod read;
mod tree;
mod write;

#[cfg(test)]
mod tests;

pub use self::error::{Error, PageDamage};
pub use self::format::PAGE_BYTES;
pub use self::read::{Bucket, Reader, Row, Rows};
pub use self::write::{Layout, WriteError, Writer, plan, write};

#[doc(hidden)]
pub mod any_bytes {
    //! For the fuzz targets and the tests that run them.

    pub use super::format::{Meta, encode_meta};
}
