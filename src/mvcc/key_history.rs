//! The changes of one key, oldest first.

use super::evict::EVICTED_BYTES_MIN;
use super::newest::{Kept, Newest};
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

/// A key's changes that are not compacted away, and the pair of the last one if it is a put.
#[derive(Debug)]
pub(super) struct KeyHistory {
    changes: Changes,
    newest: Option<Kept>,
}

/// Most keys have one change; they need no list.
#[derive(Debug)]
enum Changes {
    One(Change),
    Many(Vec<Change>),
}

impl KeyHistory {
    /// A key that is written for the first time.
    pub(super) fn new(change: Change, newest: Option<Kept>) -> KeyHistory {
        KeyHistory { changes: Changes::One(change), newest }
    }

    /// Adds the newest change; gives the pair that was the newest.
    pub(super) fn push(&mut self, change: Change, newest: Option<Kept>) -> Option<Newest> {
        let last = self.last().at();
        debug_assert!(change.at() > last, "changes come in order");
        match &mut self.changes {
            Changes::One(first) => self.changes = Changes::Many(vec![*first, change]),
            Changes::Many(changes) => changes.push(change),
        }
        std::mem::replace(&mut self.newest, newest).map(|before| Newest::of(last, before))
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

    /// What is kept of the pair of the last change, if the key lives.
    pub(super) fn kept(&self) -> Option<&Kept> {
        self.newest.as_ref()
    }

    /// The pair of the last change, if the key lives.
    pub(super) fn newest(&self) -> Option<Newest> {
        self.kept().map(|kept| Newest::new(self.last().at(), kept))
    }

    /// Lets the value go that `at` wrote, if it is the newest, in memory and large; gives the bytes of its record. One that
    /// was read since it was last asked for stays this time.
    pub(super) fn evict(&mut self, is_stored: impl FnOnce(SubRevision) -> bool) -> usize {
        let at = self.last().at();
        let Some(Kept::Whole { record, is_used }) = &mut self.newest else { return 0 };
        let len = record.as_bytes().len();
        if len < EVICTED_BYTES_MIN || !is_stored(at) || std::mem::take(is_used.get_mut()) {
            return 0;
        }
        self.newest = Some(Kept::bare(record));
        len
    }

    /// Takes the pair of the last change back into memory if `record` is that and it is not there; tells whether it does.
    ///
    /// Who reads a revision gets the last change that it made of a key, so the revision is enough to know it.
    pub(super) fn readmit(&mut self, record: &Record) -> bool {
        let is_newest = self.last().main == record.mod_revision();
        let is_wanted = is_newest && matches!(self.newest, Some(Kept::Bare { .. }));
        if is_wanted {
            self.newest = Some(Kept::whole(record.clone()));
        }
        is_wanted
    }

    /// The newest change at or below `at`; `None` if the key was not there then.
    pub(super) fn live_at(&self, at: Revision) -> Option<Change> {
        let changes = self.changes();
        let found = changes[..changes.partition_point(|change| change.main <= at)].last()?;
        (!found.is_tombstone).then_some(*found)
    }

    /// The first change that a compaction of `floor` leaves; the number of changes if there is none.
    fn kept_from(&self, floor: Revision) -> usize {
        let changes = self.changes();
        let below = changes.partition_point(|change| change.main <= floor);
        let Some(newest) = below.checked_sub(1) else { return 0 };
        let is_dead = changes[newest].is_tombstone && changes[newest].main < floor;
        if is_dead { below } else { newest }
    }

    /// Whether a compaction of `floor` leaves the change at `place`.
    pub(super) fn leaves(&self, place: SubRevision, floor: Revision) -> bool {
        self.changes().get(self.kept_from(floor)).is_some_and(|first| place >= first.at())
    }

    /// Forgets what no read at or above `floor` needs, and a tombstone below it; adds what went to `removed`. Tells
    /// whether nothing is left of the key.
    ///
    /// A tombstone exactly at `floor` stays: a watch that starts there must still see the delete.
    pub(super) fn compact(&mut self, floor: Revision, removed: &mut Vec<SubRevision>) -> bool {
        let (changes, keep_from) = (self.changes(), self.kept_from(floor));
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
