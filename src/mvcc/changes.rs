//! The history itself: for watchers that are behind.

use super::range::fetch;
use super::select::{self, Selection};
use super::store::{ReadError, Source, Store};
use crate::env::Mistake;
use crate::model::{KeyRange, Record, Revision, SubRevision};
use crate::storage::Storage;

/// The changes of revisions `from..=through` of all keys, in order; tombstones are deletes.
///
/// Gives whole revisions: at most `revisions_max` of them and about `bytes_max` bytes, but at least one if there is any.
/// Less than all may come back at any time: go on after the last one given. Empty means that there are none.
///
/// # Errors
/// - [`ReadError::Compacted`] if `from` is below the compacted revision, also if that happened while reading.
/// - [`ReadError::Storage`] if the history could not be read.
pub fn changes(
    source: &impl Source,
    storage: &Storage,
    from: Revision,
    through: Revision,
    revisions_max: usize,
    bytes_max: usize,
) -> Result<Vec<(SubRevision, Record)>, ReadError> {
    let limits = Limits { revisions: revisions_max, bytes: bytes_max };
    let from =
        if Mistake::SkipAtCompaction.is_made() && source.with(Store::compacted) == from { from.next() } else { from };
    history(source, storage, from, through, limits, |store| match store.compacted() {
        compacted if from < compacted => Err(ReadError::Compacted { requested: from, compacted }),
        _ => Ok(()),
    })
}

/// How much of the history one reading gives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) revisions: usize,
    /// Of records, more or less.
    pub(super) bytes: usize,
}

/// As [`changes`], for those who hold what they read with a pin, or who `check` at each look that it was not compacted.
///
/// # Errors
/// That of `check`, also if it came while reading; [`ReadError::Storage`].
pub(super) fn history(
    source: &impl Source,
    storage: &Storage,
    from: Revision,
    through: Revision,
    limits: Limits,
    check: impl Fn(&Store) -> Result<(), ReadError>,
) -> Result<Vec<(SubRevision, Record)>, ReadError> {
    let Limits { revisions: revisions_max, bytes: bytes_max } = limits;
    let start_of_tail = || {
        source.with(|store| {
            check(store)?;
            Ok::<_, ReadError>(store.tail_start().unwrap_or(through.next()).min(through.next()))
        })
    };
    loop {
        // What is below the tail is in a checkpoint that can be read: the tail lets go of nothing else.
        let tail_start = start_of_tail()?;
        if from < tail_start {
            let (first, end) = (SubRevision::first(from), SubRevision::first(tail_start));
            let stored = storage.scan(first, end, revisions_max, bytes_max)?;
            start_of_tail()?;
            if !stored.is_empty() {
                return Ok(stored);
            }
        }
        let in_tail = source.with(|store| {
            let has_moved = store.tail_start().is_none_or(|start| start > tail_start.max(from));
            let is_needed = tail_start <= through;
            (!has_moved || !is_needed).then(|| store.tail.take(from, through, revisions_max, bytes_max))
        });
        // If a checkpoint took the tail's place between the two looks, what was in it is in storage now.
        if let Some(taken) = in_tail {
            start_of_tail()?;
            return Ok(taken);
        }
    }
}

/// The record of a key as it was at a revision; `None` if the key was not there then, or the revision is compacted.
///
/// # Errors
/// [`ReadError::Storage`] if the record could not be read.
pub fn record_at(
    source: &impl Source,
    storage: &Storage,
    key: &[u8],
    at: Revision,
) -> Result<Option<Record>, ReadError> {
    let keys = KeyRange::single(bytes::Bytes::copy_from_slice(key));
    let mut selection = Selection::default();
    let pin = source.with(|store| {
        store.check_readable(at).ok()?;
        store.select(&keys, at, select::Limits { visits: 1, found: 1 }, &mut selection);
        Some(store.pin(at))
    });
    if pin.is_none() {
        return Ok(None);
    }
    let mut records = Vec::with_capacity(1);
    fetch(selection.found, storage, &mut records)?;
    Ok(records.pop())
}
