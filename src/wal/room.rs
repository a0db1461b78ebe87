//! How much the log can still take.
//!
//! Batches go only where there are blocks already: into the rest of the last segment, and into the spare that is made
//! ahead. A part of that is a **reserve**. Writes that make the data grow leave it alone, so that on a full disk those go
//! on that make room again (deletes, compactions, ends of leases), and a last part is for Raft's own votes and entries:
//!
//! ```text
//! last segment |#########..........| spare |....................|
//!                         <- a quarter of a segment is not for writes that grow,
//!                            and of that an eighth only for Raft
//! ```
//!
//! Whoever proposes asks first ([`super::Wal::fit`]): openraft takes an error of the log for its end. So the log does
//! not fail for want of space either. A spare that cannot be made is tried again until there is space; a log that has
//! used up everything waits for it, and acknowledges nothing meanwhile.
//!
//! All this holds for file systems that write in place. On one that copies on write a batch may find no space within a
//! segment; then the log waits as well.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::format::HEADER_BYTES;
use super::segment::Segment;
use crate::env::lacks_space;

/// The part of a segment that is kept from writes that grow: 4 MiB of 16, some 20,000 deletes of a key each.
const GROWING_KEEPS: u64 = 4;
/// The part that is kept for Raft's own: 512 KiB of 16 MiB, some hundred elections.
const FREEING_KEEPS: u64 = 32;
/// How long a disk without space is left alone.
const PAUSE: Duration = Duration::from_millis(500);

/// What a write does to the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// It adds to it.
    Growing,
    /// It takes away from it, or is needed to keep things going.
    Freeing,
}

/// Whether something can be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It has its place.
    Now,
    /// It has to wait for what is before it, or for a segment that is being made.
    Soon,
    /// There is no space for it on the disk.
    Full,
}

/// What the writer, the thread that makes its spare, and those who ask share.
#[derive(Debug)]
pub(super) struct Room {
    segment_bytes: u64,
    /// Bytes left in the last segment.
    rest: AtomicU64,
    /// Bytes of the spare, if it is ready.
    spare: AtomicU64,
    /// Segments are made ahead: what was found here is all there is until the next is made.
    is_bounded: AtomicBool,
    /// The disk had no space for the spare when it was tried last.
    lacks_spare: AtomicBool,
    /// The disk has no space for a batch, which waits.
    lacks_blocks: AtomicBool,
    /// The log ends: nobody waits for space any more.
    is_ending: Mutex<bool>,
    changed: Condvar,
}

// All atomics here are relaxed: each is true by itself, and a figure that is a moment old does no harm.
impl Room {
    pub(super) fn new(segment_bytes: u64) -> Room {
        Room {
            segment_bytes,
            rest: AtomicU64::new(0),
            spare: AtomicU64::new(0),
            is_bounded: AtomicBool::new(false),
            lacks_spare: AtomicBool::new(false),
            lacks_blocks: AtomicBool::new(false),
            is_ending: Mutex::new(false),
            changed: Condvar::new(),
        }
    }

    /// Whether `bytes` can be appended behind `queued` ones.
    pub(super) fn fit(&self, demand: Demand, queued: usize, bytes: usize) -> Fit {
        // Not both: a batch that does not fit into the rest leaves it empty.
        let free = self.rest.load(Ordering::Relaxed).max(self.spare.load(Ordering::Relaxed));
        let kept = self.segment_bytes
            / match demand {
                Demand::Growing => GROWING_KEEPS,
                Demand::Freeing => FREEING_KEEPS,
            };
        if free >= kept + (queued + bytes) as u64 {
            Fit::Now
        } else if self.is_short() {
            Fit::Full
        } else if self.is_bounded.load(Ordering::Relaxed) && queued > 0 {
            Fit::Soon
        } else {
            // Also what is larger than all that is ever made ahead.
            Fit::Now
        }
    }

    pub(super) fn is_short(&self) -> bool {
        self.lacks_spare.load(Ordering::Relaxed) || self.lacks_blocks.load(Ordering::Relaxed)
    }

    pub(super) fn set_bounded(&self) {
        self.is_bounded.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_rest(&self, bytes: u64) {
        self.rest.store(bytes, Ordering::Relaxed);
    }

    /// A spare is ready, or with 0 was taken.
    pub(super) fn set_spare(&self, bytes: u64) {
        self.spare.store(bytes, Ordering::Relaxed);
    }

    /// Makes the spare, as often as it takes.
    ///
    /// # Errors
    /// Those of `create`; that there is no space only if the log ends.
    pub(super) fn make(&self, create: impl Fn() -> io::Result<Segment>) -> io::Result<Segment> {
        let segment = self.retry(&self.lacks_spare, create)?;
        self.set_spare(segment.len - HEADER_BYTES);
        Ok(segment)
    }

    /// Writes a batch, as often as it takes: nothing of it counts before it is synced.
    ///
    /// # Errors
    /// Those of `write`; that there is no space only if the log ends.
    pub(super) fn write(&self, write: impl Fn() -> io::Result<()>) -> io::Result<()> {
        self.retry(&self.lacks_blocks, write)
    }

    fn retry<T>(&self, lacks: &AtomicBool, attempt: impl Fn() -> io::Result<T>) -> io::Result<T> {
        loop {
            let result = attempt();
            let is_short = result.as_ref().is_err_and(lacks_space);
            lacks.store(is_short, Ordering::Relaxed);
            if !is_short || self.ends_within(PAUSE) {
                return result;
            }
        }
    }

    /// Space was given back: whoever waits for some tries at once.
    pub(super) fn freed(&self) {
        self.changed.notify_all();
    }

    pub(super) fn end(&self) {
        *self.is_ending.lock() = true;
        self.changed.notify_all();
    }

    /// Waits until the log ends, space is given back, or for so long; tells whether it ends.
    pub(super) fn ends_within(&self, pause: Duration) -> bool {
        let mut is_ending = self.is_ending.lock();
        if !*is_ending {
            self.changed.wait_for(&mut is_ending, pause);
        }
        *is_ending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_leaves_a_reserve_to_what_frees_and_both_one_to_raft() {
        let room = Room::new(3200);
        room.set_bounded();
        room.set_rest(1000);
        let full = |demand, bytes| room.fit(demand, 100, bytes);
        assert_eq!((full(Demand::Growing, 100), full(Demand::Growing, 101)), (Fit::Now, Fit::Soon));
        assert_eq!((full(Demand::Freeing, 800), full(Demand::Freeing, 801)), (Fit::Now, Fit::Soon));
        assert_eq!(room.fit(Demand::Growing, 0, 5000), Fit::Now, "it is larger than what is made ahead");
        room.lacks_spare.store(true, Ordering::Relaxed);
        assert_eq!((full(Demand::Growing, 100), full(Demand::Growing, 101)), (Fit::Now, Fit::Full));
        assert_eq!((full(Demand::Freeing, 800), full(Demand::Freeing, 801)), (Fit::Now, Fit::Full));
        assert_eq!(room.fit(Demand::Growing, 0, 5000), Fit::Full);
        room.set_spare(3000);
        assert_eq!((full(Demand::Growing, 2100), full(Demand::Growing, 2101)), (Fit::Now, Fit::Full));
    }
}
