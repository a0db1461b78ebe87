//! The hash of the key space at a revision: equal on all members that agree about it.
//!
//! It goes over the changes up to the revision in their order, and leaves out what a compaction of that revision would
//! not keep, whether this member has freed it already or not: so it does not depend on how far physical compaction is,
//! only on the revision and on the compacted one. The bytes are etcd's, so that the same history has the same hash there:
//!
//! ```text
//! CRC32C over "key", then for each change: its place, its record
//! place    revision (8 bytes, big-endian), '_', sub-revision (8 bytes, big-endian), 't' if it is a tombstone
//! record   the encoded pair; of a tombstone only its key
//! ```
//!
//! Source: etcd, `server/storage/mvcc/hash.go`.

use super::changes::{Limits, history};
use super::pins::Pin;
use super::store::{ReadError, Source, Store};
use crate::model::{Record, RecordKey, Revision, SubRevision};
use crate::storage::Storage;

/// What one look takes at most: bounds memory, and how long apply waits for it.
const CHUNK: Limits = Limits { revisions: 1000, bytes: 256 * 1024 };
/// What the hash begins with: the name of etcd's table.
const SEED: &[u8] = b"key";

/// The hash of the key space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvHash {
    /// The hash.
    pub hash: u32,
    /// The revision that it is of.
    pub at: Revision,
    /// The compacted revision when it was taken; what was compacted is not in it.
    pub compacted: Revision,
    /// The store's revision when it was taken.
    pub revision: Revision,
}

/// A hash that is about to be taken: nothing that it needs is freed meanwhile.
#[derive(Debug)]
pub struct Hashing {
    at: Revision,
    compacted: Revision,
    revision: Revision,
    _pin: Pin,
}

impl Store {
    /// Begins to hash the key space as of `at`; zero is the newest revision, and below zero there is nothing.
    ///
    /// # Errors
    /// [`ReadError::Compacted`], [`ReadError::Future`].
    pub fn begin_hash(&self, at: Revision) -> Result<Hashing, ReadError> {
        let (revision, compacted) = (self.revision(), self.compacted());
        let at = if at == Revision(0) { revision } else { at };
        if at.0 > 0 {
            self.check_readable(at)?;
        }
        // Held at the compacted revision, not at `at`: the changes in between count too.
        Ok(Hashing { at, compacted, revision, _pin: self.pin(compacted) })
    }

    /// Whether a compaction of `through` would keep the change at `place` of a key.
    fn keeps(&self, key: &[u8], place: SubRevision, through: Revision) -> bool {
        self.index.get(key).and_then(|history| history.live_at(through)).is_some_and(|change| change.at() == place)
    }
}

impl Hashing {
    /// Takes the hash, a chunk at a time.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the history could not be read.
    pub fn run(self, source: &impl Source, storage: &Storage) -> Result<KvHash, ReadError> {
        let Hashing { at, compacted, revision, ref _pin } = self;
        let mut hash = crc32c::crc32c(SEED);
        let mut from = Revision::FRESH;
        while from <= at {
            let changes = history(source, storage, from, at, CHUNK, |_| Ok(()))?;
            let Some((last, _)) = changes.last() else { break };
            from = last.main.next();
            let counts = source.with(|store| {
                let counts = |(place, record): &(SubRevision, Record)| {
                    place.main > compacted || store.keeps(record.key(), *place, at)
                };
                changes.iter().map(counts).collect::<Vec<_>>()
            });
            for ((place, record), _) in changes.iter().zip(counts).filter(|(_, counts)| *counts) {
                hash = take_in(hash, *place, record);
            }
        }
        Ok(KvHash { hash, at, compacted, revision })
    }
}

fn take_in(hash: u32, place: SubRevision, record: &Record) -> u32 {
    let is_tombstone = record.is_tombstone();
    let hash = crc32c::crc32c_append(hash, RecordKey::new(place, is_tombstone).as_bytes());
    match is_tombstone {
        true => crc32c::crc32c_append(hash, record.bare().as_bytes()),
        false => crc32c::crc32c_append(hash, record.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{KeyRange, LeaseId};
    use crate::mvcc::testing::empty_storage;
    use crate::storage::{Meta, TableWrite};

    struct Kv {
        store: Store,
        storage: Storage,
        pending: Vec<TableWrite>,
    }

    impl Kv {
        fn new() -> Kv {
            Kv { store: Store::new(), storage: empty_storage(), pending: Vec::new() }
        }

        fn put(&mut self, key: &str, value: &str) {
            let mut write = self.store.begin();
            write.put(key.as_bytes(), value.as_bytes(), LeaseId::NONE);
            write.finish(&mut Vec::new(), &mut self.pending);
        }

        fn delete(&mut self, key: &'static str) {
            let mut write = self.store.begin();
            write.delete_range(&KeyRange::single(key.into()));
            write.finish(&mut Vec::new(), &mut self.pending);
        }

        /// Frees what is compacted, as far as `keys` keys.
        fn sweep(&mut self, keys: usize) {
            let removed = self.store.compact_step(keys).into_iter().flatten();
            self.pending.extend(removed.map(|at| TableWrite::RemoveRecord { at }));
        }

        fn checkpoint(&mut self) {
            let meta = Meta { revision: self.store.revision(), compacted: self.store.compacted(), ..Meta::default() };
            self.storage.commit(&self.pending, &meta).unwrap();
            self.pending.clear();
            self.store.release_tail(self.store.revision());
        }

        fn hash(&self, at: i64) -> (u32, i64) {
            let found = self.store.begin_hash(Revision(at)).unwrap().run(&self.store, &self.storage).unwrap();
            assert_eq!(found.at.0, if at == 0 { self.store.revision().0 } else { at });
            assert_eq!(found.revision, self.store.revision());
            (found.hash, found.compacted.0)
        }

        fn refusal(&self, at: i64) -> String {
            self.store.begin_hash(Revision(at)).unwrap_err().to_string()
        }
    }

    /// What etcd 3.7.1 answers at each step, wherever the records are here and whatever of them is freed.
    fn check_against_etcd(mut after_each: impl FnMut(&mut Kv)) {
        let mut kv = Kv::new();
        assert_eq!((kv.hash(0), kv.hash(-1)), ((1_084_519_789, -1), (1_084_519_789, -1)));
        kv.put("a", "1");
        kv.put("b", "2");
        kv.put("a", "3");
        kv.delete("b");
        kv.put("c", "4");
        after_each(&mut kv);
        let hashes: Vec<u32> = (1..=6).map(|at| kv.hash(at).0).collect();
        assert_eq!(hashes, [1_084_519_789, 2_587_454_935, 1_827_592_406, 2_069_675_932, 1_125_682_900, 2_750_537_463]);
        assert!(kv.refusal(7).contains("future revision"));

        kv.store.compact(Revision(5)).unwrap();
        assert_eq!(kv.hash(0), (168_415_639, 5));
        after_each(&mut kv);
        assert_eq!(kv.hash(6), (168_415_639, 5));
        assert!(kv.refusal(4).contains("compacted"));

        kv.put("a", "9");
        kv.delete("c");
        kv.put("e", "1");
        after_each(&mut kv);
        let hashes = [7, 8, 9].map(|at| kv.hash(at));
        assert_eq!(hashes, [(248_874_205, 5), (771_122_557, 5), (2_931_403_547, 5)]);

        kv.store.compact(Revision(8)).unwrap();
        after_each(&mut kv);
        assert_eq!(kv.hash(9), (1_588_389_886, 8));
    }

    #[test]
    fn hashes_are_those_of_etcd_wherever_the_records_are() {
        check_against_etcd(|_| {});
        check_against_etcd(|kv| kv.sweep(usize::MAX));
        check_against_etcd(|kv| kv.sweep(1));
        check_against_etcd(Kv::checkpoint);
        check_against_etcd(|kv| {
            kv.sweep(2);
            kv.checkpoint();
            kv.sweep(1);
        });
    }

    #[test]
    fn nothing_that_a_hash_needs_is_freed_while_it_is_taken() {
        let mut kv = Kv::new();
        for value in 0..5 {
            kv.put("k", &value.to_string());
        }
        kv.store.compact(Revision(3)).unwrap();
        let expected = kv.hash(6);
        let hashing = kv.store.begin_hash(Revision(6)).unwrap();
        kv.store.compact(Revision(6)).unwrap();
        kv.sweep(usize::MAX);
        kv.checkpoint();
        assert!(!kv.store.is_compaction_done());
        let found = hashing.run(&kv.store, &kv.storage).unwrap();
        assert_eq!((found.hash, found.compacted.0), expected);
        kv.sweep(usize::MAX);
        assert!(kv.store.is_compaction_done());
    }

    #[test]
    fn a_long_history_takes_several_chunks() {
        let mut kv = Kv::new();
        for n in 0..2500 {
            kv.put(&format!("k{}", n % 7), &n.to_string());
        }
        let in_memory = kv.hash(0);
        kv.checkpoint();
        for n in 0..10 {
            kv.put("more", &n.to_string());
        }
        assert_eq!(kv.hash(2501), in_memory);
        assert_ne!(kv.hash(0), in_memory);
    }
}
