//! The store from a checkpoint, in one pass.
//!
//! Several threads read and check a span of revisions each and sort their changes by key; the sorted runs are merged, and
//! the map is built of them page by page. Sorts are stable, and of equal keys the earlier span comes first, so the
//! changes of a key come together in their order. Nothing is looked up on the way.
//!
//! Touching fresh memory is what costs most here, so each change is kept once and small until it is in its place.

use std::collections::BTreeMap;
use std::iter::Peekable;

use super::key_history::{Change, KeyHistory};
use super::store::{Live, Store};
use crate::model::{LeaseId, Record, SubRevision};
use crate::storage::{self, Collect, Storage};

/// Spans that are read at the same time; more than cores do no harm.
const PARTS: usize = 4;

impl Store {
    /// Rebuilds the store; `each_leased` hears of every key that lives and has a lease, in key order.
    ///
    /// # Errors
    /// If the checkpoint is damaged or cannot be read.
    pub fn load(
        storage: &Storage,
        meta: &storage::Meta,
        each_leased: &mut dyn FnMut(&[u8], LeaseId),
    ) -> Result<Store, storage::Error> {
        Ok(Store::of_runs(storage.load_records::<Run>(PARTS)?, meta, each_leased))
    }

    /// Builds the store of records that are in memory already, all that a checkpoint holds and in its order; else as
    /// [`Store::load`].
    pub fn of_records(
        records: Vec<(SubRevision, Record)>,
        meta: &storage::Meta,
        each_leased: &mut dyn FnMut(&[u8], LeaseId),
    ) -> Store {
        let mut run = Run::begin(records.len());
        records.into_iter().for_each(|(at, record)| run.add(at, record));
        run.end();
        Store::of_runs(vec![run], meta, each_leased)
    }

    fn of_runs(runs: Vec<Run>, meta: &storage::Meta, each_leased: &mut dyn FnMut(&[u8], LeaseId)) -> Store {
        let records = runs.iter().map(|run| run.0.len()).sum();
        let mut histories: Vec<(Box<[u8]>, KeyHistory)> = Vec::with_capacity(records);
        let mut live = Live::default();
        let mut changes = Merge::of(runs).peekable();
        while let Some(Loaded { key, change, record, is_leased }) = changes.next() {
            let is_last = changes.peek().is_none_or(|next| next.key != key);
            let latest = (is_last && !change.is_tombstone).then_some(record);
            if let Some(record) = &latest {
                live.add(record);
                if is_leased {
                    each_leased(&key, record.lease());
                }
            }
            match histories.last_mut() {
                Some((last, history)) if *last == key => drop(history.push(change, latest)),
                _ => histories.push((key, KeyHistory::new(change, latest))),
            }
        }
        let index = BTreeMap::from_iter(histories);
        Store { index, revision: meta.revision, compacted: meta.compacted, live, ..Store::new() }
    }
}

/// One change, with what was read of its record while that was at hand.
struct Loaded {
    key: Box<[u8]>,
    change: Change,
    record: Record,
    is_leased: bool,
}

/// The changes of one span, in the end in order of key.
struct Run(Vec<Loaded>);

impl Collect for Run {
    fn begin(expected: usize) -> Run {
        Run(Vec::with_capacity(expected))
    }

    fn add(&mut self, at: SubRevision, record: Record) {
        let pair = record.pair();
        let change = if pair.version == 0 { Change::tombstone(at) } else { Change::put(at) };
        let (key, is_leased) = (pair.key.into(), !pair.lease.is_none());
        self.0.push(Loaded { key, change, record, is_leased });
    }

    fn end(&mut self) {
        self.0.sort_by(|a, b| a.key.cmp(&b.key));
    }
}

/// Sorted runs as one.
struct Merge(Vec<Peekable<std::vec::IntoIter<Loaded>>>);

impl Merge {
    fn of(runs: Vec<Run>) -> Merge {
        Merge(runs.into_iter().map(|run| run.0.into_iter().peekable()).collect())
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
