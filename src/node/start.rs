//! Start and stop of a node, in order.
//!
//! Start: checkpoint, log, their agreement; state; Raft (which applies the committed part of the log); then the tasks.
//! Stop is the reverse: proposals are refused, Raft ends, the last checkpoint is written, the log is sealed. A node that is
//! dropped instead, or that fails while it starts, lets everything end by itself.
//!
//! | thread | body |
//! | --- | --- |
//! | `wal` | [`crate::wal::Writer`]: group commit |
//! | `checkpoint` | [`crate::raft::Checkpointer`] |
//! | `raft` (runtime of its own) | openraft, apply, proposer, auto-compactor: client traffic must not delay them |
//! | the caller's runtime | barrier, lease keeper, compactor, reclaimer, watch hub |

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::agreement::Agreement;
use super::applied::Applied;
use super::auth::Authenticator;
use super::auto_compact::{self, AutoCompactor};
use super::barrier::Barrier;
use super::compactor::{Compactor, Steps};
use super::completion::Wakes;
use super::contacts::Contacts;
use super::corruption;
use super::defragment::Defragmenter;
use super::error::NodeError;
use super::failure::{Failure, REMOVED};
use super::flight::{Abroad, Launcher};
use super::leadership::{Leadership, LedTerm};
use super::lease_keeper::LeaseKeeper;
use super::member_log::MemberLog;
use super::observer::NodeObserver;
use super::open::{LOG_DIR, Opened, STATE_FILE, open};
use super::options::NodeOptions;
use super::overdue::Overdue;
use super::peers::Peers;
use super::proposer::{self, REQUEST_TIMEOUT};
use super::quota::Quota;
use super::reclaim::Reclaimer;
use super::room::Rooms;
use super::roster::Roster;
use super::space::SpaceWatch;
use super::threads::{Body, RaftRuntime, Running as RunningBody};
use super::voice::{Pinger, Voice};
use super::watch::{HubOptions, WatchHub};
use super::{Node, NodeState, snapshot};
use crate::env::{DAMAGE_REMEDY, Disk};
use crate::machine::Rejection;
use crate::model::{ClusterId, Command, MemberAttributes, MemberId};
use crate::peer::Traffic;
use crate::raft::{Checkpointer, Checkpoints, Consensus, Proposal};
use crate::storage::{self, Identity, Storage};
use crate::wal::{self, Wal};

/// How long a new member waits until it is looked for in the table again.
const FOUNDING_POLL: Duration = Duration::from_millis(20);

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
    /// The member was found to have another state than the others.
    #[error("{0}; it does not start again with this data unless --agreement-check=false says so")]
    Differs(String),
    /// Checkpoint and log do not fit together.
    #[error(
        "the checkpoint {STATE_FILE} holds log entry {applied}, but the log in {LOG_DIR} holds {first} to {last}: files are \
         missing, damaged or of another member; {DAMAGE_REMEDY}"
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

/// Threads and tasks of a running node. Dropped, all of them end, in no order, and nobody waits for them.
#[derive(Debug)]
pub struct Running {
    raft_runtime: RaftRuntime,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    proposer: Option<JoinHandle<()>>,
    wal: Wal,
    checkpoints: Arc<Checkpoints>,
    threads: Vec<RunningBody>,
}

impl Running {
    /// Starts the threads.
    fn begin(
        NodeOptions { threading, folder_lock, log_place, .. }: &NodeOptions,
        (wal, writer): (Wal, wal::Writer),
        checkpoints: Arc<Checkpoints>,
    ) -> std::io::Result<Running> {
        let mut running = Running {
            raft_runtime: threading.raft_runtime()?,
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
            proposer: None,
            wal,
            checkpoints,
            threads: Vec::new(),
        };
        let log_lock = log_place.as_ref().map(|place| place.lock.clone()).or_else(|| folder_lock.clone());
        running.threads.push(threading.start(Body::Log(Box::new(writer)), log_lock)?);
        let checkpointer = Body::Checkpoints(Checkpointer::new(running.checkpoints.clone()));
        running.threads.push(threading.start(checkpointer, folder_lock.clone())?);
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        self.checkpoints.close();
        self.wal.close();
    }
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
        let Opened { shared, meta, wal, writer, recovered, files, reserve, founders } =
            threading.blocking(move || open(&opening)).await??;

        let metrics = options.metrics.clone();
        let failure = Failure::default();
        if shared.machine.read().is_removed(options.member) {
            return Err(StartError::Removed);
        }
        let checkpoints = Checkpoints::new(shared.clone(), wal.clone(), (&meta, reserve), metrics.checkpoint.clone());
        let wakes = Arc::new(Wakes::default());
        let led = Arc::new(LedTerm::default());
        let applied = Arc::new(Applied::new(meta.applied.index));
        let abroad = Arc::new(Abroad::default());
        let roster_changed = Arc::new(Notify::new());
        let contacts = Contacts::new(options.clock.clone(), options.election_timeout);
        let traffic = Traffic::new(options.member, options.metrics.clone());
        let transport = options.metered(&traffic);
        let peers = Peers::new((options.cluster, options.member), transport.clone(), contacts.clone());
        let voice = Voice::new();
        let lease_keeper = LeaseKeeper::new(
            shared.clone(),
            options.lease_clock.clone(),
            (options.election_timeout, metrics.lease.clone()),
        );
        let data = (shared.clone(), checkpoints.clone());
        let compactor = Compactor::new(
            data,
            (Steps::of(&options), metrics.mvcc.clone()),
            applied.clone(),
            (threading.clone(), failure.clone()),
        );
        let hub_options = HubOptions::new(options.watch_progress_interval, options.random.clone(), threading.clone());
        let hub = WatchHub::new(shared.clone(), hub_options, failure.clone());
        let quota = Quota::new(options.member, options.quota_bytes, (shared.clone(), checkpoints.clone()));
        let auth =
            Authenticator::new(options.auth.clone(), (shared.clone(), applied.clone()), options.lease_clock.clone());
        let observer = NodeObserver {
            metrics: metrics.lease.clone(),
            auth: auth.clone(),
            quota: quota.clone(),
            hub: hub.clone(),
            leases: lease_keeper.clone(),
            compactor: compactor.clone(),
            led: led.clone(),
            applied: applied.clone(),
            abroad: abroad.clone(),
            roster_changed: roster_changed.clone(),
            founds_alone: founders.are_alone(),
            shared: shared.clone(),
            member_log: MemberLog { cluster: options.cluster, member: options.member },
            wakes: wakes.clone(),
        };
        observer.member_log.recovered(&shared.machine.read());
        // Before Raft sends the first message.
        transport.set_addresses(founders.addresses(&shared.machine.read(), options.member));

        let mut running = Running::begin(&options, (wal.clone(), writer), checkpoints.clone())?;
        let consensus = {
            let (options, wal, shared) = (options.clone(), wal.clone(), shared.clone());
            let (checkpoints, founders) = (checkpoints.clone(), founders.clone());
            let network = options.network(voice.clone(), (transport, traffic.clone()));
            let start = async move {
                let consensus = Consensus::start(
                    &options.consensus(),
                    (wal, &recovered),
                    (shared, &meta, files),
                    checkpoints,
                    Arc::new(observer),
                    (network, options.clock.clone()),
                )
                .await?;
                if founders.may_found {
                    consensus.initialize(&founders.voters()).await?;
                }
                Ok::<_, crate::raft::StartError>(consensus)
            };
            let started = running.raft_runtime.handle().spawn(start).await;
            started.map_err(|error| std::io::Error::other(error.to_string()))??
        };

        let (clock, election_timeout) = (options.clock.clone(), options.election_timeout);
        let leadership = Arc::new(Leadership::new(consensus.clone(), options.member, led, election_timeout));
        let overdue = Overdue::new(
            (consensus.clone(), options.member),
            contacts.clone(),
            clock.clone(),
            (election_timeout, metrics.server.leader_changes.clone()),
        );
        let agreement = Agreement::new(options.member, shared.clone(), options.agreement_check);
        let (proposer, queue) = proposer::queue(wakes.clone(), options.request_bytes_max, quota.clone());
        let barrier =
            Barrier::new(leadership.clone(), consensus.clone(), peers.clone(), (applied.clone(), metrics.clone()));
        let launcher = Arc::new(Launcher {
            consensus: consensus.clone(),
            leadership: leadership.clone(),
            peers: peers.clone(),
            abroad,
            overdue: overdue.clone(),
            clock: clock.clone(),
            slow: options.slow_apply,
            wakes,
            metrics: metrics.clone(),
        });
        let pinger = Pinger {
            member: options.member,
            voice,
            consensus: consensus.clone(),
            contacts: contacts.clone(),
            agreement: agreement.clone(),
            disk: options.disk.clone(),
            peers: peers.clone(),
            overdue: overdue.clone(),
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
            is_learner: is_learner.clone(),
            failure: failure.clone(),
            changed: roster_changed,
        };

        // On Raft's runtime: a storm of clients must not delay what other members wait for.
        let stop = running.stop.clone();
        let proposals_stop = stop.child_token();
        let (raft, tasks) = (running.raft_runtime.handle(), &mut running.tasks);
        let proposer_task = queue.into_task(launcher, checkpoints.clone(), wal, options.memory, &*options.random);
        running.proposer = Some(raft.spawn(proposer_task.run(proposals_stop.clone())));
        tasks.spawn_on(barrier.clone().run(stop.clone()), raft);
        tasks.spawn_on(pinger.run(stop.clone()), raft);
        tasks.spawn_on(roster.run(stop.clone()), raft);
        let elections = consensus.clone().tell_of_elections(options.member);
        tasks.spawn_on(run_until(stop.clone(), elections), raft);
        let space_watch = SpaceWatch { space: consensus.space().clone(), consensus: consensus.clone() };
        tasks.spawn_on(space_watch.run(stop.clone()), raft);
        tasks.spawn_on(quota.clone().run(proposer.clone(), stop.clone()), raft);
        if let Some(retention) = options.retention {
            let (clock, shared) = (options.clock.clone(), shared.clone());
            let (leadership, proposer) = (leadership.clone(), proposer.clone());
            let parts = auto_compact::Parts { clock, shared, leadership, proposer };
            tasks.spawn_on(AutoCompactor::new(retention, parts).run(stop.clone()), raft);
        }
        tasks.spawn_on(lease_keeper.clone().run(leadership.clone(), proposer.clone(), stop.clone()), raft);
        let defragmenter = Defragmenter::new((shared.clone(), checkpoints.clone()), &options);
        // Before the compactor begins: its first round counts.
        let source = (compactor.rounds(), checkpoints.clone());
        let reclaimer = Reclaimer::new(source, defragmenter.clone(), options.reclaim_bytes_min);
        tasks.spawn(reclaimer.run(stop.clone()));
        tasks.spawn(compactor.clone().run(stop.clone()));
        tasks.spawn(hub.clone().run(stop.clone()));

        let stopped = CancellationToken::new();
        tasks.spawn(follow_failures(
            (consensus.clone(), checkpoints),
            Doors { barrier: barrier.clone(), proposals_stop, hub: hub.clone() },
            (stop, stopped.clone(), failure.clone()),
        ));
        let checks_stop = running.stop.clone();
        let node = Node(Arc::new(NodeState {
            cluster: options.cluster,
            member: options.member,
            shared,
            consensus,
            leadership,
            contacts,
            agreement,
            peers,
            threading,
            election_timeout,
            is_learner,
            founders,
            strict_reconfig: options.strict_reconfig,
            learners_max: options.learners_max,
            proposer,
            quota,
            auth,
            barrier,
            applied,
            rooms: Rooms::new(options.memory.answers),
            leases: lease_keeper,
            compactor,
            hub,
            defragmenter,
            snapshot_turns: Arc::new(Semaphore::new(snapshot::STREAMS_MAX)),
            random: options.random.clone(),
            lease_ttl_min: options.lease_ttl_min(),
            running: Mutex::new(Some(running)),
            stopped,
            failure,
            metrics,
            traffic,
            overdue,
            values_max: options.memory.values,
        }));
        // It needs the node itself, which must not live for its sake.
        let checks = corruption::run(Arc::downgrade(&node.0), options.corruption_checks, checks_stop);
        if let Some(running) = &mut *node.running.lock() {
            running.tasks.spawn(checks);
        }
        Ok(node)
    }

    /// Waits until the member can serve (a leader is known and has begun), makes it known to the cluster by its name and
    /// URLs, and waits until it has its vote, unless it is to have none: whoever sees that it serves may count on it, and
    /// take away another.
    ///
    /// # Errors
    /// As [`Node::propose`]; try again after [`NodeError::Timeout`]. [`NodeError::Rejected`] says that the cluster does not
    /// know the member, or not yet.
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
        tokio::time::timeout(REQUEST_TIMEOUT, self.has_vote()).await.map_err(|_| NodeError::Timeout)
    }

    /// Waits until Raft counts this member, if the table says that it should.
    async fn has_vote(&self) {
        loop {
            let shall_vote = self.shared.machine.read().members.get(&self.member).is_some_and(|own| !own.is_learner);
            let voters = self.consensus.voters();
            if !shall_vote || (voters.voters.contains(&self.member) && !voters.is_changing) {
                return;
            }
            tokio::time::sleep(FOUNDING_POLL).await;
        }
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
        // Raft and the last checkpoint wait for the log, which on a full disk may wait for long.
        running.wal.stop_waiting();
        if let Some(proposer) = running.proposer.take() {
            // Its end is an answer to everybody who waits.
            let _ = proposer.await;
        }
        // For whoever has not done so before.
        if let Some(successor) = self.successor() {
            self.transfer_to(successor).await;
        }
        self.consensus.shutdown().await;
        while running.tasks.join_next().await.is_some() {}
        running.checkpoints.close();
        // The checkpointer needs the log's thread to the end, so the log is closed after it.
        for thread in std::mem::take(&mut running.threads).into_iter().rev() {
            if thread.name() == "wal" {
                running.wal.close();
            }
            thread.join().await;
        }
        self.defragmenter.ended().await;
        drop(running);
        let shared = self.shared.clone();
        // It writes: not on an async worker. If that cannot run any more, whoever is the last lets go of the file.
        let _ = self.threading.blocking(move || shared.storage.load().close()).await;
        self.stopped.cancel();
    }

    /// Lets everything end by itself, in no order: for whoever cannot wait for [`Node::stop`]. What was acknowledged is in
    /// the log. Does nothing if the node was stopped.
    pub fn halt(&self) {
        let Some(running) = self.running.lock().take() else { return };
        self.hub.close();
        self.barrier.close();
        drop(running);
        self.stopped.cancel();
    }
}

/// What clients come through.
struct Doors {
    barrier: Arc<Barrier>,
    proposals_stop: CancellationToken,
    hub: Arc<WatchHub>,
}

impl Doors {
    /// Nothing of what this member has is told any more: not to reads, nor to writes that wait for apply, nor to watchers.
    fn close(&self) {
        self.barrier.close();
        self.proposals_stop.cancel();
        self.hub.close();
    }
}

/// Runs a task that has no end of its own until `stop`.
async fn run_until(stop: CancellationToken, task: impl Future<Output = ()>) {
    let _: Option<()> = stop.run_until_cancelled(task).await;
}

/// Notes the first thing that breaks and ends the node for its clients; [`Node::stop`] then tidies up.
async fn follow_failures(
    (consensus, checkpoints): (Consensus, Arc<Checkpoints>),
    doors: Doors,
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
    doors.close();
    failure.set(why);
    stopped.cancel();
}
