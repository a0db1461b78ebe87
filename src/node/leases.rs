//! Lease verbs.

use std::sync::Arc;
use std::time::Duration;

use super::Node;
use super::error::NodeError;
use super::lease_keeper::Remaining;
use super::proposer::REQUEST_TIMEOUT;
use crate::model::{Caller, Command, GrantReply, LeaseGrant, LeaseId, LeaseRevoke, Reply, Revision};
use crate::peer::{LeaseAnswer, LeaseQuestion, Method};
use crate::raft::Proposal;

/// How often a request that needs the leader looks for one.
const LEADER_POLL: Duration = Duration::from_millis(50);
/// How long the leader may take to answer before it is asked again.
const LEADER_TIMEOUT: Duration = Duration::from_secs(1);

impl Node {
    /// Makes a lease. No `id` ([`LeaseId::NONE`]): the node chooses one. `ttl` is in seconds and raised to the minimum
    /// of one and a half election timeouts.
    ///
    /// # Errors
    /// [`NodeError::Rejected`] if the id is taken or the ttl too large; else as [`Node::propose`].
    pub async fn lease_grant(&self, id: LeaseId, ttl: i64) -> Result<GrantReply, NodeError> {
        self.lease_grant_by(None, id, ttl).await
    }

    pub(super) async fn lease_grant_by(
        &self,
        caller: Option<&Caller>,
        id: LeaseId,
        ttl: i64,
    ) -> Result<GrantReply, NodeError> {
        let id = if id.is_none() { self.free_lease_id() } else { id };
        let grant = LeaseGrant { id, ttl: ttl.max(self.lease_ttl_min) };
        match self.propose(Proposal::from(&Command::LeaseGrant(grant)).by(caller)).await? {
            Reply::LeaseGrant(reply) => Ok(reply),
            reply => Err(mismatch("a grant", &reply)),
        }
    }

    /// Ends a lease and deletes its keys; gives the revision after that.
    ///
    /// # Errors
    /// [`NodeError::Rejected`] if there is no such lease; else as [`Node::propose`].
    pub async fn lease_revoke(&self, id: LeaseId) -> Result<Revision, NodeError> {
        self.lease_revoke_by(None, id).await
    }

    pub(super) async fn lease_revoke_by(&self, caller: Option<&Caller>, id: LeaseId) -> Result<Revision, NodeError> {
        let reply = self.propose(Proposal::from(&Command::LeaseRevoke(LeaseRevoke { id })).by(caller)).await?;
        Ok(reply.revision())
    }

    /// Gives a lease its whole time again, from the leader's memory. Answers the revision just before, and the TTL in
    /// seconds: 0 if the lease is gone.
    ///
    /// # Errors
    /// [`NodeError::NoLeader`] if nobody leads within the request timeout, [`NodeError::Timeout`] if the leader does not
    /// answer, [`NodeError::Stopped`] at the end.
    pub async fn lease_keep_alive(&self, id: LeaseId) -> Result<(Revision, i64), NodeError> {
        self.barrier.check_running()?;
        let revision = self.revision();
        let question = LeaseQuestion { id, with_keys: false };
        let renew = async {
            loop {
                let answer = match self.renew_here(id).await {
                    Some(answer) => answer,
                    None => self.ask_about_lease(Method::LeaseRenew, question).await,
                };
                match answer {
                    LeaseAnswer::Lives { left, .. } => return left,
                    LeaseAnswer::Gone => return 0,
                    LeaseAnswer::NotLeading => tokio::time::sleep(LEADER_POLL).await,
                }
            }
        };
        let ttl = tokio::time::timeout(REQUEST_TIMEOUT, renew).await.map_err(|_| self.unanswered())?;
        Ok((revision, ttl))
    }

    /// Tells what is left of a lease; `None` if it is gone.
    ///
    /// # Errors
    /// [`NodeError::NoLeader`] if nobody leads within the request timeout, [`NodeError::Timeout`] if the leader does not
    /// answer, [`NodeError::Stopped`] at the end.
    pub async fn lease_time_to_live(&self, id: LeaseId, with_keys: bool) -> Result<Option<Remaining>, NodeError> {
        self.barrier.check_running()?;
        let question = LeaseQuestion { id, with_keys };
        let look = async {
            loop {
                let answer = match self.remaining_here(question).await {
                    Some(answer) => answer,
                    None => self.ask_about_lease(Method::LeaseRemaining, question).await,
                };
                match answer {
                    LeaseAnswer::Lives { left, granted, keys } => {
                        return Some(Remaining { seconds: left, granted, keys });
                    }
                    LeaseAnswer::Gone => return None,
                    LeaseAnswer::NotLeading => tokio::time::sleep(LEADER_POLL).await,
                }
            }
        };
        tokio::time::timeout(REQUEST_TIMEOUT, look).await.map_err(|_| self.unanswered())
    }

    /// Why nobody has told anything about a lease within the request timeout.
    fn unanswered(&self) -> NodeError {
        if self.has_leader() { NodeError::Timeout } else { NodeError::NoLeader }
    }

    /// Asks the leader; "not leading" also if there is none, or it does not answer.
    async fn ask_about_lease(&self, method: Method, question: LeaseQuestion) -> LeaseAnswer {
        let Some(leader) = self.leadership.other_leader() else { return LeaseAnswer::NotLeading };
        // Asking twice does no harm: a renewal gives the same time again.
        let answer = self.peers.ask(leader, method, question.encode(), LEADER_TIMEOUT).await;
        answer.ok().and_then(|bytes| LeaseAnswer::decode(bytes).ok()).unwrap_or(LeaseAnswer::NotLeading)
    }

    /// Renews a lease for another member's client.
    pub(super) async fn answer_lease_renew(&self, question: LeaseQuestion) -> LeaseAnswer {
        self.renew_here(question.id).await.unwrap_or(LeaseAnswer::NotLeading)
    }

    /// Tells another member what is left of a lease.
    pub(super) async fn answer_lease_remaining(&self, question: LeaseQuestion) -> LeaseAnswer {
        self.remaining_here(question).await.unwrap_or(LeaseAnswer::NotLeading)
    }

    /// Renews a lease if this member leads.
    async fn renew_here(&self, id: LeaseId) -> Option<LeaseAnswer> {
        self.barrier.check_running().ok()?;
        match self.leases.renew(id, &self.leadership, &self.proposer).await {
            Some(LeaseAnswer::Gone) => {
                self.catch_up().await?;
                self.leases.renew(id, &self.leadership, &self.proposer).await
            }
            answer => answer,
        }
    }

    /// Tells what is left of a lease if this member leads.
    async fn remaining_here(&self, question: LeaseQuestion) -> Option<LeaseAnswer> {
        self.barrier.check_running().ok()?;
        match self.leases.remaining(question, self.leadership.term()) {
            Some(LeaseAnswer::Gone) => {
                self.catch_up().await?;
                self.leases.remaining(question, self.leadership.term())
            }
            answer => answer,
        }
    }

    /// Before a lease is called gone: a follower may have applied its grant, and answered it, before the leader has.
    /// `None` if that could not be found out.
    async fn catch_up(&self) -> Option<()> {
        self.barrier.pass().await.ok()
    }

    /// All leases, soonest to end first.
    ///
    /// # Errors
    /// [`NodeError::Stopped`].
    pub fn leases(&self) -> Result<Vec<LeaseId>, NodeError> {
        self.barrier.check_running()?;
        Ok(self.leases.leases())
    }

    /// Ends the leases whose time is over at once, and not when they are looked at next; waits until they have ended. For
    /// whoever has moved their clock. Does nothing if this member does not lead.
    ///
    /// # Errors
    /// [`NodeError::Timeout`] if they have not ended within the request timeout, [`NodeError::Stopped`] at the end.
    pub async fn end_overdue_leases(&self) -> Result<(), NodeError> {
        self.barrier.check_running()?;
        let ended = tokio::time::timeout(REQUEST_TIMEOUT, self.leases.end_overdue());
        match self.stopped.run_until_cancelled(ended).await {
            Some(ended) => ended.map_err(|_| NodeError::Timeout),
            None => Err(NodeError::Stopped),
        }
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
