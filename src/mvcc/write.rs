//! One write: changes that share a revision.

use std::collections::btree_map::Entry;

use super::key_history::{Change, KeyHistory};
use super::newest::{Head, Kept, Newest};
use super::range::{NEWEST, read};
use super::select::bounds;
use super::store::{ReadError, Store};
use crate::model::{Event, EventKind, KeyRange, KeyValue, LeaseId, Range, RangeReply, Record, Revision, SubRevision};
use crate::storage::{Storage, TableWrite};

/// A write in progress: its reads see its own changes. It must be finished once it changed something.
#[derive(Debug)]
pub struct Write<'a> {
    store: &'a mut Store,
    /// One for each change so far, in order of execution: a change's sub-revision is its place here.
    events: Vec<Event>,
}

impl<'a> Write<'a> {
    pub(super) fn new(store: &'a mut Store) -> Write<'a> {
        Write { store, events: Vec::new() }
    }

    /// Writes a key; gives its pair before, as this write sees it.
    pub fn put(&mut self, key: &[u8], value: &[u8], lease: LeaseId) -> Option<Newest> {
        let at = self.next();
        let make = |before: Option<Head<'_>>| {
            let (create_revision, version) = match before {
                Some(head) => (head.create_revision, head.version + 1),
                None => (at.main, 1),
            };
            Record::new(&KeyValue { key, value, create_revision, mod_revision: at.main, version, lease })
        };
        let (record, before, was_changed) = match self.store.index.get_mut(key) {
            Some(history) => {
                let was_changed = history.last().at().main == at.main;
                let record = make(history.kept().map(Kept::head));
                (record.clone(), history.push(Change::put(at), Some(Kept::whole(record))), was_changed)
            }
            None => {
                let record = make(None);
                let Entry::Vacant(vacant) = self.store.index.entry(key.into()) else {
                    unreachable!("the key was not there a moment ago")
                };
                vacant.insert(KeyHistory::new(Change::put(at), Some(Kept::whole(record.clone()))));
                (record, None, false)
            }
        };
        self.store.count_put(&record, before.as_ref());
        self.store.tail.push(at, record.clone());
        let prev = match &before {
            // A put that makes the key shows no pair before it, not even one that this write has deleted. So does etcd.
            None => None,
            Some(_) if was_changed && record.pair().create_revision == at.main => None,
            Some(_) if was_changed => self.before_this_write(key),
            Some(before) => before.here().cloned(),
        };
        self.events.push(Event { kind: EventKind::Put, record, prev });
        before
    }

    /// Deletes the keys of a range that live, in key order; gives their pairs.
    pub fn delete_range(&mut self, keys: &KeyRange) -> Vec<Newest> {
        let live: Vec<Newest> = self.each_newest(keys).collect();
        for pair in &live {
            self.delete(pair);
        }
        live
    }

    fn delete(&mut self, pair: &Newest) {
        let (at, key) = (self.next(), pair.head().key);
        let Some(history) = self.store.index.get_mut(key) else { return };
        let was_changed = history.last().at().main == at.main;
        history.push(Change::tombstone(at), None);
        self.store.count_gone(pair);
        let tombstone = Record::tombstone(key, at.main);
        self.store.tail.push(at, tombstone.clone());
        let prev = if was_changed { self.before_this_write(key) } else { pair.here().cloned() };
        self.events.push(Event { kind: EventKind::Delete, record: tombstone, prev });
    }

    /// The newest pair of a key that lives, own changes included.
    #[must_use]
    pub fn newest(&self, key: &[u8]) -> Option<Newest> {
        self.store.newest(key)
    }

    /// The newest pairs of the keys of a range that live, in key order and own changes included.
    pub fn each_newest<'k>(&'k self, keys: &'k KeyRange) -> impl Iterator<Item = Newest> + use<'k> {
        self.store.each_newest(keys)
    }

    /// Answers a range, own changes included. Revision 0 is the newest, any other is compared as a number with those
    /// before this write: its own revision is still to come.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn range(&self, storage: &Storage, query: &Range) -> Result<RangeReply, ReadError> {
        if query.revision != 0 {
            self.store.check_readable(Revision(query.revision))?;
        }
        let at = if query.revision <= 0 { NEWEST } else { Revision(query.revision) };
        read(&*self.store, storage, query, at, self.revision())
    }

    /// Whether this write has changed anything.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        !self.events.is_empty()
    }

    /// The store's revision as this write sees it: the next one as soon as something has changed.
    #[must_use]
    pub fn revision(&self) -> Revision {
        if self.has_changed() { self.store.revision.next() } else { self.store.revision }
    }

    /// The store before this write took its revision; the index shows its changes already.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.store
    }

    /// Ends the write: its changes become the store's newest revision. Adds the events, in order of execution, and the
    /// writes for the checkpoint; gives the store's revision.
    pub fn finish(mut self, events: &mut Vec<Event>, writes: &mut Vec<TableWrite>) -> Revision {
        if !self.events.is_empty() {
            let main = self.store.revision.next();
            for (sub, event) in (0u32..).zip(&self.events) {
                let at = SubRevision { main, sub };
                writes.push(TableWrite::Record { at, record: event.record.clone() });
            }
            events.append(&mut self.events);
            self.store.revision = main;
        }
        self.store.revision
    }

    fn next(&self) -> SubRevision {
        let sub = u32::try_from(self.events.len()).expect("a request is too small to make that many changes");
        SubRevision { main: self.store.revision.next(), sub }
    }

    /// The record of a key that this write has changed already, as it was before the write.
    fn before_this_write(&self, key: &[u8]) -> Option<Record> {
        self.events.iter().find(|event| event.key() == key)?.prev.clone()
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        debug_assert!(self.events.is_empty(), "a write that changed something must be finished");
    }
}

impl Store {
    /// The newest pairs of the keys of a range that live, in key order.
    pub fn each_newest<'k>(&'k self, keys: &'k KeyRange) -> impl Iterator<Item = Newest> + use<'k> {
        let histories = bounds(keys, None).map(|bounds| self.index.range::<[u8], _>(bounds));
        histories.into_iter().flatten().filter_map(|(_, history)| history.newest())
    }
}
