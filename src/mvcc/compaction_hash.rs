//! What each compaction had found: a hash of everything that it was about to go over.
//!
//! Members compact at the same revisions, so these can be compared long after, however far apart the members are by then.
//! A compaction from P to T hashes the key space as of T over P, before it frees anything:
//!
//! ```text
//!   compact(T)        the sweep of P has ended        begin          finish           the sweep of T ends
//!   ──────────────────────────────────────────────────┼── hashing ───┼── freeing ─────┼── the hash can be asked for
//! ```
//!
//! There is none where the sweep of P had not ended: before a restart, or when the next compaction came too soon. What was
//! hashed then could depend on how far the sweep had come.
//!
//! Source: etcd, `server/storage/mvcc/{kvstore,hash}.go`.

use std::collections::VecDeque;

use super::hash::{Hashing, KvHash, Old};
use super::store::Store;
use crate::model::Revision;

/// How many are remembered. Source: etcd, `hashStorageMaxSize`.
const REMEMBERED_MAX: usize = 10;

/// The hashes of the last compactions of this member; a restart forgets them.
#[derive(Debug, Default)]
pub(super) struct CompactionHashes {
    /// The compacted revision before the present one, if the store has seen that change.
    previous: Option<Revision>,
    /// The last compaction whose hash was begun.
    begun: Option<Revision>,
    /// Taken, by a compaction that has not ended.
    waiting: Option<KvHash>,
    /// Oldest first.
    done: VecDeque<KvHash>,
}

impl CompactionHashes {
    /// The compacted revision changes.
    pub(super) fn compacted(&mut self, previous: Revision) {
        self.previous = Some(previous);
    }

    /// The hash of the compaction of a revision.
    pub(super) fn of(&self, at: Revision) -> Option<KvHash> {
        self.done.iter().find(|known| known.at == at).copied()
    }

    /// Everything up to `floor` was freed.
    pub(super) fn swept(&mut self, floor: Revision) {
        let Some(hash) = self.waiting.take_if(|hash| hash.at <= floor) else { return };
        if self.done.len() == REMEMBERED_MAX {
            self.done.pop_front();
        }
        self.done.push_back(hash);
    }
}

impl Store {
    /// What must be hashed before [`Store::compact_step`] goes on; once for each compaction. Nothing is freed until it was
    /// handed to [`Store::finish_compaction_hash`] or dropped.
    pub fn begin_compaction_hash(&mut self) -> Option<Hashing> {
        let (at, hashes) = (self.compacted, &self.compaction_hashes);
        let previous = hashes.previous.filter(|&previous| self.has_swept(previous))?;
        if hashes.begun == Some(at) {
            return None;
        }
        self.compaction_hashes.begun = Some(at);
        Some(self.hashing((at, previous), Some(Old::Kept)))
    }

    /// Remembers the hash of a compaction, if it is of this store and not of one that was there before it.
    pub fn finish_compaction_hash(&mut self, hashing: Hashing) {
        if self.has_pinned(&hashing.pin) {
            self.compaction_hashes.waiting = Some(hashing.hash());
        }
    }

    /// What the last compactions had found, newest first; at most ten.
    #[must_use]
    pub fn compaction_hashes(&self) -> Vec<KvHash> {
        self.compaction_hashes.done.iter().rev().copied().collect()
    }
}
