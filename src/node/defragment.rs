//! Giving space back to the disk: the checkpoint's file is written anew while everything else goes on.
//!
//! Source of the lines that are logged: etcd, `server/etcdserver/api/v3rpc/maintenance.go`.

use std::fs::File;
use std::sync::{Arc, Weak};

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Node;
use super::error::NodeError;
use super::options::NodeOptions;
use super::threads::Threading;
use crate::env::{Disk, go_duration, size};
use crate::machine::Shared;
use crate::metrics::{CheckpointMetrics, Gauge, Stopwatch};
use crate::raft::Checkpoints;
use crate::storage::Haste;

/// Lets one rewrite follow another.
#[derive(Debug)]
pub(super) struct Defragmenter {
    shared: Arc<Shared>,
    pub(super) checkpoints: Arc<Checkpoints>,
    disk: Arc<dyn Disk>,
    threading: Threading,
    /// The lock on the data folder, which the thread holds as well while it runs. A node that has ended holds none.
    folder_lock: Weak<File>,
    /// Held by the thread that rewrites: whoever asked may be gone before it has ended.
    turn: Arc<Mutex<()>>,
    metrics: CheckpointMetrics,
}

/// Is told while it lasts, and not after, however it ends.
struct UnderWay<'a>(&'a Gauge);

impl<'a> UnderWay<'a> {
    fn begin(gauge: &'a Gauge) -> UnderWay<'a> {
        gauge.inc();
        UnderWay(gauge)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What the checkpoint's file takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    /// Bytes on the disk.
    pub(super) taken: u64,
    /// What they would be if it were written anew, more or less.
    pub(super) needed: u64,
}

impl Space {
    /// What writing it anew would give back.
    pub(super) fn free(self) -> u64 {
        self.taken.saturating_sub(self.needed)
    }
}

impl Defragmenter {
    pub(super) fn new(
        (shared, checkpoints): (Arc<Shared>, Arc<Checkpoints>),
        options: &NodeOptions,
    ) -> Arc<Defragmenter> {
        let (disk, threading) = (options.disk.clone(), options.threading.clone());
        let metrics = options.metrics.checkpoint.clone();
        let folder_lock = options.folder_lock.as_ref().map(Arc::downgrade).unwrap_or_default();
        Arc::new(Defragmenter { shared, checkpoints, disk, threading, folder_lock, turn: Arc::default(), metrics })
    }

    /// What the file takes now. One whose size cannot be told takes nothing.
    pub(super) fn space(&self) -> Space {
        let storage = self.shared.storage.load();
        Space { taken: storage.disk_bytes().unwrap_or(0), needed: storage.needed_bytes() }
    }

    /// What may still be written to the disk, in bytes; `None` if nobody can tell.
    pub(super) fn room_bytes(&self) -> Option<u64> {
        self.disk.free_bytes().ok().flatten()
    }

    /// Writes the file anew when it is its turn; `false` if the node ended before that was done.
    ///
    /// # Errors
    /// Why it was not done. The file is as it was then; if it turned out to be damaged, checkpoints have failed.
    pub(super) async fn defragment(&self, haste: Haste) -> Result<bool, Arc<str>> {
        let why = |error: &dyn std::fmt::Display| Arc::from(error.to_string());
        if haste == Haste::Quick {
            // Whoever has the turn may have all the time in the world.
            self.shared.storage.load().hurry_rewrite();
        }
        let turn = self.turn.clone().lock_owned().await;
        // What was freed and waits to be taken out counts as well.
        self.checkpoints.flush_if_there_is_space().await?;
        tracing::info!("starting defragment");
        let before = self.space();
        tracing::info!(
            "current-db-size-bytes" = before.taken,
            "current-db-size" = size(before.taken),
            "current-db-size-in-use-bytes" = before.needed,
            "current-db-size-in-use" = size(before.needed),
            "defragmenting"
        );
        let began = Instant::now();
        let (checkpoints, disk, lock) = (self.checkpoints.clone(), self.disk.clone(), self.folder_lock.upgrade());
        let rewrite = move || {
            let _held = (turn, lock);
            checkpoints.rewrite(disk, haste)
        };
        let (watch, _under_way) = (Stopwatch::start(), UnderWay::begin(&self.metrics.is_defragmenting));
        let rewritten = self.threading.background("defragment", rewrite).await.map_err(|error| why(&error))?;
        self.metrics.defragment.observe(watch.seconds());
        let is_done = rewritten.map_err(|error| why(&error))?;
        if is_done {
            let after = self.space();
            tracing::info!(
                "current-db-size-bytes-diff" = after.taken.cast_signed() - before.taken.cast_signed(),
                "current-db-size-bytes" = after.taken,
                "current-db-size" = size(after.taken),
                "current-db-size-in-use-bytes-diff" = after.needed.cast_signed() - before.needed.cast_signed(),
                "current-db-size-in-use-bytes" = after.needed,
                "current-db-size-in-use" = size(after.needed),
                took = go_duration(began.elapsed()),
                "finished defragmenting directory"
            );
            tracing::info!("finished defragment");
        }
        Ok(is_done)
    }

    /// Waits until nothing is being rewritten. Checkpoints must be closed, so that nothing begins after it.
    pub(super) async fn ended(&self) {
        drop(self.turn.lock().await);
    }
}

impl Node {
    /// The same as [`Node::defragment`], if that would give at least `free_bytes_min` back. A failure is told in the log alone.
    ///
    /// Source: etcd, `maybeDefragBackend` in `server/etcdserver/bootstrap.go`.
    pub async fn defragment_if_free(&self, free_bytes_min: u64) {
        let space = self.defragmenter.space();
        let is_worth_it = space.free() >= free_bytes_min;
        tracing::info!(
            "current-db-size-bytes" = space.taken,
            "current-db-size-in-use-bytes" = space.needed,
            "bootstrap-defrag-threshold-bytes" = free_bytes_min,
            "{}",
            if is_worth_it { "Defragmenting before the member serves" } else { "Skipping defragmentation" }
        );
        if is_worth_it {
            // It has been told, and the file is as it was. If that is damaged, the node stops by itself.
            let _ = self.defragment().await;
        }
    }

    /// Makes the checkpoint's file as small as what is in it. Local: it needs no quorum. What is compacted and not yet freed
    /// stays; writes and reads go on meanwhile. Several that ask at once are served one after the other.
    ///
    /// # Errors
    /// [`NodeError::Stopped`]; [`NodeError::Fault`] in words if the file could not be written, for want of space for a
    /// second one for example. It is as it was then; if it turned out to be damaged, the node stops.
    pub async fn defragment(&self) -> Result<(), NodeError> {
        match self.defragmenter.defragment(Haste::Quick).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(NodeError::Stopped),
            Err(error) => {
                tracing::error!(%error, "failed to defragment");
                Err(NodeError::Fault(format!("failed to defragment: {error}").into()))
            }
        }
    }
}
