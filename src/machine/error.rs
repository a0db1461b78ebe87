//! The two ways in which a command is not carried out.

use crate::auth;
use crate::model::{LogId, Revision};
use crate::mvcc::ReadError;
use crate::storage;

/// Why a command was refused: the same on every member, answered to the client. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The present value or lease is to be kept, and there is no such key.
    #[error("key not found")]
    KeyNotFound,
    /// There is no such lease.
    #[error("requested lease not found")]
    LeaseNotFound,
    /// The lease's id is taken.
    #[error("lease already exists")]
    LeaseExists,
    /// The lease would live longer than is allowed.
    #[error("too large lease TTL")]
    LeaseTtlTooLarge,
    /// The revision is compacted.
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
    /// The data is as large as it may be, says an alarm.
    #[error("database space exceeded")]
    NoSpace,
    /// Members differ that should not, says an alarm.
    #[error("corrupt cluster")]
    Corrupt,
    /// The caller may not do that, or users and roles cannot be changed like that.
    #[error(transparent)]
    Auth(auth::Error),
    /// There is no such member.
    #[error("member not found")]
    MemberNotFound,
    /// The member was removed, for ever.
    #[error("member was removed")]
    MemberRemoved,
    /// The member's id is taken.
    #[error("member ID already exists")]
    MemberExists,
    /// Another member is reached at one of the URLs.
    #[error("peer URLs already exist")]
    PeerUrlExists,
    /// The member has a vote already.
    #[error("can only promote a learner")]
    MemberNotLearner,
    /// The cluster has as many learners as it may have.
    #[error("too many learners")]
    TooManyLearners,
}

/// Why this member cannot go on: local, it must stop.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The checkpoint could not be read.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// Entries are missing, or come again.
    #[error("log entry {at} does not follow {applied}, the last one that was applied")]
    Gap {
        /// What came.
        at: LogId,
        /// What was before.
        applied: LogId,
    },
}

/// A read inside a command: refused alike everywhere, unless the disk failed here.
pub(super) fn rejected(error: ReadError) -> Result<Rejection, Fault> {
    match error {
        ReadError::Compacted { requested, compacted } => Ok(Rejection::Compacted { requested, compacted }),
        ReadError::Future { requested, current } => Ok(Rejection::FutureRevision { requested, current }),
        ReadError::Storage(error) => Err(error.into()),
    }
}
