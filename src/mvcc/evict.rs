//! Which values stay in memory: more data than memory may be served.
//!
//! The index holds the newest pair of every key. Once the pairs take more than their share of memory, a hand goes round
//! the keys like that of a clock, and lets the values go of those that were not read since it last came by. Only what a
//! checkpoint holds can go; records of the tail stay. What is read then comes from storage, and a few pairs that are read
//! together come back: they are wanted again soon. A long listing changes nothing, or it would drive out all others.
//!
//! ```text
//! key       a        b        c        d
//! newest    whole    bare     whole    whole         bare: all but the value
//! read              (stored)  since                  the hand lets a go, spares c once, ...
//!           ^ hand
//! ```

use std::ops::Bound;

use super::store::Store;
use crate::model::{Record, SubRevision};

/// Records below this stay: what is kept of them without the value takes nearly as much.
pub(super) const EVICTED_BYTES_MIN: usize = 128;
/// Keys that are visited to make room for what has come back.
const READMIT_KEYS: usize = 64;

/// Where the hand is, and how much may stay.
#[derive(Debug)]
pub(super) struct Eviction {
    /// Bytes of records that may be whole in memory.
    bytes_max: usize,
    /// Bytes of the records that are, and could go.
    bytes: usize,
    /// The last key that the hand visited.
    hand: Option<Box<[u8]>>,
}

impl Eviction {
    pub(super) fn new(bytes_max: usize) -> Eviction {
        Eviction { bytes_max, bytes: 0, hand: None }
    }

    /// A record of `len` bytes is whole in memory.
    pub(super) fn add(&mut self, len: usize) {
        self.bytes += counted(len);
    }

    /// One that was is not any more.
    pub(super) fn remove(&mut self, len: usize) {
        self.bytes -= counted(len);
    }

    fn is_due(&self) -> bool {
        self.bytes > self.bytes_max
    }
}

fn counted(len: usize) -> usize {
    if len < EVICTED_BYTES_MIN { 0 } else { len }
}

impl Store {
    /// Visits at most `keys_max` keys and lets values go from memory as long as there are too many. Tells whether there
    /// still are.
    pub fn evict_step(&mut self, keys_max: usize) -> bool {
        if !self.eviction.is_due() {
            return false;
        }
        // The tail lets go of nothing that cannot be read from storage.
        let tail_start = self.tail.start();
        let is_stored = |at: SubRevision| tail_start.is_none_or(|start| at.main < start);
        let hand = self.eviction.hand.take();
        let start = hand.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        for (visited, (key, history)) in (1..).zip(self.index.range_mut::<[u8], _>((start, Bound::Unbounded))) {
            self.eviction.remove(history.evict(is_stored));
            if visited == keys_max || !self.eviction.is_due() {
                self.eviction.hand = Some(key.clone());
                break;
            }
        }
        self.eviction.is_due()
    }

    /// How many calls of [`Store::evict_step`] let every value go that may: twice around, for what was read is spared once.
    #[must_use]
    pub fn evict_steps_max(&self, keys_max: usize) -> usize {
        2 * (self.index.len() / keys_max.max(1) + 1)
    }

    /// Takes pairs back into memory that were read from storage, at these places; others that were not read make room.
    pub fn readmit(&mut self, records: &[(SubRevision, Record)]) {
        for (at, record) in records {
            if self.index.get_mut(record.key()).is_some_and(|history| history.readmit(*at, record)) {
                self.eviction.add(record.as_bytes().len());
            }
        }
        self.evict_step(READMIT_KEYS);
    }

    /// Bytes of the pairs that are whole in memory and could go.
    #[must_use]
    pub fn values_in_memory(&self) -> usize {
        self.eviction.bytes
    }
}
