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

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::removals::{Merge, Removals};
use crate::env::Disk;
use crate::machine::Shared;
use crate::model::Revision;
use crate::storage::{self, Haste, Meta, Reserve, Rewrite, Storage, SwapError, TableWrite};
use crate::wal::{Demand, Wal};

/// A buffer of this size is written without waiting longer.
const PENDING_BYTES_DUE: usize = 16 * 1024 * 1024;
/// How long changes wait for company before they are written.
const PENDING_TIME_DUE: Duration = Duration::from_secs(1);
/// How long a full disk is left alone before it is tried again.
const FULL_PAUSE: Duration = Duration::from_secs(1);
/// With more than this waiting for a full disk even what frees space is refused: it has to wait in memory.
const PENDING_BYTES_FULL: usize = 64 * 1024 * 1024;
/// What one table write is counted as beside its record.
const WRITE_OVERHEAD_BYTES: usize = 64;
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

/// The pending changes and what became of earlier ones.
#[derive(Debug)]
pub struct Checkpoints {
    shared: Arc<Shared>,
    wal: Wal,
    pending: Mutex<Pending>,
    changed: Condvar,
    removals: Removals,
    /// Who waits for space hears only of the end: all else comes too often to wait a second for nothing.
    closing: Condvar,
    reserve: Reserve,
    /// Held while a transaction is written, so that an install can keep it away from tables it replaces.
    writing: Mutex<()>,
    progress: watch::Sender<Progress>,
}

#[derive(Debug)]
struct Pending {
    /// Counts the buffers, first is 1; this one's number.
    number: u64,
    writes: Vec<TableWrite>,
    /// How many of them compaction has found.
    removals: usize,
    bytes: usize,
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
    pub fn new(shared: Arc<Shared>, wal: Wal, meta: &Meta, reserve: Reserve) -> Arc<Checkpoints> {
        let (progress, _) = watch::channel(Progress { applied: meta.applied.index, ..Progress::default() });
        let pending = Mutex::new(Pending::new(1, meta.membership.clone()));
        let (changed, closing, removals) = (Condvar::new(), Condvar::new(), Removals::default());
        let writing = Mutex::new(());
        Arc::new(Checkpoints { shared, wal, pending, changed, removals, closing, reserve, writing, progress })
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
    pub fn compact_step(&self, keys_max: usize) -> bool {
        if self.removals.are_full() {
            self.pass_removals_on();
            return false;
        }
        let is_over = {
            let mut machine = self.shared.machine.write();
            let removed = machine.kv.compact_step(keys_max);
            let has_found = removed.is_some();
            self.removals.push(removed.unwrap_or_default(), &self.shared.storage.load());
            !has_found || !machine.kv.is_sweeping()
        };
        if is_over {
            self.pass_removals_on();
        }
        !is_over
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

    /// Whether the disk has space for such writes, as far as checkpoints know.
    pub fn takes(&self, demand: Demand) -> bool {
        let is_short = self.reserve.is_short();
        !is_short || (demand == Demand::Freeing && self.pending_bytes() <= PENDING_BYTES_FULL)
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
        rewrite.finish().map(|()| true)
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
        let (writes, removals, bytes, being_written) = (Vec::new(), 0, 0, 0);
        Pending { number, writes, removals, bytes, being_written, meta: None, membership, wanted: false, closed: false }
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
        let committed = self.commit(&storage, &taken, &meta);
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
        let number = taken.number;
        checkpoints.removals.wrote(taken.removals, &storage);
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
}

impl Checkpointer {
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

fn bytes_of(write: &TableWrite) -> usize {
    WRITE_OVERHEAD_BYTES
        + match write {
            TableWrite::Record { record, .. } => record.as_bytes().len(),
            TableWrite::RemoveRecord { .. }
            | TableWrite::Lease(_)
            | TableWrite::RemoveLease { .. }
            | TableWrite::Member(_)
            | TableWrite::RemoveMember(_)
            | TableWrite::Removed(_) => 0,
        }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use arc_swap::ArcSwap;
    use parking_lot::RwLock;

    use super::*;
    use crate::env::{Disk, SeededRandom, SimDisk};
    use crate::machine::{Effects, Machine};
    use crate::model::{Command, Compact, LogId, Put};
    use crate::raft::snapshot::snapshot_of;
    use crate::wal::{self, LogEntry, Writer};

    /// More than a new file has room for.
    const LARGE_BYTES: usize = 8 << 20;

    struct Member {
        disk: SimDisk,
        shared: Arc<Shared>,
        wal: Wal,
        writer: Writer,
        checkpoints: Arc<Checkpoints>,
        checkpointer: Checkpointer,
    }

    fn member() -> Member {
        member_that_caches(1 << 20)
    }

    fn member_that_caches(cache_bytes: usize) -> Member {
        let disk = SimDisk::new();
        let options = wal::Options { segment_bytes: 64 * 1024, ..wal::Options::default() };
        let (wal, writer, _) = Wal::open(Arc::new(disk.clone()), Arc::new(SeededRandom::new(1)), options).unwrap();
        let storage = Storage::open(Arc::new(disk.clone()), Path::new("state"), cache_bytes).unwrap();
        let meta = storage.meta().unwrap();
        let machine = RwLock::new(Machine::load(&storage, usize::MAX).unwrap());
        let shared = Arc::new(Shared { machine, storage: ArcSwap::from_pointee(storage) });
        let reserve = Reserve::new(Arc::new(disk.clone()), Path::new("reserve"));
        let checkpoints = Checkpoints::new(shared.clone(), wal.clone(), &meta, reserve);
        let checkpointer = Checkpointer::new(checkpoints.clone());
        Member { disk, shared, wal, writer, checkpoints, checkpointer }
    }

    impl Member {
        /// Appends an entry and applies it, before it is durable.
        fn apply(&self, command: &Command, membership: &'static [u8]) {
            let mut machine = self.shared.machine.write();
            let at = LogId { term: 1, index: machine.applied().index + 1 };
            let entry = LogEntry { index: at.index, term: at.term, payload: Bytes::new() };
            self.wal.append(vec![entry], Box::new(|_| {})).unwrap();
            machine.begin_entry(at).unwrap();
            let mut effects = Effects::default();
            machine.apply(command, &self.shared.storage.load(), &mut effects).unwrap().unwrap();
            self.checkpoints.add(&mut effects.writes, machine.meta(Bytes::from_static(membership)));
        }

        fn put(&self, value: impl Into<Bytes>) {
            let (key, value) = (Bytes::from_static(b"key"), value.into());
            self.apply(&Command::Put(Put { key, value, ..Put::default() }), b"voters");
        }

        /// The first byte of each value in the tables.
        fn values(&self) -> Vec<u8> {
            let mut values = Vec::new();
            let storage = self.shared.storage.load();
            for part in storage.load_records(2, Vec::with_capacity).unwrap() {
                values.extend(part.iter().map(|(_, record)| record.value()[0]));
            }
            values
        }
    }

    #[test]
    fn a_checkpoint_waits_until_the_log_is_durable_that_far() {
        let Member { shared, mut writer, checkpoints, mut checkpointer, .. } = {
            let member = member();
            member.put("a");
            member
        };
        let thread = std::thread::spawn(move || checkpointer.step());
        while checkpoints.pending.lock().bytes > 0 {
            std::thread::yield_now();
        }
        assert_eq!((checkpoints.applied(), shared.storage.load().meta().unwrap().applied.index), (0, 0));
        assert!(writer.step());
        assert!(thread.join().unwrap());
        assert_eq!((checkpoints.applied(), shared.storage.load().meta().unwrap().applied.index), (1, 1));
    }

    #[test]
    fn a_log_that_fails_ends_checkpoints_before_they_are_ahead_of_it() {
        let mut member = member();
        member.put("a");
        drop(member.writer);
        assert!(!member.checkpointer.step());
        assert_eq!(member.shared.storage.load().meta().unwrap().applied.index, 0);
    }

    /// Compaction found the buffer empty while a checkpoint with a new membership was on its way, and took the membership
    /// of the tables, which was the old one. The next checkpoint wrote it over the new one.
    #[test]
    fn removals_do_not_bring_an_older_membership_back() {
        let member = member();
        member.put("a");
        member.put("b");
        member.apply(&Command::Compact(Compact { revision: Revision(3), physical: false }), b"new voters");
        let Member { shared, mut writer, checkpoints, mut checkpointer, .. } = member;
        let thread = std::thread::spawn(move || (checkpointer.step(), checkpointer));
        while checkpoints.pending.lock().bytes > 0 {
            std::thread::yield_now();
        }
        assert!(!checkpoints.compact_step(1000), "it has visited all");
        assert!(writer.step());
        let (is_running, mut checkpointer) = thread.join().unwrap();
        assert!(is_running && checkpointer.step());
        assert_eq!(shared.storage.load().meta().unwrap().membership, Bytes::from_static(b"new voters"));
    }

    #[test]
    fn what_compaction_finds_goes_with_later_checkpoints_but_not_with_the_last() {
        let mut member = member();
        for value in ["a", "b", "c"] {
            member.put(value);
        }
        member.apply(&Command::Compact(Compact { revision: Revision(4), physical: false }), b"voters");
        assert!(member.writer.step() && member.checkpointer.step());
        assert_eq!((member.values(), member.checkpointer.has_work()), (b"abc".to_vec(), Some(false)));
        assert!(!member.checkpoints.compact_step(1000));
        assert_eq!(member.checkpointer.has_work(), Some(true));
        assert!(!member.checkpoints.removals.are_done());
        assert!(member.checkpointer.step());
        assert_eq!((member.values(), member.checkpointer.has_work()), (b"c".to_vec(), Some(false)));
        assert!(member.checkpoints.removals.are_done());

        member.put("d");
        member.apply(&Command::Compact(Compact { revision: Revision(5), physical: false }), b"voters");
        assert!(!member.checkpoints.compact_step(1000));
        member.checkpoints.close();
        assert!(member.writer.step() && member.checkpointer.step());
        assert_eq!((member.values(), member.checkpointer.has_work()), (b"cd".to_vec(), None));
        // The next start finds it again.
        let storage = member.shared.storage.load();
        let mut loaded = Machine::load(&storage, usize::MAX).unwrap();
        assert_eq!(loaded.kv.compact_step(1000).map(|removed| removed.len()), Some(1));
    }

    #[test]
    fn removals_that_found_no_space_are_not_joined_by_others() {
        let mut member = member();
        for value in [vec![b'a'; 10], vec![b'b'; 10]] {
            member.put(value);
        }
        member.apply(&Command::Compact(Compact { revision: Revision(3), physical: false }), b"voters");
        assert!(member.writer.step() && member.checkpointer.step());
        assert!(!member.checkpoints.compact_step(1000));
        member.put(vec![b'c'; LARGE_BYTES]);
        assert!(member.writer.step());
        member.disk.set_full(true);
        assert!(member.checkpointer.step() && member.checkpointer.step());
        assert_eq!(member.checkpoints.pending.lock().removals, 1);
        member.disk.set_full(false);
        assert!(member.checkpointer.step());
        assert_eq!((member.values(), member.checkpoints.removals.are_done()), (b"bc".to_vec(), true));
    }

    /// A leader whose checkpoint was damaged began to send it again and again, and went on otherwise.
    #[test]
    fn a_snapshot_that_cannot_be_read_ends_the_member() {
        let mut member = member_that_caches(0);
        let command = Put { key: Bytes::from_static(b"key"), value: Bytes::from_static(b"value"), ..Put::default() };
        member.apply(&Command::Put(command), b"");
        assert!(member.writer.step() && member.checkpointer.step());
        let failed = || member.checkpoints.progress.borrow().failed.clone();
        let pinned = snapshot_of(member.checkpoints.storage().freeze().unwrap(), member.checkpoints.clone());
        let pinned = pinned.unwrap().snapshot;
        pinned.write_to(0, &mut Vec::new()).unwrap();
        // Whoever is to have it is gone: that is no damage.
        pinned.write_to(0, &mut [0_u8; 20].as_mut_slice()).unwrap_err();
        assert_eq!(failed(), None);

        let file = member.disk.open(Path::new("state")).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(0, &mut bytes).unwrap();
        for (at, _) in bytes.windows(5).enumerate().filter(|(_, window)| window == b"value") {
            file.write_all_at(at as u64, b"other").unwrap();
        }
        pinned.write_to(0, &mut Vec::new()).unwrap_err();
        let told = failed().unwrap();
        assert!(told.starts_with("state is damaged at records/2_0: its checksum does not match"), "{told}");
    }

    #[test]
    fn a_full_disk_makes_checkpoints_wait_and_loses_nothing() {
        let mut member = member();
        member.put("a");
        assert!(member.writer.step() && member.checkpointer.step());
        member.put(vec![b'b'; LARGE_BYTES]);
        assert!(member.writer.step());
        member.disk.set_full(true);
        assert!(member.checkpointer.step(), "it is no end");
        assert_eq!((member.checkpoints.applied(), member.values()), (1, vec![b'a']));
        assert!(member.checkpoints.pending_bytes() > 0);
        member.disk.set_full(false);
        member.put("c");
        assert!(member.writer.step() && member.checkpointer.step());
        assert_eq!(member.checkpoints.applied(), 3);
        assert_eq!(member.values(), b"abc");
        assert_eq!(member.checkpoints.pending_bytes(), 0);
    }

    #[test]
    fn a_checkpoint_without_space_gets_the_reserve_and_nothing_grows_until_that_is_back() {
        let mut member = member();
        assert!(member.checkpointer.keep_reserve());
        let takes = |member: &Member| [Demand::Growing, Demand::Freeing].map(|demand| member.checkpoints.takes(demand));
        member.put(vec![b'a'; LARGE_BYTES]);
        assert!(member.writer.step());
        member.disk.set_full(true);
        assert_eq!(takes(&member), [true, true], "nobody has asked the disk for anything");
        assert!(member.checkpointer.step());
        assert_eq!(
            (member.checkpoints.applied(), member.checkpoints.pending_bytes()),
            (1, 0),
            "the reserve was enough"
        );
        assert_eq!(takes(&member), [false, true]);

        member.put(vec![b'b'; PENDING_BYTES_FULL]);
        assert!(member.writer.step() && member.checkpointer.keep_reserve() && member.checkpointer.step());
        assert_eq!(takes(&member), [false, false], "so much waits that what frees space has to wait too");
        member.disk.set_full(false);
        assert!(member.checkpointer.keep_reserve() && member.checkpointer.step());
        assert_eq!((member.checkpoints.applied(), takes(&member)), (2, [true, true]));
    }

    #[tokio::test]
    async fn who_does_not_wait_for_space_hears_that_there_is_none() {
        let mut member = member();
        member.put(vec![b'a'; LARGE_BYTES]);
        assert!(member.writer.step());
        member.disk.set_full(true);
        assert!(member.checkpointer.step());
        let why = member.checkpoints.flush_if_there_is_space().await.unwrap_err();
        assert_eq!(&*why, "no space is left on the disk");
        member.disk.set_full(false);
        assert!(member.checkpointer.step());
        member.checkpoints.flush_if_there_is_space().await.unwrap();
    }

    #[test]
    fn the_last_checkpoint_does_not_wait_for_space() {
        let mut member = member();
        member.put(vec![b'a'; LARGE_BYTES]);
        assert!(member.writer.step());
        member.disk.set_full(true);
        member.checkpoints.close();
        assert!(!member.checkpointer.step());
        assert_eq!(member.checkpoints.applied(), 0);
    }
}
