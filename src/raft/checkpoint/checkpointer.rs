//! The checkpointer: takes what is pending, waits until the log is durable that far, writes it as one transaction, and lets go
//! of what memory held for it.
//!
//! What compaction has found goes with it in the order of the table, a bounded part at a time. On a full disk it gives the
//! reserve away, and takes it back when there is space.

use std::sync::Arc;
use std::time::Duration;

use super::{Checkpoints, Pending, WRITE_OVERHEAD_BYTES};
use crate::metrics::Stopwatch;
use crate::model::Revision;
use crate::raft::removals::Merge;
use crate::storage::{self, Meta, Storage, TableWrite};

/// How long a full disk is left alone before it is tried again.
const FULL_PAUSE: Duration = Duration::from_secs(1);
/// How long changes wait for company before they are written.
const PENDING_TIME_DUE: Duration = Duration::from_secs(1);
/// Keys that are visited under one hold of the lock to let values go.
const EVICT_KEYS: usize = 256;
/// How many removals one checkpoint takes: few enough for its syncs to be short.
const REMOVALS: usize = 50_000;
/// How many of them are put in order at a time.
const REMOVALS_ORDERED: usize = 1000;
/// How long the checkpointer then rests.
const REMOVALS_REST: Duration = Duration::from_millis(1);
/// How many revisions the tail lets go of under one hold of the lock.
const RELEASE_REVISIONS: i64 = 4096;

/// The checkpointer's thread as a value.
#[derive(Debug)]
pub struct Checkpointer {
    checkpoints: Arc<Checkpoints>,
    /// Removals that compaction has found, as many as are to be had.
    merge: Merge,
    /// The last checkpoint found no space.
    is_full: bool,
    /// It has a thread of its own, where it may rest.
    may_rest: bool,
}

impl Checkpointer {
    /// Writes what gathers in `checkpoints`.
    pub fn new(checkpoints: Arc<Checkpoints>) -> Checkpointer {
        Checkpointer { checkpoints, merge: Merge::default(), is_full: false, may_rest: false }
    }

    /// Runs until checkpoints are closed or fail.
    pub fn run(mut self) {
        self.may_rest = true;
        while self.keep_reserve() && self.wait() && self.step() {}
    }

    /// Takes the reserve if it is not there and there is space; `false` if the disk fails.
    pub fn keep_reserve(&self) -> bool {
        match self.checkpoints.reserve.keep() {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, "failed to keep space in reserve");
                self.checkpoints.fail(&error.to_string());
                false
            }
        }
    }

    /// Tells whether a step would write a checkpoint without waiting for the log; `None` if there will be none any more.
    pub fn has_work(&self) -> Option<bool> {
        let machine = self.checkpoints.shared.machine.read();
        let pending = self.checkpoints.pending.lock();
        let applied = pending.meta.as_ref().map(|meta| meta.applied.index);
        let applied = applied.or_else(|| self.has_removals(&pending).then(|| machine.applied().index));
        match applied {
            None if pending.closed => None,
            None => Some(false),
            Some(applied) => Some(self.checkpoints.wal.is_settled(applied)),
        }
    }

    /// Waits until a checkpoint is due, or the reserve is to be tried again; `false` if there will be none.
    fn wait(&mut self) -> bool {
        let checkpoints = &self.checkpoints;
        let mut pending = checkpoints.pending.lock();
        while pending.meta.is_none() && !pending.closed && !self.has_removals(&pending) {
            if checkpoints.reserve.is_whole() {
                checkpoints.changed.wait(&mut pending);
            } else {
                // Woken up or not: who asks for what is written already must not keep the reserve from being tried.
                checkpoints.changed.wait_for(&mut pending, FULL_PAUSE);
                if pending.meta.is_none() {
                    return true;
                }
            }
        }
        let mut waited = false;
        while self.is_full && !pending.closed && !waited {
            waited = checkpoints.closing.wait_for(&mut pending, FULL_PAUSE).timed_out();
        }
        while !pending.is_due() && !waited && !self.has_removals(&pending) {
            waited = checkpoints.changed.wait_for(&mut pending, PENDING_TIME_DUE).timed_out();
        }
        pending.meta.is_some() || self.has_removals(&pending)
    }

    /// Whether there are removals to write. Not at the end: the next start finds them again.
    fn has_removals(&self, pending: &Pending) -> bool {
        !pending.closed && (!self.merge.is_empty() || self.checkpoints.removals.are_ripe())
    }

    /// The removals that the next checkpoint takes. None while there are some that found no space.
    fn next_removals(&mut self, storage: &Arc<Storage>) -> Vec<TableWrite> {
        let mut next = Vec::new();
        let may_take = |pending: &Pending| pending.removals == 0 && !pending.closed;
        while next.len() < REMOVALS && may_take(&self.checkpoints.pending.lock()) {
            let ordered = self.merge.next(&self.checkpoints.removals, storage, REMOVALS_ORDERED);
            if ordered.is_empty() {
                break;
            }
            next.extend(ordered.into_iter().map(|at| TableWrite::RemoveRecord { at }));
            if self.may_rest {
                std::thread::sleep(REMOVALS_REST);
            }
        }
        next
    }

    /// Writes one checkpoint of all that is pending; `false` if none can be written any more.
    ///
    /// Without space on the disk everything stays pending, for a later step; the last step of all does not wait for space,
    /// for the log holds everything.
    pub fn step(&mut self) -> bool {
        let checkpoints = self.checkpoints.clone();
        // To the end: what replaces the state must not meet the rest of an older checkpoint.
        let _writing = checkpoints.writing.lock();
        let storage = checkpoints.storage();
        let removals = self.next_removals(&storage);
        let Some(mut taken) = checkpoints.take(!removals.is_empty()) else { return true };
        let Some(meta) = taken.meta.clone() else { return true };
        taken.removals += removals.len();
        taken.bytes += removals.len() * WRITE_OVERHEAD_BYTES;
        taken.writes.extend(removals);
        if !checkpoints.wal.wait_synced(meta.applied.index) {
            checkpoints.fail("the write-ahead log has stopped");
            return false;
        }
        let before = storage.record_bytes();
        let watch = Stopwatch::start();
        let committed = self.commit(&storage, &taken, &meta);
        checkpoints.metrics.commit.observe(watch.seconds());
        let was_full = std::mem::replace(&mut self.is_full, matches!(committed, Err(storage::Error::Full { .. })));
        if let Err(error) = committed {
            let number = taken.number;
            if self.is_full && checkpoints.put_back(taken) {
                checkpoints.progress.send_modify(|progress| progress.lacks_space = true);
                if !was_full {
                    tracing::warn!(%error, checkpoint = number, "a checkpoint is tried again until there is space for it");
                }
                return true;
            }
            tracing::error!(%error, "failed to write a checkpoint");
            checkpoints.fail(&error.to_string());
            return false;
        }
        checkpoints.metrics.written.inc();
        let number = taken.number;
        checkpoints.removals.wrote(taken.removals, &storage);
        // What was added is counted already: this is what was taken out.
        let grown = storage.record_bytes().cast_signed() - before.cast_signed();
        checkpoints.occupancy.change(grown - taken.records.cast_signed());
        drop(taken);
        self.release_tail(meta.revision);
        self.evict();
        checkpoints.pending.lock().being_written = 0;
        checkpoints.progress.send_modify(|progress| {
            progress.applied = meta.applied.index;
            progress.written = number;
            progress.lacks_space = false;
        });
        true
    }

    /// Writes what was taken; without space once more with what is in reserve.
    fn commit(&self, storage: &Storage, taken: &Pending, meta: &Meta) -> Result<(), storage::Error> {
        let committed = if self.may_rest && !taken.is_urgent() {
            storage.commit_gently(&taken.writes, meta)
        } else {
            storage.commit(&taken.writes, meta)
        };
        match committed {
            Err(storage::Error::Full { .. }) if self.checkpoints.reserve.give()? => storage.commit(&taken.writes, meta),
            committed => committed,
        }
    }

    /// Lets the tail go in short holds of the lock: readers and apply want it too.
    fn release_tail(&self, through: Revision) {
        let shared = &self.checkpoints.shared;
        let Some(mut at) = shared.machine.read().kv.tail_start() else { return };
        while at < through {
            at = Revision((at.0 + RELEASE_REVISIONS).min(through.0));
            shared.machine.write().kv.release_tail(at);
        }
        shared.machine.write().kv.release_tail(through);
    }

    /// Lets values go from memory that are too many, in short holds of the lock: what can go is what was just released.
    fn evict(&self) {
        let machine = &self.checkpoints.shared.machine;
        let steps = machine.read().kv.evict_steps_max(EVICT_KEYS);
        for _ in 0..steps {
            if !machine.write().kv.evict_step(EVICT_KEYS) {
                return;
            }
        }
    }
}
