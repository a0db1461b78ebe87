//! What the node does when a run of commands was applied.

use std::sync::Arc;

use super::compactor::Compactor;
use super::completion::Wakes;
use super::leadership::LedTerm;
use super::lease_keeper::LeaseKeeper;
use super::watch::WatchHub;
use crate::raft::{Observer, Run};

/// Passes runs on to those who follow them. Called on the thread that applies: everything here is short.
pub(super) struct NodeObserver {
    pub(super) hub: Arc<WatchHub>,
    pub(super) leases: Arc<LeaseKeeper>,
    pub(super) compactor: Arc<Compactor>,
    pub(super) led: Arc<LedTerm>,
    pub(super) wakes: Arc<Wakes>,
}

impl Observer for NodeObserver {
    fn applied(&self, run: Run) {
        self.hub.publish(run.revision, run.events);
        self.leases.applied(&run.leases);
        if run.compacted.is_some() {
            self.compactor.wake();
        }
        if let Some(term) = run.led {
            self.led.set(term);
        }
    }

    fn answered(&self) {
        self.wakes.wake();
    }

    fn replaced(&self) {
        self.leases.reset();
        self.hub.resync_all();
        self.compactor.wake();
    }
}
