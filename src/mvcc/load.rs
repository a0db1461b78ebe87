//! The store from a checkpoint, in one pass.
//!
//! Several threads read and check a span of revisions each and sort their changes by key; the sorted runs are merged, and
//! the map is built of them page by page. Sorts are stable, and of equal keys the earlier span comes first, so the
//! changes of a key come together in their order. Nothing is looked up on the way.
//!
//! Touching fresh memory is what costs most here, so each change is kept once and small until it is in its place.

use std::collections::BTreeMap;
use std::iter::Peekable;

use super::evict::counted;
use super::key_history::{Change, KeyHistory};
use super::newest::Kept;
use super::store::Store;
use crate::model::{LeaseId, Record, SubRevision};
use crate::storage::{self, Collect, Storage};

/// Spans that are read at the same time; more than cores do no harm.
const PARTS: usize = 4;

impl Store {
    /// Rebuilds the store, with at most about `values_max` bytes of pairs in memory; `each_leased` hears of every key that
    /// lives and has a lease, in key order.
    ///
    /// # Errors
    /// If the checkpoint is damaged or cannot be read.
    pub fn load(
        storage: &Storage,
        meta: &storage::Meta,
        values_max: usize,
        each_leased: &mut dyn FnMut(&[u8], LeaseId),
    ) -> Result<Store, storage::Error> {
        let runs = storage.load_records(PARTS, |records| Run::new(records, values_max / PARTS))?;
        Ok(Store::of_runs(runs, meta, values_max, each_leased))
    }

    /// Builds the store of records that are in memory already, all that a checkpoint holds and in its order; else as
    /// [`Store::load`].
    pub fn of_records(
        records: Vec<(SubRevision, Record)>,
        meta: &storage::Meta,
        values_max: usize,
        each_leased: &mut dyn FnMut(&[u8], LeaseId),
    ) -> Store {
        let mut run = Run::new(records.len(), values_max);
        records.into_iter().for_each(|(at, record)| run.add(at, record));
        run.end();
        Store::of_runs(vec![run], meta, values_max, each_leased)
    }

    fn of_runs(
        runs: Vec<Run>,
        meta: &storage::Meta,
        values_max: usize,
        each_leased: &mut dyn FnMut(&[u8], LeaseId),
    ) -> Store {
        let mut store =
            Store { revision: meta.revision, compacted: meta.compacted, ..Store::with_values_max(values_max) };
        let records = runs.iter().map(|run| run.changes.len()).sum();
        let mut histories: Vec<(Box<[u8]>, KeyHistory)> = Vec::with_capacity(records);
        let mut changes = Merge::of(runs).peekable();
        while let Some(Loaded { key, change, kept, is_leased }) = changes.next() {
            let is_last = changes.peek().is_none_or(|next| next.key != key);
            let newest = kept.filter(|_| is_last && !change.is_tombstone);
            if let Some(kept) = &newest {
                store.count_loaded(kept);
                if is_leased {
                    each_leased(&key, kept.head().lease);
                }
            }
            match histories.last_mut() {
                Some((last, history)) if *last == key => drop(history.push(change, newest)),
                _ => histories.push((key, KeyHistory::new(change, newest))),
            }
        }
        store.index = BTreeMap::from_iter(histories);
        store
    }

    fn count_loaded(&mut self, kept: &Kept) {
        self.live.add(kept.len());
        if kept.here().is_some() {
            self.eviction.add(kept.len());
        }
    }
}

/// One change, with what was read of its record while that was at hand.
struct Loaded {
    key: Box<[u8]>,
    change: Change,
    /// `None` for a deletion.
    kept: Option<Kept>,
    is_leased: bool,
}

/// The changes of one span, in the end in order of key.
struct Run {
    changes: Vec<Loaded>,
    /// Bytes of records that may still be kept whole.
    room: usize,
}

impl Collect for Run {
    fn add(&mut self, at: SubRevision, record: Record) {
        let pair = record.pair();
        let (key, is_leased) = (pair.key.into(), !pair.lease.is_none());
        let (change, kept) =
            if pair.version == 0 { (Change::tombstone(at), None) } else { (Change::put(at), Some(self.keep(record))) };
        self.changes.push(Loaded { key, change, kept, is_leased });
    }

    fn end(&mut self) {
        self.changes.sort_by(|a, b| a.key.cmp(&b.key));
    }
}

impl Run {
    fn new(expected: usize, bytes_max: usize) -> Run {
        Run { changes: Vec::with_capacity(expected), room: bytes_max }
    }

    fn keep(&mut self, record: Record) -> Kept {
        match self.room.checked_sub(counted(record.as_bytes().len())) {
            Some(room) => {
                self.room = room;
                Kept::whole(record)
            }
            None => Kept::bare(&record),
        }
    }
}

/// Sorted runs as one.
struct Merge(Vec<Peekable<std::vec::IntoIter<Loaded>>>);

impl Merge {
    fn of(runs: Vec<Run>) -> Merge {
        Merge(runs.into_iter().map(|run| run.changes.into_iter().peekable()).collect())
    }
}

impl Iterator for Merge {
    type Item = Loaded;

    fn next(&mut self) -> Option<Loaded> {
        let heads = self.0.iter_mut().enumerate().filter_map(|(i, run)| Some((i, run.peek()?)));
        // Of equal keys the first run has the minimum.
        let (least, _) = heads.min_by(|(_, a), (_, b)| a.key.cmp(&b.key))?;
        self.0[least].next()
    }
}
