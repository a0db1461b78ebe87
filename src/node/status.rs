//! What the node says of itself.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Node;
use crate::model::{Alarm, ClusterId, ClusterVersion, MemberId, Revision};

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
    /// How large the data is, with what is free to be used again, in bytes: what the quota is compared with.
    pub db_bytes: u64,
    /// Bytes of it that hold something.
    pub db_bytes_in_use: u64,
    /// How large the data may become, in bytes; `None` is any size.
    pub quota_bytes: Option<u64>,
    /// The alarms that are raised.
    pub alarms: Vec<Alarm>,
    /// Who leads, as far as this member knows.
    pub leader: Option<MemberId>,
    /// The version that the cluster has agreed on.
    pub cluster_version: ClusterVersion,
    /// Where a downgrade goes that is under way.
    pub downgrade: Option<ClusterVersion>,
    /// The last committed log index.
    pub raft_index: u64,
    /// The present Raft term.
    pub raft_term: u64,
    /// The last applied log index.
    pub applied_index: u64,
    /// This member has no vote.
    pub is_learner: bool,
}

/// What there is of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpace {
    /// Keys that live.
    pub keys: usize,
    /// The newest revision.
    pub revision: Revision,
    /// The compacted revision.
    pub compacted: Revision,
}

impl Node {
    /// What there is of keys, on this member.
    #[must_use]
    pub fn key_space(&self) -> KeySpace {
        let machine = self.shared.machine.read();
        let kv = &machine.kv;
        KeySpace { keys: kv.live_keys(), revision: kv.revision(), compacted: kv.compacted() }
    }

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

    /// Tells whether this member knows a leader, and has heard of it within an election timeout.
    #[must_use]
    pub fn has_leader(&self) -> bool {
        self.leadership.leader().is_some()
    }

    /// Tells whether this member is a learner: it has the log and no vote. Asked for each call of a client.
    #[must_use]
    pub fn is_learner(&self) -> bool {
        // Relaxed: it orders nothing but itself.
        self.is_learner.load(Ordering::Relaxed)
    }

    /// How long a member that hears of no leader waits.
    #[must_use]
    pub fn election_timeout(&self) -> Duration {
        self.election_timeout
    }

    /// What the member is doing; local, needs no quorum.
    #[must_use]
    pub fn status(&self) -> Status {
        let raft = self.consensus.status();
        let (applied_index, alarms, cluster_version, downgrade) = {
            let machine = self.shared.machine.read();
            (machine.applied().index, machine.alarms().collect(), machine.cluster_version(), machine.downgrade())
        };
        let occupancy = self.defragmenter.checkpoints.occupancy();
        Status {
            db_bytes: occupancy.size(),
            db_bytes_in_use: occupancy.in_use(),
            quota_bytes: self.quota.bytes(),
            alarms,
            leader: self.leadership.leader(),
            cluster_version,
            downgrade,
            raft_index: raft.committed.max(applied_index),
            raft_term: raft.term,
            applied_index,
            is_learner: self.is_learner(),
        }
    }
}
