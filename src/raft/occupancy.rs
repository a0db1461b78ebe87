//! How large the data is, as an operator counts it: what `Status` shows, and what the quota is compared with.
//!
//! The length of redb's file says little of that: it grows by doubling and is written late. So what the records need is
//! counted, in the moment in which they are applied:
//!
//! ```text
//! put      in use + its entry
//! removal  in use - its entry, once it is out of the tables
//! size     the most that was ever in use since the file was last written anew: what is free is used again
//! ```
//!
//! A restart forgets what was free.

use std::sync::atomic::{AtomicU64, Ordering};

/// What data takes that has no key yet, in bytes: as etcd's, so that quotas of a few pages mean the same.
const EMPTY_BYTES: u64 = 20 << 10;

/// How large the data is.
#[derive(Debug, Default)]
pub struct Occupancy {
    records: AtomicU64,
    most: AtomicU64,
}

// Relaxed everywhere: the values order nothing but themselves.
impl Occupancy {
    pub(super) fn new(records: u64) -> Occupancy {
        Occupancy { records: records.into(), most: records.into() }
    }

    /// Begins at other data.
    pub(super) fn replace(&self, records: u64) {
        self.records.store(records, Ordering::Relaxed);
        self.most.store(records, Ordering::Relaxed);
    }

    /// Records were added that take so many bytes, or removed.
    pub(super) fn change(&self, bytes: i64) {
        let before = self.records.fetch_add(bytes.cast_unsigned(), Ordering::Relaxed);
        self.most.fetch_max(before.wrapping_add(bytes.cast_unsigned()), Ordering::Relaxed);
    }

    /// The file was written anew: nothing in it is free.
    pub(super) fn shrink(&self) {
        self.most.store(self.records.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// What the data needs, in bytes.
    #[must_use]
    pub fn in_use(&self) -> u64 {
        EMPTY_BYTES + self.records.load(Ordering::Relaxed)
    }

    /// What it takes, with what is free to be used again, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        EMPTY_BYTES + self.most.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_is_used_again_and_given_back_when_the_file_is_written_anew() {
        let occupancy = Occupancy::new(100);
        occupancy.change(50);
        occupancy.change(-80);
        assert_eq!((occupancy.in_use(), occupancy.size()), (EMPTY_BYTES + 70, EMPTY_BYTES + 150));
        occupancy.change(60);
        assert_eq!(occupancy.size(), EMPTY_BYTES + 150);
        occupancy.change(30);
        assert_eq!(occupancy.size(), EMPTY_BYTES + 160);
        occupancy.change(-60);
        occupancy.shrink();
        assert_eq!((occupancy.in_use(), occupancy.size()), (EMPTY_BYTES + 100, EMPTY_BYTES + 100));
        occupancy.replace(7);
        assert_eq!(occupancy.size(), EMPTY_BYTES + 7);
    }
}
