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
/// What shared ownership takes beside a record.
const OWNER_COUNTS_BYTES: usize = 16;
/// Keys that are visited to make room for what has come back.
const READMIT_KEYS: usize = 64;

/// Where the hand is, and how much may stay.
#[derive(Debug)]
pub(super) struct Eviction {
    /// What records that are whole in memory may take.
    bytes_max: usize,
    /// What those take that could go.
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

/// What a record of so many bytes takes, if it may go. With the counts of its owners it is rounded up, as allocators do:
/// there are four sizes from one power of two to the next.
pub(super) fn counted(len: usize) -> usize {
    if len < EVICTED_BYTES_MIN {
        return 0;
    }
    let bytes = len + OWNER_COUNTS_BYTES;
    bytes.next_multiple_of(bytes.next_power_of_two() / 8)
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

    /// Takes pairs back into memory that were read, as far as they are the newest and not there; others that were not read
    /// make room.
    pub fn readmit(&mut self, records: &[Record]) {
        for record in records {
            if self.index.get_mut(record.key()).is_some_and(|history| history.readmit(record)) {
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

#[cfg(test)]
mod tests {
    use super::super::long_range::in_windows_of;
    use super::super::testing::empty_storage;
    use super::super::{RangeAnswer, range, range_now};
    use super::*;
    use crate::model::{KeyRange, LeaseId, Range, RangeEnd};
    use crate::storage::{Meta, Storage, TableWrite};

    const VALUE: [u8; 1000] = [7; 1000];
    /// What one such pair counts.
    const PAIR_BYTES: usize = 1280;

    /// A store with keys `0` to `9`; everything is in storage.
    fn stored(values_max: usize) -> (Store, Storage) {
        let (mut store, storage) = (Store::with_values_max(values_max), empty_storage());
        write(&mut store, &storage, b"0123456789");
        store.release_tail(store.revision());
        (store, storage)
    }

    fn write(store: &mut Store, storage: &Storage, keys: &[u8]) {
        let mut writes: Vec<TableWrite> = Vec::new();
        for key in keys {
            let mut write = store.begin();
            write.put(&[*key], &VALUE, LeaseId::NONE);
            write.finish(&mut Vec::new(), &mut writes);
        }
        storage.commit(&writes, &Meta::default()).unwrap();
    }

    fn evict(store: &mut Store) {
        let steps = store.evict_steps_max(3);
        let _ = (0..steps).take_while(|_| store.evict_step(3)).count();
    }

    /// The keys whose values are in memory.
    fn whole(store: &Store) -> String {
        let keys = store.index.iter().filter(|(_, history)| history.newest().is_some_and(|pair| pair.here().is_some()));
        keys.map(|(key, _)| char::from(key[0])).collect()
    }

    fn query(key: &'static [u8]) -> Range {
        Range::of(KeyRange::single(key.into()))
    }

    fn all() -> Range {
        Range::of(KeyRange { start: bytes::Bytes::new(), end: RangeEnd::Unbounded })
    }

    #[test]
    fn the_hand_spares_what_was_read_since_it_came_by() {
        let (mut store, storage) = stored(4 * PAIR_BYTES);
        assert_eq!(whole(&store), "0123456789");
        for key in [&b"1"[..], b"4"] {
            let key: &'static [u8] = key;
            assert!(range_now(&store, &query(key), 1).is_some());
        }
        evict(&mut store);
        assert_eq!(whole(&store), "1489");
        assert!(range_now(&store, &query(b"0"), 1).is_none(), "that takes the disk");
        assert_eq!(range(&store, &storage, &query(b"0")).unwrap().kvs[0].value(), VALUE);
        let everything = range(&store, &storage, &all()).unwrap();
        assert!(everything.kvs.len() == 10 && everything.kvs.iter().all(|record| record.value() == VALUE));
        assert_eq!(
            (store.live_keys(), store.live_bytes()),
            (10, everything.kvs.iter().map(|r| r.as_bytes().len()).sum())
        );
    }

    #[test]
    fn what_no_checkpoint_has_stays() {
        let (mut store, storage) = stored(0);
        write(&mut store, &storage, b"35");
        evict(&mut store);
        assert_eq!(whole(&store), "35");
        store.release_tail(store.revision());
        evict(&mut store);
        assert_eq!((whole(&store).as_str(), store.values_in_memory()), ("", 0));
    }

    #[test]
    fn what_is_read_comes_back_and_another_makes_room() {
        let (mut store, storage) = stored(2 * PAIR_BYTES);
        evict(&mut store);
        assert_eq!(whole(&store), "89");
        let at = store.index[&b"3"[..]].last().at();
        let record = storage.record(at).unwrap().unwrap();
        store.readmit(std::slice::from_ref(&record));
        assert_eq!(whole(&store), "39");
        // It was overwritten meanwhile: what was read is not the newest any more.
        evict(&mut store);
        write(&mut store, &storage, b"3");
        store.release_tail(store.revision());
        store.readmit(&[record]);
        assert_ne!(store.newest(b"3").unwrap().head().mod_revision, at.main);
    }

    /// Its length is known of what is not read: windows that are read later must come to the same.
    #[test]
    fn a_long_range_of_values_that_left_memory_is_surveyed_without_them() {
        let (mut store, storage) = stored(3 * PAIR_BYTES);
        evict(&mut store);
        for (limit, keys_only, revision) in [(0, false, 0), (7, false, 0), (0, true, 0), (0, false, 8), (6, false, 11)]
        {
            let query = Range { limit, keys_only, revision, ..all() };
            let promised = range(&store, &storage, &query).unwrap();
            let mut found = Vec::new();
            match in_windows_of(2000, &store, &storage, &query, |len| len).unwrap() {
                RangeAnswer::Short(reply) => found = reply.kvs,
                RangeAnswer::Long(mut long) => {
                    let bytes = promised.kvs.iter().map(|record| record.as_bytes().len()).sum::<usize>();
                    assert_eq!((long.bytes(), long.reply().count), (bytes, promised.count));
                    found.extend(long.take_first().unwrap());
                    while !long.is_over() {
                        let window = long.read(&store, &storage).unwrap();
                        found.extend(long.pass(window));
                    }
                }
                RangeAnswer::Unsorted(unsorted) => panic!("{unsorted:?}"),
            }
            assert_eq!(found, promised.kvs, "{query:?}");
        }
    }

    #[test]
    fn a_start_keeps_no_more_than_there_is_room_for() {
        let (_, storage) = stored(usize::MAX);
        let meta = Meta { revision: crate::model::Revision(11), ..Meta::default() };
        let store = Store::load(&storage, &meta, 8 * PAIR_BYTES, &mut |_, _| {}).unwrap();
        assert!((1..=8).contains(&whole(&store).len()), "{}", whole(&store));
        assert!(store.values_in_memory() <= 8 * PAIR_BYTES);
        assert_eq!(range(&store, &storage, &all()).unwrap().kvs.len(), 10);
    }
}
