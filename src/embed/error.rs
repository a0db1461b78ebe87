//! What can go wrong, and what to do about it.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{Reply, Revision};
use crate::node::{NodeError, Rejection};
use crate::server;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Clients cannot be awaited there.
    #[error(
        "cannot await clients at {addr:?}: {reason}; give an IP address and a port, such as 127.0.0.1:0 for a free one, or \
         unix:///path/to/socket"
    )]
    Address {
        /// As it was given.
        addr: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no tokio runtime here.
    #[error("a server needs a tokio runtime: start it within #[tokio::main], #[tokio::test] or Runtime::block_on")]
    NoRuntime,
    /// The server says why.
    #[error(transparent)]
    Server(#[from] server::Error),
}

/// Why a [`super::Store`] did not do what it was asked.
///
/// Each call names what its own arguments can lead to. Besides, any call may be answered with [`Error::Busy`],
/// [`Error::Timeout`], [`Error::Stopped`] or [`Error::Failed`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A key has at least one byte.
    #[error("the key is empty: a key has at least one byte")]
    EmptyKey,
    /// A range ends before it starts.
    #[error("the range is empty: its end must be above its start")]
    EmptyRange,
    /// A branch of a txn writes a key twice, or puts one that it deletes.
    #[error("one branch of the txn writes the key \"{}\" more than once: leave all but one of them out", .0.escape_ascii())]
    DuplicateKey(Bytes),
    /// There is no such lease, or not any more.
    #[error("the lease is not there, or has ended: grant a new one")]
    LeaseNotFound,
    /// A lease may not live as long.
    #[error("the lease would live too long: grant a shorter one and keep it alive")]
    TtlTooLarge,
    /// The revision was compacted away.
    #[error("revision {requested} is compacted: read or watch from {compacted} on")]
    Compacted {
        /// What was asked for.
        requested: Revision,
        /// The lowest revision that is there.
        compacted: Revision,
    },
    /// The revision is still to come.
    #[error("revision {requested} is still to come: the store is at {current}")]
    FutureRevision {
        /// What was asked for.
        requested: Revision,
        /// The newest revision.
        current: Revision,
    },
    /// The request is larger than 1.5 MiB.
    #[error("the request is larger than 1.5 MiB: split it")]
    TooLarge,
    /// Too much is waiting already; nothing was done.
    #[error("too many requests wait already: await some of them first")]
    Busy,
    /// The disk of the data folder is full; nothing was done. Reads, deletes and compactions go on.
    #[error("the disk is full: make room on it, or delete and compact; then try again")]
    NoSpace,
    /// No answer came within seconds. A write may have taken effect, or still will.
    #[error("no answer within seconds: a write may have taken effect all the same, so look before you try again")]
    Timeout,
    /// The server has stopped. A write that was under way may have taken effect.
    #[error("the server has stopped: start it again")]
    Stopped,
    /// Something is broken; the server stops.
    #[error("the server cannot go on: {0}")]
    Failed(Arc<str>),
}

impl Error {
    /// A command was answered as another one.
    pub(super) fn mismatch(asked: &str, reply: &Reply) -> Error {
        Error::Failed(format!("{asked} was answered with {reply:?}").into())
    }
}

impl From<NodeError> for Error {
    fn from(error: NodeError) -> Error {
        match error {
            NodeError::Rejected(rejection) => rejection.into(),
            NodeError::Compacted { requested, compacted } => Error::Compacted { requested, compacted },
            NodeError::FutureRevision { requested, current } => Error::FutureRevision { requested, current },
            NodeError::RequestTooLarge => Error::TooLarge,
            NodeError::TooManyRequests => Error::Busy,
            NodeError::NoSpace => Error::NoSpace,
            // A member that is alone has a leader but for a moment: for whoever waits these are all the same.
            NodeError::NoLeader
            | NodeError::NotLeader
            | NodeError::NotProposed
            | NodeError::LeaderChanged
            | NodeError::Timeout
            | NodeError::TimeoutLeaderFailed
            | NodeError::TimeoutConnectionLost => Error::Timeout,
            NodeError::Stopped => Error::Stopped,
            NodeError::Fault(why) => Error::Failed(why),
            // Of members, whom nobody can change here.
            NodeError::NotEnoughStarted
            | NodeError::Unhealthy
            | NodeError::LearnerNotReady
            | NodeError::BadDowngradeTarget
            | NodeError::Downgrading
            | NodeError::NoDowngrade
            | NodeError::BadTransferee => Error::Failed(error.to_string().into()),
        }
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Error {
        match rejection {
            Rejection::LeaseNotFound => Error::LeaseNotFound,
            Rejection::LeaseTtlTooLarge => Error::TtlTooLarge,
            Rejection::Compacted { requested, compacted } => Error::Compacted { requested, compacted },
            Rejection::FutureRevision { requested, current } => Error::FutureRevision { requested, current },
            Rejection::NoSpace => Error::NoSpace,
            // Nobody can ask here for what these refuse, or raise the alarm.
            Rejection::KeyNotFound
            | Rejection::LeaseExists
            | Rejection::Corrupt
            | Rejection::Auth(_)
            | Rejection::MemberNotFound
            | Rejection::MemberRemoved
            | Rejection::MemberExists
            | Rejection::PeerUrlExists
            | Rejection::MemberNotLearner
            | Rejection::TooManyLearners => Error::Failed(rejection.to_string().into()),
        }
    }
}
