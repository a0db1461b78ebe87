//! A range that is read in parts, each when somebody wants it.
//!
//! For answers that nobody should have to hold whole. The first part fixes the revision; each other one goes on behind
//! the last key that was given, at that revision.
//!
//! ```text
//! range a.. limit=5, while the newest revision is 9, and later others
//!   first part    a b      then: behind b, at 9
//!   second part   c d      then: behind d, at 9
//!   last part     e        more, count=7, revision=9
//! ```
//!
//! Put together, the parts are what [`super::range()`] would have answered at the moment of the first. An order of none
//! with another target than the key is the one exception: each part is then sorted by itself.
//!
//! Between two parts nothing is held, neither lock nor record nor pin: a reader may take its time, and compaction may
//! overtake it. The next part then says so.

use super::fetch::Stored;
use super::range::{CHUNK_KEYS, heads_only, limit, read, shown, sort};
use super::select::{Found, Limits, Selection};
use super::store::{ReadError, Source, Store};
use crate::model::{KeyRange, Range, RangeReply, Record, Revision, SortTarget, SubRevision};
use crate::storage::Storage;

/// How much one part gives.
#[derive(Debug, Clone, Copy)]
pub struct PartLimits {
    /// Pairs at most; zero counts as one.
    pub keys: usize,
    /// Bytes of pairs, as they are shown: the pair that goes beyond is the last one.
    pub bytes: usize,
}

/// Where a part begins; the default is the beginning of the range.
#[derive(Debug, Clone, Default)]
pub struct RangePlace(Option<Reached>);

/// How far a range was read.
#[derive(Debug, Clone)]
struct Reached {
    /// At which revision it is read.
    at: Revision,
    /// The newest revision when it began.
    revision: Revision,
    /// The first key that may come next.
    next: Option<Box<[u8]>>,
    /// Pairs that were given.
    given: i64,
}

/// A part of a range.
#[derive(Debug)]
pub enum RangePart {
    /// There is more to read.
    More {
        /// The pairs of this part; at least one.
        kvs: Vec<Record>,
        /// Where the next part begins.
        next: RangePlace,
    },
    /// The last part: its pairs, and what is to be said of the whole range.
    Last(RangeReply),
}

impl RangePlace {
    /// Whether nothing was read yet.
    #[must_use]
    pub fn is_beginning(&self) -> bool {
        self.0.is_none()
    }
}

impl Reached {
    fn beginning(store: &Store, query: &Range) -> Reached {
        let at = if query.revision <= 0 { store.revision() } else { Revision(query.revision) };
        Reached { at, revision: store.revision(), next: None, given: 0 }
    }
}

/// Reads the part of a range that begins at `place`. Filters and an order that needs all pairs are not looked at.
///
/// # Errors
/// - [`ReadError::Future`] if the revision is above the newest.
/// - [`ReadError::Compacted`] if it is below the compacted one, be it only since the part before.
/// - [`ReadError::Storage`] if an older record could not be read.
pub fn range_part(
    source: &impl Source,
    storage: &Storage,
    query: &Range,
    place: &RangePlace,
    limits: PartLimits,
) -> Result<RangePart, ReadError> {
    let (_pin, reached) = source.with(|store| {
        let reached = place.0.clone().unwrap_or_else(|| Reached::beginning(store, query));
        store.check_readable(reached.at)?;
        Ok::<_, ReadError>((store.pin(reached.at), reached))
    })?;
    let Reached { at, revision, next, given } = reached;
    if query.count_only {
        return read(source, storage, query, at, revision).map(RangePart::Last);
    }

    let left = limit(query).saturating_sub(usize::try_from(given).unwrap_or(usize::MAX));
    let limits = PartLimits { keys: limits.keys.clamp(1, left.max(1)), ..limits };
    let mut part = Gathered::new(query, limits);
    let behind = part.gather(source, storage, at, next)?;

    let given = given + part.len();
    let has_reached_limit = part.records.len() == left;
    let kvs = part.into_shown();
    Ok(match behind {
        None => RangePart::Last(RangeReply { revision, kvs, more: false, count: given }),
        Some(next) if has_reached_limit => {
            let count = given + count_from(source, &query.keys, at, next);
            RangePart::Last(RangeReply { revision, kvs, more: true, count })
        }
        next => RangePart::More { kvs, next: RangePlace(Some(Reached { at, revision, next, given })) },
    })
}

/// The pairs of one part.
struct Gathered<'a> {
    query: &'a Range,
    limits: PartLimits,
    /// As they are shown, unless their values are still needed to sort them.
    records: Vec<Record>,
    bytes: usize,
}

impl<'a> Gathered<'a> {
    fn new(query: &'a Range, limits: PartLimits) -> Gathered<'a> {
        Gathered { query, limits, records: Vec::new(), bytes: 0 }
    }

    fn len(&self) -> i64 {
        i64::try_from(self.records.len()).unwrap_or(i64::MAX)
    }

    fn is_full(&self) -> bool {
        self.records.len() >= self.limits.keys || self.bytes > self.limits.bytes
    }

    /// Takes pairs from `next` on (the beginning, if there is none) until the part is full. Gives the first key that may
    /// come then, if any comes.
    fn gather(
        &mut self,
        source: &impl Source,
        storage: &Storage,
        at: Revision,
        mut next: Option<Box<[u8]>>,
    ) -> Result<Option<Box<[u8]>>, ReadError> {
        loop {
            let mut selection = Selection { next, ..Selection::default() };
            // One more than there is room for shows that the range goes on.
            let found = (self.limits.keys - self.records.len()).saturating_add(1);
            let limits = Limits { visits: CHUNK_KEYS, found, heads_only: heads_only(self.query) };
            source.with(|store| store.select(&self.query.keys, at, limits, &mut selection));
            if !self.take(selection.found, storage)? {
                return Ok(self.records.last().map(|last| key_after(last.key())));
            }
            next = selection.next;
            if next.is_none() {
                return Ok(None);
            }
        }
    }

    /// Takes what was found, in its order. Tells whether there was room for all of it.
    fn take(&mut self, found: Vec<Found>, storage: &Storage) -> Result<bool, ReadError> {
        let places: Vec<SubRevision> = found.iter().filter_map(Found::stored).collect();
        let mut stored = Stored::new(storage, &places);
        for found in found {
            if self.is_full() {
                return Ok(false);
            }
            let record = match found {
                Found::Here(record) => record,
                Found::Stored { at, .. } => stored.next(at)?,
            };
            let record = if self.sorts_by_value() { record } else { shown(self.query, record) };
            self.bytes += record.as_bytes().len();
            self.records.push(record);
        }
        Ok(true)
    }

    fn sorts_by_value(&self) -> bool {
        self.query.sort_target == SortTarget::Value
    }

    fn into_shown(mut self) -> Vec<Record> {
        sort(self.query, &mut self.records);
        if self.sorts_by_value() {
            self.records.into_iter().map(|record| shown(self.query, record)).collect()
        } else {
            self.records
        }
    }
}

/// The smallest key above `key`.
pub(super) fn key_after(key: &[u8]) -> Box<[u8]> {
    [key, &[0]].concat().into()
}

/// Counts the keys of `keys` that lived at `at`, from `next` on.
fn count_from(source: &impl Source, keys: &KeyRange, at: Revision, next: Box<[u8]>) -> i64 {
    let mut selection = Selection { next: Some(next), ..Selection::default() };
    while selection.next.is_some() {
        let limits = Limits { visits: CHUNK_KEYS, found: 0, heads_only: true };
        source.with(|store| store.select(keys, at, limits, &mut selection));
    }
    selection.count
}
