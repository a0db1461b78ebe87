//! How a commit shares the machine with those who wait for answers.
//!
//! Thousands of entries keep a core busy for milliseconds. A put that is on its way meanwhile passes through several threads,
//! and where cores are few each of them may wait for that core. So a commit that has time works in short bursts, by bytes
//! of entries and then of pages, and rests after each.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// 0.1 to 0.4 ms of work at a time, as `perf sched` showed it with records of 300 bytes.
const BURST_BYTES: usize = 64 << 10;
/// Long enough for a put to be answered.
const REST: Duration = Duration::from_millis(1);

/// The pace of the commit that runs: without rests unless it is told otherwise.
#[derive(Debug, Default)]
pub(super) struct Pace {
    is_gentle: AtomicBool,
    /// Bytes since the last rest.
    spent: AtomicUsize,
}

/// While it lives the pace is gentle, if nobody hurries it.
pub(super) struct Gently<'a>(&'a Pace);

// Relaxed everywhere: the values order nothing but themselves.
impl Pace {
    pub(super) fn gently(&self) -> Gently<'_> {
        self.is_gentle.store(true, Ordering::Relaxed);
        Gently(self)
    }

    /// A pace that is gentle until somebody hurries it.
    pub(super) fn gentle() -> Pace {
        Pace { is_gentle: AtomicBool::new(true), spent: AtomicUsize::new(0) }
    }

    pub(super) fn hurry(&self) {
        self.is_gentle.store(false, Ordering::Relaxed);
    }

    /// Notes work on so many bytes, and rests if it was enough for now.
    pub(super) fn spend(&self, bytes: usize) {
        if !self.is_gentle.load(Ordering::Relaxed) {
            return;
        }
        // One commit runs at a time, so nothing is added in between.
        if self.spent.fetch_add(bytes, Ordering::Relaxed) + bytes >= BURST_BYTES {
            self.spent.store(0, Ordering::Relaxed);
            thread::sleep(REST);
        }
    }
}

impl Drop for Gently<'_> {
    fn drop(&mut self) {
        self.0.hurry();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Pace {
        fn rests(&self) -> bool {
            self.is_gentle.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn only_a_gentle_pace_that_nobody_hurries_rests() {
        let pace = Pace::default();
        assert!(!pace.rests());
        let gently = pace.gently();
        assert!(pace.rests());
        pace.spend(BURST_BYTES - 1);
        assert_eq!(pace.spent.load(Ordering::Relaxed), BURST_BYTES - 1);
        pace.spend(1);
        assert_eq!(pace.spent.load(Ordering::Relaxed), 0, "it has rested");
        pace.hurry();
        assert!(!pace.rests());
        drop(gently);
        drop(pace.gently());
        assert!(!pace.rests(), "the next one is asked anew");
    }
}
