//! Members compare what they hold, record by record, when an operator wants that.
//!
//! Besides the comparison of chains, which runs all the time and costs nothing ([`super::agreement`]), there are etcd's
//! three checks. They read everything, so each has to be turned on; a member that they find wrong gets an alarm, which
//! refuses every change until somebody lowers it. Nothing ends by itself.
//!
//! | check | when | compares |
//! | --- | --- | --- |
//! | initial | before a member that was started before serves | its records with those of all others, at its revision |
//! | periodic | every so often, on the leader | the same |
//! | of compactions | every so often, on the leader | what the last compactions had found (`mvcc::compaction_hash`) |
//!
//! Only members that have compacted to the same revision can be compared; who does not answer, or is elsewhere, is left
//! out. What follows from the hashes is in [`judge`].
//!
//! Source: etcd, `server/etcdserver/corrupt.go`.

mod judge;

use std::sync::Weak;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use self::judge::{Answer, Conclusion, Looks, periodic, vote};
use super::error::NodeError;
use super::{Node, NodeState};
use crate::model::{Alarm, AlarmChange, AlarmKind, MemberId, Revision};
use crate::mvcc::KvHash;

/// When members compare what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CorruptionChecks {
    /// Before the member serves; see [`Node::check_initially`].
    pub initial: bool,
    /// How often the leader compares all records; `None` is never.
    pub periodic: Option<Duration>,
    /// How often the leader looks for compactions that were not compared yet; `None` is never.
    pub compactions: Option<Duration>,
}

/// A member differs from others, by what it holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InitialCheckError {
    /// It has another hash than others at the same revision.
    #[error("{member} found data inconsistency with peers")]
    Differs {
        /// This member.
        member: MemberId,
    },
    /// Its own records cannot be read.
    #[error("{member} failed to fetch hash ({error})")]
    Unreadable {
        /// This member.
        member: MemberId,
        /// Why.
        error: NodeError,
    },
}

impl Node {
    /// Compares what this member holds with what all others hold, before it serves. Whoever does not answer, or cannot be
    /// compared, is passed over with a warning.
    ///
    /// # Errors
    /// [`InitialCheckError`]: it must not serve.
    pub async fn check_initially(&self) -> Result<(), InitialCheckError> {
        let member = self.member;
        tracing::info!("local-member-id" = %member, "starting initial corruption check");
        let unreadable = |error| InitialCheckError::Unreadable { member, error };
        let own = self.hash_kv(Revision(0)).await.map_err(unreadable)?;
        let mut differ = 0;
        for Answer { member: other, outcome } in self.hashes_of_others(own.at).await {
            match outcome {
                Ok(theirs) if theirs.hash == own.hash => {}
                Ok(theirs) if theirs.compacted == own.compacted => {
                    differ += 1;
                    tracing::warn!(
                        "local-member-id" = %member, "local-member-revision" = own.at.0, "local-member-hash" = own.hash,
                        "remote-peer-id" = %other, "remote-peer-revision" = theirs.at.0, "remote-peer-hash" = theirs.hash,
                        "found different hash values from remote peer"
                    );
                }
                Ok(theirs) => tracing::warn!(
                    "local-member-id" = %member, "local-member-compact-revision" = own.compacted.0,
                    "remote-peer-id" = %other, "remote-peer-compact-revision" = theirs.compacted.0,
                    "found different compact revision values from remote peer"
                ),
                Err(error) => tracing::warn!(
                    "local-member-id" = %member, "remote-peer-id" = %other, %error,
                    "cannot fetch hash from remote peer"
                ),
            }
        }
        if differ > 0 {
            return Err(InitialCheckError::Differs { member });
        }
        tracing::info!("local-member-id" = %member, "initial corruption checking passed; no corruption");
        Ok(())
    }

    /// Compares all records once.
    ///
    /// # Errors
    /// The records cannot be hashed, or nobody leads.
    async fn check_periodically(&self) -> Result<(), NodeError> {
        let first = self.hash_kv(Revision(0)).await?;
        let others = self.hashes_of_others(first.at).await;
        self.barrier.pass().await?;
        let second = self.hash_kv(Revision(0)).await?;
        if let Some(wrong) = periodic(self.member, &Looks { first, second }, &others) {
            self.raise_corrupt(wrong).await;
        }
        let checked = others.iter().filter(|answer| answer.outcome.is_ok()).count();
        tracing::info!("number-of-peers-checked" = checked, "finished peer corruption check");
        Ok(())
    }

    /// Compares what the last compactions after `checked` had found, the newest first, until one says something; gives the
    /// newest that all members agree about.
    async fn check_compactions(&self, checked: Revision) -> Revision {
        let hashes = self.shared.compaction_hashes();
        tracing::info!("local-member-id" = %self.member, "starting compact hash check");
        let found = self.compare_compactions(checked, &hashes).await;
        let compared = hashes.iter().filter(|own| own.at > checked).count();
        tracing::info!("number-of-hashes-checked" = compared, "finished compaction hash check");
        found
    }

    async fn compare_compactions(&self, checked: Revision, hashes: &[KvHash]) -> Revision {
        for own in hashes.iter().take_while(|own| own.at > checked) {
            let others = self.hashes_of_others(own.at).await;
            if others.is_empty() {
                continue;
            }
            match vote(self.member, own, &others) {
                Conclusion::Agreed => {
                    tracing::info!("revision" = own.at.0, "successfully checked hash on whole cluster");
                    return own.at;
                }
                Conclusion::Incomplete => tracing::warn!(
                    "revision" = own.at.0,
                    "number-of-peers" = others.len(),
                    "skipped revision in compaction hash check; was not able to check all peers"
                ),
                Conclusion::Wrong(members) => {
                    for member in members {
                        tracing::error!("peer-id" = %member, "revision" = own.at.0, "Detected compaction hash mismatch");
                        self.raise_corrupt(member).await;
                    }
                    return checked;
                }
            }
        }
        checked
    }

    /// What all other members hold as of a revision.
    async fn hashes_of_others(&self, at: Revision) -> Vec<Answer> {
        let others: Vec<MemberId> =
            self.shared.machine.read().members.keys().copied().filter(|&id| id != self.member).collect();
        let mut asked = JoinSet::new();
        for member in others {
            let node = self.clone();
            asked.spawn(async move { Answer { member, outcome: node.hash_kv_of(member, at).await } });
        }
        let mut answers = asked.join_all().await;
        answers.sort_by_key(|answer| answer.member);
        answers
    }

    async fn raise_corrupt(&self, member: MemberId) {
        let alarm = Alarm { member, kind: AlarmKind::Corrupt };
        if self.alarms_now().contains(&alarm) {
            return;
        }
        if let Err(error) = self.change_alarm(AlarmChange::Raise(alarm)).await {
            tracing::warn!(%error, "the alarm could not be raised");
        }
    }
}

/// Runs the checks that go on, until `stop` or until the node is gone.
pub(super) async fn run(node: Weak<NodeState>, checks: CorruptionChecks, stop: CancellationToken) {
    let periodically = every(checks.periodic, &node, async |node, ()| {
        if let Err(error) = node.check_periodically().await {
            tracing::warn!(%error, "gave up a corruption check until the next one is due");
        }
    });
    let compactions =
        every(checks.compactions, &node, async |node, checked: Revision| node.check_compactions(checked).await);
    stop.run_until_cancelled(async { tokio::join!(periodically, compactions) }).await;
}

/// Does something every `period` while this member leads; what it gives it gets the next time.
async fn every<T: Copy + Default>(
    period: Option<Duration>,
    node: &Weak<NodeState>,
    check: impl AsyncFn(&Node, T) -> T,
) {
    let Some(period) = period.filter(|period| !period.is_zero()) else { return };
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first one is at once.
    ticks.tick().await;
    let mut last = T::default();
    loop {
        ticks.tick().await;
        let Some(node) = node.upgrade().map(Node) else { return };
        if node.leadership.term().is_some() {
            last = check(&node, last).await;
        }
    }
}
