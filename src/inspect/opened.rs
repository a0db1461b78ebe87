//! Log and checkpoint of a stopped member, opened as the member opens them.

use std::path::Path;
use std::sync::Arc;

use super::error::Error;
use super::folder::StoppedFolder;
use crate::env::{Disk, SystemRandom};
use crate::node::STATE_FILE;
use crate::raft::{LogMarks, read_marks};
use crate::storage::Storage;
use crate::wal::{self, LogEntry, Recovered, Wal};

/// redb's cache: pages are mostly read once.
pub(super) const CACHE_BYTES: usize = 64 << 20;
/// So many bytes of entries are in memory at a time.
const READ_BYTES: usize = 4 << 20;

/// A log that was opened.
#[derive(Debug)]
pub(super) struct OpenedLog {
    pub(super) wal: Wal,
    pub(super) recovered: Recovered,
    pub(super) marks: LogMarks,
    /// Files that hold batches, or may.
    pub(super) segments: usize,
}

impl OpenedLog {
    pub(super) fn open(folder: &StoppedFolder) -> Result<OpenedLog, Error> {
        let in_log = |source| Error::Log { path: folder.log_root.clone(), source };
        let segments = match folder.log_disk.list(&folder.log_dir) {
            Ok(names) => names.iter().filter(|name| name.ends_with(".wal")).count(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
            Err(error) => return Err(in_log(error)),
        };
        let options =
            wal::Options { dir: folder.log_dir.clone(), cache_bytes_max: READ_BYTES, ..wal::Options::default() };
        // Without its writer nothing is added to it.
        let (wal, _, recovered) = Wal::open(Arc::new(folder.log_disk.clone()), Arc::new(SystemRandom), options)?;
        let marks = read_marks(&recovered).map_err(in_log)?;
        Ok(OpenedLog { wal, recovered, marks, segments })
    }

    /// The last entry, or the last that was purged.
    pub(super) fn last_index(&self) -> u64 {
        self.recovered.last_index.unwrap_or_else(|| self.purged())
    }

    pub(super) fn purged(&self) -> u64 {
        self.recovered.purged.as_ref().map_or(0, |(index, _)| *index)
    }

    /// Gives each entry of `from..=through`, a piece of the log in memory at a time.
    pub(super) fn each(
        &self,
        from: u64,
        through: u64,
        each: &mut dyn FnMut(LogEntry) -> Result<(), Error>,
        in_log: impl Fn(std::io::Error) -> Error,
    ) -> Result<(), Error> {
        let mut next = from.max(self.wal.first_index().unwrap_or(u64::MAX));
        let end = through.min(self.last_index());
        while next <= end {
            let entries = self.wal.read(next, end + 1, READ_BYTES).map_err(&in_log)?;
            let Some(last) = entries.last() else { break };
            next = last.index + 1;
            entries.into_iter().try_for_each(&mut *each)?;
        }
        Ok(())
    }
}

/// Opens the checkpoint and verifies every page of it.
pub(super) fn open_state(folder: &StoppedFolder) -> Result<Storage, Error> {
    Ok(Storage::open(Arc::new(folder.disk.clone()), Path::new(STATE_FILE), CACHE_BYTES)?)
}
