//! How long work that nobody waits for shares the machine with those who write.
//!
//! A walk over everything keeps a core busy for seconds. A put passes through several threads, and where cores are few each of
//! them may wait for one. So the walk is made in short bursts with a rest after each, as long as others write.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::applied::Applied;

/// Some 0.5 ms of work at a time.
const BURST_BYTES: usize = 128 << 10;
/// Long enough for a put to be answered.
const REST: Duration = Duration::from_millis(1);
/// After so many bursts in which nothing was applied it is taken that nobody writes.
const BURSTS_OF_SILENCE: u32 = 100;

/// The pace of one thread.
#[derive(Debug)]
pub(super) struct Courtesy {
    applied: Arc<Applied>,
    /// Where the log stood after the last burst.
    seen: u64,
    /// Bytes since then.
    spent: usize,
    /// Bursts since something was applied.
    silence: u32,
}

impl Courtesy {
    pub(super) fn new(applied: Arc<Applied>) -> Courtesy {
        let seen = applied.index();
        Courtesy { applied, seen, spent: 0, silence: BURSTS_OF_SILENCE }
    }

    /// Notes work on so many bytes, and rests if it was enough for now and others write.
    pub(super) fn spend(&mut self, bytes: usize) {
        if self.owes(bytes) {
            thread::sleep(REST);
        }
    }

    fn owes(&mut self, bytes: usize) -> bool {
        self.spent += bytes;
        if self.spent < BURST_BYTES {
            return false;
        }
        self.spent = 0;
        let seen = std::mem::replace(&mut self.seen, self.applied.index());
        self.silence = if self.seen == seen { self.silence.saturating_add(1) } else { 0 };
        self.silence < BURSTS_OF_SILENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_are_followed_by_rests_while_somebody_writes() {
        let applied = Arc::new(Applied::new(5));
        let mut courtesy = Courtesy::new(applied.clone());
        assert!(!courtesy.owes(BURST_BYTES), "nobody writes");
        applied.set(6);
        assert!(!courtesy.owes(BURST_BYTES - 1));
        assert!(courtesy.owes(1));
        assert!((1..BURSTS_OF_SILENCE).all(|_| courtesy.owes(2 * BURST_BYTES)), "it is not long ago");
        assert!(!courtesy.owes(BURST_BYTES));
    }
}
