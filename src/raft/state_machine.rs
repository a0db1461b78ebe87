//! openraft's state machine over ours: runs of committed entries go in, answers and effects come out.
//!
//! For each run, in this order: decode; apply everything under one hold of the machine, passing the table writes on to
//! the next checkpoint; let go, which makes the new revision visible; hand events to the observer; answer the
//! proposers; tell the observer that the run is over, so that it wakes each connection once.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use parking_lot::Mutex;

use super::batch;
use super::checkpoint::Checkpoints;
use super::log_codec::{decode_stored_membership, encode_stored_membership};
use super::snapshot::{Received, SnapshotBuilder, SnapshotData, SnapshotOf, snapshot_of};
use super::types::{Answers, Entry, SnapshotMeta, StoredMembership, Tc, TheirLogId, ours, theirs};
use crate::env::{Clock, Disk, SyncSite, go_duration};
use crate::machine::{
    AuthEffect, Effects, LeaseChange, Machine, MemberChange, Rejection, Shared, Tally, VersionChange,
};
use crate::metrics::{ApplyTimes, Gauge, Metrics, MvccMetrics, Op, Stopwatch};
use crate::model::{AuthChange, Command, Event, LogId, Reply, Request, Revision};
use crate::storage::{self, Storage};

/// How many entries are applied under one hold of the machine.
const RUN_ENTRIES_MAX: usize = 64;

/// Hears of what was applied, on the thread that applies.
pub trait Observer: Send + Sync + 'static {
    /// A run is applied and visible; nobody was answered yet.
    fn applied(&self, run: Run);
    /// A batch that a follower passed on was applied; it is known again by its number.
    fn forwarded(&self, number: u64, results: Vec<Result<Reply, Rejection>>);
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
    /// Members were added, removed or changed, in order.
    pub members: Vec<MemberChange>,
    /// The cluster has agreed on a version.
    pub version: Option<VersionChange>,
    /// Users or roles were changed, or tokens given or taken, in order.
    pub auth: Vec<AuthEffect>,
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
    /// How much redb may cache.
    pub cache_bytes: usize,
    /// Bytes of newest pairs that may be in memory.
    pub values_max: usize,
}

/// The adapter.
pub struct StateMachine {
    shared: Arc<Shared>,
    checkpoints: Arc<Checkpoints>,
    observer: Arc<dyn Observer>,
    files: StateFiles,
    membership: StoredMembership,
    clock: Arc<dyn Clock>,
    /// Commands that take longer are logged.
    slow: Duration,
    counters: Counters,
}

/// What apply counts.
struct Counters {
    mvcc: MvccMetrics,
    /// Nobody else wants it: the lock says that to the compiler.
    times: Mutex<ApplyTimes>,
    installing: Gauge,
}

impl Counters {
    /// Tells what a run has done.
    fn add(&mut self, Tally { puts, deletes, ranges, txns, put_bytes }: Tally) {
        let mvcc = &self.mvcc;
        for (counter, count) in
            [(&mvcc.puts, puts), (&mvcc.deletes, deletes), (&mvcc.ranges, ranges), (&mvcc.txns, txns)]
        {
            if count > 0 {
                counter.inc_by(count);
            }
        }
        mvcc.put_bytes.add(i64::try_from(put_bytes).unwrap_or(i64::MAX));
        self.times.get_mut().flush();
    }
}

impl StateMachine {
    /// Serves a state that was just loaded; `meta` is what its storage says.
    ///
    /// # Errors
    /// If the membership cannot be read.
    pub fn new(
        (shared, meta, files): (Arc<Shared>, &storage::Meta, StateFiles),
        checkpoints: Arc<Checkpoints>,
        observer: Arc<dyn Observer>,
        (clock, slow): (Arc<dyn Clock>, Duration),
        metrics: &Metrics,
    ) -> io::Result<StateMachine> {
        let membership = decode_stored_membership(&meta.membership)?;
        let (mvcc, times) = (metrics.mvcc.clone(), Mutex::new(metrics.server.apply_times(slow)));
        let counters = Counters { mvcc, times, installing: metrics.checkpoint.installing.clone() };
        Ok(StateMachine { shared, checkpoints, observer, files, membership, clock, slow, counters })
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
        // What waits for the machine is late, too.
        let mut began = self.clock.now();
        let mut late = Vec::new();

        let (applied, revision) = {
            let mut machine = self.shared.machine.write();
            let mut watch = Stopwatch::start();
            for (at, content) in &entries {
                machine.begin_entry(*at).map_err(io::Error::other)?;
                let mut replies = Vec::new();
                match content {
                    Content::Blank => led = Some(at.term),
                    Content::Membership(membership) => self.membership = membership.clone(),
                    Content::Commands(_, requests) => {
                        replies.reserve_exact(requests.len());
                        for Request { caller, command } in requests {
                            let reply = machine
                                .apply_by(caller.as_ref(), command, &storage, &mut effects)
                                .map_err(io::Error::other)?;
                            // etcd takes a compaction that was refused for one that was not.
                            let succeeded = reply.is_ok() || matches!(command, Command::Compact(_));
                            self.counters.times.get_mut().add(op(command), succeeded, watch.lap());
                            replies.push(reply);
                        }
                    }
                }
                let now = self.clock.now();
                if now.since(began) > self.slow {
                    late.push((
                        content,
                        now.since(began),
                        replies.iter().find_map(|reply| reply.as_ref().err().cloned()),
                    ));
                }
                answers.push((content.number(), Answers { results: replies, began }));
                began = now;
            }
            let meta = machine.meta(encode_stored_membership(&self.membership));
            self.checkpoints.add(&mut effects.writes, meta);
            (machine.applied(), machine.kv.revision())
        };

        for (content, took, rejection) in late {
            tell_late(content, (took, self.slow), rejection.as_ref());
        }
        let Effects { events, leases, compacted, members, version, auth, tally, writes: _ } = effects;
        self.counters.add(tally);
        self.observer.applied(Run { applied, revision, events, leases, compacted, members, version, auth, led });
        for (responder, (number, answers)) in responders.into_iter().zip(answers) {
            match (responder, number) {
                (Some(responder), _) => responder.send(answers),
                (None, Some(number)) => self.observer.forwarded(number, answers.results),
                (None, None) => {}
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
            EntryPayload::Normal(batch) => {
                let decoded = batch::decode(&batch);
                let (number, requests) =
                    decoded.map_err(|error| io::Error::other(format!("log entry {at}: {error}")))?;
                Content::Commands(number, requests)
            }
        };
        Ok((at, content))
    }

    /// Puts a state that was received and built aside in the place of the present one, whole.
    fn install(&self, received: &Received) -> io::Result<StoredMembership> {
        let built = received.path.as_path();
        let records = received.records.lock().take();
        let StateFiles { disk, dir, state, cache_bytes, values_max } = &self.files;
        let mut membership = StoredMembership::default();
        self.checkpoints.replace(|| {
            disk.rename(built, state)?;
            disk.sync_dir(dir, SyncSite::DataFolder)?;
            let storage = Storage::open_built(&**disk, state, *cache_bytes).map_err(io::Error::other)?;
            tracing::info!("applySnapshot: opened snapshot backend");
            let meta = storage.meta().map_err(io::Error::other)?;
            membership = decode_stored_membership(&meta.membership)?;
            let machine = match records {
                Some(records) => Machine::of_records(&storage, records, *values_max),
                // They were too many to be kept.
                None => Machine::load(&storage, *values_max),
            };
            let machine = machine.map_err(io::Error::other)?;
            let mut present = self.shared.machine.write();
            self.shared.storage.store(Arc::new(storage));
            *present = machine;
            io::Result::Ok(meta)
        })?;
        self.observer.replaced();
        Ok(membership)
    }
}

/// Tells of commands that took long to apply. Those of one entry are timed together, so only of a single one its answer is
/// known.
///
/// Source: etcd, `server/etcdserver/txn/util.go`.
fn tell_late(content: &Content, (took, expected): (Duration, Duration), rejection: Option<&Rejection>) {
    let Content::Commands(_, requests) = content else { return };
    let Some(first) = requests.first() else { return };
    let (request, error) = (first.command.summary(), rejection.map(ToString::to_string));
    tracing::warn!(
        took = go_duration(took),
        "expected-duration" = go_duration(expected),
        prefix = "",
        request,
        "request-count" = requests.len(),
        response = "",
        error,
        "apply request took too long"
    );
}

/// What etcd calls a command.
fn op(command: &Command) -> Op {
    match command {
        Command::Put(_) => Op::Put,
        Command::DeleteRange(_) => Op::DeleteRange,
        Command::Txn(_) => Op::Txn,
        Command::Compact(_) => Op::Compaction,
        Command::LeaseGrant(_) => Op::LeaseGrant,
        Command::LeaseRevoke(_) | Command::LeaseExpire(_) => Op::LeaseRevoke,
        Command::LeaseCheckpoint(_) => Op::LeaseCheckpoint,
        Command::Alarm(_) => Op::Alarm,
        Command::Authenticate(_) => Op::Authenticate,
        Command::Auth(change) => match change {
            AuthChange::Enable => Op::AuthEnable,
            AuthChange::Disable => Op::AuthDisable,
            AuthChange::UserAdd { .. } => Op::AuthUserAdd,
            AuthChange::UserDelete { .. } => Op::AuthUserDelete,
            AuthChange::UserChangePassword { .. } => Op::AuthUserChangePassword,
            AuthChange::UserGrantRole { .. } => Op::AuthUserGrantRole,
            AuthChange::UserRevokeRole { .. } => Op::AuthUserRevokeRole,
            AuthChange::RoleAdd { .. } => Op::AuthRoleAdd,
            AuthChange::RoleDelete { .. } => Op::AuthRoleDelete,
            AuthChange::RoleGrantPermission { .. } => Op::AuthRoleGrantPermission,
            AuthChange::RoleRevokePermission { .. } => Op::AuthRoleRevokePermission,
        },
        Command::Downgrade(_) => Op::DowngradeInfoSet,
        Command::MemberAttributes(_) => Op::ClusterMemberAttrSet,
        Command::MemberSet(_)
        | Command::MembersFound(_)
        | Command::MemberAdd(_)
        | Command::MemberRemove(_)
        | Command::MemberUpdate(_)
        | Command::MemberPromote(_)
        | Command::MembersReduce(_) => Op::Membership,
    }
}

/// What an entry asks for.
enum Content {
    Blank,
    Membership(StoredMembership),
    /// With a number if a follower passed them on.
    Commands(Option<u64>, Vec<Request>),
}

impl Content {
    fn number(&self) -> Option<u64> {
        match self {
            Content::Blank | Content::Membership(_) => None,
            Content::Commands(number, _) => *number,
        }
    }
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

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let SnapshotData::Received(received) = &snapshot else {
            // openraft finds the present checkpoint newer than what is applied only if it was received.
            return Err(io::Error::other("a snapshot of this member itself cannot be installed"));
        };
        // Blocks the worker of the state machine for as long as it takes: nothing can be applied meanwhile anyway.
        let incoming = meta.last_log_id.as_ref().map(ours).unwrap_or_default();
        let current = (self.checkpoints.applied(), self.shared.machine.read().applied().index);
        let tell = |what: &str| {
            tracing::info!(
                "current-snapshot-index" = current.0,
                "current-applied-index" = current.1,
                "incoming-leader-snapshot-index" = incoming.index,
                "incoming-leader-snapshot-term" = incoming.term,
                "{what}"
            );
        };
        tell("applying snapshot");
        self.counters.installing.set(1);
        let installed = self.install(received);
        self.counters.installing.set(0);
        self.membership = installed?;
        tell("applied snapshot");
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf>> {
        let frozen = self.checkpoints.storage().freeze().map_err(io::Error::other)?;
        if frozen.meta().applied == LogId::default() {
            return Ok(None);
        }
        snapshot_of(frozen, self.checkpoints.clone()).map(Some)
    }
}
