//! The state as apply and readers share it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::RwLock;

use super::Machine;
use crate::model::{Range, RangeReply, Record, Revision};
use crate::mvcc::{
    self, HashStart, KvHash, LongRange, PairBytes, PartLimits, RangeAnswer, RangePart, RangePlace, ReadError, Source,
    Store, UnsortedRange,
};
use crate::storage::Storage;

/// The state of one member.
#[derive(Debug)]
pub struct Shared {
    /// Written by apply (and, in short steps, by compaction and the checkpointer); readers take it for a chunk at most.
    pub machine: RwLock<Machine>,
    /// Where older records are. Swapped whole, under the machine's lock, when a snapshot is installed.
    pub storage: ArcSwap<Storage>,
}

impl Shared {
    /// Answers a range, whatever is installed meanwhile.
    ///
    /// # Errors
    /// As [`mvcc::range`].
    pub fn range(&self, query: &Range) -> Result<RangeReply, ReadError> {
        self.read_whole(|storage| mvcc::range(self, storage, query))
    }

    /// Answers a range, a long one in windows, whatever is installed meanwhile.
    ///
    /// # Errors
    /// As [`mvcc::bounded_range`].
    pub fn bounded_range(&self, query: &Range, pair_bytes: PairBytes) -> Result<RangeAnswer, ReadError> {
        self.read_whole(|storage| mvcc::bounded_range(self, storage, query, pair_bytes))
    }

    /// Reads the next window of a range.
    ///
    /// # Errors
    /// As [`LongRange::read`].
    pub fn next_window(&self, range: &mut LongRange) -> Result<Vec<Record>, ReadError> {
        let window = self.read_whole(|storage| range.read(self, storage))?;
        Ok(range.pass(window))
    }

    /// Reads a range that is to be sorted.
    ///
    /// # Errors
    /// As [`UnsortedRange::read`].
    pub fn sorted_range(&self, range: &UnsortedRange) -> Result<RangeReply, ReadError> {
        self.read_whole(|storage| range.read(self, storage))
    }

    /// Reads a part of a range, whatever is installed meanwhile.
    ///
    /// # Errors
    /// As [`mvcc::range_part`].
    pub fn range_part(&self, query: &Range, place: &RangePlace, limits: PartLimits) -> Result<RangePart, ReadError> {
        self.read_whole(|storage| mvcc::range_part(self, storage, query, place, limits))
    }

    /// Hashes the key space as of `at`; zero is the newest revision.
    ///
    /// # Errors
    /// As [`Store::begin_hash`]; [`ReadError::Storage`].
    pub fn hash_kv(&self, at: Revision) -> Result<KvHash, ReadError> {
        self.read_whole(|storage| {
            let start = self.machine.read().kv.begin_hash(at)?;
            match start {
                HashStart::Known(hash) => Ok(hash),
                HashStart::Take(hashing) => hashing.run(self, storage),
            }
        })
    }

    /// Hashes the whole state: equal on members that are at the same entry. Gives the store's revision with it.
    ///
    /// # Errors
    /// [`ReadError::Storage`].
    pub fn hash(&self) -> Result<(u32, Revision), ReadError> {
        self.read_whole(|storage| {
            let (rest, hashing) = {
                let machine = self.machine.read();
                (machine.hash_beside_kv(), machine.kv.begin_fresh_hash(Revision(0))?)
            };
            let kv = hashing.run(self, storage)?;
            Ok((crc32c::crc32c_append(rest, &kv.hash.to_le_bytes()), kv.revision))
        })
    }

    /// Hashes what a compaction is about to free, if there is one whose hash is wanted. Between steps `goes_on` hears how many
    /// bytes were read, and may end it; then there is no hash.
    ///
    /// # Errors
    /// [`ReadError::Storage`].
    pub fn hash_compaction(&self, goes_on: &mut dyn FnMut(usize) -> bool) -> Result<(), ReadError> {
        let (hashing, storage) = {
            let mut machine = self.machine.write();
            (machine.kv.begin_compaction_hash(), self.storage.load_full())
        };
        let Some(mut hashing) = hashing else { return Ok(()) };
        loop {
            let step = hashing.step(self, &storage);
            // What was found in two states means nothing.
            if !Arc::ptr_eq(&storage, &self.storage.load()) {
                return Ok(());
            }
            match step? {
                Some(bytes) if goes_on(bytes) => {}
                Some(_) => return Ok(()),
                None => break,
            }
        }
        self.machine.write().kv.finish_compaction_hash(hashing);
        Ok(())
    }

    /// What the last compactions had found, newest first.
    #[must_use]
    pub fn compaction_hashes(&self) -> Vec<KvHash> {
        self.machine.read().kv.compaction_hashes()
    }

    /// Reads what takes several looks from one state.
    fn read_whole<T>(&self, read: impl Fn(&Storage) -> Result<T, ReadError>) -> Result<T, ReadError> {
        loop {
            let storage = self.storage.load_full();
            let reply = read(&storage);
            // A snapshot that was installed in between has mixed two states, or hidden records: read anew.
            if Arc::ptr_eq(&storage, &self.storage.load()) {
                return reply;
            }
        }
    }
}

impl Source for Shared {
    fn with<R>(&self, look: impl FnOnce(&Store) -> R) -> R {
        look(&self.machine.read().kv)
    }

    fn was_read(&self, records: &[Record]) {
        // Not worth waiting for.
        if let Some(mut machine) = self.machine.try_write() {
            machine.kv.readmit(records);
        }
    }
}
