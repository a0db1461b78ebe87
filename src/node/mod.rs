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
//! One file per family of verbs (`writes`, `reads`, `leases`, `status`, `watch`) and one per task that runs beside them
//! (`proposer`, `barrier`, `lease_keeper`, `compactor`). [`Node::start`] is the only place where threads begin.

mod barrier;
mod compactor;
mod completion;
mod error;
mod leadership;
mod lease_keeper;
mod leases;
mod observer;
mod proposer;
mod reads;
mod start;
mod status;
mod watch;
mod writes;

use std::sync::Arc;

use parking_lot::Mutex;

pub use self::completion::Completions;
pub use self::error::{NodeError, Outcome};
pub use self::lease_keeper::Remaining;
pub use self::reads::Consistency;
use self::start::Running;
pub use self::start::{NodeOptions, StartError};
pub use self::status::{Header, Status};
pub use self::watch::{WatchRefusal, WatchSpec, WatchStream, WatchUpdate};
use crate::env::Random;
pub use crate::machine::Rejection;
use crate::machine::Shared;
use crate::model::{ClusterId, MemberId};
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
    proposer: proposer::Proposer,
    barrier: Arc<barrier::Barrier>,
    leases: Arc<lease_keeper::LeaseKeeper>,
    compactor: Arc<compactor::Compactor>,
    hub: Arc<watch::WatchHub>,
    random: Arc<dyn Random>,
    /// Seconds.
    lease_ttl_min: i64,
    /// Taken by whoever stops the node.
    running: Mutex<Option<Running>>,
    stopped: tokio_util::sync::CancellationToken,
    failed: start::Failure,
}

impl std::ops::Deref for Node {
    type Target = NodeState;

    fn deref(&self) -> &NodeState {
        &self.0
    }
}
