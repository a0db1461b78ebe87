//! Who has a vote in Raft, and how that is changed.
//!
//! openraft's membership is the set of ids that vote and the set that only listens; what else is known of members is in
//! the machine's table. `node` makes the one follow the other; each step here is one change that keeps a quorum of the
//! old and of the new membership.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use openraft::{ChangeMembers, EmptyNode};

use super::consensus::Consensus;
use super::log_codec::encode_stored_membership;
use super::types::{Membership, StoredMembership, theirs};
use crate::model::{LogId, MemberId};

/// Who takes part in Raft, as far as this member's log says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Voters {
    /// Those with a vote; during a change, those who have one before or after it.
    pub voters: BTreeSet<MemberId>,
    /// Those who receive the log without a vote.
    pub learners: BTreeSet<MemberId>,
    /// A change is under way, or not committed yet.
    pub is_changing: bool,
    /// Who shall vote after a change whose first half is committed. Whoever made it takes the second half too, unless it
    /// has ceased to lead in between: then the next leader must.
    pub halfway_to: Option<BTreeSet<MemberId>>,
}

/// The bytes of the membership in which these vote since the entry at `at`, as a checkpoint holds them.
///
/// # Panics
/// Without a voter.
#[must_use]
pub fn membership_of(voters: &BTreeSet<MemberId>, at: LogId) -> Bytes {
    let ids: BTreeSet<u64> = voters.iter().map(|id| id.0).collect();
    let nodes: BTreeMap<u64, EmptyNode> = ids.iter().map(|id| (*id, EmptyNode::new())).collect();
    let membership = Membership::new(vec![ids], nodes).expect("each voter is among the nodes");
    encode_stored_membership(&StoredMembership::new(theirs(at), membership))
}

/// One change of who takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VotersChange {
    /// Sends the log to new members.
    AddLearners(BTreeSet<MemberId>),
    /// Gives learners a vote.
    Promote(BTreeSet<MemberId>),
    /// Takes the second half of a change that another leader began.
    Finish(BTreeSet<MemberId>),
    /// Ends the part of members, with a vote or without.
    Remove(BTreeSet<MemberId>),
}

impl Consensus {
    /// Who takes part, as far as this member's log says.
    pub fn voters(&self) -> Voters {
        let metrics = self.server_metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let is_committed = metrics.membership_config.log_id() == metrics.committed_membership_config.log_id();
        let configs = membership.get_joint_config();
        let halfway_to = match configs.as_slice() {
            [_, .., last] if is_committed => Some(last.iter().copied().map(MemberId).collect()),
            _ => None,
        };
        let is_changing = configs.len() > 1 || !is_committed;
        Voters {
            voters: membership.voter_ids().map(MemberId).collect(),
            learners: membership.learner_ids().map(MemberId).collect(),
            is_changing,
            halfway_to,
        }
    }

    /// Makes one change and waits until it is committed. Only the leader can.
    ///
    /// # Errors
    /// What openraft says: not the leader, another change is under way. Nothing is known of the change after that.
    pub async fn change_voters(&self, change: VotersChange) -> Result<(), String> {
        let ids = |ids: BTreeSet<MemberId>| ids.into_iter().map(|id| id.0).collect::<BTreeSet<u64>>();
        let changes = match change {
            VotersChange::AddLearners(learners) => {
                let nodes: BTreeMap<u64, EmptyNode> = learners.into_iter().map(|id| (id.0, EmptyNode::new())).collect();
                vec![ChangeMembers::AddNodes(nodes)]
            }
            VotersChange::Promote(learners) => vec![ChangeMembers::AddVoterIds(ids(learners))],
            VotersChange::Finish(voters) => vec![ChangeMembers::ReplaceAllVoters(ids(voters))],
            VotersChange::Remove(members) => {
                let voters = &self.voters().voters;
                let (voting, silent): (BTreeSet<_>, BTreeSet<_>) =
                    members.into_iter().partition(|id| voters.contains(id));
                let mut changes = Vec::new();
                if !voting.is_empty() {
                    changes.push(ChangeMembers::RemoveVoters(ids(voting)));
                }
                if !silent.is_empty() {
                    changes.push(ChangeMembers::RemoveNodes(ids(silent)));
                }
                changes
            }
        };
        for change in changes {
            // Not retained: whoever loses its vote is gone.
            self.raft.change_membership(change, false).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
