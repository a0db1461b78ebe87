//! redb's file over our own: what redb reads, writes and syncs goes through [`crate::env`].

use std::io;
use std::sync::Arc;

use redb::StorageBackend;

use super::error;
use super::pace::Pace;
use crate::env::{File, SyncSite};

/// A file as redb wants it. One process at a time opens a data folder, so there are no locks.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) file: Arc<dyn File>,
    pub(super) site: SyncSite,
    pub(super) pace: Arc<Pace>,
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        error::note_read(offset);
        self.file.read_exact_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        // A write that finds the disk full has changed nothing that counts, and the file can be opened again. A sync
        // that fails, for whatever reason, leaves nothing known: it must not look like a full disk.
        self.file.sync_data(self.site).map_err(|error| io::Error::other(format!("sync: {error}")))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.pace.spend(data.len());
        self.file.write_all_at(offset, data)
    }
}
