//! The compactor: frees what a compaction made unreadable, in small steps beside everything else.
//!
//! Before it frees anything it hashes what was there, so that members can be compared by it later
//! (`mvcc::compaction_hash`).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::applied::Applied;
use super::courtesy::Courtesy;
use super::failure::Failure;
use super::options::NodeOptions;
use super::threads::Threading;
use crate::env::{go_duration, size, unix_time};
use crate::machine::Shared;
use crate::metrics::{MvccMetrics, Stopwatch};
use crate::raft::{Checkpoints, CompactionStep};

/// Keys that one step visits, unless the operator says otherwise: bounds how long it holds the machine, some 0.2 ms.
const STEP_KEYS: usize = 250;
/// How long the compactor rests after each, unless the operator says otherwise, so that whoever waits for the machine or
/// for its core comes first. A million keys take some seconds then.
const STEP_REST: Duration = Duration::from_millis(1);
/// How long a step waits when a reader holds the compaction back.
const PINNED_PAUSE: Duration = Duration::from_millis(20);
/// Bytes waiting for a checkpoint above which steps wait: writes come first.
const PENDING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The time of one compaction.
struct Measured {
    whole: Stopwatch,
    longest_step: Option<Duration>,
}

impl Measured {
    fn begin() -> Measured {
        Measured { whole: Stopwatch::start(), longest_step: None }
    }

    fn step(&mut self, took: Duration, metrics: &MvccMetrics) {
        metrics.compaction_stepped(took);
        self.longest_step = self.longest_step.max(Some(took));
    }

    /// A look that found nothing to do was no compaction.
    fn end(self, metrics: &MvccMetrics) {
        if let Some(longest_step) = self.longest_step {
            metrics.compaction_ended(self.whole.elapsed(), longest_step);
            metrics.compacted_at.set(i64::try_from(unix_time().as_secs()).unwrap_or(i64::MAX));
        }
    }
}

/// How long steps are, and the rests between them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steps {
    keys: usize,
    rest: Duration,
}

impl Steps {
    pub(super) fn of(options: &NodeOptions) -> Steps {
        Steps {
            keys: options.compaction_step_keys.unwrap_or(STEP_KEYS).max(1),
            rest: options.compaction_rest.unwrap_or(STEP_REST),
        }
    }
}

/// Wakes the compactor and tells when it has caught up.
#[derive(Debug)]
pub(super) struct Compactor {
    shared: Arc<Shared>,
    checkpoints: Arc<Checkpoints>,
    steps: Steps,
    metrics: MvccMetrics,
    applied: Arc<Applied>,
    threading: Threading,
    failure: Failure,
    wanted: Notify,
    rounds: watch::Sender<u64>,
}

impl Compactor {
    pub(super) fn new(
        (shared, checkpoints): (Arc<Shared>, Arc<Checkpoints>),
        (steps, metrics): (Steps, MvccMetrics),
        applied: Arc<Applied>,
        (threading, failure): (Threading, Failure),
    ) -> Arc<Compactor> {
        let (rounds, _) = watch::channel(0);
        let wanted = Notify::new();
        Arc::new(Compactor { shared, checkpoints, steps, metrics, applied, threading, failure, wanted, rounds })
    }

    /// There was a compaction.
    pub(super) fn wake(&self) {
        self.wanted.notify_one();
    }

    /// Waits until everything that is compacted now is also gone from the tables.
    ///
    /// # Errors
    /// Why checkpoints have stopped.
    pub(super) async fn caught_up(&self) -> Result<(), Arc<str>> {
        let mut rounds = self.rounds.subscribe();
        while !self.is_done() {
            self.wake();
            if rounds.changed().await.is_err() {
                return Err("the compactor has stopped".into());
            }
        }
        self.checkpoints.settle().await
    }

    fn is_done(&self) -> bool {
        self.shared.machine.read().kv.is_compaction_done()
    }

    /// Counts the compactions that came to their end.
    pub(super) fn rounds(&self) -> watch::Receiver<u64> {
        self.rounds.subscribe()
    }

    /// Compacts whenever there is something to, until `stop`. The first round is for what a restart cut short.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        self.wake();
        while stop.run_until_cancelled(self.wanted.notified()).await.is_some() {
            let began = (!self.is_done()).then(Instant::now);
            let mut measured = Measured::begin();
            while !self.is_done() && !stop.is_cancelled() {
                if !self.shared.machine.read().kv.is_sweeping() {
                    self.hash(&stop).await;
                }
                let watch = Stopwatch::start();
                let CompactionStep { has_more, found } = self.checkpoints.compact_step(self.steps.keys);
                measured.step(watch.elapsed(), &self.metrics);
                self.metrics.compacted_keys.inc_by(found as u64);
                if self.is_done() {
                    break;
                }
                let is_behind = self.checkpoints.pending_bytes() > PENDING_BYTES_MAX;
                let rest = match (has_more, is_behind) {
                    (true, false) => self.steps.rest,
                    (true, true) => self.steps.rest.max(PINNED_PAUSE),
                    (false, _) => PINNED_PAUSE,
                };
                // An operator may have asked for a rest of hours.
                stop.run_until_cancelled(tokio::time::sleep(rest)).await;
            }
            if let Some(began) = began.filter(|_| self.is_done()) {
                self.tell_end(began.elapsed());
            }
            measured.end(&self.metrics);
            self.rounds.send_modify(|count| *count += 1);
        }
    }

    /// Source: etcd, `server/storage/mvcc/kvstore_compaction.go` and `hash.go`.
    fn tell_end(&self, took: Duration) {
        let compacted = self.shared.machine.read().kv.compacted();
        let hash = self.shared.compaction_hashes().into_iter().find(|hash| hash.at == compacted);
        let occupancy = self.checkpoints.occupancy();
        let (taken, in_use) = (occupancy.size(), occupancy.in_use());
        tracing::info!(
            "compact-revision" = compacted.0,
            took = go_duration(took),
            hash = hash.map(|hash| hash.hash),
            "current-db-size-bytes" = taken,
            "current-db-size" = size(taken),
            "current-db-size-in-use-bytes" = in_use,
            "current-db-size-in-use" = size(in_use),
            "finished scheduled compaction"
        );
        if let Some(hash) = hash {
            tracing::info!(
                hash = hash.hash,
                revision = hash.at.0,
                "compact-revision" = hash.compacted.0,
                "storing new hash"
            );
        }
    }

    /// Hashes what the next compaction goes over, if its hash is wanted; given up at `stop`.
    async fn hash(&self, stop: &CancellationToken) {
        let (shared, stop, mut courtesy) = (self.shared.clone(), stop.clone(), Courtesy::new(self.applied.clone()));
        let goes_on = move |bytes| {
            courtesy.spend(bytes);
            !stop.is_cancelled()
        };
        let hash = move || shared.hash_compaction(&mut { goes_on });
        match self.threading.background("compaction-hash", hash).await {
            Ok(Ok(())) => {}
            // What cannot be read cannot be served either.
            Ok(Err(error)) => self.failure.set(error.to_string().into()),
            Err(error) => tracing::warn!(%error, "a compaction leaves no hash behind: there is no thread for it"),
        }
    }
}
