//! Whether somebody leads, whether it is this member, and what that entitles it to.
//!
//! [`Leadership`] is the only licence to answer keepalives, to propose expiry and to skip the read barrier. A member
//! that was just elected does not yet know how far its predecessor had committed; it does once the blank entry that it
//! wrote first is applied. So leading counts from then on.
//!
//! openraft's leader stays leader when it is cut off, and its followers go on naming it. Here both end when nothing was
//! heard for an election timeout: a leader of a quorum's answers, a follower of its leader. By then others may have
//! elected another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::model::MemberId;
use crate::raft::Consensus;

/// What this member knows of who leads.
#[derive(Debug)]
pub(super) struct Leadership {
    consensus: Consensus,
    member: MemberId,
    led: Arc<LedTerm>,
    /// How long silence is borne.
    patience: Duration,
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
    pub(super) fn new(consensus: Consensus, member: MemberId, led: Arc<LedTerm>, patience: Duration) -> Leadership {
        Leadership { consensus, member, led, patience }
    }

    /// The term that this member leads and has begun; `None` if it does not, or may have been deposed.
    pub(super) fn term(&self) -> Option<u64> {
        let (term, leads) = self.consensus.leadership();
        (leads && self.has_begun(term) && self.is_heard()).then_some(term)
    }

    /// This member leads and is the only voter.
    pub(super) fn is_sole_leader(&self) -> bool {
        let (term, leads) = self.consensus.leadership();
        leads && self.has_begun(term) && self.consensus.is_only_voter(self.member)
    }

    /// Who leads, this member perhaps; `None` if nobody is known who surely led an election timeout ago.
    pub(super) fn leader(&self) -> Option<MemberId> {
        self.consensus.leader().filter(|_| self.is_heard())
    }

    /// Another member that leads.
    pub(super) fn other_leader(&self) -> Option<MemberId> {
        self.leader().filter(|&leader| leader != self.member)
    }

    /// This member believes that it leads, though it may not have begun, or may have been deposed.
    pub(super) fn leads(&self) -> bool {
        self.consensus.leadership().1
    }

    fn is_heard(&self) -> bool {
        self.consensus.leader_age().is_some_and(|age| age < self.patience) || self.consensus.is_only_voter(self.member)
    }

    fn has_begun(&self, term: u64) -> bool {
        // Acquire: pairs with the store by apply.
        self.led.0.load(Ordering::Acquire) == term
    }
}
