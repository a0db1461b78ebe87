//! History that is let go of by itself.
//!
//! Two ways say up to where: by time (`periodic`), which needs to remember what the newest revision was a while ago, and by
//! revisions (`by_revision`), which does not. Both are looked at now and then, and say what is due:
//!
//! ```text
//! look ── due? ── nothing changed, or this member does not lead: again at the next look
//!           └── compact ── done, or somebody was faster: the next one is due later
//!                   └── failed: again at the next look
//! ```
//!
//! Every member looks, so that whoever comes to lead has remembered; only the leader compacts.
//!
//! Source: etcd, `server/etcdserver/api/v3compactor`.

mod by_revision;
mod periodic;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::by_revision::ByRevision;
use self::periodic::Periodic;
use super::error::NodeError;
use super::leadership::Leadership;
use super::proposer::Proposer;
use crate::env::{Clock, Tick, go_duration};
use crate::machine::{Rejection, Shared};
use crate::model::{Command, Compact, Retention, Revision};
use crate::raft::Proposal;

/// How long the clock may go unnoticed if it runs ahead of the one that this sleeps by.
const CLOCK_LOOK_MAX: Duration = Duration::from_secs(1);

/// Compacts by itself.
pub(super) struct AutoCompactor {
    plan: Plan,
    retention: Retention,
    next_look: Tick,
    parts: Parts,
}

/// What it needs of the node.
pub(super) struct Parts {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shared: Arc<Shared>,
    pub(super) leadership: Arc<Leadership>,
    pub(super) proposer: Proposer,
}

enum Plan {
    Periodic(Periodic),
    ByRevision(ByRevision),
}

impl AutoCompactor {
    pub(super) fn new(retention: Retention, parts: Parts) -> AutoCompactor {
        let now = parts.clock.now();
        let plan = match retention {
            Retention::Time(period) => Plan::Periodic(Periodic::new(period, now, parts.revision())),
            Retention::Revisions(kept) => Plan::ByRevision(ByRevision::new(kept)),
        };
        let next_look = now.after(plan.look_period());
        AutoCompactor { plan, retention, next_look, parts }
    }

    /// Compacts whenever that is due, until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            loop {
                self.look_comes().await;
                self.look().await;
            }
        })
        .await;
    }

    async fn look_comes(&self) {
        loop {
            let left = self.next_look.since(self.parts.clock.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(CLOCK_LOOK_MAX)).await;
        }
    }

    /// Looks, and does what is due.
    pub(super) async fn look(&mut self) {
        if self.parts.leadership.term().is_some()
            && let Some(revision) = self.plan.due(self.parts.clock.now(), self.parts.revision())
        {
            self.compact(revision).await;
        }
        if let Plan::Periodic(periodic) = &mut self.plan {
            periodic.remember(self.parts.revision());
        }
        self.next_look = self.parts.clock.now().after(self.plan.look_period());
    }

    async fn compact(&mut self, revision: Revision) {
        self.tell_start(revision);
        let began = self.parts.clock.now();
        let command = Command::Compact(Compact { revision, physical: false });
        let outcome = self.parts.proposer.propose(Proposal::from(&command)).await;
        let now = self.parts.clock.now();
        match outcome {
            Ok(_) | Err(NodeError::Rejected(Rejection::Compacted { .. })) => {
                self.tell_end(revision, now.since(began));
                match &mut self.plan {
                    Plan::Periodic(periodic) => periodic.done(revision, now),
                    Plan::ByRevision(by_revision) => by_revision.done(revision),
                }
            }
            Err(error) => self.tell_failure(revision, &error),
        }
    }

    fn tell_start(&self, revision: Revision) {
        match self.retention {
            Retention::Time(period) => {
                tracing::info!(
                    revision = revision.0,
                    "compact-period" = go_duration(period),
                    "starting auto periodic compaction"
                );
            }
            Retention::Revisions(kept) => {
                tracing::info!(
                    revision = revision.0,
                    "revision-compaction-retention" = kept,
                    "starting auto revision compaction"
                );
            }
        }
    }

    fn tell_end(&self, revision: Revision, took: Duration) {
        match self.retention {
            Retention::Time(period) => tracing::info!(
                revision = revision.0,
                "compact-period" = go_duration(period),
                took = go_duration(took),
                "completed auto periodic compaction"
            ),
            Retention::Revisions(kept) => tracing::info!(
                revision = revision.0,
                "revision-compaction-retention" = kept,
                took = go_duration(took),
                "completed auto revision compaction"
            ),
        }
    }

    fn tell_failure(&self, revision: Revision, error: &NodeError) {
        let retry = self.plan.look_period();
        match self.retention {
            Retention::Time(period) => tracing::warn!(
                revision = revision.0,
                "compact-period" = go_duration(period),
                "retry-interval" = go_duration(retry),
                %error,
                "failed auto periodic compaction"
            ),
            Retention::Revisions(kept) => tracing::warn!(
                revision = revision.0,
                "revision-compaction-retention" = kept,
                "retry-interval" = go_duration(retry),
                %error,
                "failed auto revision compaction"
            ),
        }
    }
}

impl Parts {
    fn revision(&self) -> Revision {
        self.shared.machine.read().kv.revision()
    }
}

impl Plan {
    /// What lies between two looks.
    fn look_period(&self) -> Duration {
        match self {
            Plan::Periodic(periodic) => periodic.look_period(),
            Plan::ByRevision(_) => by_revision::LOOK_PERIOD,
        }
    }

    /// Up to where history goes now, if it does.
    fn due(&self, now: Tick, newest: Revision) -> Option<Revision> {
        match self {
            Plan::Periodic(periodic) => periodic.due(now),
            Plan::ByRevision(by_revision) => by_revision.due(newest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{ManualClock, SeededRandom, SimDisk};
    use crate::model::{ClusterId, MemberId, Put};
    use crate::node::{Node, NodeOptions};
    use crate::storage::Identity;

    const HOUR: Duration = Duration::from_secs(3600);

    async fn started(clock: &Arc<ManualClock>) -> Node {
        let identity = Identity { cluster: ClusterId(1), member: MemberId(1) };
        let options =
            NodeOptions::new(Arc::new(SimDisk::new()), clock.clone(), Arc::new(SeededRandom::new(1)), identity);
        let options = NodeOptions { segment_bytes: 1 << 20, ..options };
        let node = Node::start(options.clone()).await.unwrap();
        node.ready(&options).await.unwrap();
        node
    }

    fn compactor(node: &Node, clock: &Arc<ManualClock>, retention: Retention) -> AutoCompactor {
        let parts = Parts {
            clock: clock.clone(),
            shared: node.shared.clone(),
            leadership: node.leadership.clone(),
            proposer: node.proposer.clone(),
        };
        AutoCompactor::new(retention, parts)
    }

    async fn put(node: &Node) {
        let put = Put { key: "a".into(), value: "b".into(), ..Put::default() };
        node.propose(Proposal::from(&Command::Put(put))).await.unwrap();
    }

    fn compacted(node: &Node) -> Revision {
        node.shared.machine.read().kv.compacted()
    }

    /// Ten looks of six minutes, a put before each.
    async fn an_hour(node: &Node, clock: &ManualClock, compactor: &mut AutoCompactor) {
        for _ in 0..10 {
            put(node).await;
            clock.advance(HOUR / 10);
            // It is due now.
            compactor.look_comes().await;
            compactor.look().await;
        }
    }

    #[tokio::test]
    async fn history_of_an_hour_stays() {
        let clock = Arc::new(ManualClock::default());
        let node = started(&clock).await;
        let mut compactor = compactor(&node, &clock, Retention::Time(HOUR));
        let first = node.revision();
        an_hour(&node, &clock, &mut compactor).await;
        assert_eq!(compacted(&node), first);
        an_hour(&node, &clock, &mut compactor).await;
        assert_eq!(compacted(&node), Revision(first.0 + 9));
        node.stop().await;
    }

    #[tokio::test]
    async fn so_many_revisions_stay() {
        let clock = Arc::new(ManualClock::default());
        let node = started(&clock).await;
        let mut compactor = compactor(&node, &clock, Retention::Revisions(3));
        for _ in 0..10 {
            put(&node).await;
        }
        clock.advance(by_revision::LOOK_PERIOD);
        compactor.look_comes().await;
        compactor.look().await;
        assert_eq!(compacted(&node), Revision(node.revision().0 - 3));
        // Somebody was faster.
        put(&node).await;
        put(&node).await;
        node.compact(Compact { revision: node.revision(), physical: false }).await.unwrap();
        compactor.look().await;
        let Plan::ByRevision(plan) = &compactor.plan else { panic!("that was asked for") };
        assert_eq!(plan.due(node.revision()), None, "it counts as done");
        node.stop().await;
    }

    #[tokio::test]
    async fn what_failed_is_due_again() {
        let clock = Arc::new(ManualClock::default());
        let node = started(&clock).await;
        let mut compactor = compactor(&node, &clock, Retention::Time(HOUR));
        an_hour(&node, &clock, &mut compactor).await;
        let before = compacted(&node);
        node.stop().await;
        for _ in 0..10 {
            clock.advance(HOUR / 10);
            compactor.look().await;
        }
        assert_eq!(compacted(&node), before, "a member that has stopped compacts nothing");
        let Plan::Periodic(plan) = &compactor.plan else { panic!("that was asked for") };
        assert!(plan.due(clock.now()).is_some_and(|due| due > before));
    }
}
