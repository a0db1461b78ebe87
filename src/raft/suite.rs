//! openraft's own storage suite over our log and state machine.
//!
//! The suite applies entries that it never appended, and with gaps between them. No Raft does either: our machine takes a
//! gap for a fault, and our checkpointer waits until the log is durable as far as it was applied. [`Filled`] makes up for
//! both: it puts blank entries into the gaps, and everything that it applies into a log of its own, which is the one that
//! the checkpointer waits for. Everything else goes through as it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::{Stream, StreamExt, stream};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{EntryPayload, OptionalSend, StorageError};
use parking_lot::RwLock;

use super::log_store::LogStore;
use super::log_times::LogTimes;
use super::snapshot::{Received, SnapshotBuilder, SnapshotData, SnapshotOf};
use super::state_machine::StateMachine;
use super::types::{Entry, SnapshotMeta, StoredMembership, Tc, TheirLogId, ours, theirs};
use super::{Checkpointer, Checkpoints, Observer, Run, StateFiles};
use crate::env::{Clock, RealDisk, SystemClock, SystemRandom};
use crate::machine::{Machine, Rejection, Shared};
use crate::metrics::{CheckpointMetrics, Metrics};
use crate::model::{LogId, Reply};
use crate::storage::{self, Reserve, Storage};
use crate::wal::{self, LogEntry, Recovered, Wal};

struct Deaf;

impl Observer for Deaf {
    fn applied(&self, _run: Run) {}
    fn forwarded(&self, _number: u64, _results: Vec<Result<Reply, Rejection>>) {}
    fn answered(&self) {}
    fn replaced(&self) {}
}

struct Stores;

/// Ends the threads of a store when the suite is done with it.
struct Guard {
    wal: Wal,
    applied_log: Wal,
    checkpoints: Arc<Checkpoints>,
    _dir: tempfile::TempDir,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.checkpoints.close();
        self.wal.close();
        self.applied_log.close();
    }
}

/// The state machine behind filled gaps.
struct Filled {
    inner: StateMachine,
    shared: Arc<Shared>,
    disk: Arc<RealDisk>,
    /// Holds what was applied, as a member's log would.
    applied_log: Wal,
}

impl Filled {
    /// Puts entries up to `until` (exclusive) into the log of what is applied.
    fn log(&self, from: u64, until: u64, term: u64) -> std::io::Result<()> {
        let entry = |index| LogEntry { index, term, payload: bytes::Bytes::new() };
        self.applied_log.append((from..until).map(entry).collect(), Box::new(|_| {}))
    }
}

impl RaftStateMachine<Tc> for Filled {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> std::io::Result<(Option<TheirLogId>, StoredMembership)> {
        self.inner.applied_state().await
    }

    async fn apply<S>(&mut self, entries: S) -> std::io::Result<()>
    where
        S: Stream<Item = Result<EntryResponder<Tc>, std::io::Error>> + Unpin + OptionalSend,
    {
        let entries: Vec<_> = entries.collect().await;
        for entry in entries {
            let entry = entry?;
            let applied = self.shared.machine.read().applied();
            let at = ours(&entry.0.log_id);
            let fill = |index| {
                let log_id = theirs(LogId { term: at.term, index }).expect("it is not the first");
                Ok((Entry { log_id, payload: EntryPayload::Blank }, None))
            };
            // The first of all may be at any index.
            let from = if applied.index == 0 { at.index } else { applied.index + 1 };
            self.log(from, at.index + 1, at.term)?;
            let filled: Vec<_> = (from..at.index).map(fill).collect();
            self.inner.apply(stream::iter(filled.into_iter().chain([Ok(entry)]))).await?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        self.inner.get_snapshot_builder().await
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> std::io::Result<()> {
        // The suite hands over what another store has built; from another member it would have come as a file.
        let mut bytes = Vec::new();
        snapshot.write_to(0, &mut bytes)?;
        let built = PathBuf::from("snapshot.redb");
        let imported = storage::Import::of_pieces(self.disk.clone(), &built, [bytes.as_slice()]);
        let imported = imported.map_err(std::io::Error::other)?;
        let records = std::sync::Arc::new(parking_lot::Mutex::new(imported.records));
        self.inner.install_snapshot(meta, SnapshotData::Received(Received { path: built, records })).await?;
        self.applied_log.purge(self.shared.machine.read().applied().index, bytes::Bytes::new())
    }

    async fn get_current_snapshot(&mut self) -> std::io::Result<Option<SnapshotOf>> {
        self.inner.get_current_snapshot().await
    }
}

impl StoreBuilder<Tc, LogStore, Filled, Guard> for Stores {
    async fn build(&self) -> Result<(Guard, LogStore, Filled), StorageError<Tc>> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let disk = Arc::new(RealDisk::new(dir.path()));
        let files = StateFiles {
            disk: disk.clone(),
            dir: PathBuf::from("."),
            state: PathBuf::from("state.redb"),
            cache_bytes: 1 << 20,
            values_max: usize::MAX,
        };
        let (wal, recovered) = new_log(&disk, Path::new("log"));
        let (applied_log, _) = new_log(&disk, Path::new("applied"));
        let storage = Storage::open(disk.clone(), &files.state, files.cache_bytes).expect("a new checkpoint opens");
        let meta = storage.meta().expect("it has meta");
        let machine = Machine::load(&storage, usize::MAX).expect("it is empty");
        let shared = Arc::new(Shared { machine: RwLock::new(machine), storage: ArcSwap::from_pointee(storage) });
        let reserve = Reserve::new(disk.clone(), Path::new("reserve"));
        let checkpoints =
            Checkpoints::new(shared.clone(), applied_log.clone(), (&meta, reserve), CheckpointMetrics::default());
        let checkpointer = Checkpointer::new(checkpoints.clone());
        std::thread::spawn(move || checkpointer.run());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let log_store =
            LogStore::new(wal.clone(), &recovered, LogTimes::new(clock.clone())).expect("a new log has no marks");
        let (state, timing) = ((shared.clone(), &meta, files), (clock, Duration::MAX));
        let state_machine = StateMachine::new(state, checkpoints.clone(), Arc::new(Deaf), timing, &Metrics::default())
            .expect("a new state");
        let filled = Filled { inner: state_machine, shared, disk, applied_log: applied_log.clone() };
        Ok((Guard { wal, applied_log, checkpoints, _dir: dir }, log_store, filled))
    }
}

/// A log whose thread runs.
fn new_log(disk: &Arc<RealDisk>, dir: &Path) -> (Wal, Recovered) {
    let options = wal::Options { dir: dir.to_path_buf(), segment_bytes: 64 * 1024, ..wal::Options::default() };
    let (wal, writer, recovered) = Wal::open(disk.clone(), Arc::new(SystemRandom), options).expect("a new log opens");
    std::thread::spawn(move || writer.run());
    (wal, recovered)
}

#[test]
fn openraft_storage_suite() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(Suite::test_all(Stores)).expect("every case passes");
}
