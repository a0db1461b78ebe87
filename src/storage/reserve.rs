//! Space that is kept for a full disk.
//!
//! To record deletes takes space before it gives any back: redb writes pages anew before it lets go of the old ones. So a
//! file holds blocks that nobody uses. A checkpoint that finds no space removes it and has those; from then on nothing
//! may grow, until the disk has space for the file again.
//!
//! ```text
//! whole ──(a checkpoint finds no space)──> given ──(space for it and a margin)──> whole
//! ```
//!
//! It is only space: nothing is written to it, and a crash that loses it loses nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::{self, Error};
use crate::env::{Disk, SyncSite, lacks_space};

/// What is kept: as much as the changes of a second take that wait for a checkpoint, twice.
const RESERVE_BYTES: u64 = 32 * 1024 * 1024;
/// What must be free beside it before it is taken back: what grows then has space for a while.
const MARGIN_BYTES: u64 = 16 * 1024 * 1024;

/// The file.
#[derive(Debug)]
pub struct Reserve {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    is_whole: AtomicBool,
    is_short: AtomicBool,
}

// Relaxed everywhere: one thread changes the flags, and each orders nothing but itself.
impl Reserve {
    /// The file at `path`; nothing is done yet.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, path: &Path) -> Reserve {
        let path = path.to_path_buf();
        Reserve { disk, path, is_whole: AtomicBool::new(false), is_short: AtomicBool::new(false) }
    }

    /// Whether the space is there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_whole.load(Ordering::Relaxed)
    }

    /// Whether the disk had no space for it: what grows has to wait.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    /// Takes the space if it is not there; that there is none is no error.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn keep(&self) -> Result<(), Error> {
        if self.is_whole() {
            return Ok(());
        }
        // After a shortage first with the margin, to see whether that is there.
        let has_space = (!self.is_short() || self.take(RESERVE_BYTES + MARGIN_BYTES)?) && self.take(RESERVE_BYTES)?;
        self.is_whole.store(has_space, Ordering::Relaxed);
        self.is_short.store(!has_space, Ordering::Relaxed);
        Ok(())
    }

    /// Makes a file of so many bytes; `false` if there is no space for it.
    fn take(&self, bytes: u64) -> Result<bool, Error> {
        let at = |error| error::disk(&self.path, error);
        let allocated = {
            let found = if self.disk.exists(&self.path).map_err(at)? {
                self.disk.open(&self.path)
            } else {
                self.disk.create(&self.path)
            };
            found.and_then(|file| {
                if file.len()? > bytes {
                    file.set_len(bytes)?;
                }
                file.allocate(bytes)
            })
        };
        match allocated {
            Ok(()) => Ok(true),
            Err(source) if lacks_space(&source) => {
                // A part of it may be there, which others need more.
                if self.disk.exists(&self.path).map_err(at)? {
                    self.disk.remove(&self.path).map_err(at)?;
                }
                Ok(false)
            }
            Err(source) => Err(at(source)),
        }
    }

    /// Gives the space back to the disk; `false` if there was none to give.
    ///
    /// # Errors
    /// [`Error::Io`]: stop.
    pub fn give(&self) -> Result<bool, Error> {
        self.is_whole.store(false, Ordering::Relaxed);
        self.is_short.store(true, Ordering::Relaxed);
        let io = |source| Error::Io { file: self.path.clone(), source };
        if !self.disk.exists(&self.path).map_err(io)? {
            return Ok(false);
        }
        self.disk.remove(&self.path).map_err(io)?;
        // Some file systems have the blocks for others only then.
        self.disk.sync_dir(self.path.parent().unwrap_or(Path::new("")), SyncSite::DataFolder).map_err(io)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SimDisk;

    const RESERVE: usize = RESERVE_BYTES as usize;
    const MARGIN: usize = MARGIN_BYTES as usize;

    fn states(reserve: &Reserve) -> (bool, bool) {
        (reserve.is_whole(), reserve.is_short())
    }

    #[test]
    fn it_is_taken_given_and_taken_back_once_there_is_more_than_it_needs() {
        let disk = SimDisk::new();
        let reserve = Reserve::new(Arc::new(disk.clone()), Path::new("reserve"));
        assert_eq!(states(&reserve), (false, false), "nothing is known");
        disk.set_free(RESERVE);
        reserve.keep().unwrap();
        assert_eq!(states(&reserve), (true, false));
        let other = disk.create(Path::new("other")).unwrap();
        assert!(other.allocate(1).is_err());

        assert!(reserve.give().unwrap());
        assert_eq!(states(&reserve), (false, true));
        other.allocate(1).unwrap();
        assert!(!reserve.give().unwrap(), "there is nothing left of it");
        for free in [RESERVE - 1, RESERVE + MARGIN - 1] {
            disk.set_free(free);
            reserve.keep().unwrap();
            assert_eq!(states(&reserve), (false, true), "{free} bytes are free");
            assert_eq!(disk.list(Path::new("")).unwrap(), ["other"], "it takes nothing away meanwhile");
        }
        disk.set_free(RESERVE + MARGIN);
        reserve.keep().unwrap();
        assert_eq!(states(&reserve), (true, false));
    }

    #[test]
    fn on_a_full_disk_it_is_short_from_the_beginning_unless_it_is_there() {
        let disk = SimDisk::new();
        let reserve = || Reserve::new(Arc::new(disk.clone()), Path::new("reserve"));
        disk.set_free(RESERVE - 1);
        let first = reserve();
        first.keep().unwrap();
        assert_eq!(states(&first), (false, true));
        disk.set_free(RESERVE);
        reserve().keep().unwrap();
        let again = reserve();
        again.keep().unwrap();
        assert_eq!(states(&again), (true, false), "it has its space from before");
    }
}
