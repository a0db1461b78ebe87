//! How files go that a purge has freed.
//!
//! A crash must not leave an older one without a later one, so they go oldest first and each removal is synced by itself. On
//! most file systems that is a commit of a journal: longer than a batch, and a purge may free dozens of files. So a thread
//! beside the log's removes them, and rests after each for the sake of those who write.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::room::Room;
use crate::env::{Disk, SyncSite, spawn_background};

/// Time for some batches. No log grows by as many segments in a second as go in one.
const REST: Duration = Duration::from_millis(20);

/// Files that go, oldest first.
#[derive(Debug)]
pub(super) struct Purged {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) files: Vec<PathBuf>,
    /// Hears of the space that was given back, and tells when the log ends.
    pub(super) room: Arc<Room>,
}

impl Purged {
    /// Removes them one after another; what is left when the log ends goes after the next start.
    ///
    /// # Errors
    /// An error means that nothing is known of what is durable.
    pub(super) fn remove(&self, rest: Duration) -> io::Result<()> {
        for file in &self.files {
            self.disk.remove(file)?;
            self.disk.sync_dir(&self.dir, SyncSite::WalFolder)?;
            self.room.freed();
            // Whoever waits for space waits for more than a rest.
            if !self.room.is_short() && self.room.ends_within(rest) {
                break;
            }
        }
        Ok(())
    }
}

/// The removal that is under way, if there is one.
#[derive(Debug, Default)]
pub(super) struct Removal(Option<JoinHandle<io::Result<()>>>);

impl Removal {
    pub(super) fn is_under_way(&self) -> bool {
        self.0.is_some()
    }

    /// Begins one; no other may be under way.
    ///
    /// # Errors
    /// If there is no thread.
    pub(super) fn begin(&mut self, purged: Purged) -> io::Result<()> {
        debug_assert!(!self.is_under_way());
        self.0 = Some(spawn_background("wal-removal", move || purged.remove(REST))?);
        Ok(())
    }

    /// Takes note of its end, if it has come.
    ///
    /// # Errors
    /// Those of the removal.
    pub(super) fn look(&mut self) -> io::Result<()> {
        match self.0.take_if(|removing| removing.is_finished()) {
            Some(removing) => removing.join().map_err(|_| io::Error::other("removing log segments failed badly"))?,
            None => Ok(()),
        }
    }

    /// Waits for its end. Whether it has failed does not matter any more: the next opening finds what is left.
    pub(super) fn end(&mut self) {
        if let Some(removing) = self.0.take() {
            let _ = removing.join();
        }
    }
}
