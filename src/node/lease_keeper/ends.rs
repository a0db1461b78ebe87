//! When each lease ends, on the member that leads; and what was begun about it, which outlives the lead.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::env::Tick;
use crate::lease::{Expiry, Lease, Lessor, spread};
use crate::model::LeaseId;
use crate::node::proposer::REQUEST_TIMEOUT;

/// Leases that end in one command: bounds how long apply holds the machine for it.
pub(super) const EXPIRE_MAX: usize = 256;

/// The ends of all leases.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// The term that the ends belong to; `None` while this member does not lead.
    pub(super) term: Option<u64>,
    pub(super) expiry: Expiry,
    /// What was begun in the term that this member leads or led last.
    begun: Begun,
}

/// What may be in the log or on its way there, and holds if it is applied in its term.
#[derive(Debug, Default)]
struct Begun {
    term: u64,
    /// Leases whose end was proposed, until they have ended.
    doomed: BTreeSet<LeaseId>,
    /// Leases whose time left was chosen to be stored, until it is known that it was, or was taken back.
    marked: BTreeSet<LeaseId>,
}

impl Ends {
    /// Forgets all ends: this member does not lead.
    pub(super) fn leave(&mut self) {
        self.term = None;
        self.expiry.clear();
    }

    /// Gives all leases their time and `extension` more, but for those whose end this member proposed in the same term;
    /// gives their number.
    pub(super) fn lead(&mut self, term: u64, now: Tick, extension: Duration, lessor: &Lessor) -> usize {
        let Ends { term: leads, expiry, begun } = self;
        *leads = Some(term);
        if begun.term != term {
            *begun = Begun { term, ..Begun::default() };
        }
        begun.doomed.iter().for_each(|&id| expiry.schedule(id, now));
        let base = now.after(extension);
        let lives = lessor.iter().filter(|(id, _)| !begun.doomed.contains(id));
        let end = |(id, lease): (LeaseId, Lease)| (base.after(seconds(time_stored(lease))), id);
        let mut leases: Vec<(Tick, LeaseId)> = lives.map(end).collect();
        spread(&mut leases);
        for &(end, id) in &leases {
            expiry.schedule(id, end);
        }
        leases.len()
    }

    /// A lease has ended.
    pub(super) fn ended(&mut self, id: LeaseId) {
        self.expiry.forget(id);
        self.begun.doomed.remove(&id);
    }

    /// The next leases whose time is over; those that were given before come again after a while.
    pub(super) fn expire(&mut self, now: Tick) -> Vec<LeaseId> {
        let ids = self.expiry.expired(now, EXPIRE_MAX, REQUEST_TIMEOUT);
        self.begun.doomed.extend(&ids);
        ids
    }

    /// Whether the time of a lease is over that has not ended yet.
    pub(super) fn are_overdue(&self, now: Tick) -> bool {
        self.term.is_some() && (!self.begun.doomed.is_empty() || self.expiry.is_due(now))
    }

    /// What is left of these leases is about to be stored.
    pub(super) fn mark(&mut self, leases: &[(LeaseId, i64)]) {
        self.begun.marked.extend(leases.iter().map(|(id, _)| *id));
    }

    /// It is known that it was stored in `term`, or taken back.
    pub(super) fn unmark(&mut self, term: u64, leases: &[(LeaseId, i64)]) {
        if self.term == Some(term) {
            for (id, _) in leases {
                self.begun.marked.remove(id);
            }
        }
    }

    /// Whether what is left of a lease may be on its way into the log.
    pub(super) fn is_marked(&self, id: LeaseId) -> bool {
        self.begun.marked.contains(&id)
    }
}

/// The seconds that a new leader gives a lease.
pub(super) fn time_stored(lease: Lease) -> i64 {
    if lease.remaining > 0 { lease.remaining } else { lease.ttl }
}

pub(super) fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}
