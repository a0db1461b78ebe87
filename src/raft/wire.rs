//! Raft's messages as bytes, on their way to another member and back.
//!
//! `encode` never fails; `decode` refuses what openraft could not take: messages come from other processes.

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendError, StreamAppendResult, TransferLeaderRequest, VoteRequest,
    VoteResponse,
};
use prost::Message;

use super::log_codec::{decode_entry, decode_stored_membership, encode_entry, encode_stored_membership};
use super::types::{SnapshotMeta, Tc, TheirLogId, Vote, ours, theirs};
use crate::model::LogId;
use crate::peer::Refusal;
use crate::proto::lodemarkpb as pb;
use crate::wal::LogEntry;

/// What travels as one message.
pub(super) trait Wire: Sized {
    /// Its bytes.
    fn encode(self) -> Bytes;
    /// Reads them back.
    fn decode(bytes: Bytes) -> Result<Self, Refusal>;
}

impl Wire for AppendEntriesRequest<Tc> {
    fn encode(self) -> Bytes {
        let entries = self.entries.into_iter().map(encode_entry);
        message(&pb::AppendEntriesRequest {
            vote: Some(vote_to(&self.vote)),
            prev: log_id_to(self.prev_log_id.as_ref()),
            entries: entries.map(|LogEntry { term, index, payload }| pb::Entry { term, index, payload }).collect(),
            committed: log_id_to(self.leader_commit.as_ref()),
        })
    }

    fn decode(bytes: Bytes) -> Result<Self, Refusal> {
        let pb::AppendEntriesRequest { vote, prev, entries, committed } = read(bytes)?;
        let prev_log_id = log_id_of(prev);
        let first = prev_log_id.as_ref().map_or(0, |id| ours(id).index).saturating_add(1);
        let mut decoded = Vec::with_capacity(entries.len());
        for (next, pb::Entry { term, index, payload }) in (first..).zip(entries) {
            // A hole would be applied as if nothing were missing.
            if index != next {
                return Err(Refusal::malformed(format!("entry {index} where {next} must follow")));
            }
            decoded.push(decode_entry(LogEntry { index, term, payload }).map_err(Refusal::malformed)?);
        }
        let vote = vote_of(vote)?;
        Ok(AppendEntriesRequest { vote, prev_log_id, entries: decoded, leader_commit: log_id_of(committed) })
    }
}

impl Wire for StreamAppendResult<Tc> {
    fn encode(self) -> Bytes {
        use pb::append_entries_response::Outcome;
        let outcome = match self {
            Ok(matching) => Outcome::Matching(log_id_to(matching.as_ref()).unwrap_or_default()),
            Err(StreamAppendError::Conflict(at)) => Outcome::Conflict(log_id_to(Some(&at)).unwrap_or_default()),
            Err(StreamAppendError::HigherVote(vote)) => Outcome::Higher(vote_to(&vote)),
        };
        message(&pb::AppendEntriesResponse { outcome: Some(outcome) })
    }

    fn decode(bytes: Bytes) -> Result<Self, Refusal> {
        use pb::append_entries_response::Outcome;
        let pb::AppendEntriesResponse { outcome } = read(bytes)?;
        match outcome {
            Some(Outcome::Matching(id)) => Ok(Ok(log_id_of(Some(id)))),
            Some(Outcome::Conflict(id)) => {
                let id = log_id_of(Some(id)).ok_or_else(|| Refusal::malformed("a conflict before the first entry"))?;
                Ok(Err(StreamAppendError::Conflict(id)))
            }
            Some(Outcome::Higher(vote)) => Ok(Err(StreamAppendError::HigherVote(vote_of(Some(vote))?))),
            None => Err(Refusal::malformed("an append answer without an outcome")),
        }
    }
}

impl Wire for VoteRequest<Tc> {
    fn encode(self) -> Bytes {
        let (vote, last_log) = (Some(vote_to(&self.vote)), log_id_to(self.last_log_id.as_ref()));
        message(&pb::VoteRequest { vote, last_log, transfer: self.leadership_transfer })
    }

    fn decode(bytes: Bytes) -> Result<Self, Refusal> {
        let pb::VoteRequest { vote, last_log, transfer } = read(bytes)?;
        Ok(VoteRequest { vote: vote_of(vote)?, last_log_id: log_id_of(last_log), leadership_transfer: transfer })
    }
}

impl Wire for VoteResponse<Tc> {
    fn encode(self) -> Bytes {
        let (vote, last_log) = (Some(vote_to(&self.vote)), log_id_to(self.last_log_id.as_ref()));
        message(&pb::VoteResponse { vote, granted: self.vote_granted, last_log })
    }

    fn decode(bytes: Bytes) -> Result<Self, Refusal> {
        let pb::VoteResponse { vote, granted, last_log } = read(bytes)?;
        Ok(VoteResponse { vote: vote_of(vote)?, vote_granted: granted, last_log_id: log_id_of(last_log) })
    }
}

impl Wire for TransferLeaderRequest<Tc> {
    fn encode(self) -> Bytes {
        let (leader, last_log) = (Some(vote_to(self.from_leader())), log_id_to(self.last_log_id()));
        message(&pb::TransferRequest { leader, to: *self.to_node_id(), last_log })
    }

    fn decode(bytes: Bytes) -> Result<Self, Refusal> {
        let pb::TransferRequest { leader, to, last_log } = read(bytes)?;
        Ok(TransferLeaderRequest::new(vote_of(leader)?, to, log_id_of(last_log)))
    }
}

impl Wire for SnapshotResponse<Tc> {
    fn encode(self) -> Bytes {
        message(&pb::SnapshotResponse { vote: Some(vote_to(&self.vote)) })
    }

    fn decode(bytes: Bytes) -> Result<Self, Refusal> {
        let pb::SnapshotResponse { vote } = read(bytes)?;
        Ok(SnapshotResponse::new(vote_of(vote)?))
    }
}

/// Which state a snapshot is, and which of its bytes follow.
#[derive(Debug, Clone)]
pub(super) struct SnapshotHead {
    pub(super) vote: Vote,
    pub(super) meta: SnapshotMeta,
    /// Tells one sending from another.
    pub(super) sending: u64,
    /// Where the bytes begin.
    pub(super) offset: u64,
}

impl Wire for SnapshotHead {
    fn encode(self) -> Bytes {
        message(&pb::SnapshotHead {
            vote: Some(vote_to(&self.vote)),
            last_log: log_id_to(self.meta.last_log_id.as_ref()),
            membership: encode_stored_membership(&self.meta.last_membership),
            sending: self.sending,
            offset: self.offset,
        })
    }

    fn decode(bytes: Bytes) -> Result<Self, Refusal> {
        let pb::SnapshotHead { vote, last_log, membership, sending, offset } = read(bytes)?;
        let vote = vote_of(vote)?;
        let last_log_id = log_id_of(last_log);
        // openraft would panic: no leader has a snapshot of a later term than its own.
        if last_log_id.as_ref().is_some_and(|id| ours(id).term > vote.leader_id().term) {
            return Err(Refusal::malformed("a snapshot of a later term than its sender's"));
        }
        let last_membership = decode_stored_membership(&membership).map_err(Refusal::malformed)?;
        Ok(SnapshotHead { vote, meta: SnapshotMeta { last_log_id, last_membership }, sending, offset })
    }
}

/// Reads a message.
pub(super) fn read<M: Message + Default>(bytes: Bytes) -> Result<M, Refusal> {
    M::decode(bytes).map_err(Refusal::malformed)
}

/// Writes a message.
pub(super) fn message(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

fn vote_to(vote: &Vote) -> pb::Vote {
    let leader = vote.leader_id();
    pb::Vote { term: leader.term, member: leader.voted_for, committed: vote.is_committed() }
}

fn vote_of(vote: Option<pb::Vote>) -> Result<Vote, Refusal> {
    let pb::Vote { term, member, committed } = vote.ok_or_else(|| Refusal::malformed("there is no vote"))?;
    Ok(if committed { Vote::new_committed(term, member) } else { Vote::new(term, member) })
}

fn log_id_to(id: Option<&TheirLogId>) -> Option<pb::LogId> {
    id.map(|id| {
        let LogId { term, index } = ours(id);
        pb::LogId { term, index }
    })
}

fn log_id_of(id: Option<pb::LogId>) -> Option<TheirLogId> {
    id.and_then(|pb::LogId { term, index }| theirs(LogId { term, index }))
}
