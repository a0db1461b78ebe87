//! Answers to range requests.
//!
//! In this order, as etcd does: select the keys that lived, filter, sort, cut, leave values out. The count ignores
//! filters and limit.
//!
//! Source: etcd API reference, `RangeRequest`.

use std::cmp::Ordering;

use super::fetch::fetch;
use super::select::{Found, Limits, Selection};
use super::store::{ReadError, Source, Store};
use crate::model::{Range, RangeReply, Record, Revision, SortOrder, SortTarget};
use crate::storage::Storage;

/// Keys that one look at the store visits: bounds how long apply waits for a reader.
pub(super) const CHUNK_KEYS: usize = 1000;
/// Records of one answer that come back into memory when they were read from storage; if they are more it is a listing.
pub(super) const READMITTED_MAX: usize = 16;
/// Bytes of records that are answered at once; what is longer is answered by [`super::bounded_range()`].
pub(super) const SHORT_BYTES: usize = 256 * 1024;
/// Above every revision: selects the last change of each key.
pub(super) const NEWEST: Revision = Revision(i64::MAX);

/// Answers a range at one revision; zero and below is the newest.
///
/// However long it takes, the answer is one state: the revision is held readable meanwhile.
///
/// # Errors
/// - [`ReadError::Future`] if the revision is above the newest.
/// - [`ReadError::Compacted`] if it is below the compacted one.
/// - [`ReadError::Storage`] if an older record could not be read.
pub fn range(source: &impl Source, storage: &Storage, query: &Range) -> Result<RangeReply, ReadError> {
    let (_pin, at, revision) = source.with(|store| {
        let at = if query.revision <= 0 { store.revision() } else { Revision(query.revision) };
        store.check_readable(at)?;
        Ok::<_, ReadError>((store.pin(at), at, store.revision()))
    })?;
    read(source, storage, query, at, revision)
}

/// Answers a short range that memory alone can answer with at most `keys_max` keys visited, at the newest revision;
/// `None` if it is not such a one.
#[must_use]
pub fn range_now(store: &Store, query: &Range, keys_max: usize) -> Option<Result<RangeReply, ReadError>> {
    if query.revision > 0 {
        return None;
    }
    let mut selection = Selection::default();
    let limits = Limits { visits: keys_max, found: found_max(query), heads_only: heads_only(query) };
    store.select(&query.keys, NEWEST, limits, &mut selection);
    if selection.next.is_some() {
        return None;
    }
    let mut records = Vec::with_capacity(selection.found.len());
    let mut bytes = 0;
    for found in selection.found {
        let Found::Here(record) = found else { return None };
        bytes += if query.keys_only { record.key().len() } else { record.as_bytes().len() };
        records.push(record);
    }
    if bytes > SHORT_BYTES && records.len() > 1 {
        return None;
    }
    Some(Ok(arrange(query, records, selection.count, store.revision())))
}

/// Reads at a revision that was checked and is held.
pub(super) fn read(
    source: &impl Source,
    storage: &Storage,
    query: &Range,
    at: Revision,
    revision: Revision,
) -> Result<RangeReply, ReadError> {
    let limits = Limits { visits: CHUNK_KEYS, found: found_max(query), heads_only: heads_only(query) };
    let (mut records, mut stored, mut count, mut next) = (Vec::new(), 0, 0, None);
    loop {
        let mut selection = Selection { next, count, ..Selection::default() };
        let limits = Limits { found: limits.found - records.len(), ..limits };
        source.with(|store| store.select(&query.keys, at, limits, &mut selection));
        stored += fetch(selection.found, storage, &mut records)?;
        (count, next) = (selection.count, selection.next);
        if next.is_none() {
            if stored > 0 && records.len() <= READMITTED_MAX {
                source.was_read(&records);
            }
            return Ok(arrange(query, records, count, revision));
        }
    }
}

/// How many records must be fetched to answer. Filters and sorting need all; otherwise one more than the limit shows
/// that there are more.
///
/// An order of none with another target than the key is sorted all the same, but, as in etcd, only over what the limit
/// lets through in key order.
pub(super) fn found_max(query: &Range) -> usize {
    // Keys come in ascending order as it is.
    let needs_all = query.sort_order != SortOrder::None && !is_in_key_order(query);
    if query.count_only {
        0
    } else if query.has_filter() || needs_all || query.limit <= 0 {
        usize::MAX
    } else {
        usize::try_from(query.limit).unwrap_or(usize::MAX).saturating_add(1)
    }
}

/// Whether pairs are answered in the order in which they are found.
pub(super) fn is_in_key_order(query: &Range) -> bool {
    match query.sort_order {
        SortOrder::None | SortOrder::Ascend => query.sort_target == SortTarget::Key,
        SortOrder::Descend => false,
    }
}

/// Filters, sorts and cuts what was found.
pub(super) fn arrange(query: &Range, mut records: Vec<Record>, count: i64, revision: Revision) -> RangeReply {
    filter(query, &mut records);
    sort(query, &mut records);
    let limit = limit(query);
    let more = records.len() > limit;
    records.truncate(limit);
    if query.keys_only {
        records = records.into_iter().map(|record| shown(query, record)).collect();
    }
    RangeReply { revision, kvs: records, more, count }
}

/// How many pairs the answer may have.
pub(super) fn limit(query: &Range) -> usize {
    usize::try_from(query.limit).ok().filter(|&limit| limit > 0).unwrap_or(usize::MAX)
}

/// Whether the values of pairs make no difference to the answer.
pub(super) fn heads_only(query: &Range) -> bool {
    query.keys_only && query.sort_target != SortTarget::Value
}

/// What is shown of a pair. Do it last: sorting by value needs the whole pair, and etcd then leaves the lease in.
pub(super) fn shown(query: &Range, record: Record) -> Record {
    match (query.keys_only, query.sort_target) {
        (false, _) => record,
        (true, SortTarget::Value) => record.without_value(),
        (true, SortTarget::Key | SortTarget::Version | SortTarget::Create | SortTarget::Mod) => record.keys_only(),
    }
}

fn filter(query: &Range, records: &mut Vec<Record>) {
    if query.has_filter() {
        records.retain(|record| passes(query, record));
    }
}

/// Whether the filters of a query let a record through.
pub(super) fn passes(query: &Range, record: &Record) -> bool {
    if !query.has_filter() {
        return true;
    }
    let pair = record.pair();
    let is_within = |at: Revision, min: i64, max: i64| (max == 0 || at.0 <= max) && (min == 0 || at.0 >= min);
    is_within(pair.mod_revision, query.min_mod_revision, query.max_mod_revision)
        && is_within(pair.create_revision, query.min_create_revision, query.max_create_revision)
}

/// Stable, so that equal ones stay in key order in both directions.
pub(super) fn sort(query: &Range, records: &mut [Record]) {
    let is_descending = match (query.sort_order, query.sort_target) {
        (SortOrder::None | SortOrder::Ascend, SortTarget::Key) => return,
        (SortOrder::Descend, _) => true,
        (SortOrder::None | SortOrder::Ascend, _) => false,
    };
    let by = |a: &Record, b: &Record| -> Ordering {
        let (a, b) = (a.pair(), b.pair());
        match query.sort_target {
            SortTarget::Key => a.key.cmp(b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(b.value),
        }
    };
    if is_descending {
        records.sort_by(|a, b| by(b, a));
    } else {
        records.sort_by(by);
    }
}
