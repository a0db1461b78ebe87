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
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::barrier::Barrier;
use super::compactor::Compactor;
use super::completion::Wakes;
use super::error::NodeError;
use super::leadership::{Leadership, LedTerm};
use super::lease_keeper::LeaseKeeper;
use super::observer::NodeObserver;
use super::proposer;
use super::watch::{HubOptions, WatchHub};
use super::{Node, NodeState};
use crate::env::{Clock, Disk, Random};
use crate::machine::{Machine, Shared};
use crate::model::{ClusterId, Command, Member, MemberId};
use crate::raft::{Checkpointer, Checkpoints, Consensus, ConsensusOptions, Proposal, StateFiles};
use crate::storage::{self, Identity, Storage};
use crate::wal::{self, Recovered, Wal};

/// The folder of log segments, below the data folder.
const LOG_DIR: &str = "wal";
/// The checkpoint.
const STATE_FILE: &str = "state.redb";
/// A snapshot on its way to become the checkpoint.
const INCOMING_FILE: &str = "state.redb.incoming";
/// What redb may cache; the latest values are in memory anyway.
const STORAGE_CACHE_BYTES: usize = 64 * 1024 * 1024;
/// One worker applies while the other runs openraft's core.
const RAFT_WORKERS: usize = 2;

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
    /// How often a leader shows that it lives.
    pub heartbeat: Duration,
    /// How long a follower waits for it.
    pub election_timeout: Duration,
    /// Applied entries from one snapshot to the next.
    pub snapshot_entries: u64,
    /// Entries kept behind a snapshot.
    pub catchup_entries: u64,
    /// The largest command, as etcd counts it.
    pub request_bytes_max: usize,
    /// How often idle watchers that ask for it hear of progress.
    pub watch_progress_interval: Duration,
    /// Size of one log segment in bytes.
    pub segment_bytes: u64,
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
    raft_runtime: Runtime,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    proposer: tokio::task::JoinHandle<()>,
    wal: Wal,
    checkpoints: Arc<Checkpoints>,
    threads: Vec<(&'static str, JoinHandle<()>)>,
}

/// Why the node stopped by itself, once it has.
pub(super) type Failure = Arc<Mutex<Option<Arc<str>>>>;

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
        let opening = options.clone();
        let opened = tokio::task::spawn_blocking(move || open(&opening));
        let Opened { shared, meta, wal, writer, recovered, files } =
            opened.await.map_err(|error| std::io::Error::other(error.to_string()))??;

        let checkpoints = Checkpoints::new(shared.clone(), wal.clone(), &meta);
        let wakes = Arc::new(Wakes::default());
        let led = Arc::new(LedTerm::default());
        let lease_keeper = LeaseKeeper::new(shared.clone(), options.clock.clone(), options.election_timeout);
        let compactor = Compactor::new(shared.clone(), checkpoints.clone());
        let hub_options = HubOptions::new(options.watch_progress_interval, options.random.clone());
        let hub = WatchHub::new(shared.clone(), hub_options);
        let observer = NodeObserver {
            hub: hub.clone(),
            leases: lease_keeper.clone(),
            compactor: compactor.clone(),
            led: led.clone(),
            wakes: wakes.clone(),
        };

        let mut threads = vec![("wal", spawn("wal", move || writer.run())?)];
        let checkpointer = Checkpointer::new(checkpoints.clone());
        threads.push(("checkpoint", spawn("checkpoint", move || checkpointer.run())?));
        let raft_runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(RAFT_WORKERS)
            .thread_name("raft")
            .enable_all()
            .build()?;
        let consensus = {
            let (options, wal, shared) = (options.clone(), wal.clone(), shared.clone());
            let checkpoints = checkpoints.clone();
            let start = async move {
                let consensus = Consensus::start(
                    &consensus_options(&options),
                    (wal, &recovered),
                    (shared, &meta, files),
                    checkpoints,
                    Arc::new(observer),
                )
                .await?;
                consensus.initialize(&BTreeSet::from([options.member])).await?;
                Ok::<_, crate::raft::StartError>(consensus)
            };
            raft_runtime.spawn(start).await.map_err(|error| std::io::Error::other(error.to_string()))
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

        let leadership = Arc::new(Leadership::new(consensus.clone(), options.member, led));
        let (proposer, queue) = proposer::queue(wakes, options.request_bytes_max);
        let barrier = Barrier::new(leadership.clone());
        let stop = CancellationToken::new();
        let proposer_task = queue.into_task(consensus.clone(), checkpoints.clone(), wal.clone(), options.clock.clone());
        let proposer_task = raft_runtime.spawn(proposer_task.run(stop.clone()));
        let mut tasks = JoinSet::new();
        tasks.spawn(barrier.clone().run(consensus.clone(), stop.clone()));
        tasks.spawn(lease_keeper.clone().run(leadership, proposer.clone(), stop.clone()));
        tasks.spawn(compactor.clone().run(stop.clone()));
        tasks.spawn(hub.clone().run(stop.clone()));

        let (stopped, failed) = (CancellationToken::new(), Failure::default());
        tasks.spawn(follow_failures(
            (consensus.clone(), checkpoints.clone()),
            barrier.clone(),
            (stop.clone(), stopped.clone(), failed.clone()),
        ));
        let running = Running { raft_runtime, stop, tasks, proposer: proposer_task, wal, checkpoints, threads };
        Ok(Node(Arc::new(NodeState {
            cluster: options.cluster,
            member: options.member,
            shared,
            consensus,
            proposer,
            barrier,
            leases: lease_keeper,
            compactor,
            hub,
            random: options.random.clone(),
            lease_ttl_min: lease_ttl_min(&options),
            running: Mutex::new(Some(running)),
            stopped,
            failed,
        })))
    }

    /// Waits until the member can serve (a leader is known and has begun), and makes it known to the cluster by its
    /// name and URLs.
    ///
    /// # Errors
    /// As [`Node::propose`].
    pub async fn ready(&self, options: &NodeOptions) -> Result<(), NodeError> {
        self.barrier.pass().await?;
        // Leases that clients are granted from now on are not among those that a new leader extends.
        self.leases.follow(self.barrier.leadership().term());
        let member = Member {
            id: options.member,
            name: options.name.clone(),
            peer_urls: options.peer_urls.clone(),
            client_urls: options.client_urls.clone(),
            is_learner: false,
        };
        if self.shared.machine.read().members.get(&member.id) != Some(&member) {
            self.propose(Proposal::from(&Command::MemberSet(member))).await?;
        }
        Ok(())
    }

    /// Waits until the node has stopped; gives the reason if it was not asked to.
    pub async fn stopped(&self) -> Option<Arc<str>> {
        self.stopped.cancelled().await;
        self.failed.lock().clone()
    }

    /// Stops in order: watch streams end, proposals are refused, Raft ends, what is applied reaches the checkpoint, the
    /// log is sealed. Other clones then answer [`NodeError::Stopped`]. Does nothing the second time.
    pub async fn stop(&self) {
        let running = self.running.lock().take();
        let Some(mut running) = running else { return };
        self.hub.close();
        self.barrier.close();
        running.stop.cancel();
        // Its end is an answer to everybody who waits.
        let _ = running.proposer.await;
        self.consensus.shutdown().await;
        while running.tasks.join_next().await.is_some() {}
        running.checkpoints.close();
        let (wal, threads) = (running.wal, running.threads);
        let join = tokio::task::spawn_blocking(move || {
            // The checkpointer needs the log's thread to the end, so the log is closed after it.
            for (name, thread) in threads.into_iter().rev() {
                if name == "wal" {
                    wal.close();
                }
                if thread.join().is_err() {
                    tracing::error!(thread = name, "a thread panicked");
                }
            }
        });
        // An error is a panic in the lines above.
        let _ = join.await;
        running.raft_runtime.shutdown_background();
        self.stopped.cancel();
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
        incoming: PathBuf::from(INCOMING_FILE),
        cache_bytes: STORAGE_CACHE_BYTES,
    };
    if options.disk.exists(&files.incoming)? {
        // A snapshot that did not arrive whole: it never counted.
        options.disk.remove(&files.incoming)?;
    }
    let storage = Storage::open(options.disk.clone(), &files.state, STORAGE_CACHE_BYTES)?;
    claim(&storage, Identity { cluster: options.cluster, member: options.member })?;
    let wal_options =
        wal::Options { dir: PathBuf::from(LOG_DIR), segment_bytes: options.segment_bytes, ..wal::Options::default() };
    let (wal, writer, recovered) = Wal::open(options.disk.clone(), options.random.clone(), wal_options)?;
    let meta = storage.meta()?;
    check_agreement(&meta, &recovered, wal.first_index())?;
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

fn claim(storage: &Storage, identity: Identity) -> Result<(), StartError> {
    match storage.identity()? {
        None => Ok(storage.set_identity(identity)?),
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
fn check_agreement(meta: &storage::Meta, recovered: &Recovered, first: Option<u64>) -> Result<(), StartError> {
    let purged = recovered.purged.as_ref().map_or(0, |(index, _)| *index);
    let last = recovered.last_index.unwrap_or(purged);
    let applied = meta.applied.index;
    let first = first.unwrap_or(purged + 1);
    if purged <= applied && applied <= last && first <= applied + 1 {
        return Ok(());
    }
    Err(StartError::Disagreement { applied, first, last })
}

fn spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(body)
}

/// Lets go of what was started when Raft does not start.
fn end_early(raft_runtime: Runtime, wal: &Wal, checkpoints: &Checkpoints) {
    raft_runtime.shutdown_background();
    checkpoints.close();
    wal.close();
}

/// Notes the first thing that breaks and ends the node for its clients; [`Node::stop`] then tidies up.
async fn follow_failures(
    (consensus, checkpoints): (Consensus, Arc<Checkpoints>),
    barrier: Arc<Barrier>,
    (stop, stopped, failed): (CancellationToken, CancellationToken, Failure),
) {
    let why = tokio::select! {
        // First: an ordered stop says so before it ends Raft, whose end is then no failure.
        biased;
        () = stop.cancelled() => return,
        why = consensus.stopped() => why,
        why = checkpoints.failed() => why,
    };
    tracing::error!(reason = %why, "the member cannot go on and stops");
    barrier.close();
    *failed.lock() = Some(why);
    stopped.cancel();
}

fn consensus_options(options: &NodeOptions) -> ConsensusOptions {
    ConsensusOptions {
        member: options.member,
        heartbeat: options.heartbeat,
        election_timeout: options.election_timeout,
        snapshot_entries: options.snapshot_entries,
        catchup_entries: options.catchup_entries,
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
    use crate::model::LogId;

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
            let result = check_agreement(&meta, &recovered, first);
            assert_eq!(result.is_ok(), fits, "purged {purged}, {first:?} to {last:?}, D {applied}");
        }
    }
}
