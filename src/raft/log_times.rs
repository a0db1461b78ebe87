//! When entries became durable here: for whoever asks where the time of a slow request went.
//!
//! Noted once for each batch that the log has synced, and only of the last ones; who asks later than that is told nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::env::{Clock, Tick};

/// Batches that are remembered: those of more than a second, however busy the log is.
const BATCHES_MAX: usize = 1024;

/// When entries became durable here.
#[derive(Debug)]
pub(super) struct LogTimes {
    clock: Arc<dyn Clock>,
    /// The last entry of each batch, and when it was synced; oldest first.
    batches: Mutex<VecDeque<(u64, Tick)>>,
}

impl LogTimes {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Arc<LogTimes> {
        Arc::new(LogTimes { clock, batches: Mutex::default() })
    }

    /// Everything up to `index` is durable now.
    pub(super) fn note(&self, index: u64) {
        let now = self.clock.now();
        let mut batches = self.batches.lock();
        if batches.len() == BATCHES_MAX {
            batches.pop_front();
        }
        // A new leader may have written over what was there.
        while batches.back().is_some_and(|(last, _)| *last >= index) {
            batches.pop_back();
        }
        batches.push_back((index, now));
    }

    /// When the entry became durable, if that is remembered.
    pub(super) fn of(&self, index: u64) -> Option<Tick> {
        let batches = self.batches.lock();
        let place = batches.partition_point(|(last, _)| *last < index);
        batches.get(place).map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::env::ManualClock;

    #[test]
    fn an_entry_is_durable_with_its_batch() {
        let clock = Arc::new(ManualClock::default());
        let times = LogTimes::new(clock.clone());
        for index in [3, 7, 9] {
            clock.advance(Duration::from_secs(1));
            times.note(index);
        }
        let at = |index| times.of(index).map(|at| at.0.as_secs());
        assert_eq!([1, 3, 4, 7, 8, 9, 10].map(at), [Some(1), Some(1), Some(2), Some(2), Some(3), Some(3), None]);
        clock.advance(Duration::from_secs(1));
        times.note(5);
        assert_eq!([3, 5, 6].map(at), [Some(1), Some(4), None]);
    }
}
