//! Checkpoints: how applied state reaches redb.
//!
//! Apply is memory only. What it would write to the tables gathers in one pending buffer, together with the meta of the
//! last entry it came from; a thread takes the whole buffer now and then and writes it as one transaction:
//!
//! ```text
//! apply --add--> pending --take--> wait until the log is durable that far --> Storage::commit --> release the tail
//! ```
//!
//! Because the buffer is taken whole, redb always holds an exact prefix of the log: the state as of its applied entry
//! D. Recovery loads it and applies the log after D. The wait keeps `D <= synced`: openraft may apply what the cluster
//! has committed before this member's own log is durable, and a checkpoint ahead of the log could not be recovered.
//! What compaction has found joins a buffer that is taken (`removals`); it may as well be in the tables a little longer.
//!
//! The buffer is bounded by whoever proposes: [`Checkpoints::pending_bytes`] tells how far the tables are behind. A disk
//! without space therefore stops nothing at once: a checkpoint gets what is in reserve, and if that is not enough the
//! changes go back into the buffer and wait. Until the reserve is there again nothing is taken that makes the data grow
//! ([`Checkpoints::takes`]). Any other error is the end.

mod checkpointer;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

pub use self::checkpointer::Checkpointer;
use super::occupancy::Occupancy;
use super::removals::Removals;
use crate::env::Disk;
use crate::machine::Shared;
use crate::metrics::CheckpointMetrics;
use crate::storage::{self, Haste, Meta, Reserve, Rewrite, Storage, SwapError, TableWrite, entry_bytes};
use crate::wal::{Demand, Wal};

/// A buffer of this size is written without waiting longer.
const PENDING_BYTES_DUE: usize = 16 * 1024 * 1024;
/// With more than this waiting for a full disk even what frees space is refused: it has to wait in memory.
const PENDING_BYTES_FULL: usize = 64 * 1024 * 1024;
/// What one table write is counted as beside its record.
const WRITE_OVERHEAD_BYTES: usize = 64;

/// The pending changes and what became of earlier ones.
#[derive(Debug)]
pub struct Checkpoints {
    shared: Arc<Shared>,
    wal: Wal,
    pending: Mutex<Pending>,
    changed: Condvar,
    removals: Removals,
    occupancy: Occupancy,
    /// Who waits for space hears only of the end: all else comes too often to wait a second for nothing.
    closing: Condvar,
    reserve: Reserve,
    /// Held while a transaction is written, so that an install can keep it away from tables it replaces.
    writing: Mutex<()>,
    progress: watch::Sender<Progress>,
    metrics: CheckpointMetrics,
}

/// What a step of a compaction has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionStep {
    /// There is more to do.
    pub has_more: bool,
    /// Revisions that it found to be removed.
    pub found: usize,
}

#[derive(Debug)]
struct Pending {
    /// Counts the buffers, first is 1; this one's number.
    number: u64,
    writes: Vec<TableWrite>,
    /// How many of them compaction has found.
    removals: usize,
    bytes: usize,
    /// What its records will take in the tables, in bytes.
    records: u64,
    /// Those of the buffer before, until it is written.
    being_written: usize,
    /// As of the last entry that `writes` came from.
    meta: Option<Meta>,
    /// As of the last entry that was applied, in this buffer or an earlier one.
    membership: Bytes,
    /// Somebody waits for it.
    wanted: bool,
    closed: bool,
}

/// How far the tables are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Progress {
    /// D: the last entry in the tables.
    applied: u64,
    /// The number of the last buffer that was written.
    written: u64,
    /// The last one found no space.
    lacks_space: bool,
    /// Why there will be no more.
    failed: Option<Arc<str>>,
}

impl Checkpoints {
    /// Begins at the state that `shared` was loaded with; `meta` is what its storage says.
    pub fn new(
        shared: Arc<Shared>,
        wal: Wal,
        (meta, reserve): (&Meta, Reserve),
        metrics: CheckpointMetrics,
    ) -> Arc<Checkpoints> {
        let (progress, _) = watch::channel(Progress { applied: meta.applied.index, ..Progress::default() });
        let pending = Mutex::new(Pending::new(1, meta.membership.clone()));
        let (changed, closing, removals) = (Condvar::new(), Condvar::new(), Removals::default());
        let writing = Mutex::new(());
        let occupancy = Occupancy::new(shared.storage.load().record_bytes());
        Arc::new(Checkpoints {
            shared,
            wal,
            pending,
            changed,
            removals,
            occupancy,
            closing,
            reserve,
            writing,
            progress,
            metrics,
        })
    }

    /// The tables as they are.
    pub fn storage(&self) -> Arc<Storage> {
        self.shared.storage.load_full()
    }

    /// Adds the writes of a run of entries. Called while the machine is still held, so that runs and removals follow
    /// each other as the machine saw them.
    pub(super) fn add(&self, writes: &mut Vec<TableWrite>, meta: Meta) {
        let mut pending = self.pending.lock();
        let was_idle = pending.meta.is_none();
        pending.bytes += writes.iter().map(bytes_of).sum::<usize>();
        let records = writes.iter().map(record_bytes_of).sum::<u64>();
        pending.records += records;
        self.occupancy.change(records.cast_signed());
        pending.writes.append(writes);
        pending.membership = meta.membership.clone();
        pending.meta = Some(meta);
        if was_idle {
            self.changed.notify_one();
        }
        if pending.bytes >= PENDING_BYTES_DUE {
            self.hurry();
        }
    }

    /// Compacts a few keys and notes down what the tables must lose. `false` when all keys were visited or none can be now,
    /// or as many removals wait as may.
    pub fn compact_step(&self, keys_max: usize) -> CompactionStep {
        if self.removals.are_full() {
            self.pass_removals_on();
            return CompactionStep { has_more: false, found: 0 };
        }
        let (is_over, found) = {
            let mut machine = self.shared.machine.write();
            let removed = machine.kv.compact_step(keys_max);
            let has_looked = removed.is_some();
            let removed = removed.unwrap_or_default();
            let found = removed.len();
            self.removals.push(removed, &self.shared.storage.load());
            (!has_looked || !machine.kv.is_sweeping(), found)
        };
        if is_over {
            self.pass_removals_on();
        }
        CompactionStep { has_more: !is_over, found }
    }

    fn pass_removals_on(&self) {
        self.removals.ripen();
        // The checkpointer looks for removals while it holds this: it has seen these, or hears of them.
        drop(self.pending.lock());
        self.changed.notify_one();
    }

    /// Bytes that are not in the tables yet: they wait for the next checkpoint, or are being written.
    pub fn pending_bytes(&self) -> usize {
        let pending = self.pending.lock();
        pending.bytes + pending.being_written
    }

    /// How large the data is.
    #[must_use]
    pub fn occupancy(&self) -> &Occupancy {
        &self.occupancy
    }

    /// Whether the disk has space for such writes, as far as checkpoints know.
    pub fn takes(&self, demand: Demand) -> bool {
        let is_short = self.reserve.is_short();
        !is_short || (demand == Demand::Freeing && self.pending_bytes() <= PENDING_BYTES_FULL)
    }

    /// The last log index that is applied.
    pub(super) fn latest_applied(&self) -> u64 {
        self.shared.machine.read().applied().index
    }

    /// D: the last log index that the tables hold.
    pub fn applied(&self) -> u64 {
        self.progress.borrow().applied
    }

    /// Waits until the tables hold everything that was applied when this is called. What waits longer than that is what
    /// compaction has found: see [`Checkpoints::settle`].
    ///
    /// # Errors
    /// Why checkpoints have stopped.
    pub async fn flush(&self) -> Result<(), Arc<str>> {
        self.flushed(false).await
    }

    /// The same for whoever does not wait for space on the disk.
    ///
    /// # Errors
    /// Why checkpoints have stopped, or that the disk is full.
    pub async fn flush_if_there_is_space(&self) -> Result<(), Arc<str>> {
        self.flushed(true).await
    }

    async fn flushed(&self, gives_up: bool) -> Result<(), Arc<str>> {
        let target = {
            let mut pending = self.pending.lock();
            pending.wanted = pending.meta.is_some();
            self.changed.notify_one();
            if pending.wanted { pending.number } else { pending.number - 1 }
        };
        self.reached(gives_up, |progress| progress.written >= target).await
    }

    /// Waits until the tables hold everything that was applied, and nothing that compaction has found, when this is called.
    ///
    /// # Errors
    /// Why checkpoints have stopped.
    pub async fn settle(&self) -> Result<(), Arc<str>> {
        self.flush().await?;
        self.reached(false, |_| self.removals.are_done() || self.pending.lock().closed).await?;
        if self.removals.are_done() { Ok(()) } else { Err("checkpoints were closed".into()) }
    }

    async fn reached(&self, gives_up: bool, is_reached: impl Fn(&Progress) -> bool) -> Result<(), Arc<str>> {
        let mut progress = self.progress.subscribe();
        let is_over = |progress: &Progress| {
            is_reached(progress) || progress.failed.is_some() || (gives_up && progress.lacks_space)
        };
        match progress.wait_for(is_over).await.map(|progress| (progress.failed.clone(), is_reached(&progress))) {
            Ok((Some(why), _)) => Err(why),
            Ok((None, true)) => Ok(()),
            Ok((None, false)) => Err("no space is left on the disk".into()),
            Err(_) => Err("checkpoints have stopped".into()),
        }
    }

    /// Waits until checkpoints fail; gives the reason. Pending as long as they do not.
    pub async fn failed(&self) -> Arc<str> {
        let mut progress = self.progress.subscribe();
        match progress.wait_for(|progress| progress.failed.is_some()).await {
            Ok(progress) => progress.failed.clone().unwrap_or_default(),
            // Impossible while `self` holds the sender.
            Err(_) => "checkpoints have stopped".into(),
        }
    }

    /// Lets the checkpointer end after one last checkpoint.
    pub fn close(&self) {
        self.pending.lock().closed = true;
        self.closing.notify_one();
        self.hurry();
        // Whoever waits for more than the last checkpoint hears of it.
        self.progress.send_modify(|_| {});
    }

    /// Wakes the checkpointer up, or ends the rests of the checkpoint that it writes.
    fn hurry(&self) {
        self.changed.notify_one();
        self.shared.storage.load().hurry();
    }

    /// Keeps checkpoints away while `replace` swaps tables and machine; what was pending belongs to the old ones.
    pub(super) fn replace<E>(&self, replace: impl FnOnce() -> Result<Meta, E>) -> Result<(), E> {
        self.shared.storage.load().hurry();
        let _writing = self.writing.lock();
        let Meta { applied, membership, .. } = replace()?;
        let dropped = {
            let mut pending = self.pending.lock();
            let dropped = pending.number;
            *pending = Pending { closed: pending.closed, ..Pending::new(dropped + 1, membership) };
            self.occupancy.replace(self.shared.storage.load().record_bytes());
            dropped
        };
        self.progress.send_modify(|progress| {
            progress.applied = applied.index;
            progress.written = dropped;
        });
        Ok(())
    }

    /// Writes the tables into a new file, which takes no more space than what is in it; `false` if checkpoints were closed
    /// before that was done. Blocks, for seconds if there is much; checkpoints and reads go on but for the last moment. One
    /// at a time.
    ///
    /// # Errors
    /// Why it was not done, for want of space for example. If what is there turned out to be damaged, or it is unknown which
    /// of the two files has the name, checkpoints have failed; else everything is as it was.
    pub fn rewrite(&self, disk: Arc<dyn Disk>, haste: Haste) -> Result<bool, storage::Error> {
        self.try_rewrite(disk, haste).map_err(|error| match error {
            SwapError::Kept(error @ storage::Error::Corrupt { .. }) | SwapError::Unknown(error) => {
                self.fail(&error.to_string());
                error
            }
            SwapError::Kept(error) => error,
        })
    }

    fn try_rewrite(&self, disk: Arc<dyn Disk>, haste: Haste) -> Result<bool, SwapError> {
        if self.pending.lock().closed {
            return Ok(false);
        }
        let storage = self.storage();
        let mut rewrite = Rewrite::begin(storage.clone(), disk, haste)?;
        while rewrite.step()? {
            if self.pending.lock().closed {
                return Ok(false);
            }
        }
        storage.hurry();
        let _writing = self.writing.lock();
        if self.pending.lock().closed {
            return Ok(false);
        }
        // A state that was received meanwhile is in a new file of its own.
        if !Arc::ptr_eq(&storage, &self.storage()) {
            return Ok(true);
        }
        rewrite.finish()?;
        self.occupancy.shrink();
        Ok(true)
    }

    /// Takes the pending buffer, if there is anything in it, or if `removals` are to go with it.
    fn take(&self, removals: bool) -> Option<Pending> {
        let machine = self.shared.machine.read();
        let mut pending = self.pending.lock();
        // Without pending entries the removals have no meta to travel with: take the machine's. Its membership is not
        // that of the tables, which a checkpoint on its way may be about to change.
        if removals && pending.meta.is_none() {
            pending.meta = Some(machine.meta(pending.membership.clone()));
        }
        pending.meta.as_ref()?;
        let next = Pending::new(pending.number + 1, pending.membership.clone());
        let next = Pending { closed: pending.closed, being_written: pending.bytes, ..next };
        Some(std::mem::replace(&mut *pending, next))
    }

    /// Puts what was taken and could not be written before what came since. `false` if nobody will come for it.
    fn put_back(&self, taken: Pending) -> bool {
        let mut pending = self.pending.lock();
        let since = std::mem::replace(&mut pending.writes, taken.writes);
        pending.writes.extend(since);
        pending.removals += taken.removals;
        pending.bytes += taken.bytes;
        pending.records += taken.records;
        pending.being_written = 0;
        pending.meta = pending.meta.take().or(taken.meta);
        pending.wanted |= taken.wanted;
        !pending.closed
    }

    /// There will be no more: the tables cannot be written, or not be read.
    pub(super) fn fail(&self, why: &str) {
        self.progress.send_modify(|progress| progress.failed = Some(why.into()));
    }
}

impl Pending {
    fn new(number: u64, membership: Bytes) -> Pending {
        let (writes, removals, bytes, records, being_written) = (Vec::new(), 0, 0, 0, 0);
        let (meta, wanted, closed) = (None, false, false);
        Pending { number, writes, removals, bytes, records, being_written, meta, membership, wanted, closed }
    }

    /// Nothing more is waited for.
    fn is_due(&self) -> bool {
        self.is_urgent() || self.wanted
    }

    /// It must not take longer than it can.
    fn is_urgent(&self) -> bool {
        self.bytes >= PENDING_BYTES_DUE || self.closed
    }
}

fn bytes_of(write: &TableWrite) -> usize {
    WRITE_OVERHEAD_BYTES
        + match write {
            TableWrite::Record { record, .. } => record.as_bytes().len(),
            TableWrite::RemoveRecord { .. }
            | TableWrite::Lease(_)
            | TableWrite::RemoveLease { .. }
            | TableWrite::Member(_)
            | TableWrite::RemoveMember(_)
            | TableWrite::Removed(_)
            | TableWrite::Alarms { .. }
            | TableWrite::Downgrade(_)
            | TableWrite::Auth { .. } => 0,
        }
}

/// What a write adds to the records in the tables.
fn record_bytes_of(write: &TableWrite) -> u64 {
    match write {
        TableWrite::Record { record, .. } => entry_bytes(record.as_bytes().len()),
        _ => 0,
    }
}
