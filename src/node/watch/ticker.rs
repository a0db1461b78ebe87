//! When each stream's watchers hear of progress.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::hub::StreamKey;

/// The next tick of each stream.
#[derive(Debug, Default)]
pub(super) struct Ticker {
    by_time: BTreeSet<(Instant, StreamKey)>,
    /// Only looked up, never walked.
    by_stream: HashMap<StreamKey, (Instant, Duration)>,
}

impl Ticker {
    /// Ticks for `stream` every `period`; tells whether its first tick is the next of all.
    pub(super) fn add(&mut self, stream: StreamKey, now: Instant, period: Duration) -> bool {
        self.schedule(stream, now, period);
        self.by_time.first().is_some_and(|(_, first)| *first == stream)
    }

    pub(super) fn remove(&mut self, stream: StreamKey) {
        if let Some((at, _)) = self.by_stream.remove(&stream) {
            self.by_time.remove(&(at, stream));
        }
    }

    /// When the next tick is.
    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// A stream whose tick is due; its next one is a period from `now`, so ticks that were missed are left out.
    pub(super) fn due(&mut self, now: Instant) -> Option<StreamKey> {
        let (at, stream) = *self.by_time.first().filter(|(at, _)| *at <= now)?;
        self.by_time.remove(&(at, stream));
        if let Some(&(_, period)) = self.by_stream.get(&stream) {
            self.schedule(stream, now, period);
        }
        Some(stream)
    }

    fn schedule(&mut self, stream: StreamKey, now: Instant, period: Duration) {
        let at = now + period;
        self.by_time.insert((at, stream));
        self.by_stream.insert(stream, (at, period));
    }
}
