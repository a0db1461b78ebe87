//! The types that openraft is built over, and the way between its log ids and ours.
//!
//! openraft counts log entries from 0 and says "none" with an `Option`; below this folder the first entry is 1 and 0
//! means "none", so that positions are plain numbers. [`ours`] and [`theirs`] are the only places that know.

use std::fmt;

use bytes::Bytes;
use openraft::vote::leader_id_std;
use openraft::{EmptyNode, EntryPayload, OptionalSend, RaftTypeConfig};

use super::runtime::Runtime;
use crate::env::Tick;
use crate::machine::Rejection;
use crate::model::{LogId, Reply};

/// openraft over our types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tc;

impl RaftTypeConfig for Tc {
    type D = Batch;
    type R = Answers;
    type NodeId = u64;
    type Node = EmptyNode;
    type Term = u64;
    type LeaderId = leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = EntryPayload<Batch, u64, EmptyNode>;
    type Entry = openraft::impls::Entry<CommittedLeaderId, Self::Payload>;
    type AsyncRuntime = Runtime;
    type Responder<T>
        = OnComplete<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = openraft::AnyError;
}

pub(super) type CommittedLeaderId = leader_id_std::CommittedLeaderId<u64>;
pub(super) type TheirLogId = openraft::alias::LogIdOf<Tc>;
pub(super) type Entry = openraft::alias::EntryOf<Tc>;
pub(super) type Payload = openraft::alias::PayloadOf<Tc>;
pub(super) type Vote = openraft::alias::VoteOf<Tc>;
pub(super) type Membership = openraft::Membership<u64, EmptyNode>;
pub(super) type SnapshotMeta = openraft::alias::SnapshotMetaOf<Tc>;
pub(super) type StoredMembership = openraft::alias::StoredMembershipOf<Tc>;

/// What one log entry carries: the commands that waited when it was proposed, encoded one after another
/// (see [`super::batch`]).
#[derive(Clone, PartialEq, Eq)]
pub struct Batch(pub Bytes);

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch of {} bytes", self.0.len())
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What became of each command of an entry, in order.
#[derive(Debug, Default)]
pub struct Answers {
    pub results: Vec<Result<Reply, Rejection>>,
    /// When apply began with the entry.
    pub began: Tick,
}

/// Takes the outcome of a proposal, once, on the thread that has it.
pub struct OnComplete<T>(Box<dyn FnOnce(T) + Send>);

impl<T> OnComplete<T> {
    pub(super) fn new(act: impl FnOnce(T) + Send + 'static) -> OnComplete<T> {
        OnComplete(Box::new(act))
    }
}

impl<T: OptionalSend + 'static> openraft::raft::responder::Responder<Tc, T> for OnComplete<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}

/// Reads openraft's log id.
pub(super) fn ours(id: &TheirLogId) -> LogId {
    LogId { term: id.leader_id.term, index: id.index + 1 }
}

/// Writes openraft's log id; `None` for the position before the first entry.
pub(super) fn theirs(id: LogId) -> Option<TheirLogId> {
    let index = id.index.checked_sub(1)?;
    Some(TheirLogId::new(CommittedLeaderId { term: id.term }, index))
}
