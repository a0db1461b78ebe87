//! Mistakes that are made on purpose, one at a time, to show that the simulation sees them.
//!
//! A check that never found anything may be unable to. So each mistake that a store like this one is feared for is
//! written down at the place where it would be made, and `tests/sim` asks for one after another. A thread makes the
//! mistake that it was told to; nothing but a test tells it, and without debug assertions there is no way to.

use std::cell::Cell;

/// A mistake, made where the code asks for [`Mistake::is_made`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// Raft is told that entries are durable as soon as they are queued for the log.
    AnswerBeforeDurable,
    /// A checkpoint commits the effects of entries first, and then how far it goes.
    AppliedIndexApart,
    /// Linearizable reads are answered from what is there.
    ReadWithoutBarrier,
    /// A watcher that starts at the compacted revision is not told of that revision.
    SkipAtCompaction,
    /// A watcher that comes back is told of the last revision again.
    EventTwice,
    /// A leader goes on ending leases after another has taken over, and the entries are applied.
    OldLeaderExpires,
    /// A vote is given before, and without, being written down.
    VoteTwice,
    /// The last entry of the log is cut off at a start, as if it were torn.
    TruncateDurable,
    /// The name of a new segment of the log is not made durable.
    LoseFolderSync,
    /// Whoever speaks is taken for a member of the cluster, whoever is meant for this one.
    AcceptStranger,
}

impl Mistake {
    /// Every one.
    pub const ALL: [Mistake; 10] = [
        Mistake::AnswerBeforeDurable,
        Mistake::AppliedIndexApart,
        Mistake::ReadWithoutBarrier,
        Mistake::SkipAtCompaction,
        Mistake::EventTwice,
        Mistake::OldLeaderExpires,
        Mistake::VoteTwice,
        Mistake::TruncateDurable,
        Mistake::LoseFolderSync,
        Mistake::AcceptStranger,
    ];

    /// Whether this thread is to make it. Never, without debug assertions.
    pub fn is_made(self) -> bool {
        cfg!(debug_assertions) && MADE.get() == Some(self)
    }
}

thread_local! {
    static MADE: Cell<Option<Mistake>> = const { Cell::new(None) };
}

/// From now on this thread makes this mistake, or none. Does nothing without debug assertions.
pub fn make(mistake: Option<Mistake>) {
    MADE.set(mistake);
}
