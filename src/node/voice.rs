//! Pings: showing others that this member lives and what its state is, and knowing whether it is heard.
//!
//! A member whose own requests get through, while nobody's reach it, would be a leader that cannot be asked. etcd's
//! members are cut off in that state, for their messages use the connections that others have opened. Here the same
//! follows from a rule: a member that a quorum has not spoken to for an election timeout keeps quiet, so the others
//! elect another.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::agreement::Agreement;
use super::contacts::Contacts;
use super::failure::{Failure, REMOVED};
use super::overdue::Overdue;
use super::peers::Peers;
use super::quarantine;
use super::verdict::Majority;
use crate::env::{Clock, Disk, Tick};
use crate::model::MemberId;
use crate::peer::member_calls::{Confession, Ping};
use crate::peer::{Method, PeerError, Refusal};
use crate::raft::{Consensus, Permission, Voters};

/// Whether this member may speak.
#[derive(Debug)]
pub(super) struct Voice {
    is_heard: AtomicBool,
}

impl Voice {
    pub(super) fn new() -> Arc<Voice> {
        Arc::new(Voice { is_heard: AtomicBool::new(true) })
    }
}

impl Permission for Voice {
    fn may_speak(&self) -> bool {
        // Relaxed: it orders nothing but itself.
        self.is_heard.load(Ordering::Relaxed)
    }
}

/// The task that pings.
pub(super) struct Pinger {
    pub(super) member: MemberId,
    pub(super) voice: Arc<Voice>,
    pub(super) consensus: Consensus,
    pub(super) contacts: Arc<Contacts>,
    pub(super) agreement: Arc<Agreement>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) peers: Peers,
    pub(super) overdue: Overdue,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) election_timeout: Duration,
    pub(super) failure: Failure,
}

/// Pings in one election timeout.
const PINGS_PER_TIMEOUT: u32 = 4;

impl Pinger {
    /// Pings until `stop`. Fails the member that hears that it was removed, or that differs from the others.
    pub(super) async fn run(self, stop: CancellationToken) {
        // Side by side: a ping may wait for a member that does not answer, the judgement may not.
        let both = async {
            tokio::select! {
                against_this_member = self.judge_always() => against_this_member,
                never = self.ping_always() => match never {},
            }
        };
        if let Some(majority) = stop.run_until_cancelled(both).await {
            self.confess(majority).await;
        }
    }

    /// Judges until most members are against this one.
    async fn judge_always(&self) -> Majority {
        let started = self.clock.now();
        let mut ticks = self.ticks();
        loop {
            ticks.tick().await;
            self.overdue.look();
            let voters = self.consensus.voters();
            self.judge(started, &voters.voters);
            if let Some(majority) = self.agreement.look(&voters) {
                return majority;
            }
        }
    }

    async fn ping_always(&self) -> Infallible {
        let mut ticks = self.ticks();
        loop {
            ticks.tick().await;
            let ping = Ping { marks: self.agreement.marks(), confession: None };
            self.ping_all(ping, self.election_timeout).await;
        }
    }

    /// Ends this member, whose state is wrong. The others hear of it before it is gone: what they know of its chain may
    /// not be enough to find it out by themselves. Not cut short by the stop, which it brings about; takes no longer than
    /// from one ping to the next.
    async fn confess(&self, majority: Majority) {
        let why: Arc<str> = self.agreement.sentence(&majority).into();
        self.failure.set(why.clone());
        // Blocks for a sync: nothing here is waited for any more.
        if let Err(error) = quarantine::impose(&*self.disk, &why) {
            tracing::error!(%error, "failed to note that this member must not start again");
        }
        let Majority { index, own, right, .. } = majority;
        let last_word = Ping { marks: Vec::new(), confession: Some(Confession { index, own, right }) };
        self.ping_all(last_word, self.election_timeout / PINGS_PER_TIMEOUT).await;
    }

    /// Pings all others at once, each bounded in time.
    async fn ping_all(&self, ping: Ping, within: Duration) {
        let Voters { voters, learners, .. } = self.consensus.voters();
        let others = voters.union(&learners).copied().filter(|&id| id != self.member);
        let body = ping.encode();
        futures_util::future::join_all(others.map(|id| self.ping(id, body.clone(), within))).await;
    }

    fn ticks(&self) -> Interval {
        let mut ticks = tokio::time::interval(self.election_timeout / PINGS_PER_TIMEOUT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }

    async fn ping(&self, to: MemberId, body: Bytes, within: Duration) {
        let answer = self.peers.ask(to, Method::Ping, body, within).await;
        if let Err(PeerError::Refused(Refusal::Removed(id))) = answer
            && id == self.member
        {
            self.failure.set(REMOVED.into());
        }
    }

    /// Decides whether this member may speak.
    fn judge(&self, started: Tick, voters: &BTreeSet<MemberId>) {
        let is_new = self.clock.now().since(started) < 2 * self.election_timeout;
        let is_voter = voters.contains(&self.member);
        let heard = voters.iter().filter(|&&id| id != self.member && self.contacts.hears(id)).count();
        let is_heard = is_new || !is_voter || heard + 1 > voters.len() / 2;
        // Relaxed: as above.
        if self.voice.is_heard.swap(is_heard, Ordering::Relaxed) != is_heard {
            if is_heard {
                tracing::info!("a quorum reaches this member again");
            } else {
                tracing::warn!("no quorum reaches this member, so it keeps quiet until one does");
            }
        }
    }
}
