//! The roster: Raft's membership follows the table of members.
//!
//! The table is what members were added and removed by, through the log; who has a vote in Raft is another matter, which
//! only the leader can change, a step at a time. This task looks at both and takes the next step, until they agree. A
//! leader that fails halfway leaves the rest to its successor.
//!
//! A member that was added gets the log at once, but a vote only when it has started and caught up, so that adding a
//! second member to a cluster of one does not wait for a process that may never start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::contacts::Contacts;
use super::failure::{Failure, REMOVED};
use super::founders::Founders;
use super::leadership::Leadership;
use super::peers::Peers;
use super::proposer::Proposer;
use super::transfer::successor;
use crate::machine::Shared;
use crate::model::{Member, MemberId};
use crate::raft::{Consensus, Proposal, Voters, VotersChange};

/// How often table and membership are compared when nothing is known to have changed.
const PERIOD: Duration = Duration::from_millis(100);
/// How many entries a member may be behind to get a vote.
const CAUGHT_UP_ENTRIES: u64 = 1000;
/// How long one step may take before it is looked at again.
const STEP_TIMEOUT: Duration = Duration::from_secs(2);

/// The task.
pub(super) struct Roster {
    pub(super) member: MemberId,
    pub(super) shared: Arc<Shared>,
    pub(super) consensus: Consensus,
    pub(super) leadership: Arc<Leadership>,
    pub(super) proposer: Proposer,
    pub(super) peers: Peers,
    pub(super) contacts: Arc<Contacts>,
    pub(super) founders: Founders,
    /// Whether this member is a learner, for whoever asks often.
    pub(super) is_learner: Arc<AtomicBool>,
    pub(super) changed: Arc<Notify>,
    pub(super) failure: Failure,
}

impl Roster {
    /// Follows the table until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut addresses = BTreeMap::new();
        loop {
            self.follow_table(&mut addresses);
            if self.has_left() {
                self.failure.set(REMOVED.into());
                return;
            }
            if self.leadership.term().is_some() {
                let step = tokio::time::timeout(STEP_TIMEOUT, self.step());
                if stop.run_until_cancelled(step).await.is_none() {
                    return;
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.changed.notified() => {}
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    }

    /// Passes on what the table says of members, and of this one.
    fn follow_table(&self, known: &mut BTreeMap<MemberId, Vec<String>>) {
        let addresses = {
            let machine = self.shared.machine.read();
            let is_learner = machine.members.get(&self.member).is_some_and(|own| own.is_learner);
            // Relaxed: it orders nothing but itself.
            self.is_learner.store(is_learner, Ordering::Relaxed);
            self.founders.addresses(&machine, self.member)
        };
        if addresses != *known {
            self.contacts.retain(&addresses.keys().copied().collect::<Vec<_>>());
            self.peers.transport().set_addresses(addresses.clone());
            *known = addresses;
        }
    }

    /// Whether this member was removed and nobody needs it any more: Raft goes on without it.
    fn has_left(&self) -> bool {
        if !self.shared.machine.read().is_removed(self.member) {
            return false;
        }
        let Voters { voters, learners, is_changing, .. } = self.consensus.voters();
        !is_changing && !voters.contains(&self.member) && !learners.contains(&self.member)
    }

    /// Takes the next step, if there is one.
    async fn step(&self) {
        let table = self.shared.machine.read().members.clone();
        if table.is_empty() {
            if self.founders.may_found {
                self.found().await;
            }
            return;
        }
        let voters = self.consensus.voters();
        if !table.contains_key(&self.member) {
            return self.step_down().await;
        }
        let Some(change) = self.next_change(&table, &voters) else { return };
        tracing::info!(?change, "Raft's membership follows the members");
        if let Err(error) = self.consensus.change_voters(change).await {
            tracing::warn!(error, "failed to change Raft's membership; it is tried again");
        }
    }

    /// Leaves the lead, and its own removal, to another: whoever leads without a vote keeps the others waiting.
    async fn step_down(&self) {
        if let Some(successor) = successor(&self.consensus, &self.contacts, self.member) {
            tracing::info!(%successor, "this member was removed and hands the lead over");
            self.consensus.transfer_leader(successor).await;
        }
    }

    async fn found(&self) {
        if let Err(error) = self.proposer.propose(Proposal::from(&self.founders.command())).await {
            tracing::warn!(%error, "failed to store the members that found the cluster; it is tried again");
        }
    }

    /// The next change that brings the membership nearer to the table.
    fn next_change(&self, table: &BTreeMap<MemberId, Member>, voters: &Voters) -> Option<VotersChange> {
        if let Some(after) = &voters.halfway_to {
            return Some(VotersChange::Finish(after.clone()));
        }
        if voters.is_changing {
            return None;
        }
        let listed: BTreeSet<MemberId> = voters.voters.union(&voters.learners).copied().collect();
        let gone: BTreeSet<MemberId> = listed.iter().copied().filter(|id| !table.contains_key(id)).collect();
        if !gone.is_empty() {
            return Some(VotersChange::Remove(gone));
        }
        let new: BTreeSet<MemberId> = table.keys().copied().filter(|id| !listed.contains(id)).collect();
        if !new.is_empty() {
            return Some(VotersChange::AddLearners(new));
        }
        let ready = table
            .values()
            .find(|member| !member.is_learner && voters.learners.contains(&member.id) && self.is_ready(member));
        ready.map(|member| VotersChange::Promote(BTreeSet::from([member.id])))
    }

    /// Whether a member that shall vote has started and caught up.
    fn is_ready(&self, member: &Member) -> bool {
        let last = self.consensus.status().last_log;
        let matching = self.consensus.match_index(member.id);
        member.has_started() && matching.is_some_and(|matching| matching + CAUGHT_UP_ENTRIES >= last)
    }
}
