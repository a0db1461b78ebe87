//! The history itself: for watchers that are behind.

use super::fetch::fetch;
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
            // After the scan: what it saw was compacted no further.
            let compacted = source.with(Store::compacted);
            if let Some(missing) = first_missing(&stored, from, tail_start, compacted) {
                return Err(storage.missing(missing).into());
            }
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

/// The first place that `stored`, records of the revisions `from..end` in order, should have and has not.
///
/// Each revision above the compacted one has its changes there, numbered from 0, until a limit has ended the reading. A
/// damaged checkpoint may hide some from a walk; they would be told to nobody, and nobody would know.
fn first_missing(
    stored: &[(SubRevision, Record)],
    from: Revision,
    end: Revision,
    compacted: Revision,
) -> Option<SubRevision> {
    let mut next = SubRevision::first(from.max(compacted.next()).max(Revision::FRESH.next()));
    if stored.is_empty() {
        return (next.main < end).then_some(next);
    }
    let first = next.main;
    for (at, _) in stored.iter().filter(|(at, _)| at.main >= first) {
        // How many changes a revision has, only the next one tells.
        if at.main > next.main && next.sub > 0 {
            next = SubRevision::first(next.main.next());
        }
        if *at != next {
            return Some(next);
        }
        next.sub += 1;
    }
    None
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
        store.select(&keys, at, select::Limits { visits: 1, found: 1, heads_only: false }, &mut selection);
        Some(store.pin(at))
    });
    if pin.is_none() {
        return Ok(None);
    }
    let mut records = Vec::with_capacity(1);
    fetch(selection.found, storage, &mut records)?;
    Ok(records.pop())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LeaseId;
    use crate::mvcc::testing::empty_storage;
    use crate::storage::{Meta, TableWrite};

    /// A walk that a damaged page led past a revision told watchers nothing of it, and they went on after it.
    #[test]
    fn a_revision_that_storage_hides_is_damage() {
        let (mut store, storage) = (Store::new(), empty_storage());
        let mut writes = Vec::new();
        for key in ["a", "b", "c", "d"] {
            let mut write = store.begin();
            write.put(key.as_bytes(), b"value", LeaseId::NONE);
            write.finish(&mut Vec::new(), &mut writes);
        }
        storage.commit(&writes, &Meta::default()).unwrap();
        store.release_tail(Revision(5));
        let read = |store: &Store, from| {
            let read = changes(store, &storage, Revision(from), Revision(5), usize::MAX, usize::MAX);
            read.map(|changes| changes.len()).map_err(|error| error.to_string())
        };
        assert_eq!(read(&store, 1), Ok(4));

        storage.commit(&[TableWrite::RemoveRecord { at: SubRevision::first(Revision(3)) }], &Meta::default()).unwrap();
        let told = read(&store, 1).unwrap_err();
        assert!(told.starts_with("state is damaged at records/3_0: it is not there"), "{told}");
        assert!(read(&store, 3).is_err() && read(&store, 4) == Ok(2));
        store.compact(Revision(3)).unwrap();
        assert_eq!(read(&store, 3), Ok(2));
    }

    fn missing(stored: &[(i64, u32)], from: i64, end: i64, compacted: i64) -> Option<(i64, u32)> {
        let record = |main| Record::tombstone(b"key", Revision(main));
        let stored: Vec<_> =
            stored.iter().map(|&(main, sub)| (SubRevision { main: Revision(main), sub }, record(main))).collect();
        let missing = first_missing(&stored, Revision(from), Revision(end), Revision(compacted));
        missing.map(|at| (at.main.0, at.sub))
    }

    #[test]
    fn every_revision_above_the_compacted_one_is_there_with_its_changes_from_0() {
        // Whole, or ended by a limit.
        assert_eq!(missing(&[(2, 0), (3, 0), (3, 1), (4, 0)], 1, 9, -1), None);
        assert_eq!(missing(&[(7, 0)], 7, 9, 5), None);
        assert_eq!(missing(&[], 5, 5, -1), None);
        // What is compacted may be there or not.
        assert_eq!(missing(&[(2, 1), (4, 0), (5, 2), (6, 0)], 1, 9, 5), None);
        assert_eq!(missing(&[(2, 1)], 1, 9, 5), None);
        assert_eq!(missing(&[], 1, 6, 5), None);
        // Hidden: all, the first, one between, a change of a revision.
        assert_eq!(missing(&[], 7, 9, 5), Some((7, 0)));
        assert_eq!(missing(&[], 1, 9, 5), Some((6, 0)));
        assert_eq!(missing(&[(8, 0)], 7, 9, 5), Some((7, 0)));
        assert_eq!(missing(&[(7, 0), (9, 0)], 7, 10, 5), Some((8, 0)));
        assert_eq!(missing(&[(7, 0), (7, 2)], 7, 9, 5), Some((7, 1)));
        assert_eq!(missing(&[(3, 0), (7, 0)], 1, 9, 5), Some((6, 0)));
    }
}
