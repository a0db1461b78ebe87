//! The key space: every key, at every revision that is not compacted away.
//!
//! Each write request takes the next **revision**; its changes are numbered within it. The store keeps three things in
//! memory, and everything older in the checkpoint:
//!
//! ```text
//! index    key -> its changes (revision, put or tombstone), and the pair of the last one if the key lives
//! tail     revision -> record, for the changes that no checkpoint holds yet
//! storage  revision -> record, for all others (see `storage`)
//! ```
//!
//! A read at revision R finds, for each key, the newest change at or below R; a tombstone means that the key was not
//! there. The pair of the last change is in the index itself, so reading the present does not leave memory; only when the
//! pairs take more than their share of it do values fall out (`evict`), and even then all but the value stays. Older
//! records are looked for in the tail, and then in storage; a record leaves the tail only after a checkpoint that holds it
//! can be read, so one of the two has it.
//!
//! ```text
//! put k=a (2)   put k=b (3)   delete k (4)   put k=c (5)
//! changes of k: 2 3 4t 5      at 3: b      at 4: nothing      at 5: c, created at 5, version 1
//! ```
//!
//! **Compaction** at C makes revisions below C unreadable at once. What no read can need any more, the changes of a key
//! before its newest one at or below C, goes later and in small steps ([`Store::compact_step`]); a [`Pin`] holds that
//! back while a long read runs.
//!
//! The vocabulary and rules are etcd's ("MVCC" in its documentation, `kv.proto` and `rpc.proto`).

mod changes;
mod compact;
mod compaction_hash;
mod copying;
mod evict;
mod fetch;
mod hash;
mod key_history;
mod load;
mod long_range;
mod newest;
mod pins;
mod range;
mod range_part;
mod select;
mod store;
mod tail;
mod write;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use changes::{changes, record_at};
pub use copying::Copying;
pub use hash::{HashStart, Hashing, KvHash};
pub use long_range::{LongRange, PairBytes, RangeAnswer, UnsortedRange, Window, bounded_range};
pub use newest::{Head, Newest};
pub use pins::Pin;
pub use range::{range, range_now};
pub use range_part::{PartLimits, RangePart, RangePlace, range_part};
pub use store::{ReadError, Source, Store};
pub use write::Write;
