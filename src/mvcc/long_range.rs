//! A range whose answer takes little memory, however large it is.
//!
//! One walk over the keys finds out how large the answer is. A short one comes out whole. Of a long one only the beginning
//! is kept; the rest is read again, a window at a time, when somebody wants it.
//!
//! ```text
//! survey    all keys of the range: so many pairs, so many bytes, more, count
//! windows   a b c | d e f | g h i | ...      about 256 KiB each
//! ```
//!
//! Between two windows nothing is held but a pin, so what is read is exactly what was surveyed, whatever is written,
//! compacted or let go of meanwhile. Whoever takes its time may let go of the pin as well ([`LongRange::unpin`]); from
//! then on a compaction can overtake it, and the next window says so.
//!
//! Pairs that are to be sorted cannot be read in windows. Only their size is found out; whoever has room for it reads them
//! ([`UnsortedRange`]).

use std::ops::ControlFlow;

use super::fetch::for_each;
use super::pins::Pin;
use super::range::{
    CHUNK_KEYS, READMITTED_MAX, SHORT_BYTES, arrange, found_max, heads_only, is_in_key_order, limit, passes, read,
    shown,
};
use super::range_part::key_after;
use super::select::{Found, Limits, Selection};
use super::store::{ReadError, Source, Store};
use crate::model::{Range, RangeReply, Record, Revision};
use crate::storage::Storage;

/// Keys that a window visits at a time, at least.
const WINDOW_KEYS_MIN: usize = 8;

/// Tells what a pair of so many bytes takes in an answer, in bytes.
pub type PairBytes = fn(usize) -> usize;

/// What a range is answered with.
#[derive(Debug)]
pub enum RangeAnswer {
    /// The whole answer.
    Short(RangeReply),
    /// It is read in windows.
    Long(LongRange),
    /// It must be read whole, to be sorted.
    Unsorted(UnsortedRange),
}

/// A range that was surveyed, and how far it was read.
#[derive(Debug)]
pub struct LongRange {
    query: Range,
    held: Held,
    window_bytes: usize,
    /// What the pairs take in the answer.
    bytes: usize,
    more: bool,
    count: i64,
    /// The first window, until it is taken.
    first: Vec<Record>,
    /// Pairs that were not read.
    left: usize,
    /// The first key that may come next.
    next: Box<[u8]>,
    /// Keys to visit at a time, so that not many more are selected than a window holds.
    visits: usize,
}

/// A range that is to be sorted.
#[derive(Debug)]
pub struct UnsortedRange {
    query: Range,
    held: Held,
    bytes: usize,
}

/// What was read of a [`LongRange`].
#[derive(Debug)]
pub struct Window {
    kvs: Vec<Record>,
    next: Box<[u8]>,
    /// Holds the revision instead of the pin before, if that does no more.
    pin: Option<Pin>,
}

/// Answers a range at one revision, as [`super::range()`] does, but gives only a short answer whole.
///
/// # Errors
/// As [`super::range()`].
pub fn bounded_range(
    source: &impl Source,
    storage: &Storage,
    query: &Range,
    pair_bytes: PairBytes,
) -> Result<RangeAnswer, ReadError> {
    in_windows_of(SHORT_BYTES, source, storage, query, pair_bytes)
}

/// As [`bounded_range`]; an answer of more than so many bytes is long.
pub(super) fn in_windows_of(
    window_bytes: usize,
    source: &impl Source,
    storage: &Storage,
    query: &Range,
    pair_bytes: PairBytes,
) -> Result<RangeAnswer, ReadError> {
    let held = source.with(|store| Held::new(store, query))?;
    let mut survey = Survey::new(query, pair_bytes, window_bytes);
    survey.walk(source, storage, held.at)?;
    let Survey { kept, behind, pairs, bytes, more, count, stored, .. } = survey;
    if stored > 0 && behind.is_none() && kept.len() <= READMITTED_MAX && !query.keys_only {
        source.was_read(&kept);
    }
    let (revision, is_in_key_order) = (held.revision, is_in_key_order(query));
    Ok(match behind {
        None if is_in_key_order => RangeAnswer::Short(RangeReply { revision, kvs: kept, more, count }),
        None => RangeAnswer::Short(arrange(query, kept, count, revision)),
        Some(_) if !is_in_key_order => RangeAnswer::Unsorted(UnsortedRange { query: query.clone(), held, bytes }),
        Some(next) => {
            let visits = (window_bytes / (bytes / pairs.max(1)).max(1)).clamp(WINDOW_KEYS_MIN, CHUNK_KEYS);
            let left = pairs - kept.len();
            let query = query.clone();
            RangeAnswer::Long(LongRange {
                query,
                held,
                window_bytes,
                bytes,
                more,
                count,
                first: kept,
                left,
                next,
                visits,
            })
        }
    })
}

/// A revision that is held readable.
#[derive(Debug)]
struct Held {
    at: Revision,
    /// The newest revision when the read began.
    revision: Revision,
    /// `None` if it was let go of.
    pin: Option<Pin>,
}

impl Held {
    fn new(store: &Store, query: &Range) -> Result<Held, ReadError> {
        let at = if query.revision <= 0 { store.revision() } else { Revision(query.revision) };
        store.check_readable(at)?;
        Ok(Held { at, revision: store.revision(), pin: Some(store.pin(at)) })
    }

    /// A pin for the next looks, if there is none, or it belongs to a store whose place another one has taken.
    fn renew(&self, store: &Store) -> Result<Option<Pin>, ReadError> {
        if self.pin.as_ref().is_some_and(|pin| store.has_pinned(pin)) {
            return Ok(None);
        }
        store.check_readable(self.at)?;
        Ok(Some(store.pin(self.at)))
    }
}

/// Finds out how large an answer is.
struct Survey<'a> {
    query: &'a Range,
    pair_bytes: PairBytes,
    window_bytes: usize,
    /// Pairs of the answer, if they are sorted only later; otherwise cut by the limit.
    pairs: usize,
    /// What they take in the answer.
    bytes: usize,
    more: bool,
    count: i64,
    /// How many that were found memory does not have.
    stored: usize,
    /// The first of them.
    kept: Vec<Record>,
    kept_bytes: usize,
    /// The first key that was not kept, once there is one.
    behind: Option<Box<[u8]>>,
}

impl<'a> Survey<'a> {
    fn new(query: &'a Range, pair_bytes: PairBytes, window_bytes: usize) -> Survey<'a> {
        Survey {
            query,
            pair_bytes,
            window_bytes,
            pairs: 0,
            bytes: 0,
            more: false,
            count: 0,
            stored: 0,
            kept: Vec::new(),
            kept_bytes: 0,
            behind: None,
        }
    }

    fn walk(&mut self, source: &impl Source, storage: &Storage, at: Revision) -> Result<(), ReadError> {
        let (mut next, mut left) = (None, found_max(self.query));
        loop {
            let mut selection = Selection { next, count: self.count, ..Selection::default() };
            let found_max = if self.more { 0 } else { left };
            let limits = Limits { visits: CHUNK_KEYS, found: found_max, heads_only: heads_only(self.query) };
            source.with(|store| store.select(&self.query.keys, at, limits, &mut selection));
            left -= selection.found.len().min(left);
            self.stored += selection.found.iter().filter_map(Found::stored).count();
            self.take(selection.found, storage)?;
            (self.count, next) = (selection.count, selection.next);
            if next.is_none() {
                return Ok(());
            }
        }
    }

    /// Takes what was found, in its order. What is not kept, and whose length memory knows, is not read.
    fn take(&mut self, found: Vec<Found>, storage: &Storage) -> Result<(), ReadError> {
        let mut to_read = Vec::new();
        for found in found {
            match found {
                Found::Stored { bare: Some((rest, len)), .. } if self.behind.is_some() => {
                    self.read(std::mem::take(&mut to_read), storage)?;
                    self.count(&rest, len);
                }
                found => to_read.push(found),
            }
        }
        self.read(to_read, storage)
    }

    fn read(&mut self, found: Vec<Found>, storage: &Storage) -> Result<(), ReadError> {
        let taken = for_each(found, storage, |record| {
            self.add(record);
            ControlFlow::Continue(())
        });
        taken.map(drop)
    }

    /// Counts a pair of so many bytes, of which `record` has at least all but the value; `false` if the answer leaves it out.
    fn count(&mut self, record: &Record, len: usize) -> bool {
        if !passes(self.query, record) {
            return false;
        }
        if is_in_key_order(self.query) && self.pairs == limit(self.query) {
            self.more = true;
            return false;
        }
        self.pairs += 1;
        self.bytes += (self.pair_bytes)(len);
        true
    }

    /// Adds a pair that was found.
    fn add(&mut self, record: Record) {
        // What is sorted is shown only then: its values may be needed.
        let record = if is_in_key_order(self.query) { shown(self.query, record) } else { record };
        let len = record.as_bytes().len();
        if !self.count(&record, len) || self.behind.is_some() {
            return;
        }
        if self.kept.is_empty() || self.kept_bytes + len <= self.window_bytes {
            self.kept_bytes += len;
            self.kept.push(record);
        } else {
            self.behind = Some(record.key().into());
        }
    }
}

impl LongRange {
    /// What the pairs take in the answer, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is to be said of the whole range, besides its pairs.
    #[must_use]
    pub fn reply(&self) -> RangeReply {
        RangeReply { revision: self.held.revision, kvs: Vec::new(), more: self.more, count: self.count }
    }

    /// Whether everything was taken.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.first.is_empty() && self.left == 0
    }

    /// The first window: it is there.
    pub fn take_first(&mut self) -> Option<Vec<Record>> {
        (!self.first.is_empty()).then(|| std::mem::take(&mut self.first))
    }

    /// Lets compaction overtake what was not read.
    pub fn unpin(&mut self) {
        self.held.pin = None;
    }

    /// Reads the next window; [`LongRange::pass`] takes it.
    ///
    /// # Errors
    /// [`ReadError::Compacted`] if nothing holds the revision and a compaction has overtaken it;
    /// [`ReadError::Storage`].
    pub fn read(&self, source: &impl Source, storage: &Storage) -> Result<Window, ReadError> {
        let pin = source.with(|store| self.held.renew(store))?;
        let (mut kvs, mut bytes, mut next) = (Vec::new(), 0, Some(self.next.clone()));
        while let Some(from) = next {
            let mut selection = Selection { next: Some(from), ..Selection::default() };
            let limits = Limits { visits: self.visits, found: usize::MAX, heads_only: heads_only(&self.query) };
            source.with(|store| store.select(&self.query.keys, self.held.at, limits, &mut selection));
            next = selection.next.take();
            let taken = for_each(selection.found, storage, |record| {
                if passes(&self.query, &record) {
                    let record = shown(&self.query, record);
                    bytes += record.as_bytes().len();
                    kvs.push(record);
                }
                let is_full = bytes >= self.window_bytes || kvs.len() == self.left;
                if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            if taken.is_break() {
                break;
            }
        }
        let next = kvs.last().map_or_else(Box::default, |last| key_after(last.key()));
        Ok(Window { kvs, next, pin })
    }

    /// Goes on behind a window that was read; gives its pairs.
    pub fn pass(&mut self, window: Window) -> Vec<Record> {
        // Fewer than were surveyed cannot be: the revision was held. If it were so, the answer would end there.
        self.left = if window.kvs.is_empty() { 0 } else { self.left - window.kvs.len() };
        self.next = window.next;
        if self.held.pin.is_some() && window.pin.is_some() {
            self.held.pin = window.pin;
        }
        window.kvs
    }
}

impl UnsortedRange {
    /// What the pairs take, before limit and `keys_only`, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reads them.
    ///
    /// # Errors
    /// As [`LongRange::read`].
    pub fn read(&self, source: &impl Source, storage: &Storage) -> Result<RangeReply, ReadError> {
        let Held { at, revision, .. } = self.held;
        let _pin = source.with(|store| self.held.renew(store))?;
        read(source, storage, &self.query, at, revision)
    }
}
