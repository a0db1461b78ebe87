//! The lease keeper: when leases end, on the member that leads.
//!
//! Which leases there are is replicated; when each ends is known to the leader alone, in memory. A keepalive moves the
//! end and goes nowhere else. A new leader gives every lease its time again, and an election timeout more, so that
//! nobody is cut short by the change. An expiry is proposed with the term in which it was seen; apply drops it if
//! another leader wrote the entry.
//!
//! A leader that was cut off for a while may find itself leading the same term again. What it proposed before may still
//! be applied then: the leases in it are **doomed**, and are not given their time again. Until a doomed lease has ended
//! nothing is promised of it.
//!
//! A long lease that nobody renews would never end if leaders changed often. So the leader now and then stores what is
//! left of such leases in the log, and a new one begins from there. Only a lease with something stored pays for it: its
//! next keepalive first takes that back, through the log as well. Both must be in the log in the order in which they
//! mean it, whence the lock on `storing`: what is about to be stored is marked, and a keepalive of a marked lease waits.

mod ends;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, RwLock, watch};
use tokio::time::Interval;
use tokio_util::sync::CancellationToken;

use self::ends::{EXPIRE_MAX, Ends, seconds, time_stored};
use super::error::NodeError;
use super::leadership::Leadership;
use super::proposer::Proposer;
use crate::env::{Clock, Mistake, Tick};
use crate::lease::Place;
use crate::machine::{LeaseChange, Shared};
use crate::metrics::LeaseMetrics;
use crate::model::{Command, LeaseCheckpoint, LeaseExpire, LeaseId};
use crate::peer::{LeaseAnswer, LeaseQuestion};
use crate::raft::Proposal;

/// How often ends are looked at: a lease outlives its time by this much at most, and by one proposal.
const SCAN_PERIOD: Duration = Duration::from_millis(100);
/// A stored time is out of date when this much less is left: how much longer than it should a lease lives at most after
/// a change of leaders, by this and one walk. Leases that have less than this left are not worth storing. Source: etcd,
/// `defaultLeaseCheckpointInterval`.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(300);
/// How long after one walk over all leases the next one begins.
const CHECKPOINT_WALK_PERIOD: Duration = Duration::from_secs(30);
/// Leases that one step of a walk looks at, and that one command stores. Source: etcd, `maxLeaseCheckpointBatchSize`.
const CHECKPOINT_MAX: usize = 1000;

/// The ends of all leases, while this member leads.
#[derive(Debug)]
pub(super) struct LeaseKeeper {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    /// What a new leader adds to each lease.
    extension: Duration,
    metrics: LeaseMetrics,
    ends: Mutex<Ends>,
    /// Held to write while times left are chosen and stored, to read while one is taken back.
    storing: RwLock<()>,
    /// Counts the leases that ended, for those who wait for one.
    ended: watch::Sender<u64>,
    /// Somebody has moved the clock.
    moved: Notify,
}

/// Where the walk that looks for times to store is.
#[derive(Debug)]
struct Walk {
    /// Behind this place, if it is on its way.
    behind: Option<Place>,
    /// When the next one begins, if it is not.
    begins: Tick,
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
    pub(super) fn new(
        shared: Arc<Shared>,
        clock: Arc<dyn Clock>,
        (extension, metrics): (Duration, LeaseMetrics),
    ) -> Arc<LeaseKeeper> {
        let (ended, _) = watch::channel(0);
        let (ends, storing, moved) = (Mutex::default(), RwLock::new(()), Notify::new());
        Arc::new(LeaseKeeper { shared, clock, extension, metrics, ends, storing, ended, moved })
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
                    LeaseChange::Ended { id } => ends.ended(id),
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

    /// Renews a lease; `None` if this member does not lead. One whose time is over is gone as soon as that is decided,
    /// which this waits for. `proposer` takes back what was stored of it.
    pub(super) async fn renew(&self, id: LeaseId, leadership: &Leadership, proposer: &Proposer) -> Option<LeaseAnswer> {
        let mut ended = self.ended.subscribe();
        loop {
            ended.borrow_and_update();
            match self.try_renew(id, leadership.term()) {
                Renewal::Renewed(ttl) => {
                    self.metrics.renewed.inc();
                    return Some(LeaseAnswer::Lives { left: ttl, granted: ttl, keys: Vec::new() });
                }
                // Whoever asked looks for the leader again, in bounded time.
                Renewal::Stored(term) => self.take_back(id, term, proposer).await.ok()?,
                Renewal::Gone => return Some(LeaseAnswer::Gone),
                // The count moves when it has ended. An error is impossible while `self` holds the sender.
                Renewal::Ending => drop(ended.changed().await),
                Renewal::NotLeading => return None,
            }
        }
    }

    /// `term` is the one that this member leads: a follower may not know the lease yet, and one that may have been
    /// deposed must not promise anything.
    fn try_renew(&self, id: LeaseId, term: Option<u64>) -> Renewal {
        let now = self.clock.now();
        // The mark and what is stored are looked at under one hold: the mark goes when what is stored can be seen.
        let mut ends = self.ends.lock();
        let Some(term) = ends.term.filter(|_| ends.term == term) else { return Renewal::NotLeading };
        let Some(lease) = self.shared.machine.read().lessor.get(id) else { return Renewal::Gone };
        match ends.expiry.end_of(id) {
            // It has ended a moment ago.
            None => Renewal::Gone,
            Some(end) if end <= now => Renewal::Ending,
            Some(_) if lease.remaining > 0 || ends.is_marked(id) => Renewal::Stored(term),
            Some(_) => {
                ends.expiry.schedule(id, now.after(seconds(lease.ttl)));
                Renewal::Renewed(lease.ttl)
            }
        }
    }

    /// Takes back what is stored of a lease: after the next change of leaders it has all of its time.
    async fn take_back(&self, id: LeaseId, term: u64, proposer: &Proposer) -> Result<(), NodeError> {
        let _storing = self.storing.read().await;
        let as_of = self.applied_index();
        let command = Command::LeaseCheckpoint(LeaseCheckpoint { remaining: vec![(id, 0)], term, as_of });
        proposer.propose(Proposal::from(&command)).await?;
        self.ends.lock().unmark(term, &[(id, 0)]);
        Ok(())
    }

    /// What is left of a lease; `None` if this member does not lead. `term` is the one that it leads.
    pub(super) fn remaining(&self, question: LeaseQuestion, term: Option<u64>) -> Option<LeaseAnswer> {
        let LeaseQuestion { id, with_keys } = question;
        let (lease, keys) = {
            let machine = self.shared.machine.read();
            let keys = if with_keys { machine.lessor.keys(id) } else { Vec::new() };
            (machine.lessor.get(id), keys)
        };
        let ends = self.ends.lock();
        if ends.term.is_none() || ends.term != term {
            return None;
        }
        Some(match lease.zip(ends.expiry.end_of(id)) {
            None => LeaseAnswer::Gone,
            Some((lease, end)) => LeaseAnswer::Lives {
                left: i64::try_from(end.since(self.clock.now()).as_secs()).unwrap_or(i64::MAX),
                granted: lease.ttl,
                keys,
            },
        })
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
        let mut walk = self.next_walk();
        while stop.run_until_cancelled(self.next_look(&mut scan)).await.is_some() {
            let mut term = leadership.term();
            if Mistake::OldLeaderExpires.is_made() {
                term = term.or(self.ends.lock().term);
            }
            if self.follow(term) {
                walk = self.next_walk();
            }
            let Some(term) = term else { continue };
            self.store_remaining(term, &mut walk, &proposer).await;
            loop {
                // Before the look: what is granted meanwhile is not among what is seen.
                let as_of = self.applied_index();
                let ids = self.ends.lock().expire(self.clock.now());
                let is_last = ids.len() < EXPIRE_MAX;
                if !ids.is_empty() {
                    let count = ids.len() as u64;
                    let command = Command::LeaseExpire(LeaseExpire { ids, term, as_of });
                    if let Err(error) = proposer.propose(Proposal::from(&command)).await {
                        tracing::warn!(%error, "failed to end leases; they are tried again");
                        break;
                    }
                    self.metrics.expired.inc_by(count);
                }
                if is_last || stop.is_cancelled() {
                    break;
                }
            }
        }
    }

    /// The last entry that is applied here.
    fn applied_index(&self) -> u64 {
        self.shared.machine.read().applied().index
    }

    /// Waits until ends are to be looked at again: a period, or until somebody has moved the clock.
    async fn next_look(&self, scan: &mut Interval) {
        tokio::select! {
            biased;
            _ = scan.tick() => {}
            () = self.moved.notified() => {}
        }
    }

    /// Has ends looked at now, and waits until no lease is left whose time is over; not at all if this member does not
    /// lead.
    pub(super) async fn end_overdue(&self) {
        let mut ended = self.ended.subscribe();
        self.moved.notify_one();
        while self.ends.lock().are_overdue(self.clock.now()) {
            // An error is impossible while `self` holds the sender.
            let _ = ended.changed().await;
        }
    }

    /// Takes one step of the walk and stores what it finds.
    async fn store_remaining(&self, term: u64, walk: &mut Walk, proposer: &Proposer) {
        if walk.behind.is_none() && self.clock.now() < walk.begins {
            return;
        }
        let _storing = self.storing.write().await;
        let as_of = self.applied_index();
        let remaining = self.choose_remaining(term, walk);
        if remaining.is_empty() {
            return;
        }
        let command = Command::LeaseCheckpoint(LeaseCheckpoint { remaining: remaining.clone(), term, as_of });
        match proposer.propose(Proposal::from(&command)).await {
            Ok(_) => self.ends.lock().unmark(term, &remaining),
            // It may be in the log all the same, so the marks stay.
            Err(error) => tracing::warn!(%error, "failed to store what is left of leases; it is tried again"),
        }
    }

    /// Takes one step of the walk: marks and gives the leases whose stored time is out of date, with the seconds left.
    fn choose_remaining(&self, term: u64, walk: &mut Walk) -> Vec<(LeaseId, i64)> {
        let now = self.clock.now();
        let behind = walk.behind.unwrap_or((now.after(CHECKPOINT_AFTER), u64::MAX, LeaseId(i64::MAX)));
        let mut ends = self.ends.lock();
        if ends.term != Some(term) {
            return Vec::new();
        }
        let places = ends.expiry.behind(behind, CHECKPOINT_MAX);
        *walk = match places.last() {
            Some(last) if places.len() == CHECKPOINT_MAX => Walk { behind: Some(*last), begins: now },
            _ => self.next_walk(),
        };
        let machine = self.shared.machine.read();
        let out_of_date = |&(end, _, id): &Place| {
            let stored = seconds(time_stored(machine.lessor.get(id)?));
            let left = end.since(now);
            (left + CHECKPOINT_AFTER <= stored).then_some((id, i64::try_from(left.as_secs()).ok()?))
        };
        let remaining: Vec<(LeaseId, i64)> = places.iter().filter_map(out_of_date).collect();
        ends.mark(&remaining);
        remaining
    }

    fn next_walk(&self) -> Walk {
        Walk { behind: None, begins: self.clock.now().after(CHECKPOINT_WALK_PERIOD) }
    }

    /// Takes or drops the ends when this member begins or ceases to lead; `false` if it knew.
    pub(super) fn follow(&self, term: Option<u64>) -> bool {
        // The lock is held over the look at the machine: a lease that is granted meanwhile is told to `applied` after
        // it is in the machine, and waits here.
        let mut ends = self.ends.lock();
        if ends.term == term {
            return false;
        }
        ends.leave();
        if let Some(term) = term {
            let extended = ends.lead(term, self.clock.now(), self.extension, &self.shared.machine.read().lessor);
            tracing::info!(leases = extended, "this member leads: leases are extended");
        }
        true
    }
}

/// What a keepalive found.
enum Renewal {
    Renewed(i64),
    Gone,
    Ending,
    /// What is left of it was stored in this term, or before it.
    Stored(u64),
    NotLeading,
}
