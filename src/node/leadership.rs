//! Whether this member leads, and what that entitles it to.
//!
//! [`Leadership`] is the only licence to answer keepalives, to propose expiry and to skip the read barrier. A member
//! that was just elected does not yet know how far its predecessor had committed; it does once the blank entry that it
//! wrote first is applied. So leading counts from then on.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::MemberId;
use crate::raft::Consensus;

/// This member's claim to lead.
#[derive(Debug)]
pub(super) struct Leadership {
    consensus: Consensus,
    member: MemberId,
    led: std::sync::Arc<LedTerm>,
}

/// The last term whose leader's blank entry was applied here; written by apply.
#[derive(Debug, Default)]
pub(super) struct LedTerm(AtomicU64);

impl LedTerm {
    pub(super) fn set(&self, term: u64) {
        // Release: whoever sees the term sees what was applied before.
        self.0.store(term, Ordering::Release);
    }
}

impl Leadership {
    pub(super) fn new(consensus: Consensus, member: MemberId, led: std::sync::Arc<LedTerm>) -> Leadership {
        Leadership { consensus, member, led }
    }

    /// The term that this member leads and has begun; `None` if it does not.
    pub(super) fn term(&self) -> Option<u64> {
        let (term, leads) = self.consensus.leadership();
        (leads && self.has_begun(term)).then_some(term)
    }

    /// This member leads and is the only voter.
    pub(super) fn is_sole_leader(&self) -> bool {
        let (term, leads) = self.consensus.leadership();
        leads && self.has_begun(term) && self.consensus.is_only_voter(self.member)
    }

    fn has_begun(&self, term: u64) -> bool {
        // Acquire: pairs with the store by apply.
        self.led.0.load(Ordering::Acquire) == term
    }
}
