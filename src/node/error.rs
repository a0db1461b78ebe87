//! Why the node did not do what it was asked.

use std::sync::Arc;

use crate::machine::{Fault, Rejection};
use crate::model::{Reply, Revision};
use crate::mvcc::ReadError;

/// What became of a command.
pub type Outcome = Result<Reply, NodeError>;

/// Why the node did not do what it was asked. Each front has its own table from these to what its clients see.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The command was applied and refused, the same on every member.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The revision was compacted away.
    #[error("required revision {requested} has been compacted (compacted: {compacted})")]
    Compacted {
        /// What was asked for.
        requested: Revision,
        /// The lowest revision that can be read.
        compacted: Revision,
    },
    /// The revision is still to come.
    #[error("required revision {requested} is a future revision (current: {current})")]
    FutureRevision {
        /// What was asked for.
        requested: Revision,
        /// The newest revision.
        current: Revision,
    },
    /// The change would leave fewer members that have started than a quorum.
    #[error("not enough started members")]
    NotEnoughStarted,
    /// This member is not connected to enough others for the change.
    #[error("unhealthy cluster")]
    Unhealthy,
    /// The learner has not caught up with the leader.
    #[error("the learner is not in sync with the leader")]
    LearnerNotReady,
    /// Only the leader does this, and this member is not.
    #[error("not the leader")]
    NotLeader,
    /// The member that is to lead is unknown or has no vote.
    #[error("bad leader transferee")]
    BadTransferee,
    /// A downgrade goes to the version before that of the cluster, and to no other.
    #[error("invalid downgrade target version")]
    BadDowngradeTarget,
    /// A downgrade is under way.
    #[error("a downgrade is under way")]
    Downgrading,
    /// No downgrade is under way.
    #[error("no downgrade is under way")]
    NoDowngrade,
    /// No leader is known.
    #[error("no leader")]
    NoLeader,
    /// The leader changed while the request waited.
    #[error("leader changed")]
    LeaderChanged,
    /// No answer within the request timeout. A write may still take effect.
    #[error("request timed out")]
    Timeout,
    /// As [`NodeError::Timeout`]; the leader failed while the request waited, or shortly before.
    #[error("request timed out, possibly due to previous leader failure")]
    TimeoutLeaderFailed,
    /// As [`NodeError::Timeout`]; this member was cut off from those that it needs.
    #[error("request timed out, possibly due to connection lost")]
    TimeoutConnectionLost,
    /// Nobody led within the request timeout: the command was surely not proposed.
    #[error("no leader took the request in time")]
    NotProposed,
    /// The command is larger than the limit.
    #[error("request is too large")]
    RequestTooLarge,
    /// Too much is waiting already.
    #[error("too many requests")]
    TooManyRequests,
    /// The disk, of this member or of the leader, has no space for what makes the data grow; nothing was proposed.
    #[error("no space is left on the disk")]
    NoSpace,
    /// The node is stopping or has stopped. A write may have taken effect.
    #[error("server stopped")]
    Stopped,
    /// Something local is broken; the node stops.
    #[error("{0}")]
    Fault(Arc<str>),
}

impl From<ReadError> for NodeError {
    fn from(error: ReadError) -> NodeError {
        match error {
            ReadError::Compacted { requested, compacted } => NodeError::Compacted { requested, compacted },
            ReadError::Future { requested, current } => NodeError::FutureRevision { requested, current },
            ReadError::Storage(error) => NodeError::Fault(error.to_string().into()),
        }
    }
}

impl From<Fault> for NodeError {
    fn from(fault: Fault) -> NodeError {
        NodeError::Fault(fault.to_string().into())
    }
}
