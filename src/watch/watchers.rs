//! All watchers of all streams: who hears of a run, who is behind, what is answered.

use std::collections::{BTreeMap, BTreeSet};

use super::arena::{Arena, Key};
use super::index::{Group, Index};
use super::parcel::{Parcel, Parcels, Shape};
use super::queue::UpdateClass;
use super::{WatchRefusal, WatchSpec, WatchUpdate};
use crate::model::{Event, KeyRange, Revision, WatchId};

/// Watchers of one stream at a time: some 300 MiB of memory. Client libraries put all their watchers on one stream.
pub(super) const WATCHERS_MAX: usize = 1 << 20;

/// Where a stream's updates go: a [`Queue`](super::Queue), and whatever stands around it.
pub trait Outlet: Clone {
    /// As [`Queue::offer`](super::Queue::offer).
    fn offer(&self, update: WatchUpdate, bytes: usize, class: UpdateClass) -> bool;
    /// As [`Queue::close`](super::Queue::close).
    fn close(&self);
}

/// Names a stream.
pub type StreamKey<O> = Key<Stream<O>>;

/// An answer found no room: ask again when there is some. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The watchers, and up to where the synced ones have heard everything.
#[derive(Debug)]
pub struct Watchers<O> {
    /// Every run up to this revision was dealt out. The store may be ahead of it by the run that is on its way here.
    published: Revision,
    streams: Arena<Stream<O>>,
    watchers: Arena<Watcher>,
    /// The synced ones.
    index: Index,
    /// Streams with watchers that are behind, and with room as far as is known.
    ready: BTreeSet<StreamKey<O>>,
    /// Counts runs, so that each names a stream once.
    runs: u64,
    /// Empty between two revisions; kept for its memory.
    found: Vec<Key<Group>>,
}

/// One stream.
#[derive(Debug)]
pub struct Stream<O> {
    outlet: O,
    ids: BTreeMap<WatchId, Key<Watcher>>,
    /// The first id to try for a watcher that brings none.
    next_id: i64,
    behind: BTreeSet<Key<Watcher>>,
    /// The last run that had something for it.
    touched: u64,
}

/// One watcher.
#[derive(Debug)]
pub(super) struct Watcher {
    /// Its stream, as a place in the arena of streams: the watcher itself does not depend on the outlet's type.
    stream: Key<()>,
    id: WatchId,
    keys: KeyRange,
    shape: Shape,
    progress_notify: bool,
    /// Progress is told only from here on.
    floor: Revision,
    /// It has heard everything below, or did not ask for it. What a watcher that is behind reads next.
    from: Revision,
    state: State,
    /// Whether events were sent since the last tick.
    has_sent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the index: hears of each run.
    Synced,
    /// A cursor: reads the history.
    Behind,
    /// Its history is compacted; only its id is left.
    Ended,
}

/// A watcher that is behind, as it was when somebody looked.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) watcher: Key<Watcher>,
    pub(super) keys: KeyRange,
    pub(super) shape: Shape,
    /// What it reads next.
    pub(super) from: Revision,
}

impl<O: Outlet> Watchers<O> {
    /// No watchers, of a store at `published`.
    #[must_use]
    pub fn new(published: Revision) -> Watchers<O> {
        Watchers {
            published,
            streams: Arena::default(),
            watchers: Arena::default(),
            index: Index::default(),
            ready: BTreeSet::new(),
            runs: 0,
            found: Vec::new(),
        }
    }

    /// Adds a stream.
    pub fn open(&mut self, outlet: O) -> StreamKey<O> {
        let ids = BTreeMap::new();
        self.streams.insert(Stream { outlet, ids, next_id: 0, behind: BTreeSet::new(), touched: 0 })
    }

    /// Removes a stream and its watchers.
    pub fn remove(&mut self, stream: StreamKey<O>) {
        let Some(gone) = self.streams.remove(stream) else { return };
        self.ready.remove(&stream);
        for key in gone.ids.into_values() {
            self.forget(key);
        }
    }

    /// All streams: where their updates go, how many watchers they have, and how many of these are behind.
    pub fn streams(&self) -> impl Iterator<Item = (&O, usize, usize)> {
        self.streams.iter().map(|(_, stream)| (&stream.outlet, stream.ids.len(), stream.behind.len()))
    }

    /// Ends all streams.
    pub fn close(&self) {
        for (_, stream) in self.streams.iter() {
            stream.outlet.close();
        }
    }

    /// Makes a watcher, or says why not. `visible` is a revision of the store that was read before this call.
    ///
    /// # Errors
    /// [`Full`].
    pub fn create(&mut self, stream: StreamKey<O>, spec: &WatchSpec, visible: Revision) -> Result<(), Full> {
        let Some(owner) = self.streams.get_mut(stream) else { return Ok(()) };
        let revision = visible.max(self.published);
        let id = match spec.check().and_then(|()| owner.pick_id(spec.id)) {
            Ok(id) => id,
            Err(refusal) => return owner.answer(WatchUpdate::Refused { refusal, revision }),
        };
        owner.answer(WatchUpdate::Created { id, revision })?;

        // "From now on" is from what was answered on. What the store has above `published` comes with the next run,
        // whether it was visible or not; `from` keeps out what was.
        let (from, floor) = match spec.start_revision {
            0 => (revision.next(), revision),
            start => (Revision(start), Revision(start)),
        };
        let watcher = self.watchers.insert(Watcher {
            stream: stream.cast(),
            id,
            keys: spec.keys.clone(),
            shape: Shape::of(spec),
            progress_notify: spec.progress_notify,
            floor,
            from,
            state: State::Behind,
            has_sent: false,
        });
        owner.take_id(id, spec.id, watcher);
        if from > self.published {
            self.watchers[watcher].state = State::Synced;
            self.index.insert(&spec.keys, watcher);
        } else {
            owner.behind.insert(watcher);
            self.ready.insert(stream);
        }
        Ok(())
    }

    /// Ends a watcher and says so; nothing happens if the stream has none of this id.
    ///
    /// # Errors
    /// [`Full`].
    pub fn cancel(&mut self, stream: StreamKey<O>, id: WatchId, visible: Revision) -> Result<(), Full> {
        let Some(owner) = self.streams.get_mut(stream) else { return Ok(()) };
        let Some(&watcher) = owner.ids.get(&id) else { return Ok(()) };
        owner.answer(WatchUpdate::Canceled { id, revision: visible.max(self.published) })?;
        owner.ids.remove(&id);
        owner.behind.remove(&watcher);
        if owner.behind.is_empty() {
            self.ready.remove(&stream);
        }
        self.forget(watcher);
        Ok(())
    }

    /// Tells of progress for the whole stream if every watcher has heard everything; says nothing otherwise.
    ///
    /// # Errors
    /// [`Full`].
    pub fn request_progress(&mut self, stream: StreamKey<O>) -> Result<(), Full> {
        let Some(owner) = self.streams.get(stream) else { return Ok(()) };
        let has_all = |watcher: &Key<Watcher>| self.watchers[*watcher].has_heard_all(self.published);
        if owner.ids.is_empty() || !owner.ids.values().all(has_all) {
            return Ok(());
        }
        owner.answer(WatchUpdate::Progress { id: None, revision: self.published })
    }

    /// Tells of progress for each watcher of the stream that asked for it and was told nothing since the last tick. Adds
    /// the outlet to `touched` if it got something.
    pub fn tick(&mut self, stream: StreamKey<O>, touched: &mut Vec<O>) {
        let Some(owner) = self.streams.get(stream) else { return };
        let mut was_told = false;
        for &key in owner.ids.values() {
            let watcher = &mut self.watchers[key];
            if watcher.progress_notify && !watcher.has_sent && watcher.has_heard_all(self.published) {
                let progress = WatchUpdate::Progress { id: Some(watcher.id), revision: self.published };
                // One that finds no room is not missed: events that say more are waiting.
                was_told |= owner.outlet.offer(progress, 0, UpdateClass::Event);
            }
            watcher.has_sent = false;
        }
        if was_told {
            touched.push(owner.outlet.clone());
        }
    }

    /// Deals out a run: `events` in order, `revision` the store's after it. Adds each outlet that got something to
    /// `touched`, once.
    pub fn publish(&mut self, revision: Revision, events: &[Event], touched: &mut Vec<O>) {
        debug_assert!(events.first().is_none_or(|first| first.revision() > self.published), "a run comes once");
        if !self.index.is_empty() {
            self.runs += 1;
            for of_one in events.chunk_by(|a, b| a.revision() == b.revision()) {
                self.deal(of_one, touched);
            }
        }
        self.published = self.published.max(revision);
    }

    /// Deals out the events of one revision.
    fn deal(&mut self, events: &[Event], touched: &mut Vec<O>) {
        let revision = events[0].revision();
        let mut found = std::mem::take(&mut self.found);
        let (mut fallen, mut unread) = (Vec::new(), Vec::new());
        self.index.find(events, &mut found);
        let mut whole = Parcels::new(events, None);
        for &group in &found {
            let Group { members, hits } = self.index.group(group);
            let mut part;
            let mut lacks_prev = None;
            let parcels = if hits.len() == events.len() {
                &mut whole
            } else {
                part = Parcels::new(events, Some(hits));
                &mut part
            };
            for &key in members {
                let watcher = &mut self.watchers[key];
                if revision < watcher.from {
                    continue;
                }
                let Some(parcel) = parcels.get(watcher.shape) else { continue };
                if watcher.shape.prev_kv
                    && *lacks_prev.get_or_insert_with(|| hits.iter().any(|&hit| events[hit].lacks_prev()))
                {
                    unread.push(key);
                    continue;
                }
                let owner = &mut self.streams[watcher.stream.cast()];
                if !owner.offer(watcher.id, revision, parcel) {
                    fallen.push(key);
                    continue;
                }
                watcher.has_sent = true;
                if owner.touched != self.runs {
                    owner.touched = self.runs;
                    touched.push(owner.outlet.clone());
                }
            }
        }
        for group in found.drain(..) {
            self.index.clear_hits(group);
        }
        self.found = found;
        for key in fallen {
            // Its queue has noted that it waits: the stream becomes ready when there is room.
            self.fall_behind(key, revision);
        }
        for key in unread {
            // What it is to be told is on the disk: it reads that as one that is behind.
            self.fall_behind(key, revision);
            self.ready.insert(self.watchers[key].stream.cast());
        }
    }

    /// The state was replaced by a later one, at `revision`: what lies between was never dealt out, so whoever waits for
    /// it must read it.
    pub fn resync(&mut self, revision: Revision) {
        let waits = |watcher: &Watcher| watcher.state == State::Synced && watcher.from <= revision;
        let missed: Vec<Key<Watcher>> =
            self.watchers.iter().filter(|(_, watcher)| waits(watcher)).map(|(key, _)| key).collect();
        for key in missed {
            let watcher = &self.watchers[key];
            let (next, stream) = (watcher.from.max(self.published.next()), watcher.stream.cast());
            if next <= revision {
                self.fall_behind(key, next);
                self.ready.insert(stream);
            }
        }
        self.published = self.published.max(revision);
    }

    fn fall_behind(&mut self, key: Key<Watcher>, next: Revision) {
        let watcher = &mut self.watchers[key];
        self.index.remove(&watcher.keys, key);
        watcher.state = State::Behind;
        watcher.from = next;
        self.streams[watcher.stream.cast()].behind.insert(key);
    }

    /// Notes that a stream has room again.
    pub fn make_ready(&mut self, stream: StreamKey<O>) {
        if self.streams.get(stream).is_some_and(|owner| !owner.behind.is_empty()) {
            self.ready.insert(stream);
        }
    }

    /// Whether somebody who is behind can be told something.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Up to where the synced watchers have heard everything.
    #[must_use]
    pub fn published(&self) -> Revision {
        self.published
    }

    /// The watchers that are behind and can be told something, by stream.
    pub(super) fn cursors(&self) -> Vec<Cursor> {
        let keys = self.ready.iter().filter_map(|stream| self.streams.get(*stream)).flat_map(|owner| &owner.behind);
        keys.map(|&key| {
            let watcher = &self.watchers[key];
            Cursor { watcher: key, keys: watcher.keys.clone(), shape: watcher.shape, from: watcher.from }
        })
        .collect()
    }

    /// Tells a watcher that is behind of the history up to `through`, and lets it go on after that; `revision` is the
    /// store's. It stays where it is if there is no room. Adds its outlet to `touched` if it got something.
    pub(super) fn advance(
        &mut self,
        cursor: &Cursor,
        through: Revision,
        told: Option<(&Parcel, Revision)>,
        touched: &mut Vec<O>,
    ) {
        // It may have been cancelled meanwhile.
        let Some(watcher) = self.watchers.get_mut(cursor.watcher) else { return };
        let stream: StreamKey<O> = watcher.stream.cast();
        let owner = &mut self.streams[stream];
        if let Some((parcel, revision)) = told {
            if !owner.offer(watcher.id, revision, parcel) {
                self.ready.remove(&stream);
                return;
            }
            watcher.has_sent = true;
            touched.push(owner.outlet.clone());
        }
        watcher.from = through.next();
        if watcher.from > self.published {
            watcher.state = State::Synced;
            self.index.insert(&watcher.keys, cursor.watcher);
            self.leave_behind(stream, cursor.watcher);
        }
    }

    /// Ends a watcher that needs history from below `compacted`.
    pub(super) fn overtake(&mut self, cursor: &Cursor, compacted: Revision, touched: &mut Vec<O>) {
        let Some(watcher) = self.watchers.get_mut(cursor.watcher) else { return };
        let stream: StreamKey<O> = watcher.stream.cast();
        let owner = &self.streams[stream];
        let told = WatchUpdate::Compacted { id: watcher.id, compacted };
        if !owner.outlet.offer(told, 0, UpdateClass::Event) {
            self.ready.remove(&stream);
            return;
        }
        touched.push(owner.outlet.clone());
        watcher.state = State::Ended;
        self.leave_behind(stream, cursor.watcher);
    }

    /// Ends the stream of a watcher whose history cannot be read.
    pub(super) fn give_up(&mut self, cursor: &Cursor) {
        let Some(watcher) = self.watchers.get(cursor.watcher) else { return };
        let stream: StreamKey<O> = watcher.stream.cast();
        self.ready.remove(&stream);
        self.streams[stream].outlet.close();
    }

    fn leave_behind(&mut self, stream: StreamKey<O>, watcher: Key<Watcher>) {
        let behind = &mut self.streams[stream].behind;
        behind.remove(&watcher);
        if behind.is_empty() {
            self.ready.remove(&stream);
        }
    }

    fn forget(&mut self, key: Key<Watcher>) {
        let Some(watcher) = self.watchers.remove(key) else { return };
        if watcher.state == State::Synced {
            self.index.remove(&watcher.keys, key);
        }
    }
}

impl<O: Outlet> Stream<O> {
    fn pick_id(&self, wish: Option<WatchId>) -> Result<WatchId, WatchRefusal> {
        if self.ids.len() >= WATCHERS_MAX {
            return Err(WatchRefusal::TooMany);
        }
        match wish {
            Some(id) if self.ids.contains_key(&id) => Err(WatchRefusal::DuplicateId),
            Some(id) => Ok(id),
            None => {
                let mut id = self.next_id;
                while self.ids.contains_key(&WatchId(id)) {
                    id += 1;
                }
                Ok(WatchId(id))
            }
        }
    }

    /// As in etcd an id that was given out is not given out again.
    fn take_id(&mut self, id: WatchId, wish: Option<WatchId>, watcher: Key<Watcher>) {
        if wish.is_none() {
            self.next_id = id.0 + 1;
        }
        self.ids.insert(id, watcher);
    }

    fn answer(&self, update: WatchUpdate) -> Result<(), Full> {
        if self.outlet.offer(update, 0, UpdateClass::Answer) { Ok(()) } else { Err(Full) }
    }

    fn offer(&self, id: WatchId, revision: Revision, parcel: &Parcel) -> bool {
        let update = WatchUpdate::Events { id, revision, events: parcel.events.clone() };
        self.outlet.offer(update, parcel.bytes, UpdateClass::Event)
    }
}

impl Watcher {
    fn has_heard_all(&self, published: Revision) -> bool {
        self.state == State::Synced && self.floor <= published
    }
}
