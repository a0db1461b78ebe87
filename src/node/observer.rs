//! What the node does when a run of commands was applied.

use std::sync::Arc;

use tokio::sync::Notify;

use super::applied::Applied;
use super::auth::Authenticator;
use super::compactor::Compactor;
use super::completion::Wakes;
use super::flight::Abroad;
use super::leadership::LedTerm;
use super::lease_keeper::LeaseKeeper;
use super::member_log::MemberLog;
use super::quota::Quota;
use super::watch::WatchHub;
use crate::machine::{LeaseChange, Rejection, Shared};
use crate::metrics::LeaseMetrics;
use crate::model::Reply;
use crate::raft::{Observer, Run};

/// Passes runs on to those who follow them. Called on the thread that applies: everything here is short.
pub(super) struct NodeObserver {
    pub(super) metrics: LeaseMetrics,
    pub(super) quota: Arc<Quota>,
    pub(super) auth: Arc<Authenticator>,
    pub(super) hub: Arc<WatchHub>,
    pub(super) leases: Arc<LeaseKeeper>,
    pub(super) compactor: Arc<Compactor>,
    pub(super) led: Arc<LedTerm>,
    pub(super) applied: Arc<Applied>,
    pub(super) abroad: Arc<Abroad>,
    pub(super) roster_changed: Arc<Notify>,
    /// This member began its cluster as the only one.
    pub(super) founds_alone: bool,
    pub(super) shared: Arc<Shared>,
    pub(super) member_log: MemberLog,
    pub(super) wakes: Arc<Wakes>,
}

impl Observer for NodeObserver {
    fn applied(&self, run: Run) {
        self.hub.publish(run.revision, run.events);
        self.leases.applied(&run.leases);
        for change in &run.leases {
            match *change {
                LeaseChange::Granted { ttl, .. } => self.metrics.grant(ttl),
                LeaseChange::Ended { .. } => self.metrics.revoked.inc(),
            }
        }
        self.quota.look();
        self.auth.applied(&run.auth);
        if run.compacted.is_some() {
            self.compactor.wake();
        }
        if let Some(term) = run.led {
            self.led.set(term);
            if self.founds_alone {
                // Nobody else is waited for: the table of members is founded now, and not at the roster's next look.
                self.roster_changed.notify_one();
            }
        }
        if !run.members.is_empty() {
            self.member_log.changed(&run.members);
            self.roster_changed.notify_one();
        }
        if let Some(change) = run.version {
            self.member_log.agreed(change);
        }
        // Last: whoever waited for it finds all of the above done.
        self.applied.set(run.applied.index);
    }

    fn forwarded(&self, number: u64, results: Vec<Result<Reply, Rejection>>) {
        self.abroad.applied(number, results, &self.wakes);
    }

    fn answered(&self) {
        self.wakes.wake();
    }

    fn replaced(&self) {
        self.member_log.recovered(&self.shared.machine.read());
        self.leases.reset();
        self.auth.look();
        self.hub.resync_all();
        self.compactor.wake();
        self.roster_changed.notify_one();
        self.applied.set(self.shared.machine.read().applied().index);
    }
}
