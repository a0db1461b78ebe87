//! What watchers are told.

use super::{Record, Revision};

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The pair after a put; only key and `mod_revision` after a delete (a tombstone).
    pub record: Record,
    /// The pair as it was one revision before (not one sub-revision); `None` if the key did not exist then. A put that
    /// makes the key has none even if the same revision deleted one first.
    ///
    /// Source: etcd 3.7, `IsCreateEvent` in server/etcdserver/api/v3rpc/watch.go.
    pub prev: Option<Record>,
}

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The key was written.
    Put,
    /// The key was deleted: by a request, or because its lease ended.
    Delete,
}

impl Event {
    /// The key that changed.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.record.key()
    }

    /// Whether there may have been a pair before that is not here. Nothing was there before a creation.
    pub(crate) fn lacks_prev(&self) -> bool {
        let pair = self.record.pair();
        self.prev.is_none() && pair.create_revision != pair.mod_revision
    }

    /// The revision of the change.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.record.mod_revision()
    }
}
