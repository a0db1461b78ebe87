//! The node: the async door to one member's store.
//!
//! Everything below is synchronous or belongs to Raft; everything above speaks some protocol. A [`Node`] joins the two:
//! it proposes commands, lets linearizable reads wait, watches, keeps leases, and starts and stops all of it in order.
//!
//! ```text
//!   propose ──> proposer ──> raft ──> apply ──> observer ──> watch hub, lease keeper, compactor, waiters
//!   range   ──> barrier  ──> mvcc over the shared state
//!   watch   ──> hub: events of each run, or history for those who are behind
//! ```
//!
//! One file per family of verbs (`writes`, `reads`, `answers`, `leases`, `members`, `transfer`, `quota`, `hash`, `snapshot`,
//! `defragment`, `status`, `watch`) and one per task that runs beside them (`proposer`, `barrier`, `lease_keeper`, `compactor`,
//! `auto_compact`, `corruption`, `reclaim`, `roster`, `voice`, `space`). What other members ask comes in through `handler`.
//! `open` opens the data folder of `options`; [`Node::start`] is the only place where threads begin.

mod agreement;
mod answers;
mod applied;
mod auth;
mod auto_compact;
mod barrier;
#[cfg(test)]
mod cluster;
mod compactor;
mod completion;
mod contacts;
mod corruption;
mod courtesy;
mod defragment;
mod downgrade;
mod error;
mod failure;
mod figures;
mod flight;
mod founders;
mod handler;
mod hash;
mod leadership;
mod lease_keeper;
mod leases;
mod member_log;
mod members;
mod memory;
mod observer;
mod open;
mod options;
mod overdue;
mod peers;
mod proposer;
mod quarantine;
mod quota;
mod readers;
mod reads;
mod reclaim;
mod restoring;
mod room;
mod roster;
mod session;
mod snapshot;
mod space;
mod start;
mod status;
mod threads;
mod transfer;
mod verdict;
mod voice;
mod watch;
mod writes;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;

pub use self::answers::{RangeAnswer, Windows};
pub use self::auth::AuthOptions;
pub use self::completion::{Completed, Completions};
pub use self::corruption::{CorruptionChecks, InitialCheckError};
pub use self::error::{NodeError, Outcome};
pub use self::failure::REMOVED;
pub use self::lease_keeper::Remaining;
pub use self::open::{LOG_DIR, STATE_FILE, check_agreement};
pub use self::options::{Founding, LogPlace, MemoryBudget, NodeOptions};
pub use self::quarantine::reason as reason_not_to_start;
pub use self::reads::Consistency;
pub use self::restoring::{Restored, Restoring};
pub use self::room::Room;
pub use self::session::Session;
pub use self::snapshot::{SnapshotPart, SnapshotStream};
use self::start::Running;
pub use self::start::StartError;
pub use self::status::{Header, KeySpace, Status};
pub use self::threads::{Pace, Threading, raft_runtime};
pub use self::watch::{WatchRefusal, WatchSpec, WatchStream, WatchUpdate};
pub use crate::auth::Error as AuthError;
use crate::env::Random;
pub use crate::machine::Rejection;
use crate::machine::Shared;
use crate::metrics::Metrics;
use crate::model::{ClusterId, MemberId};
pub use crate::mvcc::{KvHash, PairBytes, PartLimits, RangePart, RangePlace};

use crate::peer::Traffic;
use crate::raft::Consensus;
pub use crate::raft::Proposal;
pub use crate::storage::Identity;

/// The only door to the store: cheap to clone, every front stands before it.
#[derive(Debug, Clone)]
pub struct Node(Arc<NodeState>);

/// What the clones of a [`Node`] share.
#[derive(Debug)]
pub struct NodeState {
    cluster: ClusterId,
    member: MemberId,
    shared: Arc<Shared>,
    consensus: Consensus,
    leadership: Arc<leadership::Leadership>,
    contacts: Arc<contacts::Contacts>,
    agreement: Arc<agreement::Agreement>,
    peers: peers::Peers,
    threading: Threading,
    election_timeout: Duration,
    /// As the table says; kept by the roster.
    is_learner: Arc<AtomicBool>,
    founders: founders::Founders,
    proposer: proposer::Proposer,
    quota: Arc<quota::Quota>,
    auth: Arc<auth::Authenticator>,
    barrier: Arc<barrier::Barrier>,
    applied: Arc<applied::Applied>,
    rooms: room::Rooms,
    leases: Arc<lease_keeper::LeaseKeeper>,
    compactor: Arc<compactor::Compactor>,
    hub: Arc<watch::WatchHub>,
    defragmenter: Arc<defragment::Defragmenter>,
    snapshot_turns: Arc<tokio::sync::Semaphore>,
    random: Arc<dyn Random>,
    /// Seconds.
    lease_ttl_min: i64,
    /// Refuse changes of members that would cost the quorum.
    strict_reconfig: bool,
    /// Learners that the cluster may have.
    learners_max: usize,
    /// Taken by whoever stops the node.
    running: Mutex<Option<Running>>,
    stopped: tokio_util::sync::CancellationToken,
    failure: failure::Failure,
    metrics: Arc<Metrics>,
    traffic: Arc<Traffic>,
    overdue: overdue::Overdue,
    /// Bytes of newest pairs that may be in memory.
    values_max: usize,
}

impl std::ops::Deref for Node {
    type Target = NodeState;

    fn deref(&self) -> &NodeState {
        &self.0
    }
}
