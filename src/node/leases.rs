//! Lease verbs.

use std::sync::Arc;

use super::Node;
use super::error::NodeError;
use super::lease_keeper::Remaining;
use crate::model::{Command, GrantReply, LeaseGrant, LeaseId, LeaseRevoke, Reply, Revision};
use crate::raft::Proposal;

impl Node {
    /// Makes a lease. No `id` ([`LeaseId::NONE`]): the node chooses one. `ttl` is in seconds and raised to the minimum
    /// of one and a half election timeouts.
    ///
    /// # Errors
    /// [`NodeError::Rejected`] if the id is taken or the ttl too large; else as [`Node::propose`].
    pub async fn lease_grant(&self, id: LeaseId, ttl: i64) -> Result<GrantReply, NodeError> {
        let id = if id.is_none() { self.free_lease_id() } else { id };
        let grant = LeaseGrant { id, ttl: ttl.max(self.lease_ttl_min) };
        match self.propose(Proposal::from(&Command::LeaseGrant(grant))).await? {
            Reply::LeaseGrant(reply) => Ok(reply),
            reply => Err(mismatch("a grant", &reply)),
        }
    }

    /// Ends a lease and deletes its keys; gives the revision after that.
    ///
    /// # Errors
    /// [`NodeError::Rejected`] if there is no such lease; else as [`Node::propose`].
    pub async fn lease_revoke(&self, id: LeaseId) -> Result<Revision, NodeError> {
        let reply = self.propose(Proposal::from(&Command::LeaseRevoke(LeaseRevoke { id }))).await?;
        Ok(reply.revision())
    }

    /// Gives a lease its whole time again, from the leader's memory. Answers the revision just before, and the TTL in
    /// seconds: 0 if the lease is gone.
    ///
    /// # Errors
    /// [`NodeError::NoLeader`] if nobody leads within the request timeout.
    pub async fn lease_keep_alive(&self, id: LeaseId) -> Result<(Revision, i64), NodeError> {
        let revision = self.revision();
        Ok((revision, self.leases.keep_alive(id).await?))
    }

    /// Tells what is left of a lease; `None` if it is gone.
    ///
    /// # Errors
    /// [`NodeError::Timeout`] if nobody leads within the request timeout.
    pub async fn lease_time_to_live(&self, id: LeaseId, with_keys: bool) -> Result<Option<Remaining>, NodeError> {
        self.leases.remaining(id, with_keys).await
    }

    /// All leases, soonest to end first.
    #[must_use]
    pub fn leases(&self) -> Vec<LeaseId> {
        self.leases.leases()
    }

    /// A positive id that no lease has now. Another proposer may take it first; then the grant is refused.
    fn free_lease_id(&self) -> LeaseId {
        loop {
            let id = LeaseId((self.random.next_u64() >> 1).cast_signed());
            if !id.is_none() && self.shared.machine.read().lessor.get(id).is_none() {
                return id;
            }
        }
    }
}

pub(super) fn mismatch(asked: &str, reply: &Reply) -> NodeError {
    NodeError::Fault(Arc::from(format!("{asked} was answered with {reply:?}")))
}
