//! Reads that take several looks at the store, while writes, checkpoints, compactions and their sweeps come between the
//! looks: what is read is as if nothing had come.
//!
//! The store is judged by a list of all changes there ever were.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::key_history::{Change, KeyHistory};
use super::super::long_range::in_windows_of;
use super::super::range::{arrange, read};
use super::super::testing::empty_storage;
use super::super::*;
use crate::model::{KeyRange, LeaseId, Range, RangeEnd, RangeReply, Record, Revision, SortOrder, SubRevision};
use crate::storage::{Meta, Storage, TableWrite};

/// A store, its checkpoint, and the naive list of its changes.
struct World {
    store: Store,
    pending: Vec<TableWrite>,
    /// Through which revision a checkpoint holds the records.
    stored: Revision,
    history: Vec<(SubRevision, Record)>,
}

/// What may come between two looks.
#[derive(Debug, Clone)]
enum Between {
    Nothing,
    Put(u16),
    Delete(u16),
    Checkpoint,
    /// Lets go of so many revisions of the tail, of those that a checkpoint holds.
    Release(i64),
    /// Compacts at so many revisions below the newest.
    Compact(i64),
    Sweep(usize),
}

impl World {
    fn new() -> World {
        World { store: Store::new(), pending: Vec::new(), stored: Revision::FRESH, history: Vec::new() }
    }

    fn happen(&mut self, between: &Between, storage: &Storage) {
        match between {
            Between::Nothing => {}
            Between::Put(key) => self.write(|write| drop(write.put(&name(*key), b"v", LeaseId::NONE))),
            Between::Delete(key) => self.write(|write| drop(write.delete_range(&KeyRange::single(name(*key))))),
            Between::Checkpoint => {
                let (revision, compacted) = (self.store.revision(), self.store.compacted());
                storage.commit(&self.pending, &Meta { revision, compacted, ..Meta::default() }).unwrap();
                self.pending.clear();
                self.stored = revision;
            }
            Between::Release(count) => {
                if let Some(start) = self.store.tail_start() {
                    self.store.release_tail(Revision(start.0 + count).min(self.stored));
                }
            }
            Between::Compact(below) => drop(self.store.compact(Revision(self.store.revision().0 - below))),
            Between::Sweep(keys_max) => {
                let removed = self.store.compact_step(*keys_max).unwrap_or_default();
                self.pending.extend(removed.into_iter().map(|at| TableWrite::RemoveRecord { at }));
            }
        }
    }

    fn write(&mut self, change: impl FnOnce(&mut Write<'_>)) {
        let (mut events, mut writes) = (Vec::new(), Vec::new());
        let mut write = self.store.begin();
        change(&mut write);
        write.finish(&mut events, &mut writes);
        self.history.extend(writes.iter().map(|write| match write {
            TableWrite::Record { at, record } => (*at, record.clone()),
            other => panic!("a write makes records only: {other:?}"),
        }));
        self.pending.append(&mut writes);
    }

    /// The records of all keys that lived at a revision, in order of key.
    fn state_at(&self, at: Revision) -> Vec<Record> {
        let mut state = BTreeMap::new();
        for (_, record) in self.history.iter().filter(|(place, _)| place.main <= at) {
            state.insert(record.key().to_vec(), record.clone());
        }
        state.into_values().filter(|record| !record.is_tombstone()).collect()
    }
}

/// Lets something happen before each look.
struct Overtaken<'a> {
    world: RefCell<World>,
    storage: &'a Storage,
    coming: RefCell<VecDeque<Between>>,
}

impl<'a> Overtaken<'a> {
    fn new(world: World, storage: &'a Storage, coming: Vec<Between>) -> Overtaken<'a> {
        Overtaken { world: RefCell::new(world), storage, coming: RefCell::new(coming.into()) }
    }
}

impl Source for Overtaken<'_> {
    fn with<R>(&self, look: impl FnOnce(&Store) -> R) -> R {
        if let Some(between) = self.coming.borrow_mut().pop_front() {
            self.world.borrow_mut().happen(&between, self.storage);
        }
        look(&self.world.borrow().store)
    }
}

fn name(key: u16) -> Bytes {
    Bytes::from(format!("{key:05}"))
}

fn all_keys(revision: i64) -> Range {
    let keys = KeyRange { start: Bytes::from_static(b"\0"), end: RangeEnd::Unbounded };
    Range { revision, ..Range::of(keys) }
}

/// A world of 400 keys in which all of `before` has happened; its revision, and the one that is read `back` revisions before.
fn world_with_a_past(before: &[Between], back: Option<i64>, storage: &Storage) -> (World, Revision, Revision) {
    let mut world = World::new();
    world.write(|write| (0..400).for_each(|key| drop(write.put(&name(key), b"first", LeaseId::NONE))));
    before.iter().for_each(|between| world.happen(between, storage));
    let revision = world.store.revision();
    let at = Revision((revision.0 - back.unwrap_or_default()).max(world.store.compacted().0).max(1));
    (world, revision, at)
}

fn between(keys: u16) -> impl Strategy<Value = Between> {
    prop_oneof![
        2 => Just(Between::Nothing),
        4 => (0..keys).prop_map(Between::Put),
        2 => (0..keys).prop_map(Between::Delete),
        2 => Just(Between::Checkpoint),
        3 => (0..20i64).prop_map(Between::Release),
        2 => (0..20i64).prop_map(Between::Compact),
        3 => (1..keys as usize).prop_map(Between::Sweep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// A watcher that reads the history in pieces gets every change once and in order, whatever the checkpointer does
    /// meanwhile, or the word that what it needs is compacted.
    #[test]
    fn the_history_has_no_gap_and_nothing_twice(
        before in vec(between(4), 0..60),
        meanwhile in vec(between(4), 0..60),
        from in 0..40i64,
        revisions_max in 1..5usize,
    ) {
        let storage = empty_storage();
        let mut world = World::new();
        before.iter().for_each(|between| world.happen(between, &storage));
        let from = Revision(from).max(world.store.compacted());
        let source = Overtaken::new(world, &storage, meanwhile);

        let (mut next, mut found) = (from, Vec::new());
        loop {
            let through = source.world.borrow().store.revision();
            match changes(&source, &storage, next, through, revisions_max, usize::MAX) {
                Ok(more) if more.is_empty() && source.coming.borrow().is_empty() => break,
                Ok(more) => {
                    let revisions: std::collections::BTreeSet<Revision> = more.iter().map(|(at, _)| at.main).collect();
                    prop_assert!(revisions.len() <= revisions_max);
                    // Nothing may come while others still write; then there is no more to ask for up to here.
                    next = more.last().map_or(through.next().max(next), |(at, _)| at.main.next());
                    found.extend(more);
                }
                Err(ReadError::Compacted { requested, compacted }) => {
                    prop_assert!(requested == next && next < compacted);
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        // These writes change a key once a revision, so even the compacted revision is whole.
        let world = source.world.borrow();
        let promised = world.history.iter().filter(|(at, _)| at.main >= from && at.main < next);
        prop_assert!(found.iter().eq(promised), "{from} to {next}: {found:?}");
    }

    /// A long range answers with the state of its first look.
    #[test]
    fn a_long_range_is_one_state(
        before in vec(between(2500), 0..40),
        meanwhile in vec(between(2500), 4..8),
        first in Just(Between::Nothing),
        back in 0..20i64,
        limit in prop_oneof![Just(0), 1..2500i64],
    ) {
        let storage = empty_storage();
        let mut world = World::new();
        world.write(|write| (0..2500).for_each(|key| drop(write.put(&name(key), b"first", LeaseId::NONE))));
        before.iter().for_each(|between| world.happen(between, &storage));
        let at = Revision((world.store.revision().0 - back).max(world.store.compacted().0).max(1));
        let promised = world.state_at(at);
        let revision = world.store.revision();
        let source = Overtaken::new(world, &storage, [vec![first], meanwhile].concat());

        let reply = range(&source, &storage, &Range { limit, ..all_keys(at.0) }).unwrap();
        prop_assert_eq!(reply.revision, revision);
        prop_assert_eq!(reply.count as usize, promised.len());
        let shown = if limit == 0 { promised.len() } else { promised.len().min(limit as usize) };
        prop_assert_eq!(reply.more, shown < promised.len());
        prop_assert_eq!(&reply.kvs, &promised[..shown]);
    }

    /// A range in parts is the state of its first look too, or ends with the word that it was compacted meanwhile.
    #[test]
    fn a_range_in_parts_is_one_state(
        before in vec(between(400), 0..40),
        meanwhile in vec(between(400), 0..60),
        back in prop_oneof![Just(None), (0..20i64).prop_map(Some)],
        limit in prop_oneof![Just(0), 1..450i64],
        keys in 1..200usize,
        bytes in prop_oneof![Just(usize::MAX), 0..2000usize],
    ) {
        let storage = empty_storage();
        let (world, revision, at) = world_with_a_past(&before, back, &storage);
        let promised = world.state_at(at);
        let shown = if limit == 0 { promised.len() } else { promised.len().min(limit as usize) };
        let source = Overtaken::new(world, &storage, [vec![Between::Nothing], meanwhile].concat());

        let query = Range { limit, ..all_keys(back.map_or(0, |_| at.0)) };
        let (mut place, mut found) = (RangePlace::default(), Vec::new());
        loop {
            match range_part(&source, &storage, &query, &place, PartLimits { keys, bytes }) {
                Ok(RangePart::More { kvs, next }) => {
                    prop_assert!((1..=keys).contains(&kvs.len()));
                    let but_the_last = kvs[..kvs.len() - 1].iter().map(|record| record.as_bytes().len()).sum::<usize>();
                    prop_assert!(but_the_last <= bytes);
                    found.extend(kvs);
                    place = next;
                }
                Ok(RangePart::Last(reply)) => {
                    found.extend(reply.kvs);
                    prop_assert_eq!(reply.revision, revision);
                    prop_assert_eq!(reply.count as usize, promised.len());
                    prop_assert_eq!(reply.more, shown < promised.len());
                    prop_assert_eq!(&found, &promised[..shown]);
                    break;
                }
                Err(ReadError::Compacted { requested, compacted }) => {
                    prop_assert!(requested == at && at < compacted && !place.is_beginning());
                    prop_assert!(promised.starts_with(&found));
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// A range that is read in windows is the state of its survey, as long as it is, or whole where it has to be sorted.
    #[test]
    fn a_range_in_windows_is_one_state_of_the_length_that_was_surveyed(
        before in vec(between(400), 0..40),
        meanwhile in vec(between(400), 0..60),
        back in prop_oneof![Just(None), (0..20i64).prop_map(Some)],
        limit in prop_oneof![Just(0), 1..450i64],
        newer_than in prop_oneof![Just(0), 1..20i64],
        keys_only in any::<bool>(),
        is_reversed in any::<bool>(),
        window_bytes in 1..4000usize,
        unpinned_after in prop_oneof![Just(usize::MAX), 0..6usize],
    ) {
        let storage = empty_storage();
        let (world, revision, at) = world_with_a_past(&before, back, &storage);
        let sort_order = if is_reversed { SortOrder::Descend } else { SortOrder::None };
        let query = all_keys(back.map_or(0, |_| at.0));
        let query = Range { limit, min_mod_revision: newer_than, keys_only, sort_order, ..query };
        let state = world.state_at(at);
        let count = state.len() as i64;
        let promised = arrange(&query, state, count, revision);
        let source = Overtaken::new(world, &storage, [vec![Between::Nothing], meanwhile].concat());

        let mut range = match in_windows_of(window_bytes, &source, &storage, &query, |len| len + 2).unwrap() {
            RangeAnswer::Short(reply) => {
                prop_assert_eq!(reply, promised);
                return Ok(());
            }
            RangeAnswer::Unsorted(unsorted) => {
                prop_assert!(is_reversed);
                prop_assert_eq!(unsorted.read(&source, &storage).unwrap(), promised);
                return Ok(());
            }
            RangeAnswer::Long(range) => range,
        };
        prop_assert!(!is_reversed);
        let surveyed = promised.kvs.iter().map(|record| record.as_bytes().len() + 2).sum::<usize>();
        prop_assert_eq!(range.bytes(), surveyed);
        let (mut found, mut windows) = (range.take_first().unwrap(), 0);
        while !range.is_over() {
            if windows == unpinned_after {
                range.unpin();
            }
            windows += 1;
            match range.read(&source, &storage) {
                Ok(window) => {
                    let kvs = range.pass(window);
                    prop_assert!(!kvs.is_empty());
                    let but_the_last = kvs[..kvs.len() - 1].iter().map(|record| record.as_bytes().len()).sum::<usize>();
                    prop_assert!(but_the_last < window_bytes);
                    found.extend(kvs);
                }
                Err(ReadError::Compacted { requested, compacted }) => {
                    prop_assert!(windows > unpinned_after && requested == at && at < compacted);
                    prop_assert!(promised.kvs.starts_with(&found));
                    return Ok(());
                }
                Err(error) => panic!("{error}"),
            }
        }
        prop_assert_eq!(RangeReply { kvs: found, ..range.reply() }, promised);
    }

    /// What is pinned can be read as long as the pin lives, however much is compacted and swept; once nothing is pinned,
    /// only what reads above the compacted revision need is left.
    #[test]
    fn a_pin_keeps_its_revision_whole(
        before in vec(between(6), 1..40),
        after in vec(between(6), 1..80),
        backs in vec(0..8i64, 1..4),
    ) {
        let storage = empty_storage();
        let mut world = World::new();
        before.iter().for_each(|between| world.happen(between, &storage));
        let lowest = world.store.compacted().max(Revision::FRESH);
        let pins: Vec<(Revision, Pin)> = backs
            .iter()
            .map(|back| Revision(world.store.revision().0 - back).max(lowest))
            .map(|at| (at, world.store.pin(at)))
            .collect();
        for between in &after {
            world.happen(between, &storage);
            for (at, _) in &pins {
                let reply = read(&world.store, &storage, &all_keys(at.0), *at, world.store.revision()).unwrap();
                prop_assert_eq!(reply.kvs, world.state_at(*at), "pinned at {}", at);
            }
        }
        drop(pins);

        let newest = world.store.revision();
        let _ = world.store.compact(newest);
        while world.store.compact_step(2).is_some() {}
        prop_assert!(world.store.is_compaction_done());
        for (key, history) in &world.store.index {
            let changes = history.changes();
            prop_assert_eq!(changes.len(), 1, "{:?}", key);
            prop_assert!(!changes[0].is_tombstone || changes[0].at().main == newest);
        }
        prop_assert_eq!(world.store.live_keys(), world.state_at(newest).len());
    }

    /// Compacting the changes of one key changes no read at or above the floor, and forgets all that no such read needs.
    #[test]
    fn compacting_a_key_keeps_what_reads_above_need(
        steps in vec((0..3i64, any::<bool>()), 1..12),
        floors in vec(0..20i64, 1..4),
    ) {
        let mut place = SubRevision::first(Revision(2));
        let mut history: Option<KeyHistory> = None;
        for (gap, is_tombstone) in steps {
            let change = if is_tombstone { Change::tombstone(place) } else { Change::put(place) };
            match &mut history {
                Some(history) => drop(history.push(change, None)),
                None => history = Some(KeyHistory::new(change, None)),
            }
            // Without a gap the next change is of the same revision.
            place = match gap {
                0 => SubRevision { sub: place.sub + 1, ..place },
                gap => SubRevision::first(Revision(place.main.0 + gap)),
            };
        }
        let mut history = history.unwrap();
        let mut floor = Revision(0);
        for next in floors {
            floor = floor.max(Revision(next));
            let all = history.changes().to_vec();
            let reads: Vec<Option<Change>> = (floor.0..50).map(|at| history.live_at(Revision(at))).collect();

            let mut removed = Vec::new();
            if history.compact(floor, &mut removed) {
                prop_assert_eq!(removed, all.iter().map(Change::at).collect::<Vec<_>>());
                prop_assert!(reads.iter().all(Option::is_none));
                return Ok(());
            }
            let kept: Vec<SubRevision> = history.changes().iter().map(Change::at).collect();
            prop_assert_eq!([removed, kept].concat(), all.iter().map(Change::at).collect::<Vec<_>>());
            prop_assert_eq!((floor.0..50).map(|at| history.live_at(Revision(at))).collect::<Vec<_>>(), reads);

            let at_or_below: Vec<&Change> = history.changes().iter().filter(|change| change.at().main <= floor).collect();
            prop_assert!(at_or_below.len() <= 1);
            prop_assert!(at_or_below.iter().all(|change| !change.is_tombstone || change.at().main == floor));
        }
    }
}

/// A walk goes on after the key it stopped at, also when that key is gone or new ones came around it.
#[test]
fn a_sweep_in_steps_visits_every_key_that_was_there() {
    let storage = empty_storage();
    let mut world = World::new();
    for key in 0..100 {
        world.happen(&Between::Put(key), &storage);
        world.happen(&Between::Delete(key), &storage);
    }
    world.happen(&Between::Put(200), &storage);
    world.happen(&Between::Compact(0), &storage);
    let mut removed = 0;
    let mut steps = 0;
    while let Some(gone) = world.store.compact_step(7) {
        removed += gone.len();
        steps += 1;
        world.happen(&Between::Put(steps), &storage);
    }
    assert_eq!(steps, (100 + 1) / 7 + 1);
    assert_eq!(removed, 200, "both changes of each key");
}

/// Two readers of one revision: it is held until both are done.
#[test]
fn a_revision_is_held_as_long_as_anybody_pins_it() {
    let storage = empty_storage();
    let mut world = World::new();
    (0..3).for_each(|_| world.happen(&Between::Put(1), &storage));
    let (first, second) = (world.store.pin(Revision(2)), world.store.pin(Revision(2)));
    world.store.compact(Revision(4)).unwrap();
    assert_eq!(world.store.compact_step(9), Some(vec![]));
    drop(first);
    assert_eq!(world.store.compact_step(9), None);
    assert!(!world.store.is_compaction_done());
    drop(second);
    assert_eq!(world.store.compact_step(9).unwrap().len(), 2);
    assert!(world.store.is_compaction_done());
}

/// A snapshot puts another store in the place of the one that was surveyed: what it has compacted cannot be read on, and
/// what it has not is the same.
#[test]
fn a_pin_of_a_store_that_was_replaced_is_taken_anew() {
    let storage = empty_storage();
    let filled = || {
        let mut world = World::new();
        (0..100).for_each(|key| world.happen(&Between::Put(key), &storage));
        world
    };
    let (first, mut second) = (filled(), filled());
    let answer = in_windows_of(500, &first.store, &storage, &all_keys(0), |len| len).unwrap();
    let RangeAnswer::Long(mut range) = answer else { panic!("not long: {answer:?}") };
    let mut found = range.take_first().unwrap();
    let window = range.read(&second.store, &storage).unwrap();
    found.extend(range.pass(window));
    second.happen(&Between::Put(1), &storage);
    second.happen(&Between::Compact(0), &storage);
    second.happen(&Between::Sweep(1000), &storage);
    while !range.is_over() {
        let window = range.read(&second.store, &storage).unwrap();
        found.extend(range.pass(window));
    }
    assert_eq!(found, first.state_at(Revision(101)));

    let answer = in_windows_of(500, &first.store, &storage, &all_keys(0), |len| len).unwrap();
    let RangeAnswer::Long(range) = answer else { panic!("not long: {answer:?}") };
    assert!(matches!(range.read(&second.store, &storage), Err(ReadError::Compacted { .. })));
}
