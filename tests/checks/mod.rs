//! What a cluster promises, checked on a history of what its clients were told.
//!
//! Histories ([`history`]) are plain values, so the same checks judge simulated clusters and real processes.
//!
//! | check | promise |
//! | --- | --- |
//! | [`order`] | no answer is older than what anybody was told before it was asked for |
//! | [`replay`] | all answers together are those of one store that did one thing after another |
//! | [`refusals`] | what was refused had a reason |
//! | [`watching`] | a watch hears of every change once, in order, whole, or is told that it cannot |
//! | [`leases`] | a lease lives as long as was promised, and not much longer |
//! | [`exclusion`] | a lock has one holder at a time |
//! | [`agreement`] | members that applied the same have the same |
//!
//! The answers of etcd carry revisions, and every change takes one. So the order of changes needs no search: they are
//! replayed over the reference model in the order of their revisions. Only for a revision that nobody was told to have
//! made must it be searched who did: one of those who were never answered, or the end of a lease. The order that
//! [`replay`] finds is the [`Truth`] that the other checks compare with.

#![allow(dead_code, reason = "each user needs a part")]

pub mod agreement;
pub mod exclusion;
pub mod history;
pub mod leases;
pub mod order;
pub mod refusals;
pub mod replay;
#[cfg(test)]
mod samples;
mod seen;
pub mod watching;

use std::fmt;

use self::history::History;
use self::leases::LeaseTerms;
pub use self::replay::Truth;

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub promise: Promise,
    /// What happened, in words.
    pub what: String,
}

/// What is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// Answers are never older than what was known.
    Fresh,
    /// Revisions of one server never go back.
    Monotonic,
    /// There is one order that explains all answers.
    Serializable,
    /// Watches miss nothing, repeat nothing, and tell the truth.
    Watched,
    /// Leases live as long as they were granted for.
    LeaseLives,
    /// Leases end when nobody renews them.
    LeaseEnds,
    /// Locks have one holder.
    Exclusive,
    /// Members agree.
    Agreed,
}

impl Violation {
    /// Says what happened.
    pub fn new(promise: Promise, what: impl Into<String>) -> Violation {
        Violation { promise, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.what)
    }
}

/// Checks everything that clients can see; gives the order of changes too, if there is one.
pub fn check(history: &History, terms: &LeaseTerms) -> (Vec<Violation>, Option<Truth>) {
    let mut violations = order::check(history);
    let truth = match replay::explain(history) {
        Ok(truth) => truth,
        Err(violation) => {
            violations.push(violation);
            return (violations, None);
        }
    };
    violations.extend(refusals::check(history, &truth));
    violations.extend(watching::check(history, &truth));
    violations.extend(leases::check(history, &truth, terms));
    violations.extend(exclusion::check(history, &truth));
    (violations, Some(truth))
}
