//! The write-ahead log: what makes a write durable.
//!
//! A log is a folder of segments, each a file that is filled with zeros before it is used, so that appending changes
//! neither its length nor where its blocks are and one `fdatasync` is all it takes. Entries, votes and marks go into one
//! ordered stream; a thread drains the queue of what waits, writes it as one **batch** and syncs once. While it syncs,
//! the next batch builds up by itself: no timer, and the busier the log, the larger its batches.
//!
//! ```text
//! Wal (handles)  --queue-->  Writer (thread)  --write, fdatasync-->  segment
//!      |                          |
//!      +--- entries by index <----+ where they are; who waits is called
//! ```
//!
//! # Torn or damaged
//!
//! After a crash the end of the log may hold half a batch: nobody was told that it is durable, so it is cut off. The same
//! bytes in the middle of the log mean that the disk has lost something that was promised, and then the member must not
//! go on. Each batch says which earlier batch was **proven**, that is synced, when it was written. A bad batch is damage
//! if any later batch proves it, and torn otherwise. A log that idles writes an empty batch that proves the last one,
//! and a log that is closed in order ends with a seal.
//!
//! # What it does not know
//!
//! Raft. Entries are bytes with an index and a term, votes and marks are bytes. It keeps one rule for its caller: an
//! entry follows the one before it.
//!
//! Segments are made ahead and removed by threads of their own, for batches to wait for neither: see `segment` and `removal`.
//!
//! The first error of a write or a sync is the last: nothing is known of the disk then, so everything that waits and all
//! that comes later gets that error. Only a write that finds no space is none: see `room`.

mod entries;
mod error;
mod format;
mod queue;
mod recovery;
mod removal;
mod room;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use self::entries::Entries;
pub use self::error::OpenError;
use self::format::Record;
use self::queue::Queue;
use self::room::Room;
pub use self::room::{Demand, Fit};
pub use self::writer::Writer;
use crate::env::{Disk, Random};
use crate::metrics::WalMetrics;

/// What one append may carry: a batch tells its length in 32 bits.
const APPEND_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// How a log is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its folder, which is made if it is not there.
    pub dir: PathBuf,
    /// The size of a segment in bytes; a larger batch gets a larger one of its own.
    pub segment_bytes: u64,
    /// Bytes of the newest entries that stay in memory.
    pub cache_bytes_max: usize,
    /// What its writes are measured by.
    pub metrics: WalMetrics,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            dir: PathBuf::from("log"),
            segment_bytes: 16 * 1024 * 1024,
            cache_bytes_max: 8 * 1024 * 1024,
            metrics: WalMetrics::default(),
        }
    }
}

/// Called once, on the log's thread, when the operation is durable or can never be.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// One entry of the log. Its bytes mean nothing to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its place; the first is 1.
    pub index: u64,
    /// The term of the leader that wrote it.
    pub term: u64,
    /// The caller's bytes.
    pub payload: Bytes,
}

/// What the log held when it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The last vote.
    pub vote: Option<Bytes>,
    /// The last note of what is committed.
    pub committed: Option<Bytes>,
    /// Entries up to this index were purged; the bytes are the caller's mark for it.
    pub purged: Option<(u64, Bytes)>,
    /// The last entry.
    pub last_index: Option<u64>,
    /// Bytes of a torn batch that were cut off.
    pub torn_bytes: u64,
}

/// A handle on the log; clones share it. No method waits for the disk unless it says so.
///
/// Reading is free for all; appending, truncating and purging are for one caller at a time, as openraft's core is: what
/// can be read and what is queued change one after the other.
#[derive(Debug, Clone)]
pub struct Wal {
    entries: Arc<Entries>,
    queue: Arc<Queue>,
    room: Arc<Room>,
}

impl Wal {
    /// Opens or makes a log. What comes back with the handle is its thread's body, and what it held.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`] if something durable is missing or damaged, [`OpenError::Newer`] if a newer version wrote
    /// it, [`OpenError::Io`] for what the disk says. Nothing was changed then that a crash could not leave.
    pub fn open(
        disk: Arc<dyn Disk>,
        random: Arc<dyn Random>,
        options: Options,
    ) -> Result<(Wal, Writer, Recovered), OpenError> {
        let found = recovery::recover(&*disk, &*random, &options)?;
        let recovered = found.summary();
        let queue = Arc::new(Queue::default());
        let room = Arc::new(Room::new(options.segment_bytes));
        let (writer, entries) = Writer::new(disk, random, options, found, (queue.clone(), room.clone()));
        Ok((Wal { entries, queue, room }, writer, recovered))
    }

    /// Queues entries; they can be read at once, and `done` hears when they are durable. They must follow the last
    /// entry; the first of an empty log may be at any index.
    ///
    /// # Errors
    /// If they do not follow or are too large together, or the log has failed; nothing is taken and `done` is dropped then.
    pub fn append(&self, entries: Vec<LogEntry>, done: Done) -> io::Result<()> {
        self.queue.check()?;
        if entries.iter().map(|entry| entry.payload.len()).sum::<usize>() > APPEND_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many bytes for one batch of the log"));
        }
        self.entries.append(&entries)?;
        self.queue.push(entries.into_iter().map(Record::Entry), Some(done));
        Ok(())
    }

    /// Queues a vote.
    ///
    /// # Errors
    /// If the log has failed; `done` is dropped then.
    pub fn save_vote(&self, vote: Bytes, done: Done) -> io::Result<()> {
        self.queue.check()?;
        self.queue.push([Record::Vote(vote)], Some(done));
        Ok(())
    }

    /// Notes what is committed: written with the next batch, not synced on its own.
    ///
    /// # Errors
    /// If the log has failed.
    pub fn save_committed(&self, committed: Bytes) -> io::Result<()> {
        self.queue.check()?;
        self.queue.note_committed(committed);
        Ok(())
    }

    /// Forgets the entries after `index`; 0 forgets all.
    ///
    /// # Errors
    /// If the log has failed.
    pub fn truncate_after(&self, index: u64) -> io::Result<()> {
        self.queue.check()?;
        self.entries.truncate_after(index);
        self.queue.push([Record::Truncate(index)], None);
        Ok(())
    }

    /// Forgets the entries up to `through`, which a checkpoint must hold; `mark` is handed back by the next opening. Files
    /// go when the mark is durable.
    ///
    /// # Errors
    /// If the log has failed.
    pub fn purge(&self, through: u64, mark: Bytes) -> io::Result<()> {
        self.queue.check()?;
        if through == 0 {
            return Ok(());
        }
        self.entries.purge(through);
        self.queue.push([Record::Purge(through, mark)], None);
        Ok(())
    }

    /// The entries `from..until`, beginning exactly at `from` or none at all; at most about `bytes_max` bytes, but at least
    /// one if `from` is there. Old ones are read from disk.
    ///
    /// # Errors
    /// If the disk fails or an entry is damaged.
    pub fn read(&self, from: u64, until: u64, bytes_max: usize) -> io::Result<Vec<LogEntry>> {
        self.entries.read(from, until, bytes_max)
    }

    /// The first entry's index.
    #[must_use]
    pub fn first_index(&self) -> Option<u64> {
        self.entries.first_index()
    }

    /// The last entry's index and term.
    #[must_use]
    pub fn last(&self) -> Option<(u64, u64)> {
        self.entries.last()
    }

    /// The highest index up to which entries are durable here.
    #[must_use]
    pub fn synced_index(&self) -> u64 {
        self.entries.synced_index()
    }

    /// Waits until entries up to `index` are durable; `false` if the log failed or ended before. Blocks the thread.
    #[must_use]
    pub fn wait_synced(&self, index: u64) -> bool {
        self.entries.wait_synced(index)
    }

    /// Whether [`Wal::wait_synced`] would return at once.
    #[must_use]
    pub fn is_settled(&self, index: u64) -> bool {
        self.entries.is_settled(index)
    }

    /// Bytes that wait to be written.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Whether an append of so many bytes has a place; to be asked before anything is proposed.
    #[must_use]
    pub fn fit(&self, demand: Demand, bytes: usize) -> Fit {
        self.room.fit(demand, self.queue.bytes(), bytes)
    }

    /// Whether the disk had no space when the log wanted some last.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.room.is_short()
    }

    /// Lets what waits for space fail, now and later: for whoever is about to end what needs the log.
    pub fn stop_waiting(&self) {
        self.room.end();
    }

    /// Lets the writer seal the log and end, after what is queued; it waits for no space any more.
    pub fn close(&self) {
        self.queue.close();
        self.room.end();
    }
}
