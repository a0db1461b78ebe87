//! What a node is started with.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use super::auth::AuthOptions;
use super::corruption::CorruptionChecks;
pub use super::memory::MemoryBudget;
use super::quota::QUOTA_BYTES_DEFAULT;
use super::threads::Threading;
use super::voice::Voice;
use crate::env::{Clock, Disk, Random};
use crate::metrics::Metrics;
use crate::model::{ClusterId, MemberId, Retention};
use crate::peer::{self, Metered, Traffic, Transport};
use crate::raft::{ConsensusOptions, Network};
pub use crate::storage::Founding;
use crate::storage::Identity;

/// What a member without a setting of its own has. Source: etcd, `DefaultWarningApplyDuration`.
const SLOW_APPLY_DEFAULT: Duration = Duration::from_millis(100);
/// How many election timeouts an append may stay unanswered.
const APPEND_TIMEOUTS: u32 = 2;

/// A folder of the log's own.
#[derive(Debug, Clone)]
pub struct LogPlace {
    /// The folder.
    pub disk: Arc<dyn Disk>,
    /// Its lock: held until the thread that writes there has ended.
    pub lock: Arc<File>,
}

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// The data folder.
    pub disk: Arc<dyn Disk>,
    /// The folder's lock: held until the last thread that writes there has ended, however that comes about.
    pub folder_lock: Option<Arc<File>>,
    /// Where the log is, if not in the data folder.
    pub log_place: Option<LogPlace>,
    /// The clock by which requests and other members are waited for.
    pub clock: Arc<dyn Clock>,
    /// The clock that leases run by: the same, unless a test moves it.
    pub lease_clock: Arc<dyn Clock>,
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
    /// Compare states with other members all the time, and stop if most have another one.
    pub agreement_check: bool,
    /// When to compare what members hold, record by record.
    pub corruption_checks: CorruptionChecks,
    /// Compact by itself, and keep this; `None` leaves compaction to whoever asks.
    pub retention: Option<Retention>,
    /// Keys that one step of a compaction visits, if not as many as disturb nobody.
    pub compaction_step_keys: Option<usize>,
    /// How long a compaction rests after each step, if not as long as disturbs nobody.
    pub compaction_rest: Option<Duration>,
    /// Write the checkpoint's file anew when most of it is free pages, if they are at least so many bytes; `None` leaves
    /// that to whoever asks.
    pub reclaim_bytes_min: Option<u64>,
    /// How large the data may become, in bytes; `None` is any size.
    pub quota_bytes: Option<u64>,
    /// How clients prove who they are.
    pub auth: AuthOptions,
    /// The largest command, as etcd counts it.
    pub request_bytes_max: usize,
    /// How often idle watchers that ask for it hear of progress.
    pub watch_progress_interval: Duration,
    /// Size of one log segment in bytes.
    pub segment_bytes: u64,
    /// An entry of the log that takes longer to apply is logged.
    pub slow_apply: Duration,
    /// How much memory the data and what is done with it may take.
    pub memory: MemoryBudget,
    /// What runs the bodies of threads.
    pub threading: Threading,
    /// What the member counts and measures.
    pub metrics: Arc<Metrics>,
}

impl NodeOptions {
    /// A member that is alone, with etcd's defaults.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, random: Arc<dyn Random>, identity: Identity) -> NodeOptions {
        NodeOptions {
            disk,
            folder_lock: None,
            log_place: None,
            lease_clock: clock.clone(),
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
            agreement_check: true,
            corruption_checks: CorruptionChecks::default(),
            retention: None,
            compaction_step_keys: None,
            compaction_rest: None,
            reclaim_bytes_min: Some(64 << 20),
            quota_bytes: Some(QUOTA_BYTES_DEFAULT),
            auth: AuthOptions::default(),
            request_bytes_max: 1_572_864,
            watch_progress_interval: Duration::from_secs(600),
            segment_bytes: 16 * 1024 * 1024,
            slow_apply: SLOW_APPLY_DEFAULT,
            memory: MemoryBudget::unbounded(),
            threading: Threading::Threads,
            metrics: Arc::default(),
        }
    }
}

impl NodeOptions {
    /// How the member takes part in Raft.
    pub(super) fn consensus(&self) -> ConsensusOptions {
        ConsensusOptions {
            member: self.member,
            heartbeat: self.heartbeat,
            election_timeout: self.election_timeout,
            snapshot_entries: self.snapshot_entries,
            catchup_entries: self.catchup_entries,
            pre_vote: self.pre_vote,
            slow_apply: self.slow_apply,
            metrics: self.metrics.clone(),
        }
    }

    /// How Raft reaches the others, while `voice` lets it speak.
    pub(super) fn network(
        &self,
        voice: Arc<Voice>,
        (transport, traffic): (Arc<dyn Transport>, Arc<Traffic>),
    ) -> Network {
        Network {
            cluster: self.cluster,
            member: self.member,
            transport,
            traffic,
            random: self.random.clone(),
            permission: voice,
            append_timeout: self.election_timeout * APPEND_TIMEOUTS,
            heartbeat: self.heartbeat,
        }
    }

    /// How others are reached, with what goes that way counted.
    pub(super) fn metered(&self, traffic: &Arc<Traffic>) -> Arc<dyn Transport> {
        Arc::new(Metered::new(self.transport.clone(), traffic.clone()))
    }

    /// One and a half election timeouts, in whole seconds, counted in heartbeats as etcd counts them.
    pub(super) fn lease_ttl_min(&self) -> i64 {
        let heartbeat = self.heartbeat.as_millis().max(1);
        let ticks = 3 * (self.election_timeout.as_millis() / heartbeat) / 2;
        i64::try_from((ticks * heartbeat).div_ceil(1000)).unwrap_or(i64::MAX)
    }
}
