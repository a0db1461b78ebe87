//! The state as apply and readers share it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::RwLock;

use super::Machine;
use crate::model::{Range, RangeReply};
use crate::mvcc::{self, ReadError, Source, Store};
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
        loop {
            let storage = self.storage.load_full();
            let reply = mvcc::range(self, &storage, query);
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
}
