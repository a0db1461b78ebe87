//! The changes of one key, oldest first.

use crate::model::{Record, Revision, SubRevision};

/// One change of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    main: Revision,
    sub: u32,
    pub(super) is_tombstone: bool,
}

impl Change {
    pub(super) fn put(at: SubRevision) -> Change {
        Change { main: at.main, sub: at.sub, is_tombstone: false }
    }

    pub(super) fn tombstone(at: SubRevision) -> Change {
        Change { main: at.main, sub: at.sub, is_tombstone: true }
    }

    pub(super) fn at(&self) -> SubRevision {
        SubRevision { main: self.main, sub: self.sub }
    }
}

/// A key's changes that are not compacted away, and the record of the last one if it is a put.
#[derive(Debug)]
pub(super) struct KeyHistory {
    changes: Changes,
    latest: Option<Record>,
}

/// Most keys have one change; they need no list.
#[derive(Debug)]
enum Changes {
    One(Change),
    Many(Vec<Change>),
}

impl KeyHistory {
    /// A key that is written for the first time.
    pub(super) fn new(change: Change, latest: Option<Record>) -> KeyHistory {
        KeyHistory { changes: Changes::One(change), latest }
    }

    /// Adds the newest change; gives the record that was the latest.
    pub(super) fn push(&mut self, change: Change, latest: Option<Record>) -> Option<Record> {
        debug_assert!(change.at() > self.last().at(), "changes come in order");
        match &mut self.changes {
            Changes::One(first) => self.changes = Changes::Many(vec![*first, change]),
            Changes::Many(changes) => changes.push(change),
        }
        std::mem::replace(&mut self.latest, latest)
    }

    /// All changes, oldest first; never empty.
    pub(super) fn changes(&self) -> &[Change] {
        match &self.changes {
            Changes::One(change) => std::slice::from_ref(change),
            Changes::Many(changes) => changes,
        }
    }

    pub(super) fn last(&self) -> Change {
        *self.changes().last().expect("a history is never empty")
    }

    /// The record of the last change, if the key lives.
    pub(super) fn latest(&self) -> Option<&Record> {
        self.latest.as_ref()
    }

    /// The newest change at or below `at`; `None` if the key was not there then.
    pub(super) fn live_at(&self, at: Revision) -> Option<Change> {
        let changes = self.changes();
        let found = changes[..changes.partition_point(|change| change.main <= at)].last()?;
        (!found.is_tombstone).then_some(*found)
    }

    /// Forgets what no read at or above `floor` needs, and a tombstone below it; adds what went to `removed`. Tells
    /// whether nothing is left of the key.
    ///
    /// A tombstone exactly at `floor` stays: a watch that starts there must still see the delete.
    pub(super) fn compact(&mut self, floor: Revision, removed: &mut Vec<SubRevision>) -> bool {
        let changes = self.changes();
        let below = changes.partition_point(|change| change.main <= floor);
        let Some(newest) = below.checked_sub(1) else { return false };
        let is_dead = changes[newest].is_tombstone && changes[newest].main < floor;
        let keep_from = if is_dead { below } else { newest };
        removed.extend(changes[..keep_from].iter().map(Change::at));
        if keep_from == changes.len() {
            return true;
        }
        match (&mut self.changes, keep_from) {
            (_, 0) | (Changes::One(_), _) => {}
            (Changes::Many(changes), _) => match changes[keep_from..] {
                [only] => self.changes = Changes::One(only),
                _ => {
                    changes.drain(..keep_from);
                    changes.shrink_to_fit();
                }
            },
        }
        false
    }
}
