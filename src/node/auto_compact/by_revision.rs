//! History by revisions: so many before the newest stay.

use std::time::Duration;

use crate::model::Revision;

/// What lies between two looks. Source: etcd, `revInterval`.
pub(super) const LOOK_PERIOD: Duration = Duration::from_secs(5 * 60);

/// What is kept, and how far it came.
#[derive(Debug)]
pub(super) struct ByRevision {
    kept: i64,
    done: Revision,
}

impl ByRevision {
    /// Keeps `kept` revisions before the newest.
    pub(super) fn new(kept: i64) -> ByRevision {
        ByRevision { kept, done: Revision(0) }
    }

    /// Up to where history goes now, if it does.
    pub(super) fn due(&self, newest: Revision) -> Option<Revision> {
        let due = Revision(newest.0.saturating_sub(self.kept));
        (due.0 > 0 && due != self.done).then_some(due)
    }

    /// It went as far as `revision`.
    pub(super) fn done(&mut self, revision: Revision) {
        self.done = revision;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_counted_from_the_newest() {
        let mut plan = ByRevision::new(10);
        assert_eq!(plan.due(Revision(1)), None);
        assert_eq!(plan.due(Revision(10)), None);
        assert_eq!(plan.due(Revision(11)), Some(Revision(1)));
        assert_eq!(plan.due(Revision(99)), Some(Revision(89)), "the one before failed");
        plan.done(Revision(89));
        assert_eq!(plan.due(Revision(99)), None, "nothing has changed");
        assert_eq!(plan.due(Revision(100)), Some(Revision(90)));
    }
}
