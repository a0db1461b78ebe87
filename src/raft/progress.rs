//! How far the group has come, member by member, and handing the lead over.

use openraft::async_runtime::WatchReceiver;

use super::Consensus;
use super::types::ours;
use crate::model::MemberId;

impl Consensus {
    /// The last entry that `member` is known to have in common with this leader; 0 if it has none yet. `None` if this
    /// member does not lead, or does not replicate to `member`.
    pub fn match_index(&self, member: MemberId) -> Option<u64> {
        let metrics = self.data_metrics.borrow_watched();
        let matched = metrics.replication.as_ref()?.get(&member.0)?;
        Some(matched.as_ref().map_or(0, |id| ours(id).index))
    }

    /// Tells whether `member` has a vote in Raft's present membership.
    pub fn is_voter(&self, member: MemberId) -> bool {
        let metrics = self.server_metrics.borrow_watched();
        metrics.membership_config.voter_ids().any(|id| id == member.0)
    }

    /// Tells whether `member` is in Raft's present membership, with or without a vote.
    pub fn is_in_group(&self, member: MemberId) -> bool {
        let metrics = self.server_metrics.borrow_watched();
        metrics.membership_config.nodes().any(|(&id, _)| id == member.0)
    }

    /// Asks `to`, a voter, to take over, without waiting for it; does nothing if this member does not lead.
    ///
    /// From then on this member neither proposes nor shows that it lives, so if `to` does not take over, another voter
    /// does. A member without a vote would leave nobody to: never name one.
    pub async fn transfer_leader(&self, to: MemberId) {
        // An error says that the core has ended; then it does not lead.
        let _ = self.raft.trigger().transfer_leader(to.0).await;
    }
}
