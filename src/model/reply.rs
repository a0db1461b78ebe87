//! What a command or a read has to say.

use super::{Alarm, LeaseId, Record, Revision};

/// What an applied command did. Every reply names the store's revision after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Answers a put.
    Put(PutReply),
    /// Answers a delete.
    DeleteRange(DeleteReply),
    /// Answers a txn.
    Txn(TxnReply),
    /// Answers a compaction.
    Compact {
        /// The store's revision.
        revision: Revision,
    },
    /// Answers a grant.
    LeaseGrant(GrantReply),
    /// Answers a revoke.
    LeaseRevoke {
        /// The store's revision.
        revision: Revision,
    },
    /// Answers an alarm that is raised or lowered.
    Alarm {
        /// The store's revision.
        revision: Revision,
        /// The alarm that is raised now, or that was until now.
        alarm: Option<Alarm>,
    },
    /// Answers a user that gets a token.
    Authenticate {
        /// The store's revision.
        revision: Revision,
        /// The log entry that gives it.
        index: u64,
        /// The revision of users and roles.
        auth_revision: u64,
    },
    /// Answers a change of users and roles, and commands that no client sends.
    Done {
        /// The store's revision.
        revision: Revision,
    },
}

/// Answers a put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutReply {
    /// The revision of the write.
    pub revision: Revision,
    /// The pair before it, if it was asked for and existed.
    pub prev: Option<Record>,
}

/// Answers a delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteReply {
    /// The revision of the delete; the store's, if nothing was deleted.
    pub revision: Revision,
    /// How many keys are gone.
    pub deleted: i64,
    /// The pairs before, in key order, if they were asked for.
    pub prev: Vec<Record>,
}

/// Answers a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeReply {
    /// The store's revision when the range was read, not the one that was asked for.
    pub revision: Revision,
    /// The pairs.
    pub kvs: Vec<Record>,
    /// The limit has cut pairs off.
    pub more: bool,
    /// How many keys are in the range, whatever limit and filters say.
    pub count: i64,
}

/// Answers a txn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxnReply {
    /// The revision of the txn; the store's, if it changed nothing.
    pub revision: Revision,
    /// All comparisons held.
    pub succeeded: bool,
    /// One answer for each operation of the branch that ran.
    pub responses: Vec<OpReply>,
}

/// Answers one operation of a txn. Its revision counts the txn's own changes up to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpReply {
    /// Answers a range.
    Range(RangeReply),
    /// Answers a put.
    Put(PutReply),
    /// Answers a delete.
    DeleteRange(DeleteReply),
    /// Answers a nested txn; its own revision is not shown to clients.
    Txn(TxnReply),
}

/// Answers a lease grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantReply {
    /// The store's revision.
    pub revision: Revision,
    /// The lease.
    pub id: LeaseId,
    /// Its time to live in seconds, after the minimum was applied.
    pub ttl: i64,
}

impl Reply {
    /// The store's revision after the command.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Reply::Put(reply) => reply.revision,
            Reply::DeleteRange(reply) => reply.revision,
            Reply::Txn(reply) => reply.revision,
            Reply::LeaseGrant(reply) => reply.revision,
            Reply::Compact { revision }
            | Reply::LeaseRevoke { revision }
            | Reply::Alarm { revision, .. }
            | Reply::Authenticate { revision, .. }
            | Reply::Done { revision } => *revision,
        }
    }
}
