//! The compactor: frees what a compaction made unreadable, in small steps beside everything else.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::machine::Shared;
use crate::raft::Checkpoints;

/// Keys that one step visits: bounds how long it holds the machine.
const STEP_KEYS: usize = 1000;
/// How long a step waits when a reader holds the compaction back.
const PINNED_PAUSE: Duration = Duration::from_millis(20);
/// Bytes waiting for a checkpoint above which steps wait: writes come first.
const PENDING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Wakes the compactor and tells when it has caught up.
#[derive(Debug)]
pub(super) struct Compactor {
    shared: Arc<Shared>,
    checkpoints: Arc<Checkpoints>,
    wanted: Notify,
    rounds: watch::Sender<u64>,
}

impl Compactor {
    pub(super) fn new(shared: Arc<Shared>, checkpoints: Arc<Checkpoints>) -> Arc<Compactor> {
        let (rounds, _) = watch::channel(0);
        Arc::new(Compactor { shared, checkpoints, wanted: Notify::new(), rounds })
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
        while !self.shared.machine.read().kv.is_compaction_done() {
            self.wake();
            if rounds.changed().await.is_err() {
                return Err("the compactor has stopped".into());
            }
        }
        self.checkpoints.flush().await
    }

    /// Compacts whenever there is something to, until `stop`. The first round is for what a restart cut short.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        self.wake();
        while stop.run_until_cancelled(self.wanted.notified()).await.is_some() {
            while !self.shared.machine.read().kv.is_compaction_done() && !stop.is_cancelled() {
                let has_more = self.checkpoints.compact_step(STEP_KEYS);
                if !has_more || self.checkpoints.pending_bytes() > PENDING_BYTES_MAX {
                    tokio::time::sleep(PINNED_PAUSE).await;
                } else {
                    tokio::task::yield_now().await;
                }
            }
            self.rounds.send_modify(|count| *count += 1);
        }
    }
}
