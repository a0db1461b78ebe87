//! The store: what the parts of the key space share.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::compact::Sweep;
use super::compaction_hash::CompactionHashes;
use super::evict::Eviction;
use super::key_history::KeyHistory;
use super::newest::Newest;
use super::pins::{Pin, Pins};
use super::tail::Tail;
use super::write::Write;
use crate::model::{Record, Revision};
use crate::storage;

/// Why a read cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The revision is below the compacted one.
    #[error("required revision {requested} has been compacted (compacted: {compacted})")]
    Compacted {
        /// What was asked for.
        requested: Revision,
        /// The lowest revision that can be read.
        compacted: Revision,
    },
    /// The revision is above the newest one.
    #[error("required revision {requested} is a future revision (current: {current})")]
    Future {
        /// What was asked for.
        requested: Revision,
        /// The newest revision.
        current: Revision,
    },
    /// The checkpoint could not be read. A fault, not the client's.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// Where a read gets the store from: directly (inside apply), or under a lock taken anew for each chunk (outside).
pub trait Source {
    /// Looks at the store. What one look finds belongs together.
    fn with<R>(&self, look: impl FnOnce(&Store) -> R) -> R;

    /// Hears of a few records that were read together, some of them from storage: see [`Store::readmit`].
    fn was_read(&self, _records: &[Record]) {}
}

impl Source for Store {
    fn with<R>(&self, look: impl FnOnce(&Store) -> R) -> R {
        look(self)
    }
}

/// The key space in memory: key index, newest values as far as there is room, tail of the history.
#[derive(Debug)]
pub struct Store {
    pub(super) index: BTreeMap<Box<[u8]>, KeyHistory>,
    pub(super) tail: Tail,
    pub(super) revision: Revision,
    pub(super) compacted: Revision,
    pub(super) sweep: Sweep,
    pub(super) compaction_hashes: CompactionHashes,
    pub(super) pins: Arc<Pins>,
    /// Keys that live, and the bytes of their records.
    pub(super) live: Live,
    pub(super) eviction: Eviction,
}

/// Sums over the keys that live.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) keys: usize,
    pub(super) bytes: usize,
}

impl Live {
    pub(super) fn add(&mut self, len: usize) {
        self.keys += 1;
        self.bytes += len;
    }

    pub(super) fn remove(&mut self, len: usize) {
        self.keys -= 1;
        self.bytes -= len;
    }
}

impl Store {
    /// A store that was never written, at revision 1. All of it stays in memory.
    #[must_use]
    pub fn new() -> Store {
        Store::with_values_max(usize::MAX)
    }

    /// The same, but at most about `values_max` bytes of newest pairs stay in memory once storage has them.
    #[must_use]
    pub fn with_values_max(values_max: usize) -> Store {
        Store {
            index: BTreeMap::new(),
            tail: Tail::default(),
            revision: Revision::FRESH,
            compacted: Revision::NEVER_COMPACTED,
            sweep: Sweep::default(),
            compaction_hashes: CompactionHashes::default(),
            pins: Arc::default(),
            live: Live::default(),
            eviction: Eviction::new(values_max),
        }
    }

    /// A put has made `record` the newest of its key, in place of `before`.
    pub(super) fn count_put(&mut self, record: &Record, before: Option<&Newest>) {
        if let Some(before) = before {
            self.count_gone(before);
        }
        let len = record.as_bytes().len();
        self.live.add(len);
        self.eviction.add(len);
    }

    /// A pair is not the newest of its key any more.
    pub(super) fn count_gone(&mut self, before: &Newest) {
        self.live.remove(before.len());
        if before.here().is_some() {
            self.eviction.remove(before.len());
        }
    }

    /// The newest revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The lowest revision that can be read, [`Revision::NEVER_COMPACTED`] if all can.
    #[must_use]
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// How many keys live.
    #[must_use]
    pub fn live_keys(&self) -> usize {
        self.live.keys
    }

    /// The bytes of the records of all keys that live.
    #[must_use]
    pub fn live_bytes(&self) -> usize {
        self.live.bytes
    }

    /// The newest pair of a key that lives.
    #[must_use]
    pub fn newest(&self, key: &[u8]) -> Option<Newest> {
        self.index.get(key)?.newest()
    }

    /// Opens a write; its changes take the next revision.
    pub fn begin(&mut self) -> Write<'_> {
        Write::new(self)
    }

    /// Holds a revision readable. Call it in the same look as the check that the revision is not compacted.
    #[must_use]
    pub fn pin(&self, at: Revision) -> Pin {
        self.pins.pin(at)
    }

    /// How many long reads hold a revision.
    #[must_use]
    pub fn pins(&self) -> usize {
        self.pins.count()
    }

    /// Whether a pin holds its revision in this store, not in one that was there before it.
    pub(super) fn has_pinned(&self, pin: &Pin) -> bool {
        pin.is_of(&self.pins)
    }

    /// Lets the tail go at and below `through`, which a checkpoint that can be read must hold.
    pub fn release_tail(&mut self, through: Revision) {
        self.tail.release(through);
    }

    /// The first revision whose records are in the tail.
    #[must_use]
    pub fn tail_start(&self) -> Option<Revision> {
        self.tail.start()
    }

    /// The bytes of the records in the tail.
    #[must_use]
    pub fn tail_bytes(&self) -> usize {
        self.tail.bytes()
    }

    /// Checks that `requested` can be read.
    ///
    /// # Errors
    /// [`ReadError::Future`] or [`ReadError::Compacted`], in this order.
    pub fn check_readable(&self, requested: Revision) -> Result<(), ReadError> {
        if requested > self.revision {
            return Err(ReadError::Future { requested, current: self.revision });
        }
        if requested < self.compacted {
            return Err(ReadError::Compacted { requested, compacted: self.compacted });
        }
        Ok(())
    }
}

impl Default for Store {
    fn default() -> Store {
        Store::new()
    }
}
