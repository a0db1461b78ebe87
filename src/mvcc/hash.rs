//! The hash of the key space at a revision: equal on all members that agree about it.
//!
//! It goes over the changes up to the revision in their order, and leaves out what a compaction of that revision would
//! not keep, whether this member has freed it already or not: so it does not depend on how far physical compaction is,
//! only on the revision and on the compacted one. What each compaction had found is remembered for a while, and is the
//! answer for its revision ([`super::compaction_hash`]). The bytes are etcd's, so that the same history has the same hash
//! there:
//!
//! ```text
//! CRC32C over "key", then for each change: its place, its record
//! place    revision (8 bytes, big-endian), '_', sub-revision (8 bytes, big-endian), 't' if it is a tombstone
//! record   the encoded pair; of a tombstone only its key
//! ```
//!
//! Source: etcd, `server/storage/mvcc/hash.go`.

use std::ops::Bound;

use super::changes::{Limits, history};
use super::pins::Pin;
use super::store::{ReadError, Source, Store};
use crate::model::{Record, RecordKey, Revision, SubRevision};
use crate::storage::Storage;

/// What one look takes at most: bounds memory, and how long apply waits for it.
const CHUNK: Limits = Limits { revisions: 1000, bytes: 256 * 1024 };
/// Keys that one look visits.
const LOOKED_UP_MAX: usize = 1000;
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

/// A hash that is being taken: nothing that it needs is freed meanwhile.
#[derive(Debug)]
pub struct Hashing {
    at: Revision,
    compacted: Revision,
    revision: Revision,
    /// Which of the changes that are compacted count; as yet unknown perhaps.
    old: Option<Old>,
    /// What is next.
    from: Revision,
    hash: u32,
    pub(super) pin: Pin,
}

/// Where to begin.
#[derive(Debug)]
pub enum HashStart {
    /// It is known.
    Known(KvHash),
    /// It is to be taken.
    Take(Hashing),
}

/// Which of the changes count that are compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Old {
    /// Those that a key has at the revision of the hash.
    Live,
    /// No key has one: what the compaction left. etcd means to leave out what goes, and has nothing to tell it by.
    Left,
    /// Those that a compaction of the hash's revision leaves, tombstones too.
    Kept,
}

impl Store {
    /// Begins to hash the key space as of `at`; zero is the newest revision, and below zero there is nothing. Of the last
    /// compactions the hash is known, also below the compacted revision.
    ///
    /// # Errors
    /// [`ReadError::Compacted`], [`ReadError::Future`].
    pub fn begin_hash(&self, at: Revision) -> Result<HashStart, ReadError> {
        if let Some(known) = self.compaction_hashes.of(at) {
            return Ok(HashStart::Known(KvHash { revision: self.revision(), ..known }));
        }
        self.begin_fresh_hash(at).map(HashStart::Take)
    }

    /// The same, whatever is known.
    ///
    /// # Errors
    /// [`ReadError::Compacted`], [`ReadError::Future`].
    pub fn begin_fresh_hash(&self, at: Revision) -> Result<Hashing, ReadError> {
        let at = if at == Revision(0) { self.revision() } else { at };
        if at.0 > 0 {
            self.check_readable(at)?;
        }
        Ok(self.hashing((at, self.compacted()), None))
    }

    pub(super) fn hashing(&self, (at, compacted): (Revision, Revision), old: Option<Old>) -> Hashing {
        // Held at the compacted revision, not at `at`: the changes in between count too.
        let pin = self.pin(compacted);
        Hashing {
            at,
            compacted,
            revision: self.revision(),
            old,
            from: Revision::FRESH,
            hash: crc32c::crc32c(SEED),
            pin,
        }
    }

    /// Whether a key has the change at `place` at a revision.
    fn has_live(&self, key: &[u8], place: SubRevision, at: Revision) -> bool {
        self.index.get(key).and_then(|history| history.live_at(at)).is_some_and(|change| change.at() == place)
    }

    /// Looks for a key that lives at a revision, among so many behind `after`: whether there is one, and the last that was
    /// looked at if there are more.
    fn find_live(&self, at: Revision, after: Option<&[u8]>, keys_max: usize) -> (bool, Option<Box<[u8]>>) {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut looked_at = None::<&Box<[u8]>>;
        for (n, (key, history)) in self.index.range::<[u8], _>((start, Bound::Unbounded)).enumerate() {
            if n == keys_max {
                return (false, looked_at.cloned());
            }
            if history.live_at(at).is_some() {
                return (true, None);
            }
            looked_at = Some(key);
        }
        (false, None)
    }
}

impl Hashing {
    /// Takes the hash.
    ///
    /// # Errors
    /// As [`Hashing::step`].
    pub fn run(mut self, source: &impl Source, storage: &Storage) -> Result<KvHash, ReadError> {
        while self.step(source, storage)?.is_some() {}
        Ok(self.hash())
    }

    /// Takes in what is next, and tells how many bytes that was; `None` if there was no more.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the history could not be read.
    pub fn step(&mut self, source: &impl Source, storage: &Storage) -> Result<Option<usize>, ReadError> {
        let old = *self.old.get_or_insert_with(|| old(source, self.at));
        if self.from > self.at {
            return Ok(None);
        }
        let changes = history(source, storage, self.from, self.at, CHUNK, |_| Ok(()))?;
        let Some((last, _)) = changes.last() else { return Ok(None) };
        self.from = last.main.next();
        let counts = source.with(|store| {
            let counts = |(place, record): &(SubRevision, Record)| {
                place.main > self.compacted || self.counts(store, old, *place, record)
            };
            changes.iter().map(counts).collect::<Vec<_>>()
        });
        let mut bytes = 0;
        for ((place, record), counts) in changes.iter().zip(counts) {
            bytes += record.as_bytes().len();
            if counts {
                self.hash = take_in(self.hash, *place, record);
            }
        }
        Ok(Some(bytes))
    }

    /// What was taken in until now.
    #[must_use]
    pub fn hash(&self) -> KvHash {
        KvHash { hash: self.hash, at: self.at, compacted: self.compacted, revision: self.revision }
    }

    /// Whether a change counts that is not above the compacted revision.
    fn counts(&self, store: &Store, old: Old, place: SubRevision, record: &Record) -> bool {
        // Some versions of etcd free it with the compaction, others leave it.
        let is_left_out = place.main == self.compacted && record.is_tombstone();
        !is_left_out
            && match old {
                Old::Live => store.has_live(record.key(), place, self.at),
                Old::Left => store.leaves(record.key(), place, self.compacted),
                Old::Kept => store.leaves(record.key(), place, self.at),
            }
    }
}

/// Which of the compacted changes count in a hash that is not that of a compaction.
fn old(source: &impl Source, at: Revision) -> Old {
    let mut after = None;
    loop {
        let (is_found, last) = source.with(|store| store.find_live(at, after.as_deref(), LOOKED_UP_MAX));
        match last {
            _ if is_found => return Old::Live,
            None => return Old::Left,
            last => after = last,
        }
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
