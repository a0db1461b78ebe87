//! The disk: files that are written, synced and named, and nothing else.

use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

/// What an operator does about a file that does not hold what was written to it; every message about one ends with it.
pub const DAMAGE_REMEDY: &str =
    "do not serve from it: remove the member, delete its data folder and add it anew, or restore a backup";

/// Why a file or folder is synced. Crash tests count each site and crash at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SyncSite {
    /// A batch of log records.
    WalBatch,
    /// A log segment made ready: header and zeros.
    WalSegment,
    /// The log folder, after a segment appeared or went.
    WalFolder,
    /// redb's own syncs of a checkpoint.
    Checkpoint,
    /// A whole-state snapshot, received or made aside.
    Snapshot,
    /// The data folder, after a file appeared, moved or went.
    DataFolder,
}

/// A place for files. Paths are relative to its root, `/`-separated.
///
/// Creating, renaming and removing a file is durable only after [`Disk::sync_dir`] of its folder.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Opens an existing file to read and write.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Makes a new, empty file.
    ///
    /// # Errors
    /// `AlreadyExists` if there is one.
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Names the files of a folder (names, not paths), sorted. A folder that does not exist is an error.
    ///
    /// # Errors
    /// Whatever the system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes a folder and those above it, each synced into its parent.
    ///
    /// # Errors
    /// Whatever the system says.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Tells whether a file or folder is there.
    ///
    /// # Errors
    /// Whatever the system says.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Gives a file another name, replacing a file that has it.
    ///
    /// # Errors
    /// Whatever the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Whatever the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// An error means that nothing is known of what is durable: never retry, stop.
    fn sync_dir(&self, dir: &Path, site: SyncSite) -> io::Result<()>;

    /// Bytes that may still be written; `None` if nobody can tell.
    ///
    /// # Errors
    /// Whatever the system says.
    fn free_bytes(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }
}

/// An open file. All methods may be called from several threads.
pub trait File: fmt::Debug + Send + Sync + 'static {
    /// Its length in bytes.
    ///
    /// # Errors
    /// Whatever the system says.
    fn len(&self) -> io::Result<u64>;

    /// What it takes on the disk, in bytes: less than its length if parts of it were never written.
    ///
    /// # Errors
    /// Whatever the system says.
    fn disk_bytes(&self) -> io::Result<u64> {
        self.len()
    }

    /// Tells whether it has no bytes.
    ///
    /// # Errors
    /// Whatever the system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts or extends (with zeros) the file.
    ///
    /// # Errors
    /// Whatever the system says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Takes space for the first `len` bytes, so that writing them cannot fail for want of it. Contents stay; a file that
    /// is shorter gets longer, with zeros, where the system can do that. What is taken goes back when the file is removed.
    /// A disk that cannot take space ahead, or that never lacks any, does nothing.
    ///
    /// # Errors
    /// One that [`lacks_space`] if there is not as much; then a part of it may be taken.
    fn allocate(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    /// Gives the space of a part of the file back to the disk; that part is zeros then, or as it was. A disk that cannot do
    /// that does nothing.
    ///
    /// # Errors
    /// Whatever the system says.
    fn give_back(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    /// Fills `out` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before.
    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all of `data` at `offset`, extending the file if needed.
    ///
    /// # Errors
    /// Whatever the system says; part of it may be written.
    fn write_all_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Makes contents and length durable (`fdatasync`).
    ///
    /// # Errors
    /// An error means that nothing is known of what is durable: never retry, stop.
    fn sync_data(&self, site: SyncSite) -> io::Result<()>;

    /// Tells the system that what was written so far will not be read soon (`posix_fadvise` DONTNEED); a hint.
    fn forget_cached(&self) {}
}

/// Whether an error says that a disk, or the owner's share of it, is full.
#[must_use]
pub fn lacks_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The path without `.` parts: how simulated disks know files apart.
pub(super) fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, Component::CurDir)).collect()
}
