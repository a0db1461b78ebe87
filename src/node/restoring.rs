//! A new data folder that is made of the rows of a snapshot.
//!
//! The checkpoint holds the state as of one entry that stands before any log, and the log is empty: as if it had been received
//! from a member that had purged its log that far. So whoever joins the cluster later gets the state as well, and not only
//! the log. The entry is of a term that no founder of an empty cluster knows, so that a member that was started without
//! what was restored is not taken for one that has it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::open::STATE_FILE;
use super::options::Founding;
use crate::env::{Disk, SyncSite};
use crate::model::{LogId, Member, Revision};
use crate::raft;
use crate::storage::{Error, Identity, Meta, Storage, TableWrite};

/// The entry that the state is as of.
const RESTORED_AT: LogId = LogId { term: 1, index: 1 };
/// What one transaction writes, more or less.
const BATCH_BYTES: usize = 8 << 20;
/// What a row counts beside its record.
const ROW_BYTES: usize = 64;
/// redb's cache; appending needs little.
const CACHE_BYTES: usize = 32 << 20;

/// What a restored cluster begins with, beside its rows.
#[derive(Debug, Clone)]
pub struct Restored {
    /// The new cluster, and the member of it whose folder this is.
    pub identity: Identity,
    /// All members of it.
    pub members: Vec<Member>,
    /// The store's revision.
    pub revision: Revision,
    /// The compacted revision.
    pub compacted: Revision,
    /// Where the chain of effects begins: the same for members that were restored from the same snapshot, and only for those.
    pub chain: u64,
}

/// A folder that is being made.
#[derive(Debug)]
pub struct Restoring {
    storage: Storage,
    disk: Arc<dyn Disk>,
    restored: Restored,
    meta: Meta,
    writes: Vec<TableWrite>,
    bytes: usize,
}

impl Restoring {
    /// Begins in an empty folder.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Io`].
    pub fn begin(disk: Arc<dyn Disk>, restored: Restored) -> Result<Restoring, Error> {
        let storage = Storage::open(disk.clone(), Path::new(STATE_FILE), CACHE_BYTES)?;
        let voters: BTreeSet<_> = restored.members.iter().map(|member| member.id).collect();
        let meta = Meta {
            applied: RESTORED_AT,
            membership: raft::membership_of(&voters, RESTORED_AT),
            revision: restored.revision,
            compacted: restored.compacted,
            chain: restored.chain,
        };
        let writes = restored.members.iter().cloned().map(TableWrite::Member).collect();
        Ok(Restoring { storage, disk, restored, meta, writes, bytes: 0 })
    }

    /// Adds a row; records in their order.
    ///
    /// # Errors
    /// As [`Restoring::begin`].
    pub fn put(&mut self, write: TableWrite) -> Result<(), Error> {
        self.bytes += ROW_BYTES
            + match &write {
                TableWrite::Record { record, .. } => record.as_bytes().len(),
                _ => 0,
            };
        self.writes.push(write);
        if self.bytes >= BATCH_BYTES { self.commit() } else { Ok(()) }
    }

    /// Makes the folder one that a member starts from, durably.
    ///
    /// # Errors
    /// As [`Restoring::begin`].
    pub fn finish(mut self) -> Result<(), Error> {
        self.commit()?;
        let Restored { identity, members, .. } = &self.restored;
        self.storage.claim_received(*identity, &Founding::New(members.clone()))?;
        self.storage.close();
        let synced = self.disk.sync_dir(Path::new("."), SyncSite::DataFolder);
        synced.map_err(|source| Error::Io { file: STATE_FILE.into(), source })
    }

    fn commit(&mut self) -> Result<(), Error> {
        self.storage.commit(&self.writes, &self.meta)?;
        self.writes.clear();
        self.bytes = 0;
        Ok(())
    }
}
