//! openraft's state machine over ours: runs of committed entries go in, answers and effects come out.
//!
//! For each run, in this order: decode; apply everything under one hold of the machine, passing the table writes on to
//! the next checkpoint; let go, which makes the new revision visible; hand events to the observer; answer the
//! proposers; tell the observer that the run is over, so that it wakes each connection once.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};

use super::batch;
use super::checkpoint::Checkpoints;
use super::log_codec::{decode_stored_membership, encode_stored_membership};
use super::snapshot::{SnapshotBuilder, SnapshotData, snapshot_of};
use super::types::{Answers, Entry, StoredMembership, Tc, TheirLogId, ours, theirs};
use crate::env::{Disk, SyncSite};
use crate::machine::{Effects, LeaseChange, Machine, Shared};
use crate::model::{Command, Event, LogId, Revision};
use crate::storage::{self, Storage};

/// How many entries are applied under one hold of the machine.
const RUN_ENTRIES_MAX: usize = 64;

/// Hears of what was applied, on the thread that applies.
pub trait Observer: Send + Sync + 'static {
    /// A run is applied and visible; nobody was answered yet.
    fn applied(&self, run: Run);
    /// The proposers of the run were answered.
    fn answered(&self);
    /// The whole state was replaced by a snapshot.
    fn replaced(&self);
}

/// What a run of applied entries leaves for the outside.
#[derive(Debug)]
pub struct Run {
    /// The last entry.
    pub applied: LogId,
    /// The store's revision after it.
    pub revision: Revision,
    /// What watchers must hear, in order.
    pub events: Vec<Event>,
    /// What the expiry clock must hear, in order.
    pub leases: Vec<LeaseChange>,
    /// The newest compaction.
    pub compacted: Option<Revision>,
    /// The term whose leader's first (blank) entry was in the run.
    pub led: Option<u64>,
}

/// Where the member's files are.
#[derive(Debug, Clone)]
pub struct StateFiles {
    /// The disk of the data folder.
    pub disk: Arc<dyn Disk>,
    /// The folder that holds the checkpoint.
    pub dir: PathBuf,
    /// The checkpoint's path.
    pub state: PathBuf,
    /// Where a received snapshot is built.
    pub incoming: PathBuf,
    /// How much redb may cache.
    pub cache_bytes: usize,
}

/// The adapter.
pub struct StateMachine {
    shared: Arc<Shared>,
    checkpoints: Arc<Checkpoints>,
    observer: Arc<dyn Observer>,
    files: StateFiles,
    membership: StoredMembership,
}

impl StateMachine {
    /// Serves a state that was just loaded; `meta` is what its storage says.
    ///
    /// # Errors
    /// If the membership cannot be read.
    pub fn new(
        shared: Arc<Shared>,
        checkpoints: Arc<Checkpoints>,
        observer: Arc<dyn Observer>,
        files: StateFiles,
        meta: &storage::Meta,
    ) -> io::Result<StateMachine> {
        let membership = decode_stored_membership(&meta.membership)?;
        Ok(StateMachine { shared, checkpoints, observer, files, membership })
    }

    fn apply_run(&mut self, run: Vec<EntryResponder<Tc>>) -> io::Result<()> {
        let mut entries = Vec::with_capacity(run.len());
        let mut responders = Vec::with_capacity(run.len());
        for (entry, responder) in run {
            entries.push(self.decode(entry)?);
            responders.push(responder);
        }
        let storage = self.shared.storage.load_full();
        let mut effects = Effects::default();
        let mut answers = Vec::with_capacity(entries.len());
        let mut led = None;

        let (applied, revision) = {
            let mut machine = self.shared.machine.write();
            for (at, content) in &entries {
                machine.begin_entry(*at).map_err(io::Error::other)?;
                let mut replies = Vec::new();
                match content {
                    Content::Blank => led = Some(at.term),
                    Content::Membership(membership) => self.membership = membership.clone(),
                    Content::Commands(commands) => {
                        replies.reserve_exact(commands.len());
                        for command in commands {
                            let reply = machine.apply(command, &storage, &mut effects).map_err(io::Error::other)?;
                            replies.push(reply);
                        }
                    }
                }
                answers.push(Answers(replies));
            }
            let meta = machine.meta(encode_stored_membership(&self.membership));
            self.checkpoints.add(&mut effects.writes, meta);
            (machine.applied(), machine.kv.revision())
        };

        let Effects { events, leases, compacted, writes: _ } = effects;
        self.observer.applied(Run { applied, revision, events, leases, compacted, led });
        for (responder, answers) in responders.into_iter().zip(answers) {
            if let Some(responder) = responder {
                responder.send(answers);
            }
        }
        self.observer.answered();
        Ok(())
    }

    fn decode(&self, entry: Entry) -> io::Result<(LogId, Content)> {
        let at = ours(&entry.log_id);
        let content = match entry.payload {
            EntryPayload::Blank => Content::Blank,
            EntryPayload::Membership(membership) => {
                Content::Membership(StoredMembership::new(Some(entry.log_id), membership))
            }
            EntryPayload::Normal(batch) => Content::Commands(
                batch::decode(&batch).map_err(|error| io::Error::other(format!("log entry {at}: {error}")))?,
            ),
        };
        Ok((at, content))
    }

    /// Builds the received state aside and puts it in the place of the present one, whole.
    fn install(&self, snapshot: &SnapshotData) -> io::Result<StoredMembership> {
        let StateFiles { disk, dir, state, incoming, cache_bytes } = &self.files;
        if disk.exists(incoming)? {
            disk.remove(incoming)?;
        }
        copy(snapshot, disk, incoming)?;
        let mut membership = StoredMembership::default();
        self.checkpoints.replace(|| {
            disk.rename(incoming, state)?;
            disk.sync_dir(dir, SyncSite::DataFolder)?;
            let storage = Storage::open(disk.clone(), state, *cache_bytes).map_err(io::Error::other)?;
            // A snapshot belongs to nobody: the file keeps the identity of the one it replaces.
            if let Some(identity) = self.shared.storage.load().identity().map_err(io::Error::other)? {
                storage.set_identity(identity).map_err(io::Error::other)?;
            }
            let meta = storage.meta().map_err(io::Error::other)?;
            membership = decode_stored_membership(&meta.membership)?;
            let machine = Machine::load(&storage).map_err(io::Error::other)?;
            let mut present = self.shared.machine.write();
            self.shared.storage.store(Arc::new(storage));
            *present = machine;
            io::Result::Ok(meta)
        })?;
        self.observer.replaced();
        Ok(membership)
    }
}

/// What an entry asks for.
enum Content {
    Blank,
    Membership(StoredMembership),
    Commands(Vec<Command>),
}

/// Streams a pinned state into a new file, through a pipe of the system's size.
fn copy(snapshot: &SnapshotData, disk: &Arc<dyn Disk>, to: &std::path::Path) -> io::Result<()> {
    let (mut reader, mut writer) = io::pipe()?;
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || snapshot.0.export(&mut writer));
        let imported = storage::import(disk.clone(), to, &mut reader);
        // The sender must see the end of the pipe before it is waited for.
        drop(reader);
        let sent = sender.join().map_err(|_| io::Error::other("the snapshot could not be read"))?;
        imported.map_err(io::Error::other)?;
        sent.map_err(io::Error::other)
    })
}

impl RaftStateMachine<Tc> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<TheirLogId>, StoredMembership)> {
        Ok((theirs(self.shared.machine.read().applied()), self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = Result<EntryResponder<Tc>, io::Error>> + Unpin + OptionalSend,
    {
        let mut run = Vec::new();
        while let Some(entry) = entries.next().await {
            run.push(entry?);
            if run.len() == RUN_ENTRIES_MAX {
                self.apply_run(std::mem::take(&mut run))?;
            }
        }
        if run.is_empty() { Ok(()) } else { self.apply_run(run) }
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder { checkpoints: self.checkpoints.clone() }
    }

    async fn install_snapshot(&mut self, _meta: &SnapshotMetaOf<Tc>, snapshot: SnapshotData) -> io::Result<()> {
        // Blocks the worker of the state machine for as long as it takes: nothing can be applied meanwhile anyway.
        self.membership = self.install(&snapshot)?;
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Tc, SnapshotData>>> {
        let frozen = self.checkpoints.storage().freeze().map_err(io::Error::other)?;
        if frozen.meta().applied == LogId::default() {
            return Ok(None);
        }
        snapshot_of(frozen).map(Some)
    }
}
