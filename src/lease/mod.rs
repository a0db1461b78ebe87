//! Leases: a time to live that keys hang on.
//!
//! Two parts that know nothing of each other:
//!
//! * the [`Lessor`] is replicated: which leases there are, and which keys are attached to each. It changes only through
//!   applied commands and has no notion of time;
//! * the [`Expiry`] is the leader's own: when each lease ends. It is given `now` and is rebuilt by every new leader, from
//!   what the lessor remembers of each lease; ends that come too thick are [`spread`] then.
//!
//! A key has at most one lease, the one that its record names. A put attaches it to another or to none, a delete detaches
//! it, and when the lease ends its keys are deleted.

mod expiry;
mod lessor;
mod spread;

#[cfg(test)]
mod tests;

pub use expiry::{Expiry, Place};
pub use lessor::{Lease, Lessor};
pub use spread::spread;
