//! The lease keeper: when leases end, on the member that leads.
//!
//! Which leases there are is replicated; when each ends is known to the leader alone, in memory. A keepalive moves the
//! end and goes nowhere else. A new leader gives every lease its whole time again, and an election timeout more, so that
//! nobody is cut short by the change. An expiry is proposed with the term in which it was seen; apply drops it if
//! another leader wrote the entry.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::error::NodeError;
use super::leadership::Leadership;
use super::proposer::{Proposer, REQUEST_TIMEOUT};
use crate::env::Clock;
use crate::lease::Expiry;
use crate::machine::{LeaseChange, Shared};
use crate::model::{Command, LeaseExpire, LeaseId};
use crate::raft::Proposal;

/// How often ends are looked at: a lease outlives its time by this much at most, and by one proposal.
const SCAN_PERIOD: Duration = Duration::from_millis(100);
/// Leases that end in one command: bounds how long apply holds the machine for it.
const EXPIRE_MAX: usize = 256;
/// How often a request waits for this member to lead looks again.
const LEADER_POLL: Duration = Duration::from_millis(50);

/// The ends of all leases, while this member leads.
#[derive(Debug)]
pub(super) struct LeaseKeeper {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    /// What a new leader adds to each lease.
    extension: Duration,
    ends: Mutex<Ends>,
    /// Counts the leases that ended, for those who wait for one.
    ended: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ends {
    /// The term that the ends belong to; `None` while this member does not lead.
    term: Option<u64>,
    expiry: Expiry,
}

/// What is left of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remaining {
    /// Seconds left, truncated toward zero; not positive for one that is about to end.
    pub seconds: i64,
    /// Seconds granted.
    pub granted: i64,
    /// The attached keys, if they were asked for.
    pub keys: Vec<Bytes>,
}

impl LeaseKeeper {
    pub(super) fn new(shared: Arc<Shared>, clock: Arc<dyn Clock>, extension: Duration) -> Arc<LeaseKeeper> {
        let (ended, _) = watch::channel(0);
        Arc::new(LeaseKeeper { shared, clock, extension, ends: Mutex::default(), ended })
    }

    /// Hears of leases that apply made and ended.
    pub(super) fn applied(&self, changes: &[LeaseChange]) {
        if changes.is_empty() {
            return;
        }
        let now = self.clock.now();
        {
            let mut ends = self.ends.lock();
            let leads = ends.term.is_some();
            for &change in changes {
                match change {
                    LeaseChange::Granted { id, ttl } if leads => ends.expiry.schedule(id, now.after(seconds(ttl))),
                    LeaseChange::Granted { .. } => {}
                    LeaseChange::Ended { id } => ends.expiry.forget(id),
                }
            }
        }
        if changes.iter().any(|change| matches!(change, LeaseChange::Ended { .. })) {
            self.ended.send_modify(|count| *count += 1);
        }
    }

    /// Forgets all ends: the state they belong to was replaced, or this member does not lead.
    pub(super) fn reset(&self) {
        *self.ends.lock() = Ends::default();
        self.ended.send_modify(|count| *count += 1);
    }

    /// Renews a lease; gives its TTL, or 0 if it is gone. One whose time is over is gone as soon as that is decided,
    /// which this waits for.
    ///
    /// # Errors
    /// [`NodeError::NoLeader`] if this member does not lead within the request timeout.
    pub(super) async fn keep_alive(&self, id: LeaseId) -> Result<i64, NodeError> {
        let renew = async {
            let mut ended = self.ended.subscribe();
            loop {
                ended.borrow_and_update();
                match self.try_renew(id) {
                    Renewal::Renewed(ttl) => return ttl,
                    Renewal::Gone => return 0,
                    // The count moves when it has ended. An error is impossible while `self` holds the sender.
                    Renewal::Ending => drop(ended.changed().await),
                    Renewal::NotLeading => tokio::time::sleep(LEADER_POLL).await,
                }
            }
        };
        tokio::time::timeout(REQUEST_TIMEOUT, renew).await.map_err(|_| NodeError::NoLeader)
    }

    fn try_renew(&self, id: LeaseId) -> Renewal {
        let lease = self.shared.machine.read().lessor.get(id);
        let Some(lease) = lease else { return Renewal::Gone };
        let now = self.clock.now();
        let mut ends = self.ends.lock();
        if ends.term.is_none() {
            return Renewal::NotLeading;
        }
        match ends.expiry.end_of(id) {
            // It ended between the two looks.
            None => Renewal::Gone,
            Some(end) if end <= now => Renewal::Ending,
            Some(_) => {
                ends.expiry.schedule(id, now.after(seconds(lease.ttl)));
                Renewal::Renewed(lease.ttl)
            }
        }
    }

    /// What is left of a lease; `None` if it is gone.
    ///
    /// # Errors
    /// [`NodeError::Timeout`] if this member does not lead within the request timeout.
    pub(super) async fn remaining(&self, id: LeaseId, with_keys: bool) -> Result<Option<Remaining>, NodeError> {
        let look = async {
            loop {
                if let Some(found) = self.try_remaining(id, with_keys) {
                    return found;
                }
                tokio::time::sleep(LEADER_POLL).await;
            }
        };
        tokio::time::timeout(REQUEST_TIMEOUT, look).await.map_err(|_| NodeError::Timeout)
    }

    /// `None` if this member does not lead.
    fn try_remaining(&self, id: LeaseId, with_keys: bool) -> Option<Option<Remaining>> {
        let (lease, keys) = {
            let machine = self.shared.machine.read();
            let keys = if with_keys { machine.lessor.keys(id) } else { Vec::new() };
            (machine.lessor.get(id), keys)
        };
        let ends = self.ends.lock();
        ends.term?;
        let found = lease.zip(ends.expiry.end_of(id)).map(|(lease, end)| Remaining {
            seconds: i64::try_from(end.since(self.clock.now()).as_secs()).unwrap_or(i64::MAX),
            granted: lease.ttl,
            keys,
        });
        Some(found)
    }

    /// All leases, soonest to end first; in order of id on a member that does not lead.
    pub(super) fn leases(&self) -> Vec<LeaseId> {
        {
            let ends = self.ends.lock();
            if ends.term.is_some() {
                return ends.expiry.by_end();
            }
        }
        self.shared.machine.read().lessor.iter().map(|(id, _)| id).collect()
    }

    /// Follows the leadership and proposes the end of leases whose time is over, until `stop`.
    pub(super) async fn run(self: Arc<Self>, leadership: Arc<Leadership>, proposer: Proposer, stop: CancellationToken) {
        let mut scan = tokio::time::interval(SCAN_PERIOD);
        scan.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(scan.tick()).await.is_some() {
            let term = leadership.term();
            self.follow(term);
            let Some(term) = term else { continue };
            loop {
                let ids = self.ends.lock().expiry.expired(self.clock.now(), EXPIRE_MAX, REQUEST_TIMEOUT);
                let is_last = ids.len() < EXPIRE_MAX;
                if !ids.is_empty() {
                    let command = Command::LeaseExpire(LeaseExpire { ids, term });
                    if let Err(error) = proposer.propose(Proposal::from(&command)).await {
                        tracing::warn!(%error, "failed to end leases; they are tried again");
                        break;
                    }
                }
                if is_last || stop.is_cancelled() {
                    break;
                }
            }
        }
    }

    /// Takes or drops the ends when this member begins or ceases to lead. Does nothing if it knew.
    pub(super) fn follow(&self, term: Option<u64>) {
        // The lock is held over the look at the machine: a lease that is granted meanwhile is told to `applied` after
        // it is in the machine, and waits here.
        let mut ends = self.ends.lock();
        if ends.term == term {
            return;
        }
        ends.expiry.clear();
        ends.term = term;
        if term.is_none() {
            return;
        }
        let base = self.clock.now().after(self.extension);
        let machine = self.shared.machine.read();
        for (id, lease) in machine.lessor.iter() {
            let left = if lease.remaining > 0 { lease.remaining } else { lease.ttl };
            ends.expiry.schedule(id, base.after(seconds(left)));
        }
        tracing::info!(leases = machine.lessor.len(), "this member leads: leases are extended");
    }
}

/// What a keepalive found.
enum Renewal {
    Renewed(i64),
    Gone,
    Ending,
    NotLeading,
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}
