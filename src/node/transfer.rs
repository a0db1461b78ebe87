//! Handing the lead over to another member.
//!
//! openraft's leader stops proposing and showing that it lives once it has asked somebody to take over, so it is asked
//! only for a member that can: one that has a vote in Raft already, hears us, and has nearly all of the log. Until it is
//! such a one, and then until it leads, the request waits as long as its client does.

use std::time::Duration;

use tokio::time::Instant;

use super::Node;
use super::contacts::Contacts;
use super::error::NodeError;
use crate::env::go_duration;
use crate::model::MemberId;
use crate::raft::Consensus;

/// How often the request looks whether the member leads.
const POLL: Duration = Duration::from_millis(20);
/// How often a member that does not take over is asked again: about an election.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Entries that the member may lack: fewer than it gets in one request.
const BEHIND_MAX: u64 = 1000;
/// How long a leader that stops waits for another to take over.
const HAND_OVER_TIMEOUT: Duration = Duration::from_millis(800);
/// How often it looks: whoever stops is waited for.
const HAND_OVER_POLL: Duration = Duration::from_millis(5);

impl Node {
    /// Hands the lead over to `to` and waits until it leads, as long as it takes: the caller sets the limit by dropping
    /// the future. The lead may change later all the same.
    ///
    /// # Errors
    /// - [`NodeError::NotLeader`] if this member does not lead.
    /// - [`NodeError::BadTransferee`] if `to` is unknown or has no vote.
    /// - [`NodeError::Stopped`].
    pub async fn move_leader(&self, to: MemberId) -> Result<(), NodeError> {
        // A leader that has lost its quorum is none any more.
        if !self.consensus.status().leads || !self.has_leader() {
            return Err(NodeError::NotLeader);
        }
        let has_vote = self.shared.machine.read().members.get(&to).is_some_and(|member| !member.is_learner);
        if !has_vote {
            return Err(NodeError::BadTransferee);
        }
        let began = self.tell_transfer(to);
        let mut asked: Option<Instant> = None;
        while self.consensus.status().leader != Some(to) {
            self.barrier.check_running()?;
            if can_take_over(&self.consensus, &self.contacts, to) && asked.is_none_or(|at| at.elapsed() >= ASK_AGAIN) {
                self.consensus.transfer_leader(to).await;
                asked = Some(Instant::now());
            }
            tokio::time::sleep(POLL).await;
        }
        self.tell_transferred(to, began);
        Ok(())
    }

    /// Lets another voter lead, the one that has been connected longest, before this member stops; gives up after a while.
    /// Does nothing if this member does not lead or nobody else can. Clients go on being served meanwhile.
    ///
    /// Source of the lines: etcd, `EtcdServer.TryTransferLeadershipOnShutdown`.
    pub async fn hand_over(&self) {
        let own = self.member;
        match self.successor() {
            Some(successor) => self.transfer_to(successor).await,
            None if !self.leadership.leads() => {
                let leader = self.consensus.leader().unwrap_or_default();
                tracing::info!(
                    "local-member-id" = %own,
                    "current-leader-member-id" = %leader,
                    "skipped leadership transfer; local server is not leader"
                );
            }
            None if self.consensus.is_only_voter(own) => tracing::info!(
                "local-member-id" = %own,
                "current-leader-member-id" = %own,
                "skipped leadership transfer for single voting member cluster"
            ),
            None => tracing::warn!(
                "local-member-id" = %own,
                error = "no other member can take over",
                "leadership transfer failed"
            ),
        }
    }

    /// Who had best lead instead of this member, if it leads.
    pub(super) fn successor(&self) -> Option<MemberId> {
        successor(&self.consensus, &self.contacts, self.member)
    }

    pub(super) async fn transfer_to(&self, successor: MemberId) {
        let began = self.tell_transfer(successor);
        let transfer = async {
            self.consensus.transfer_leader(successor).await;
            while self.leadership.leads() {
                tokio::time::sleep(HAND_OVER_POLL).await;
            }
        };
        match tokio::time::timeout(HAND_OVER_TIMEOUT, transfer).await {
            Ok(()) => self.tell_transferred(successor, began),
            Err(_) => tracing::warn!(
                "local-member-id" = %self.member,
                error = "it did not take over in time: the others will elect a leader",
                "leadership transfer failed"
            ),
        }
    }

    fn tell_transfer(&self, to: MemberId) -> Instant {
        tracing::info!(
            "local-member-id" = %self.member,
            "current-leader-member-id" = %self.member,
            "transferee-member-id" = %to,
            "leadership transfer starting"
        );
        Instant::now()
    }

    fn tell_transferred(&self, to: MemberId, began: Instant) {
        tracing::info!(
            "local-member-id" = %self.member,
            "old-leader-member-id" = %self.member,
            "new-leader-member-id" = %to,
            took = go_duration(began.elapsed()),
            "leadership transfer finished"
        );
    }
}

/// Who had best lead instead of `member`: the voter that has been connected longest of those who can. `None` if there is
/// nobody, or `member` does not lead.
pub(super) fn successor(consensus: &Consensus, contacts: &Contacts, member: MemberId) -> Option<MemberId> {
    let others = consensus.voters().voters.into_iter().filter(|&id| id != member);
    let able = others.filter(|&id| can_take_over(consensus, contacts, id));
    able.max_by_key(|&id| contacts.connected_for(id))
}

/// Whether this member leads and `to` would win an election now.
fn can_take_over(consensus: &Consensus, contacts: &Contacts, to: MemberId) -> bool {
    let status = consensus.status();
    let matched = consensus.match_index(to).unwrap_or(0);
    let is_near = status.last_log.saturating_sub(matched) <= BEHIND_MAX;
    status.leads && consensus.is_voter(to) && contacts.connected_for(to).is_some() && is_near
}
