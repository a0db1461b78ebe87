//! What the tests of this folder share: a store with a checkpoint, and streams whose queues a test empties by hand.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::{History, Outlet, Queue, StreamKey, Taken, UpdateClass, WatchSpec, WatchUpdate, Watchers, round};
use crate::env::SimDisk;
use crate::model::{Event, KeyRange, LeaseId, LogId, Revision, WatchId};
use crate::mvcc::{Source, Store};
use crate::storage::{Meta, Storage, TableWrite};

const CACHE_BYTES: usize = 1 << 20;
/// Keys that one step of compaction visits.
const SWEEP_KEYS: usize = 2;

/// A stream's queue, without anybody who waits at it.
#[derive(Debug, Clone)]
pub(super) struct Outbox(Rc<RefCell<Queue>>);

impl Outlet for Outbox {
    fn offer(&self, update: WatchUpdate, bytes: usize, class: UpdateClass) -> bool {
        self.0.borrow_mut().offer(update, bytes, class)
    }

    fn close(&self) {
        self.0.borrow_mut().close();
    }
}

/// One change of a write.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Put(Bytes, Bytes),
    Delete(KeyRange),
}

/// A store and its watchers.
pub(super) struct World {
    store: RwLock<Store>,
    storage: Arc<Storage>,
    /// For the next checkpoint.
    writes: Vec<TableWrite>,
    commits: u64,
    /// Visible, but not published yet.
    pub(super) unpublished: Vec<Event>,
    /// Everything that ever happened.
    pub(super) history: Vec<Event>,
    pub(super) watchers: Mutex<Watchers<Outbox>>,
    streams: Vec<(StreamKey<Outbox>, Outbox)>,
    queue_updates_max: usize,
}

impl Source for World {
    fn with<R>(&self, look: impl FnOnce(&Store) -> R) -> R {
        look(&self.store.read())
    }
}

impl History for World {
    fn storage(&self) -> Arc<Storage> {
        self.storage.clone()
    }
}

impl World {
    pub(super) fn new(queue_updates_max: usize) -> World {
        World::of(Store::new(), queue_updates_max)
    }

    pub(super) fn of(store: Store, queue_updates_max: usize) -> World {
        let storage = Storage::open(Arc::new(SimDisk::new()), Path::new("state"), CACHE_BYTES).unwrap();
        World {
            store: RwLock::new(store),
            storage: Arc::new(storage),
            writes: Vec::new(),
            commits: 0,
            unpublished: Vec::new(),
            history: Vec::new(),
            watchers: Mutex::new(Watchers::new(Revision::FRESH)),
            streams: Vec::new(),
            queue_updates_max,
        }
    }

    pub(super) fn revision(&self) -> Revision {
        self.store.read().revision()
    }

    pub(super) fn compacted(&self) -> Revision {
        self.store.read().compacted()
    }

    /// Makes one write visible, without publishing it.
    pub(super) fn write(&mut self, changes: &[Change]) {
        let mut store = self.store.write();
        let mut write = store.begin();
        for change in changes {
            match change {
                Change::Put(key, value) => drop(write.put(key, value, LeaseId::NONE)),
                Change::Delete(keys) => drop(write.delete_range(keys)),
            }
        }
        let mut events = Vec::new();
        write.finish(&mut events, &mut self.writes);
        self.history.extend_from_slice(&events);
        self.unpublished.append(&mut events);
    }

    /// Publishes what is visible.
    pub(super) fn publish(&mut self) {
        let events = std::mem::take(&mut self.unpublished);
        self.watchers.lock().publish(self.revision(), &events, &mut Vec::new());
    }

    /// As if the state were replaced by a later one: nobody publishes what came between.
    pub(super) fn resync(&mut self) {
        self.unpublished.clear();
        self.watchers.lock().resync(self.revision());
    }

    pub(super) fn compact(&mut self, at: Revision) -> bool {
        self.store.write().compact(at).is_ok()
    }

    /// One step of physical compaction.
    pub(super) fn sweep(&mut self) {
        let removed = self.store.write().compact_step(SWEEP_KEYS).unwrap_or_default();
        self.writes.extend(removed.into_iter().map(|at| TableWrite::RemoveRecord { at }));
    }

    /// Moves the tail of the history to the disk, and lets values go that are too many.
    pub(super) fn checkpoint(&mut self) {
        let mut store = self.store.write();
        self.commits += 1;
        let applied = LogId { term: 1, index: self.commits };
        let meta = Meta { applied, revision: store.revision(), compacted: store.compacted(), ..Meta::default() };
        self.storage.commit(&std::mem::take(&mut self.writes), &meta).unwrap();
        let through = store.revision();
        store.release_tail(through);
        while store.evict_step(usize::MAX) {}
    }

    fn stream(&mut self, stream: usize) -> StreamKey<Outbox> {
        while self.streams.len() <= stream {
            let outbox = Outbox(Rc::new(RefCell::new(Queue::with_updates_max(self.queue_updates_max))));
            let key = self.watchers.lock().open(outbox.clone());
            self.streams.push((key, outbox));
        }
        self.streams[stream].0
    }

    /// Whether there was room, as for the next two.
    pub(super) fn create(&mut self, stream: usize, spec: &WatchSpec) -> bool {
        let (stream, visible) = (self.stream(stream), self.revision());
        self.watchers.lock().create(stream, spec, visible).is_ok()
    }

    pub(super) fn cancel(&mut self, stream: usize, id: WatchId) -> bool {
        let (stream, visible) = (self.stream(stream), self.revision());
        self.watchers.lock().cancel(stream, id, visible).is_ok()
    }

    pub(super) fn request_progress(&mut self, stream: usize) -> bool {
        let stream = self.stream(stream);
        self.watchers.lock().request_progress(stream).is_ok()
    }

    pub(super) fn tick(&mut self, stream: usize) {
        let stream = self.stream(stream);
        self.watchers.lock().tick(stream, &mut Vec::new());
    }

    pub(super) fn round(&self) {
        round(&self.watchers, self, &mut |_| ()).unwrap();
    }

    /// What a stream says next, if it has something to say.
    pub(super) fn take(&mut self, stream: usize) -> Option<WatchUpdate> {
        let key = self.stream(stream);
        let taken = self.streams[stream].1.0.borrow_mut().take();
        match taken {
            Taken::Update(update, freed) => {
                if freed.cursors {
                    self.watchers.lock().make_ready(key);
                }
                Some(update)
            }
            Taken::Nothing | Taken::Closed => None,
        }
    }
}
