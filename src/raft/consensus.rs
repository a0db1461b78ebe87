//! The handle of one member's Raft: start, propose, read barrier, status, stop.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, Fatal, InitializeError, LinearizableReadError, RaftError};
use openraft::metrics::{RaftDataMetrics, RaftServerMetrics};
use openraft::type_config::alias::WatchReceiverOf;
use openraft::{Config, EmptyNode, Instant as _, ReadPolicy, ServerState, SnapshotPolicy};

use super::inbound::Incoming;
use super::log_store::LogStore;
use super::log_times::LogTimes;
use super::network::Network;
use super::state_machine::StateMachine;
use super::types::{Answers, Batch, OnComplete, Tc, ours};
use super::{Checkpoints, DecodeError, Observer, Proposal, Space, StateFiles, batch};
use crate::env::{Clock, Tick};
use crate::machine::{Rejection, Shared};
use crate::metrics::Metrics;
use crate::model::{LogId, MemberId, Reply};
use crate::storage;
use crate::wal::{Demand, Recovered, Wal};

/// Entries that one append request may carry.
const APPEND_ENTRIES_MAX: u64 = 4096;

/// How a member takes part.
#[derive(Debug, Clone)]
pub struct ConsensusOptions {
    /// Who this is.
    pub member: MemberId,
    /// How often a leader shows that it lives.
    pub heartbeat: Duration,
    /// How long a follower waits for it, as etcd's flag means it.
    pub election_timeout: Duration,
    /// Applied entries from one snapshot to the next.
    pub snapshot_entries: u64,
    /// Entries kept behind a snapshot, for followers that are a little late.
    pub catchup_entries: u64,
    /// Ask whether an election can be won before it is begun.
    pub pre_vote: bool,
    /// An entry whose commands take longer to apply is logged.
    pub slow_apply: Duration,
    /// What is counted and measured.
    pub metrics: Arc<Metrics>,
}

/// One member's part in the group.
#[derive(Clone)]
pub struct Consensus {
    pub(super) raft: openraft::Raft<Tc, StateMachine>,
    /// Kept because each look at a fresh one costs a registration.
    pub(super) server_metrics: WatchReceiverOf<Tc, RaftServerMetrics<Tc>>,
    pub(super) data_metrics: WatchReceiverOf<Tc, RaftDataMetrics<Tc>>,
    pub(super) incoming: Arc<Incoming>,
    pub(super) leader_contact: Arc<LeaderContact>,
    pub(super) checkpoints: Arc<Checkpoints>,
    pub(super) space: Space,
    times: Arc<LogTimes>,
}

/// When this member last took something from a leader.
#[derive(Debug)]
pub(super) struct LeaderContact {
    clock: Arc<dyn Clock>,
    /// Nanoseconds on the clock; 0 is never.
    at: AtomicU64,
}

impl LeaderContact {
    pub(super) fn renew(&self) {
        let now = u64::try_from(self.clock.now().0.as_nanos()).unwrap_or(u64::MAX);
        // Relaxed: it orders nothing but itself.
        self.at.store(now.max(1), Ordering::Relaxed);
    }

    /// How long ago that was; `None` if it never was.
    fn age(&self) -> Option<Duration> {
        // Relaxed: as above.
        let at = self.at.load(Ordering::Relaxed);
        (at > 0).then(|| self.clock.now().since(Tick(Duration::from_nanos(at))))
    }
}

/// A batch that a follower has sent, checked: every member will be able to read it.
#[derive(Debug)]
pub struct Forwarded(Batch);

impl Forwarded {
    /// Writes the batch that is sent to the leader. The follower knows it again by `number`.
    pub fn encode<'a>(number: u64, proposals: impl Iterator<Item = &'a Proposal> + Clone) -> bytes::Bytes {
        batch::encode(Some(number), proposals).0
    }

    /// Checks what a follower has sent.
    ///
    /// # Errors
    /// [`DecodeError`] if it is no such batch.
    pub fn decode(batch: bytes::Bytes) -> Result<Forwarded, DecodeError> {
        let batch = Batch(batch);
        match batch::decode(&batch)? {
            (Some(_), _) => Ok(Forwarded(batch)),
            (None, _) => Err(DecodeError::Kind),
        }
    }

    /// Its bytes in the log.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.0.len()
    }

    /// What it does to the data: what any of its commands does.
    #[must_use]
    pub fn demand(&self) -> Demand {
        let proposals = batch::proposals(&self.0).unwrap_or_default();
        let grows = proposals.iter().any(|proposal| proposal.demand() == Demand::Growing);
        if grows { Demand::Growing } else { Demand::Freeing }
    }
}

/// What became of a batch: one result for each command, in order, and the entry that held it.
#[derive(Debug)]
pub struct Answer {
    /// The entry.
    pub at: LogId,
    /// One for each command.
    pub results: Vec<Result<Reply, Rejection>>,
    /// When this member began to apply it.
    pub apply_began: Tick,
}

/// Why a batch has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// It was not proposed: this member does not lead. Whoever does may be named.
    #[error("not the leader")]
    NotLeader(Option<MemberId>),
    /// It may have taken effect or not.
    #[error("the outcome is unknown")]
    Unknown,
    /// The member has stopped; it may have taken effect or not.
    #[error("the member has stopped: {0}")]
    Stopped(Arc<str>),
}

/// Why a read barrier was not passed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// This member does not lead.
    #[error("not the leader")]
    NotLeader(Option<MemberId>),
    /// A quorum did not confirm the leader.
    #[error("no quorum")]
    NoQuorum,
    /// The member has stopped.
    #[error("the member has stopped: {0}")]
    Stopped(Arc<str>),
}

/// Why a member's Raft did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings contradict each other.
    #[error("the Raft settings are not valid: {0}")]
    Config(#[from] openraft::ConfigError),
    /// The log or the state cannot be read.
    #[error("failed to read the log: {0}")]
    Io(#[from] io::Error),
    /// openraft refused what it found.
    #[error("failed to start Raft: {0}")]
    Fatal(Arc<str>),
}

/// Where this member stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RaftStatus {
    /// The present term.
    pub term: u64,
    /// Who leads, as far as this member knows.
    pub leader: Option<MemberId>,
    /// This member leads.
    pub leads: bool,
    /// The last entry of the log.
    pub last_log: u64,
    /// The last committed entry.
    pub committed: u64,
    /// The last applied entry.
    pub applied: u64,
    /// The last entry in a snapshot.
    pub snapshot: u64,
}

impl Consensus {
    /// Starts on the present runtime: openraft's tasks are spawned there. Applies what the log says is committed before
    /// it returns.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(
        options: &ConsensusOptions,
        log: (Wal, &Recovered),
        state: (Arc<Shared>, &storage::Meta, StateFiles),
        checkpoints: Arc<Checkpoints>,
        observer: Arc<dyn Observer>,
        (network, clock): (Network, Arc<dyn Clock>),
    ) -> Result<Consensus, StartError> {
        let (shared, meta, files) = state;
        let incoming = Arc::new(Incoming::new(&files)?);
        let config = Arc::new(config(options).validate()?);
        let space = Space::new(log.0.clone(), checkpoints.clone());
        let times = LogTimes::new(clock.clone());
        let log_store = LogStore::new(log.0, log.1, times.clone())?;
        let timing = (clock.clone(), options.slow_apply);
        let state = (shared, meta, files);
        let state_machine = StateMachine::new(state, checkpoints.clone(), observer, timing, &options.metrics)?;
        let raft = openraft::Raft::new(options.member.0, config, network, log_store, state_machine)
            .await
            .map_err(|error| StartError::Fatal(error.to_string().into()))?;
        let server_metrics = raft.server_metrics();
        let leader_contact = Arc::new(LeaderContact { clock, at: AtomicU64::new(0) });
        let data_metrics = raft.data_metrics();
        Ok(Consensus { raft, server_metrics, data_metrics, incoming, leader_contact, checkpoints, space, times })
    }

    /// Makes a new group of these voters; does nothing if this member is in a group already.
    ///
    /// # Errors
    /// [`StartError::Fatal`] if openraft refuses them.
    pub async fn initialize(&self, voters: &BTreeSet<MemberId>) -> Result<(), StartError> {
        let nodes: BTreeMap<u64, EmptyNode> = voters.iter().map(|id| (id.0, EmptyNode::new())).collect();
        match self.raft.initialize(nodes).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(StartError::Fatal(error.to_string().into())),
        }
    }

    /// Proposes commands as one entry; `done` hears what became of them, on the thread that applied them.
    ///
    /// Nothing is retried: after [`ProposeError::Unknown`] the commands may have taken effect.
    pub async fn propose<'a>(
        &self,
        proposals: impl Iterator<Item = &'a Proposal> + Clone,
        done: impl FnOnce(Result<Answer, ProposeError>) + Send + 'static,
    ) {
        self.propose_batch(batch::encode(None, proposals), done).await;
    }

    /// Proposes what a follower has sent, as it is; else as [`Consensus::propose`].
    pub async fn propose_forwarded(
        &self,
        batch: Forwarded,
        done: impl FnOnce(Result<Answer, ProposeError>) + Send + 'static,
    ) {
        self.propose_batch(batch.0, done).await;
    }

    async fn propose_batch(&self, batch: Batch, done: impl FnOnce(Result<Answer, ProposeError>) + Send + 'static) {
        // If the core is gone it drops the responder without a word: then `Dropped` speaks.
        let done = Dropped(Some(done));
        let responder = OnComplete::new(move |result: openraft::raft::ClientWriteResult<Tc>| {
            done.finish(match result {
                Ok(response) => {
                    let Answers { results, began } = response.data;
                    Ok(Answer { at: ours(&response.log_id), results, apply_began: began })
                }
                Err(error) => Err(propose_error(&error)),
            });
        });
        // The error is the core's end; the responder was dropped with it.
        let _ = self.raft.client_write_ff(batch, Some(responder)).await;
    }

    /// Has a quorum confirm that this member leads; gives the index up to which whoever reads must have applied.
    ///
    /// # Errors
    /// [`ReadError`]; the read must not be answered then.
    pub async fn read_index(&self) -> Result<u64, ReadError> {
        let confirmed = self.raft.get_read_log_id(ReadPolicy::ReadIndex).await;
        let (read, _) = confirmed.map_err(|error| match error {
            RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => {
                ReadError::NotLeader(forward.leader_id.map(MemberId))
            }
            RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => ReadError::NoQuorum,
            RaftError::Fatal(fatal) => ReadError::Stopped(fatal.to_string().into()),
        })?;
        Ok(ours(read.log_id()).index)
    }

    /// When an entry became durable here, if that was not long ago.
    pub fn logged_at(&self, index: u64) -> Option<Tick> {
        self.times.of(index)
    }

    /// The present term and whether this member leads it; cheap enough for each request.
    pub fn leadership(&self) -> (u64, bool) {
        let metrics = self.server_metrics.borrow_watched();
        (metrics.vote.leader_id.term, metrics.state == ServerState::Leader)
    }

    /// Tells whether `member` alone decides: it is the only voter of the present membership.
    pub fn is_only_voter(&self, member: MemberId) -> bool {
        let metrics = self.server_metrics.borrow_watched();
        match metrics.membership_config.get_joint_config().as_slice() {
            [voters] => voters.len() == 1 && voters.contains(&member.0),
            _ => false,
        }
    }

    /// The last entry that the log has let go of.
    #[cfg(test)]
    pub(crate) fn purged(&self) -> u64 {
        let metrics = self.raft.metrics();
        metrics.borrow_watched().purged.as_ref().map_or(0, |id| ours(id).index)
    }

    /// Where this member stands.
    pub fn status(&self) -> RaftStatus {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let index = |id: &Option<super::types::TheirLogId>| id.as_ref().map_or(0, |id| ours(id).index);
        RaftStatus {
            term: metrics.current_term,
            leader: metrics.current_leader.map(MemberId),
            leads: metrics.state == ServerState::Leader,
            last_log: metrics.last_log_index.map_or(0, |index| index + 1),
            committed: index(&metrics.local_committed),
            applied: index(&metrics.last_applied),
            snapshot: index(&metrics.snapshot),
        }
    }

    /// Who leads, as far as this member knows, though it may have been cut off since.
    pub fn leader(&self) -> Option<MemberId> {
        self.server_metrics.borrow_watched().current_leader.map(MemberId)
    }

    /// How long ago it was certain that there is a leader: a quorum answered this member, or a leader spoke to it.
    /// `None` if that never was.
    pub fn leader_age(&self) -> Option<Duration> {
        let (_, leads) = self.leadership();
        if !leads {
            return self.leader_contact.age();
        }
        let acked = self.data_metrics.borrow_watched().last_quorum_acked;
        acked.map(|at| at.into_inner().elapsed())
    }

    /// Whether this member's disk has space.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// Has a checkpoint made, and lets the log go of all that the last one before holds, more than it would by itself: for a
    /// disk that is full. It comes about later.
    pub async fn purge(&self) {
        let snapshot = self.raft.metrics().borrow_watched().snapshot;
        let trigger = self.raft.trigger();
        // Errors: the core has ended, and needs no space any more.
        let _ = trigger.snapshot().await;
        if let Some(snapshot) = snapshot {
            let _ = trigger.purge_log(snapshot.index).await;
        }
    }

    /// Waits until Raft stops by itself; gives the reason.
    pub async fn stopped(&self) -> Arc<str> {
        let mut metrics = self.raft.metrics();
        loop {
            // Taken to pieces before the wait: what is borrowed may not be held over it.
            let ended: Option<Arc<str>> = match &metrics.borrow_watched().running_state {
                Ok(()) => None,
                Err(Fatal::Stopped) => Some("stopped".into()),
                Err(fatal) => Some(fatal.to_string().into()),
            };
            if let Some(why) = ended {
                return why;
            }
            if metrics.changed().await.is_err() {
                return "Raft has ended".into();
            }
        }
    }

    /// Stops openraft's tasks in order.
    pub async fn shutdown(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "Raft did not stop cleanly");
        }
    }
}

impl std::fmt::Debug for Consensus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consensus").field("status", &self.status()).finish()
    }
}

/// Calls `done` with "stopped" if it is dropped before it was used.
struct Dropped<F: FnOnce(Result<Answer, ProposeError>)>(Option<F>);

impl<F: FnOnce(Result<Answer, ProposeError>)> Dropped<F> {
    fn finish(mut self, result: Result<Answer, ProposeError>) {
        if let Some(done) = self.0.take() {
            done(result);
        }
    }
}

impl<F: FnOnce(Result<Answer, ProposeError>)> Drop for Dropped<F> {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done(Err(ProposeError::Stopped("Raft has ended".into())));
        }
    }
}

fn propose_error(error: &ClientWriteError<Tc>) -> ProposeError {
    match error {
        ClientWriteError::ForwardToLeader(forward) => ProposeError::NotLeader(forward.leader_id.map(MemberId)),
        // Discarded: it was in the log, and another leader may yet commit it. The others cannot come of plain commands.
        _ => ProposeError::Unknown,
    }
}

fn config(options: &ConsensusOptions) -> Config {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let election = millis(options.election_timeout);
    Config {
        cluster_name: "lodemark".into(),
        heartbeat_interval: millis(options.heartbeat),
        // openraft adds the leader's lease to its timeout: these give a failover within etcd's election timeout.
        election_timeout_min: (election * 4 / 10).max(millis(options.heartbeat) + 1),
        election_timeout_max: (election * 7 / 10).max(millis(options.heartbeat) + 2),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshot_entries),
        max_in_snapshot_log_to_keep: options.catchup_entries,
        replication_lag_threshold: options.catchup_entries,
        max_payload_entries: APPEND_ENTRIES_MAX,
        enable_pre_vote: Some(options.pre_vote),
        enable_leader_restore: Some(false),
        ..Config::default()
    }
}
