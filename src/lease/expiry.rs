//! When each lease ends.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use crate::env::Tick;
use crate::model::LeaseId;

/// The ends of leases, soonest first.
///
/// All steps are logarithmic in the number of leases. Leases with equal ends keep the order in which they were scheduled.
#[derive(Debug, Default)]
pub struct Expiry {
    ends: BTreeMap<LeaseId, End>,
    /// The same by the time at which each is to be looked at, then by the order of scheduling.
    queue: BTreeSet<Place>,
    scheduled: u64,
}

/// A place in the order of ends: the end, the order of scheduling, and the lease.
pub type Place = (Tick, u64, LeaseId);

#[derive(Debug, Clone, Copy)]
struct End {
    at: Tick,
    /// Its place in the queue: `at`, or later when it was given out as expired.
    look: Tick,
    order: u64,
}

impl Expiry {
    /// Sets or moves the end of a lease.
    pub fn schedule(&mut self, id: LeaseId, at: Tick) {
        self.forget(id);
        self.scheduled += 1;
        self.insert(id, End { at, look: at, order: self.scheduled });
    }

    /// Forgets a lease.
    pub fn forget(&mut self, id: LeaseId) {
        if let Some(end) = self.ends.remove(&id) {
            self.queue.remove(&(end.look, end.order, id));
        }
    }

    /// When the lease ends, if it is known.
    #[must_use]
    pub fn end_of(&self, id: LeaseId) -> Option<Tick> {
        Some(self.ends.get(&id)?.at)
    }

    /// At most `max` leases that have ended at `now`, soonest first. They stay until they are forgotten or moved, and are
    /// given again after `retry`.
    pub fn expired(&mut self, now: Tick, max: usize, retry: Duration) -> Vec<LeaseId> {
        let mut expired = Vec::new();
        while expired.len() < max {
            match self.queue.first() {
                Some(&(look, _, id)) if look <= now => expired.push(id),
                _ => break,
            }
            self.queue.pop_first();
        }
        for &id in &expired {
            if let Some(end) = self.ends.get_mut(&id) {
                end.look = now.after(retry);
                self.queue.insert((end.look, end.order, id));
            }
        }
        expired
    }

    /// Whether a lease has ended at `now` that was not given out as expired a moment ago.
    #[must_use]
    pub fn is_due(&self, now: Tick) -> bool {
        self.queue.first().is_some_and(|&(look, ..)| look <= now)
    }

    /// At most `max` leases behind a place, soonest to end first; each with its place, to go on from. A lease that is
    /// moved meanwhile may come twice, but none is left out.
    #[must_use]
    pub fn behind(&self, place: Place, max: usize) -> Vec<Place> {
        self.queue.range((Bound::Excluded(place), Bound::Unbounded)).take(max).copied().collect()
    }

    /// All leases, soonest to end first.
    #[must_use]
    pub fn by_end(&self) -> Vec<LeaseId> {
        let mut ends: Vec<(Tick, u64, LeaseId)> = self.ends.iter().map(|(&id, end)| (end.at, end.order, id)).collect();
        ends.sort_unstable();
        ends.into_iter().map(|(.., id)| id).collect()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.ends.clear();
        self.queue.clear();
    }

    fn insert(&mut self, id: LeaseId, end: End) {
        self.queue.insert((end.look, end.order, id));
        self.ends.insert(id, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(seconds: u64) -> Tick {
        Tick(Duration::from_secs(seconds))
    }

    #[test]
    fn the_soonest_end_comes_first_and_equal_ends_in_order_of_scheduling() {
        let mut expiry = Expiry::default();
        expiry.schedule(LeaseId(3), tick(10));
        expiry.schedule(LeaseId(1), tick(10));
        expiry.schedule(LeaseId(2), tick(5));
        assert_eq!(expiry.by_end(), [LeaseId(2), LeaseId(3), LeaseId(1)]);
        assert_eq!(expiry.expired(tick(4), 10, tick(7).0), []);
        assert_eq!(expiry.expired(tick(10), 2, tick(7).0), [LeaseId(2), LeaseId(3)]);
        assert_eq!(expiry.expired(tick(10), 2, tick(7).0), [LeaseId(1)]);
    }

    #[test]
    fn an_expired_lease_is_given_again_only_after_the_retry_time() {
        let mut expiry = Expiry::default();
        expiry.schedule(LeaseId(1), tick(1));
        assert!(!expiry.is_due(tick(0)) && expiry.is_due(tick(1)));
        assert_eq!(expiry.expired(tick(2), 10, tick(7).0), [LeaseId(1)]);
        assert!(!expiry.is_due(tick(8)) && expiry.is_due(tick(9)));
        assert_eq!(expiry.expired(tick(8), 10, tick(7).0), []);
        assert_eq!(expiry.expired(tick(9), 10, tick(7).0), [LeaseId(1)]);
        assert_eq!(expiry.end_of(LeaseId(1)), Some(tick(1)));
        expiry.forget(LeaseId(1));
        assert_eq!(expiry.expired(tick(100), 10, tick(7).0), []);
    }

    #[test]
    fn a_walk_goes_on_behind_the_last_place() {
        let mut expiry = Expiry::default();
        for (id, end) in [(1, 5), (2, 7), (3, 7), (4, 9)] {
            expiry.schedule(LeaseId(id), tick(end));
        }
        let ids = |places: &[Place]| places.iter().map(|(.., id)| id.0).collect::<Vec<_>>();
        let first = expiry.behind((tick(5), u64::MAX, LeaseId(i64::MAX)), 1);
        assert_eq!(ids(&first), [2]);
        expiry.schedule(LeaseId(3), tick(8));
        assert_eq!(ids(&expiry.behind(first[0], 10)), [3, 4]);
    }

    #[test]
    fn a_keepalive_moves_the_end() {
        let mut expiry = Expiry::default();
        expiry.schedule(LeaseId(1), tick(1));
        expiry.schedule(LeaseId(1), tick(5));
        assert_eq!(expiry.expired(tick(4), 10, tick(7).0), []);
        assert_eq!(expiry.end_of(LeaseId(1)), Some(tick(5)));
    }
}
