//! What the node says of itself.

use super::Node;
use crate::model::{ClusterId, MemberId, Revision};

/// Who answers: for response headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The cluster.
    pub cluster: ClusterId,
    /// This member.
    pub member: MemberId,
    /// The present Raft term.
    pub term: u64,
}

/// What the member is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Bytes of the checkpoint's file.
    pub db_bytes: u64,
    /// Bytes of the records that are live.
    pub db_bytes_in_use: u64,
    /// Who leads, as far as this member knows.
    pub leader: Option<MemberId>,
    /// The last committed log index.
    pub raft_index: u64,
    /// The present Raft term.
    pub raft_term: u64,
    /// The last applied log index.
    pub applied_index: u64,
    /// This member has no vote.
    pub is_learner: bool,
}

impl Node {
    /// Who answers.
    #[must_use]
    pub fn header(&self) -> Header {
        let (term, _) = self.consensus.leadership();
        Header { cluster: self.cluster, member: self.member, term }
    }

    /// The store's newest visible revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.shared.machine.read().kv.revision()
    }

    /// Tells whether this member knows a leader.
    #[must_use]
    pub fn has_leader(&self) -> bool {
        self.consensus.status().leader.is_some()
    }

    /// Tells whether this member has no vote.
    #[must_use]
    pub fn is_learner(&self) -> bool {
        self.consensus.status().is_learner
    }

    /// What the member is doing; local, needs no quorum.
    #[must_use]
    pub fn status(&self) -> Status {
        let raft = self.consensus.status();
        let (applied_index, live_bytes) = {
            let machine = self.shared.machine.read();
            (machine.applied().index, machine.kv.live_bytes())
        };
        // An error of the file's size is no reason to refuse the rest.
        let db_bytes = self.shared.storage.load().file_bytes().unwrap_or(0);
        Status {
            db_bytes,
            db_bytes_in_use: live_bytes as u64,
            leader: raft.leader,
            raft_index: raft.committed.max(applied_index),
            raft_term: raft.term,
            applied_index,
            is_learner: raft.is_learner,
        }
    }
}
