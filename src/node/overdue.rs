//! Why a request timed out, as far as this member can tell. Clients read it from the error's text.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::contacts::Contacts;
use super::error::NodeError;
use crate::env::{Clock, Tick};
use crate::metrics::Counter;
use crate::model::MemberId;
use crate::raft::Consensus;

/// Tells reasons for timeouts.
#[derive(Debug, Clone)]
pub(super) struct Overdue {
    consensus: Consensus,
    member: MemberId,
    contacts: Arc<Contacts>,
    clock: Arc<dyn Clock>,
    election_timeout: Duration,
    leader_changes: Counter,
    seen: Arc<Mutex<Seen>>,
}

/// The leader that was seen last, and since when.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    leader: Option<MemberId>,
    since: Tick,
}

impl Overdue {
    pub(super) fn new(
        (consensus, member): (Consensus, MemberId),
        contacts: Arc<Contacts>,
        clock: Arc<dyn Clock>,
        (election_timeout, leader_changes): (Duration, Counter),
    ) -> Overdue {
        Overdue { consensus, member, contacts, clock, election_timeout, leader_changes, seen: Arc::default() }
    }

    /// Notes who leads now; called all the time.
    pub(super) fn look(&self) {
        let leader = self.consensus.leader();
        let mut seen = self.seen.lock();
        if leader.is_some() && leader != seen.leader {
            *seen = Seen { leader, since: self.clock.now() };
            self.leader_changes.inc();
        }
    }

    /// Why a request that began at `started` has no answer.
    ///
    /// Source: etcd `EtcdServer.parseProposeCtxErr`.
    pub(super) fn reason(&self, started: Tick) -> NodeError {
        let Seen { leader, since } = *self.seen.lock();
        if started < since && since.since(started) < 2 * self.election_timeout {
            return NodeError::TimeoutLeaderFailed;
        }
        let waited = self.clock.now().since(started);
        let is_connected = |id: MemberId| self.contacts.connected_for(id).is_some_and(|time| time >= waited);
        let is_lost = match leader {
            Some(leader) if leader == self.member => !self.quorum_is_connected(is_connected),
            Some(leader) => !is_connected(leader),
            None => false,
        };
        if is_lost { NodeError::TimeoutConnectionLost } else { NodeError::Timeout }
    }

    fn quorum_is_connected(&self, is_connected: impl Fn(MemberId) -> bool) -> bool {
        let voters = self.consensus.voters().voters;
        let connected = voters.iter().filter(|&&id| id == self.member || is_connected(id)).count();
        connected > voters.len() / 2
    }
}
