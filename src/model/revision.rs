//! Revisions: the store's own clock.

use std::fmt;

/// Counts the changes of the whole store; one write request takes one revision.
///
/// A fresh store is at 1, its first write makes 2. Zero and negative values appear only as sentinels of the API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub i64);

impl Revision {
    /// The revision of a store that was never written.
    pub const FRESH: Revision = Revision(1);
    /// The compacted revision of a store that was never compacted.
    pub const NEVER_COMPACTED: Revision = Revision(-1);

    /// The revision after this one.
    #[must_use]
    pub fn next(self) -> Revision {
        Revision(self.0 + 1)
    }

    /// The revision before this one.
    #[must_use]
    pub fn previous(self) -> Revision {
        Revision(self.0 - 1)
    }
}

/// Names one change: the revision, and its place among the changes of one txn (first is 0).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubRevision {
    /// The revision of the whole request.
    pub main: Revision,
    /// The order of execution within it.
    pub sub: u32,
}

impl SubRevision {
    /// The first change of `main`.
    #[must_use]
    pub fn first(main: Revision) -> SubRevision {
        SubRevision { main, sub: 0 }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for SubRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.main, self.sub)
    }
}
