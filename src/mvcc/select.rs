//! Which keys of the index a read visits, a chunk at a time.

use std::ops::Bound;

use super::key_history::KeyHistory;
use super::newest::Kept;
use super::store::Store;
use crate::model::{KeyRange, RangeEnd, Record, Revision, SubRevision};

/// A selected key: its record, or where storage has it.
#[derive(Debug)]
pub(super) enum Found {
    Here(Record),
    Stored {
        at: SubRevision,
        /// All but the value, and the bytes of the whole record, if it is the newest of its key.
        bare: Option<(Record, usize)>,
    },
}

impl Found {
    /// The place in storage, if it is there.
    pub(super) fn stored(&self) -> Option<SubRevision> {
        match self {
            Found::Here(_) => None,
            Found::Stored { at, .. } => Some(*at),
        }
    }
}

/// What a read has selected so far.
#[derive(Debug, Default)]
pub(super) struct Selection {
    pub(super) found: Vec<Found>,
    /// All keys of the range that lived, whether they are in `found` or not.
    pub(super) count: i64,
    /// Where to go on; `None` if the range is at its end.
    pub(super) next: Option<Box<[u8]>>,
}

/// How far one chunk goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Index keys to visit.
    pub(super) visits: usize,
    /// Length of `found` above which keys are only counted.
    pub(super) found: usize,
    /// Values are not wanted: what is found may lack them.
    pub(super) heads_only: bool,
}

impl Store {
    /// Adds the keys of `keys` that lived at `at` to `selection`, from where it stands, until a limit is reached.
    pub(super) fn select(&self, keys: &KeyRange, at: Revision, limits: Limits, selection: &mut Selection) {
        let from = selection.next.take();
        if keys.end == RangeEnd::Single {
            if let Some(history) = self.index.get(keys.start.as_ref()) {
                self.add(history, at, limits, selection);
            }
            return;
        }
        let Some(bounds) = bounds(keys, from.as_deref()) else { return };
        for (visited, (key, history)) in self.index.range::<[u8], _>(bounds).enumerate() {
            if visited == limits.visits {
                selection.next = Some(key.clone());
                return;
            }
            self.add(history, at, limits, selection);
        }
    }

    fn add(&self, history: &KeyHistory, at: Revision, limits: Limits, selection: &mut Selection) {
        let Some(change) = history.live_at(at) else { return };
        selection.count += 1;
        if selection.found.len() >= limits.found {
            return;
        }
        let is_last = change.at() == history.last().at();
        let at = change.at();
        selection.found.push(match history.kept().filter(|_| is_last) {
            Some(Kept::Bare { rest, .. }) if limits.heads_only => Found::Here(rest.clone()),
            Some(Kept::Bare { rest, len }) => Found::Stored { at, bare: Some((rest.clone(), *len as usize)) },
            Some(kept @ Kept::Whole { record, .. }) => {
                kept.touch();
                Found::Here(record.clone())
            }
            None => self.tail.get(at).map_or(Found::Stored { at, bare: None }, |record| Found::Here(record.clone())),
        });
    }
}

/// A part of the index.
type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// The part of the index that `keys` means, from `from` on if it is given; `None` if that is nothing.
pub(super) fn bounds<'a>(keys: &'a KeyRange, from: Option<&'a [u8]>) -> Option<Bounds<'a>> {
    let start = from.unwrap_or(&keys.start);
    match &keys.end {
        RangeEnd::Single => Some((Bound::Included(start), Bound::Included(&keys.start))),
        RangeEnd::Unbounded => Some((Bound::Included(start), Bound::Unbounded)),
        // A map refuses a range that ends before it starts.
        RangeEnd::Before(end) => (start < end.as_ref()).then_some((Bound::Included(start), Bound::Excluded(end))),
    }
}
