//! What log and checkpoint hold of Raft, in our own values: for tools that read a stopped member's folder.

use std::collections::BTreeSet;
use std::io;

use openraft::EntryPayload;

use super::batch;
use super::log_codec::{decode_entry, decode_log_id, decode_stored_membership, decode_vote};
use super::types::{Membership, ours};
use crate::model::{LogId, MemberId, Request};
use crate::wal::{LogEntry, Recovered};

/// What one log entry carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryContent {
    /// Nothing: the first entry of a leader.
    Blank,
    /// Commands, in order; with a number if a follower passed them on.
    Commands(Option<u64>, Vec<Request>),
    /// Who takes part from here on.
    Membership(Participants),
}

/// Who takes part in Raft, as an entry or a checkpoint says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Participants {
    /// Those with a vote; two sets while that changes.
    pub voters: Vec<BTreeSet<MemberId>>,
    /// Those who receive the log without a vote.
    pub learners: BTreeSet<MemberId>,
}

/// What the log says beside its entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogMarks {
    /// The last vote.
    pub vote: Option<LastVote>,
    /// What was known to be committed; a hint, which may be older than the truth.
    pub committed: Option<LogId>,
    /// The last entry that was purged.
    pub purged: Option<LogId>,
}

/// Whom the member voted for last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastVote {
    /// In which term.
    pub term: u64,
    /// For whom.
    pub member: MemberId,
    /// A quorum did the same: it leads that term.
    pub is_committed: bool,
}

/// Reads what a log entry carries, as apply does.
///
/// # Errors
/// What of it this version does not know, or makes no sense.
pub fn read_entry(entry: LogEntry) -> io::Result<EntryContent> {
    Ok(match decode_entry(entry)?.payload {
        EntryPayload::Blank => EntryContent::Blank,
        EntryPayload::Membership(membership) => EntryContent::Membership(participants(&membership)),
        EntryPayload::Normal(commands) => {
            let (number, requests) = batch::decode(&commands).map_err(io::Error::other)?;
            EntryContent::Commands(number, requests)
        }
    })
}

/// Reads what the log says beside its entries.
///
/// # Errors
/// Which of it makes no sense.
pub fn read_marks(recovered: &Recovered) -> io::Result<LogMarks> {
    let vote = recovered.vote.as_deref().map(decode_vote).transpose()?;
    Ok(LogMarks {
        vote: vote.map(|vote| LastVote {
            term: vote.leader_id().term,
            member: MemberId(vote.leader_id().voted_for),
            is_committed: vote.is_committed(),
        }),
        committed: recovered.committed.as_deref().map(decode_log_id).transpose()?,
        purged: recovered.purged.as_ref().map(|(_, mark)| decode_log_id(mark)).transpose()?,
    })
}

/// Reads who takes part, as a checkpoint holds it, and since which entry.
///
/// # Errors
/// If it makes no sense.
pub fn read_membership(bytes: &[u8]) -> io::Result<(LogId, Participants)> {
    let stored = decode_stored_membership(bytes)?;
    let since = stored.log_id().as_ref().map(ours).unwrap_or_default();
    Ok((since, participants(stored.membership())))
}

fn participants(membership: &Membership) -> Participants {
    let ids = |ids: &BTreeSet<u64>| ids.iter().copied().map(MemberId).collect();
    Participants {
        voters: membership.get_joint_config().iter().map(ids).collect(),
        learners: membership.learner_ids().map(MemberId).collect(),
    }
}
