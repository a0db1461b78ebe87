//! redb's file over our own: what redb reads, writes and syncs goes through [`crate::env`].

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
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
    pub(super) unsynced: Arc<Unsynced>,
}

impl Backend {
    /// A file that is only read.
    pub(super) fn new(file: Arc<dyn File>, site: SyncSite) -> Backend {
        Backend { file, site, pace: Arc::default(), unsynced: Arc::default() }
    }
}

/// What was written since the last sync, as ranges of bytes.
///
/// A transaction that finds no space leaves what it has written behind, in pages that no commit knows: space that is lost to
/// the next one, which may use others. A power cut could lose all of it, so it can be given back.
#[derive(Debug, Default)]
pub(super) struct Unsynced(Mutex<Vec<(u64, u64)>>);

/// The head of a file, which is written in place.
const HEAD_BYTES: u64 = 4096;

impl Unsynced {
    fn wrote(&self, offset: u64, len: u64) {
        let mut ranges = self.0.lock();
        match ranges.last_mut() {
            Some((_, end)) if *end == offset => *end += len,
            _ if offset >= HEAD_BYTES => ranges.push((offset, offset + len)),
            _ => {}
        }
    }

    fn synced(&self) {
        self.0.lock().clear();
    }

    /// Gives the space back.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn give_back(&self, file: &dyn File) -> io::Result<()> {
        let ranges = std::mem::take(&mut *self.0.lock());
        ranges.into_iter().try_for_each(|(offset, end)| file.give_back(offset, end - offset))
    }
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
        self.file.sync_data(self.site).map_err(|error| io::Error::other(format!("sync: {error}")))?;
        self.unsynced.synced();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.pace.spend(data.len());
        self.unsynced.wrote(offset, data.len() as u64);
        self.file.write_all_at(offset, data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes what is given back of it.
    #[derive(Debug, Default)]
    struct Given(Mutex<Vec<(u64, u64)>>);

    impl File for Given {
        fn len(&self) -> io::Result<u64> {
            Ok(0)
        }

        fn set_len(&self, _len: u64) -> io::Result<()> {
            Ok(())
        }

        fn read_exact_at(&self, _offset: u64, _out: &mut [u8]) -> io::Result<()> {
            Ok(())
        }

        fn write_all_at(&self, offset: u64, _data: &[u8]) -> io::Result<()> {
            if offset >= 50_000 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }

        fn sync_data(&self, _site: SyncSite) -> io::Result<()> {
            Ok(())
        }

        fn give_back(&self, offset: u64, len: u64) -> io::Result<()> {
            self.0.lock().push((offset, len));
            Ok(())
        }
    }

    #[test]
    fn what_was_written_since_the_last_sync_can_be_given_back_but_for_the_head() {
        let (file, unsynced) = (Arc::new(Given::default()), Arc::new(Unsynced::default()));
        let (pace, site) = (Arc::default(), SyncSite::Checkpoint);
        let backend = Backend { file: file.clone(), site, pace, unsynced: unsynced.clone() };
        backend.write(8192, &[0; 4096]).unwrap();
        backend.sync_data().unwrap();
        backend.write(0, &[0; 320]).unwrap();
        backend.write(20_480, &[0; 4096]).unwrap();
        backend.write(24_576, &[0; 4096]).unwrap();
        backend.write(12_288, &[0; 4096]).unwrap();
        // A part of it may be there.
        backend.write(53_248, &[0; 4096]).unwrap_err();
        unsynced.give_back(&*file).unwrap();
        assert_eq!(*file.0.lock(), [(20_480, 8192), (12_288, 4096), (53_248, 4096)]);
        unsynced.give_back(&*file).unwrap();
        assert_eq!(file.0.lock().len(), 3, "only once");
    }
}
