//! Start and stop of a node, in order.
//!
//! Start: checkpoint, log, their agreement; state; Raft (which applies the committed part of the log); then the tasks.
//! Stop is the reverse: proposals are refused, Raft ends, the last checkpoint is written, the log is sealed.
//!
//! | thread | body |
//! | --- | --- |
//! | `wal` | [`crate::wal::Writer`]: group commit |
//! | `checkpoint` | [`crate::raft::Checkpointer`] |
//! | `raft` (runtime of its own) | openraft, apply, proposer: client traffic must not delay them |
//! | the caller's runtime | barrier, lease keeper, compactor, watch hub |

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::applied::Applied;
use super::barrier::Barrier;
use super::compactor::Compactor;
use super::completion::Wakes;
use super::contacts::Contacts;
use super::error::NodeError;
use super::failure::{Failure, REMOVED};
use super::flight::{Abroad, Launcher};
use super::leadership::{Leadership, LedTerm};
use super::lease_keeper::LeaseKeeper;
use super::observer::NodeObserver;
use super::overdue::Overdue;
use super::peers::Peers;
use super::proposer::{self, REQUEST_TIMEOUT};
use super::roster::Roster;
use super::threads::{Body, RaftRuntime, Running as RunningBody, Threading};
use super::voice::{Pinger, Voice};
use super::watch::{HubOptions, WatchHub};
use super::{Node, NodeState};
use crate::env::{Clock, Disk, Random};
use crate::machine::{Machine, Rejection, Shared};
use crate::model::{ClusterId, Command, LogId, Member, MemberAttributes, MemberId};
use crate::peer::{self, Transport};
use crate::raft::{self, Checkpointer, Checkpoints, Consensus, ConsensusOptions, Network, Proposal, StateFiles};
pub use crate::storage::Founding;
use crate::storage::{self, Identity, Storage};
use crate::wal::{self, Recovered, Wal};

/// The folder of log segments, below the data folder.
const LOG_DIR: &str = "wal";
/// The checkpoint.
const STATE_FILE: &str = "state.redb";
/// How long a new member waits until it is looked for in the table again.
const FOUNDING_POLL: Duration = Duration::from_millis(20);
/// How many election timeouts an append may stay unanswered.
const APPEND_TIMEOUTS: u32 = 2;
/// What redb may cache; the latest values are in memory anyway.
const STORAGE_CACHE_BYTES: usize = 64 * 1024 * 1024;

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// The data folder.
    pub disk: Arc<dyn Disk>,
    /// The clock that leases run by.
    pub clock: Arc<dyn Clock>,
    /// Where ids come from.
    pub random: Arc<dyn Random>,
    /// The cluster that the folder belongs to.
    pub cluster: ClusterId,
    /// The member that the folder belongs to.
    pub member: MemberId,
    /// The member's name for people.
    pub name: String,
    /// Where other members reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
    /// The cluster that a new folder begins with; means nothing for a folder that was started before.
    pub founding: Founding,
    /// Make this member the only one of its cluster, whatever the folder says of others.
    pub force_new_cluster: bool,
    /// How other members are reached.
    pub transport: Arc<dyn Transport>,
    /// How often a leader shows that it lives.
    pub heartbeat: Duration,
    /// How long a follower waits for it.
    pub election_timeout: Duration,
    /// Ask whether an election can be won before it is begun.
    pub pre_vote: bool,
    /// Applied entries from one snapshot to the next.
    pub snapshot_entries: u64,
    /// Entries kept behind a snapshot.
    pub catchup_entries: u64,
    /// Refuse changes of members that would cost the quorum.
    pub strict_reconfig: bool,
    /// Learners that the cluster may have.
    pub learners_max: usize,
    /// The largest command, as etcd counts it.
    pub request_bytes_max: usize,
    /// How often idle watchers that ask for it hear of progress.
    pub watch_progress_interval: Duration,
    /// Size of one log segment in bytes.
    pub segment_bytes: u64,
    /// What runs the bodies of threads.
    pub threading: Threading,
}

impl NodeOptions {
    /// A member that is alone, with etcd's defaults.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, random: Arc<dyn Random>, identity: Identity) -> NodeOptions {
        NodeOptions {
            disk,
            clock,
            random,
            cluster: identity.cluster,
            member: identity.member,
            name: "default".into(),
            peer_urls: vec!["http://localhost:2380".into()],
            client_urls: vec!["http://localhost:2379".into()],
            founding: Founding::New(Vec::new()),
            force_new_cluster: false,
            transport: Arc::new(peer::Alone),
            heartbeat: Duration::from_millis(100),
            election_timeout: Duration::from_secs(1),
            pre_vote: true,
            snapshot_entries: 10_000,
            catchup_entries: 5_000,
            strict_reconfig: true,
            learners_max: 1,
            request_bytes_max: 1_572_864,
            watch_progress_interval: Duration::from_secs(600),
            segment_bytes: 16 * 1024 * 1024,
            threading: Threading::Threads,
        }
    }
}

/// Why a node did not start. Nothing in the data folder was changed that could not be there after a crash.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The checkpoint cannot be read.
    #[error("failed to open the checkpoint: {0}")]
    Storage(#[from] storage::Error),
    /// The log cannot be read.
    #[error("failed to open the write-ahead log: {0}")]
    Wal(#[from] wal::OpenError),
    /// The disk refused.
    #[error("failed to use the data folder: {0}")]
    Io(#[from] std::io::Error),
    /// Raft did not start.
    #[error(transparent)]
    Raft(#[from] crate::raft::StartError),
    /// The folder belongs to somebody else.
    #[error(
        "the data folder belongs to member {found_member} of cluster {found_cluster}, not to member {member} of cluster \
         {cluster}: start with the flags it was made with, or with another --data-dir"
    )]
    Foreign {
        /// Who starts.
        cluster: ClusterId,
        /// Who starts.
        member: MemberId,
        /// Who made the folder.
        found_cluster: ClusterId,
        /// Who made the folder.
        found_member: MemberId,
    },
    /// The member was in the cluster and is not any more.
    #[error("{REMOVED}; data-dir used by this member must be removed")]
    Removed,
    /// Checkpoint and log do not fit together.
    #[error(
        "the checkpoint holds log entry {applied}, but the log holds {first} to {last}: files are missing or of another \
         member; restore this member from a backup or from the others"
    )]
    Disagreement {
        /// D.
        applied: u64,
        /// The first entry of the log.
        first: u64,
        /// The last entry of the log.
        last: u64,
    },
}

/// Threads and tasks of a running node.
#[derive(Debug)]
pub struct Running {
    raft_runtime: RaftRuntime,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    proposer: tokio::task::JoinHandle<()>,
    wal: Wal,
    checkpoints: Arc<Checkpoints>,
    threads: Vec<RunningBody>,
}

impl Node {
    /// Tells whom the data folder belongs to; `None` if it is new. A member that was started before must be started as
    /// the same again.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn identity(disk: Arc<dyn Disk>) -> Result<Option<Identity>, StartError> {
        let find = move || Storage::identity_of(disk.as_ref(), Path::new(STATE_FILE));
        let found = tokio::task::spawn_blocking(find).await;
        Ok(found.map_err(|error| std::io::Error::other(error.to_string()))??)
    }

    /// Opens the data folder and starts a member; a folder without one becomes a new cluster of one.
    ///
    /// Returns when everything that the log holds as committed is applied; the member may not lead yet:
    /// [`Node::ready`] waits for that.
    ///
    /// # Errors
    /// [`StartError`]; no thread runs then.
    pub async fn start(options: NodeOptions) -> Result<Node, StartError> {
        let (opening, threading) = (options.clone(), options.threading.clone());
        let Opened { shared, meta, wal, writer, recovered, files } =
            threading.blocking(move || open(&opening)).await??;

        let failure = Failure::default();
        if shared.machine.read().is_removed(options.member) {
            return Err(StartError::Removed);
        }
        let checkpoints = Checkpoints::new(shared.clone(), wal.clone(), &meta);
        let wakes = Arc::new(Wakes::default());
        let led = Arc::new(LedTerm::default());
        let applied = Arc::new(Applied::new(meta.applied.index));
        let abroad = Arc::new(Abroad::default());
        let roster_changed = Arc::new(Notify::new());
        let contacts = Contacts::new(options.clock.clone(), options.election_timeout);
        let peers = Peers::new((options.cluster, options.member), options.transport.clone(), contacts.clone());
        let voice = Voice::new();
        let lease_keeper = LeaseKeeper::new(shared.clone(), options.clock.clone(), options.election_timeout);
        let compactor = Compactor::new(shared.clone(), checkpoints.clone());
        let hub_options = HubOptions::new(options.watch_progress_interval, options.random.clone(), threading.clone());
        let hub = WatchHub::new(shared.clone(), hub_options);
        let observer = NodeObserver {
            hub: hub.clone(),
            leases: lease_keeper.clone(),
            compactor: compactor.clone(),
            led: led.clone(),
            applied: applied.clone(),
            abroad: abroad.clone(),
            roster_changed: roster_changed.clone(),
            shared: shared.clone(),
            wakes: wakes.clone(),
        };
        let (is_founder, founders) = founders(&options, &shared)?;
        addresses_at_start(&options, &shared, &founders);

        let threads = vec![
            threading.start(Body::Log(Box::new(writer)))?,
            threading.start(Body::Checkpoints(Checkpointer::new(checkpoints.clone())))?,
        ];
        let raft_runtime = threading.raft_runtime()?;
        let consensus = {
            let (options, wal, shared) = (options.clone(), wal.clone(), shared.clone());
            let (checkpoints, network) = (checkpoints.clone(), network(&options, voice.clone()));
            let voters: BTreeSet<MemberId> = founders.iter().map(|member| member.id).collect();
            let start = async move {
                let consensus = Consensus::start(
                    &consensus_options(&options),
                    (wal, &recovered),
                    (shared, &meta, files),
                    checkpoints,
                    Arc::new(observer),
                    (network, options.clock.clone()),
                )
                .await?;
                if is_founder {
                    consensus.initialize(&voters).await?;
                }
                Ok::<_, crate::raft::StartError>(consensus)
            };
            raft_runtime.handle().spawn(start).await.map_err(|error| std::io::Error::other(error.to_string()))
        };
        let consensus = match consensus {
            Ok(Ok(consensus)) => consensus,
            Ok(Err(error)) => {
                end_early(raft_runtime, &wal, &checkpoints);
                return Err(error.into());
            }
            Err(error) => {
                end_early(raft_runtime, &wal, &checkpoints);
                return Err(error.into());
            }
        };

        let (clock, election_timeout) = (options.clock.clone(), options.election_timeout);
        let leadership = Arc::new(Leadership::new(consensus.clone(), options.member, led, election_timeout));
        let overdue =
            Overdue::new((consensus.clone(), options.member), contacts.clone(), clock.clone(), election_timeout);
        let (proposer, queue) = proposer::queue(wakes.clone(), options.request_bytes_max);
        let barrier = Barrier::new(leadership.clone(), consensus.clone(), peers.clone(), applied);
        let launcher = Arc::new(Launcher {
            consensus: consensus.clone(),
            leadership: leadership.clone(),
            peers: peers.clone(),
            abroad,
            overdue: overdue.clone(),
            clock: clock.clone(),
            wakes,
        });
        let pinger = Pinger {
            member: options.member,
            voice,
            consensus: consensus.clone(),
            contacts: contacts.clone(),
            peers: peers.clone(),
            overdue,
            clock,
            election_timeout,
            failure: failure.clone(),
        };
        let is_learner = Arc::new(AtomicBool::new(
            shared.machine.read().members.get(&options.member).is_some_and(|own| own.is_learner),
        ));
        let roster = Roster {
            member: options.member,
            shared: shared.clone(),
            consensus: consensus.clone(),
            leadership: leadership.clone(),
            proposer: proposer.clone(),
            peers: peers.clone(),
            contacts: contacts.clone(),
            founders: founders.clone(),
            is_founder,
            is_learner: is_learner.clone(),
            failure: failure.clone(),
            changed: roster_changed,
        };

        // On Raft's runtime: a storm of clients must not delay what other members wait for.
        let stop = CancellationToken::new();
        let (raft, mut tasks) = (raft_runtime.handle(), JoinSet::new());
        let proposer_task =
            raft.spawn(queue.into_task(launcher, checkpoints.clone(), wal.clone(), &*options.random).run(stop.clone()));
        tasks.spawn_on(barrier.clone().run(stop.clone()), raft);
        tasks.spawn_on(pinger.run(stop.clone()), raft);
        tasks.spawn_on(roster.run(stop.clone()), raft);
        tasks.spawn_on(lease_keeper.clone().run(leadership.clone(), proposer.clone(), stop.clone()), raft);
        tasks.spawn(compactor.clone().run(stop.clone()));
        tasks.spawn(hub.clone().run(stop.clone()));

        let stopped = CancellationToken::new();
        tasks.spawn(follow_failures(
            (consensus.clone(), checkpoints.clone()),
            barrier.clone(),
            (stop.clone(), stopped.clone(), failure.clone()),
        ));
        let running = Running { raft_runtime, stop, tasks, proposer: proposer_task, wal, checkpoints, threads };
        Ok(Node(Arc::new(NodeState {
            cluster: options.cluster,
            member: options.member,
            shared,
            consensus,
            leadership,
            contacts,
            peers,
            threading,
            election_timeout,
            is_learner,
            founders: founders.into(),
            strict_reconfig: options.strict_reconfig,
            learners_max: options.learners_max,
            proposer,
            barrier,
            leases: lease_keeper,
            compactor,
            hub,
            random: options.random.clone(),
            lease_ttl_min: lease_ttl_min(&options),
            running: Mutex::new(Some(running)),
            stopped,
            failure,
        })))
    }

    /// Waits until the member can serve (a leader is known and has begun), and makes it known to the cluster by its
    /// name and URLs.
    ///
    /// # Errors
    /// As [`Node::propose`]. [`NodeError::Rejected`] says that the cluster does not know the member, or not yet.
    pub async fn ready(&self, options: &NodeOptions) -> Result<(), NodeError> {
        self.barrier.pass().await?;
        // Leases that clients are granted from now on are not among those that a new leader extends.
        self.leases.follow(self.leadership.term());
        let (name, client_urls) = (options.name.clone(), options.client_urls.clone());
        let is_known = {
            let machine = self.shared.machine.read();
            machine.members.get(&self.member).is_some_and(|own| own.name == name && own.client_urls == client_urls)
        };
        if !is_known {
            let attributes = MemberAttributes { id: self.member, name, client_urls };
            self.publish(attributes).await?;
        }
        Ok(())
    }

    /// Stores what this member tells of itself, as soon as the table has it: the first leader founds the table a moment
    /// after it was elected.
    async fn publish(&self, attributes: MemberAttributes) -> Result<(), NodeError> {
        let deadline = tokio::time::Instant::now() + REQUEST_TIMEOUT;
        let command = Command::MemberAttributes(attributes);
        loop {
            match self.propose(Proposal::from(&command)).await {
                Err(NodeError::Rejected(Rejection::MemberNotFound)) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(FOUNDING_POLL).await;
                }
                outcome => return outcome.map(drop),
            }
        }
    }

    /// Waits until the node has stopped; gives the reason if it was not asked to.
    pub async fn stopped(&self) -> Option<Arc<str>> {
        self.stopped.cancelled().await;
        self.failure.reason()
    }

    /// Stops in order: watch streams end, proposals are refused, another member takes the lead, Raft ends, what is applied
    /// reaches the checkpoint, the log is sealed. Other clones then answer [`NodeError::Stopped`]. Does nothing the second
    /// time.
    pub async fn stop(&self) {
        let running = self.running.lock().take();
        let Some(mut running) = running else { return };
        self.hub.close();
        self.barrier.close();
        running.stop.cancel();
        // Its end is an answer to everybody who waits.
        let _ = running.proposer.await;
        self.hand_over().await;
        self.consensus.shutdown().await;
        while running.tasks.join_next().await.is_some() {}
        running.checkpoints.close();
        // The checkpointer needs the log's thread to the end, so the log is closed after it.
        for thread in running.threads.into_iter().rev() {
            if thread.name() == "wal" {
                running.wal.close();
            }
            thread.join().await;
        }
        running.raft_runtime.shutdown();
        self.stopped.cancel();
    }
}

/// Who founds the cluster with this member, and whether it may: as the folder says, which is asked once it is claimed. A
/// folder of version 0.1 is that of a member alone.
fn founders(options: &NodeOptions, shared: &Shared) -> Result<(bool, Vec<Member>), StartError> {
    let alone = || Member {
        id: options.member,
        name: options.name.clone(),
        peer_urls: options.peer_urls.clone(),
        ..Member::default()
    };
    Ok(match shared.storage.load().founding()? {
        Some(Founding::New(members)) if !members.is_empty() => (true, members),
        Some(Founding::New(_)) | None => (true, vec![alone()]),
        Some(Founding::Join(members)) => (false, members),
    })
}

/// Says where members are before Raft sends the first message.
fn addresses_at_start(options: &NodeOptions, shared: &Shared, founders: &[Member]) {
    let machine = shared.machine.read();
    let address = |member: &Member| (member.id, member.peer_urls.clone());
    let addresses = match machine.members.is_empty() {
        true => founders.iter().map(address).collect(),
        false => machine.members.values().map(address).collect(),
    };
    options.transport.set_addresses(addresses);
}

fn network(options: &NodeOptions, voice: Arc<Voice>) -> Network {
    Network {
        cluster: options.cluster,
        member: options.member,
        transport: options.transport.clone(),
        random: options.random.clone(),
        permission: voice,
        append_timeout: options.election_timeout * APPEND_TIMEOUTS,
    }
}

/// What the data folder holds.
struct Opened {
    shared: Arc<Shared>,
    meta: storage::Meta,
    wal: Wal,
    writer: wal::Writer,
    recovered: Recovered,
    files: StateFiles,
}

fn open(options: &NodeOptions) -> Result<Opened, StartError> {
    let files = StateFiles {
        disk: options.disk.clone(),
        dir: PathBuf::from("."),
        state: PathBuf::from(STATE_FILE),
        cache_bytes: STORAGE_CACHE_BYTES,
    };
    let storage = Storage::open(options.disk.clone(), &files.state, STORAGE_CACHE_BYTES)?;
    claim(&storage, Identity { cluster: options.cluster, member: options.member }, &options.founding)?;
    let wal_options =
        wal::Options { dir: PathBuf::from(LOG_DIR), segment_bytes: options.segment_bytes, ..wal::Options::default() };
    let (wal, writer, recovered) = Wal::open(options.disk.clone(), options.random.clone(), wal_options)?;
    let meta = storage.meta()?;
    check_agreement(&meta, storage.installed()?, &recovered, wal.first_index())?;
    if options.force_new_cluster && raft::force_alone(&wal, &recovered, &meta, options.member)? {
        tracing::warn!("forcing a new cluster: this member is the only one from now on");
    }
    let machine = Machine::load(&storage)?;
    tracing::info!(
        revision = machine.kv.revision().0,
        applied_index = meta.applied.index,
        log_last_index = recovered.last_index,
        "opened the data folder"
    );
    let shared = Arc::new(Shared { machine: RwLock::new(machine), storage: ArcSwap::from_pointee(storage) });
    Ok(Opened { shared, meta, wal, writer, recovered, files })
}

fn claim(storage: &Storage, identity: Identity, founding: &Founding) -> Result<(), StartError> {
    match storage.identity()? {
        None => Ok(storage.claim(identity, founding)?),
        Some(found) if found == identity => Ok(()),
        Some(found) => Err(StartError::Foreign {
            cluster: identity.cluster,
            member: identity.member,
            found_cluster: found.cluster,
            found_member: found.member,
        }),
    }
}

/// Checks `purged <= snapshot <= D <= synced`: the log must go on where the checkpoint ends. The checkpoint is the snapshot,
/// and what an opened log holds is synced.
///
/// A checkpoint that was received from another member may be ahead of the log: it was put in its place just before the
/// log was to be purged up to there. Raft does that again when it starts.
fn check_agreement(
    meta: &storage::Meta,
    installed: LogId,
    recovered: &Recovered,
    first: Option<u64>,
) -> Result<(), StartError> {
    let purged = recovered.purged.as_ref().map_or(0, |(index, _)| *index);
    let last = recovered.last_index.unwrap_or(purged);
    let applied = meta.applied.index;
    let first = first.unwrap_or(purged + 1);
    if purged <= applied && applied <= last && first <= applied + 1 {
        return Ok(());
    }
    if purged <= applied && applied > last && meta.applied == installed {
        return Ok(());
    }
    Err(StartError::Disagreement { applied, first, last })
}

/// Lets go of what was started when Raft does not start.
fn end_early(raft_runtime: RaftRuntime, wal: &Wal, checkpoints: &Checkpoints) {
    raft_runtime.shutdown();
    checkpoints.close();
    wal.close();
}

/// Notes the first thing that breaks and ends the node for its clients; [`Node::stop`] then tidies up.
async fn follow_failures(
    (consensus, checkpoints): (Consensus, Arc<Checkpoints>),
    barrier: Arc<Barrier>,
    (stop, stopped, failure): (CancellationToken, CancellationToken, Failure),
) {
    let why = tokio::select! {
        // First: an ordered stop says so before it ends Raft, whose end is then no failure.
        biased;
        () = stop.cancelled() => return,
        why = consensus.stopped() => why,
        why = checkpoints.failed() => why,
        why = failure.happens() => why,
    };
    tracing::error!(reason = %why, "the member cannot go on and stops");
    barrier.close();
    failure.set(why);
    stopped.cancel();
}

fn consensus_options(options: &NodeOptions) -> ConsensusOptions {
    ConsensusOptions {
        member: options.member,
        heartbeat: options.heartbeat,
        election_timeout: options.election_timeout,
        snapshot_entries: options.snapshot_entries,
        catchup_entries: options.catchup_entries,
        pre_vote: options.pre_vote,
    }
}

/// One and a half election timeouts, in whole seconds, counted in heartbeats as etcd counts them.
fn lease_ttl_min(options: &NodeOptions) -> i64 {
    let heartbeat = options.heartbeat.as_millis().max(1);
    let ticks = 3 * (options.election_timeout.as_millis() / heartbeat) / 2;
    i64::try_from((ticks * heartbeat).div_ceil(1000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_log_must_go_on_where_the_checkpoint_ends() {
        // The last purged entry, the first and the last in the log, D, and whether they fit.
        let cases = [
            (0, None, None, 0, true),
            (0, Some(1), Some(9), 0, true),
            (0, Some(1), Some(9), 9, true),
            (5, Some(6), Some(9), 5, true),
            (5, Some(6), Some(9), 7, true),
            (9, None, None, 9, true),
            // The log is gone, or has lost its end.
            (0, None, None, 3, false),
            (0, Some(1), Some(9), 10, false),
            (5, None, None, 7, false),
            // The checkpoint is older than what was purged.
            (5, Some(6), Some(9), 4, false),
            (9, None, None, 0, false),
            // The log has lost its beginning.
            (0, Some(50), Some(60), 0, false),
            (0, Some(50), Some(60), 20, false),
        ];
        for (purged, first, last, applied, fits) in cases {
            let purged_mark = (purged > 0).then(|| (purged, Bytes::new()));
            let recovered = Recovered { purged: purged_mark, last_index: last, ..Recovered::default() };
            let meta = storage::Meta { applied: LogId { term: 1, index: applied }, ..storage::Meta::default() };
            let result = check_agreement(&meta, LogId::default(), &recovered, first);
            assert_eq!(result.is_ok(), fits, "purged {purged}, {first:?} to {last:?}, D {applied}");
        }
        // Received just before the log was to be purged.
        let recovered = Recovered { last_index: Some(9), ..Recovered::default() };
        let meta = storage::Meta { applied: LogId { term: 1, index: 50 }, ..storage::Meta::default() };
        assert!(check_agreement(&meta, meta.applied, &recovered, Some(1)).is_ok());
        assert!(check_agreement(&meta, LogId { term: 1, index: 40 }, &recovered, Some(1)).is_err());
    }
}
