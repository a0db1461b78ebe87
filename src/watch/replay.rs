//! History for watchers that are behind.
//!
//! A **round** tells each of them one piece. Those that stand near each other share one read: the furthest behind says
//! where the read begins, and everybody who stands within what it gave is told their part of it. One that is far behind
//! therefore takes one read of each round, and the others do not wait for it to arrive.
//!
//! A watcher has caught up when it stands above what was published; it then hears of the next run as all others do. The
//! check is made where runs are published, so nothing falls between.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::parcel::{Parcel, Parcels, Shape};
use super::watchers::{Cursor, Outlet, Watchers};
use crate::model::{Event, EventKind, KeyRange, Revision};
use crate::mvcc::{self, ReadError, Source};
use crate::storage::Storage;

/// How many revisions one update may tell; etcd's figure.
const WINDOW_REVISIONS_MAX: usize = 1000;
/// About how many bytes of history one read takes.
const WINDOW_BYTES_MAX: usize = 1024 * 1024;
/// How many watchers are told under one hold of the lock: publishing waits for it.
const TELL_MAX: usize = 64;

/// Where a round finds the history.
pub trait History: Source {
    /// Where older records are. Replaced whole when the state is.
    fn storage(&self) -> Arc<Storage>;
}

/// A piece of history.
#[derive(Debug)]
struct Window {
    /// Everything up to here is in it.
    through: Revision,
    /// The store's revision after it was read.
    revision: Revision,
    events: Vec<Event>,
}

/// Tells each watcher that is behind, and whose stream has room, the next piece of history. `announce` gets the outlets
/// that were told something, perhaps several times. Blocks for reads of the disk.
///
/// # Errors
/// [`ReadError::Storage`] if the history could not be read; the streams that needed it are ended.
pub fn round<O: Outlet>(
    watchers: &Mutex<Watchers<O>>,
    history: &impl History,
    announce: &mut dyn FnMut(&mut Vec<O>),
) -> Result<(), ReadError> {
    let mut cursors = watchers.lock().cursors();
    // Stable: those that are equally far behind stay in order of stream.
    cursors.sort_by_key(|cursor| cursor.from);
    let (mut rest, mut touched, mut result) = (cursors.as_slice(), Vec::new(), Ok(()));
    while let Some(first) = rest.first() {
        let through = watchers.lock().published();
        let near;
        match read(history, rest, first.from, through) {
            Ok(window) => {
                (near, rest) = rest.split_at(rest.partition_point(|cursor| cursor.from <= window.through));
                tell(watchers, &window, near, &mut touched, announce);
            }
            Err(ReadError::Compacted { compacted, .. }) => {
                (near, rest) = rest.split_at(rest.partition_point(|cursor| cursor.from < compacted));
                let mut watchers = watchers.lock();
                near.iter().for_each(|cursor| watchers.overtake(cursor, compacted, &mut touched));
            }
            Err(error @ (ReadError::Storage(_) | ReadError::Future { .. })) => {
                (near, rest) = rest.split_at(1);
                let mut watchers = watchers.lock();
                near.iter().for_each(|cursor| watchers.give_up(cursor));
                result = Err(error);
            }
        }
        announce(&mut touched);
        touched.clear();
    }
    result
}

/// Reads the history from `from` on, with the pairs before where one of `cursors` needs them.
fn read(history: &impl History, cursors: &[Cursor], from: Revision, through: Revision) -> Result<Window, ReadError> {
    loop {
        let storage = history.storage();
        let window = read_from(history, &storage, cursors, from, through);
        // Parts of two states do not make a history: if the state was replaced meanwhile, what was read may have gaps.
        if Arc::ptr_eq(&storage, &history.storage()) {
            return window;
        }
    }
}

fn read_from(
    source: &impl Source,
    storage: &Storage,
    cursors: &[Cursor],
    from: Revision,
    through: Revision,
) -> Result<Window, ReadError> {
    let changes = mvcc::changes(source, storage, from, through, WINDOW_REVISIONS_MAX, WINDOW_BYTES_MAX)?;
    let through = changes.last().map_or(through, |(at, _)| at.main);
    let near = &cursors[..cursors.partition_point(|cursor| cursor.from <= through)];
    let mut events = Vec::with_capacity(changes.len());
    for (_, record) in changes {
        let kind = if record.is_tombstone() { EventKind::Delete } else { EventKind::Put };
        let mut event = Event { kind, record, prev: None };
        if is_prev_needed(&event, near) {
            let before = event.revision().previous();
            event.prev = mvcc::record_at(source, storage, event.key(), before)?;
        }
        events.push(event);
    }
    let revision = source.with(mvcc::Store::revision);
    Ok(Window { through, revision, events })
}

fn is_prev_needed(event: &Event, cursors: &[Cursor]) -> bool {
    let pair = event.record.pair();
    event.lacks_prev()
        && cursors.iter().any(|cursor| {
            let shape = cursor.shape;
            shape.prev_kv && shape.has(event.kind) && cursor.from <= pair.mod_revision && cursor.keys.contains(pair.key)
        })
}

/// Tells each watcher its part of the window.
fn tell<O: Outlet>(
    watchers: &Mutex<Watchers<O>>,
    window: &Window,
    cursors: &[Cursor],
    touched: &mut Vec<O>,
    announce: &mut dyn FnMut(&mut Vec<O>),
) {
    let mut packing = Packing { events: &window.events, packed: HashMap::new() };
    for some in cursors.chunks(TELL_MAX) {
        let parts: Vec<Option<Parcel>> = some.iter().map(|cursor| packing.part(cursor)).collect();
        {
            let mut watchers = watchers.lock();
            for (cursor, part) in some.iter().zip(&parts) {
                let told = part.as_ref().map(|parcel| (parcel, window.revision));
                watchers.advance(cursor, window.through, told, touched);
            }
        }
        announce(touched);
        touched.clear();
    }
}

/// Packs the parts of a window; cursors that are told the same share one.
#[derive(Debug)]
struct Packing<'a> {
    events: &'a [Event],
    /// By keys and first place. Only looked up, never walked.
    packed: HashMap<(&'a KeyRange, usize), Part>,
}

/// What a window has for some keys.
#[derive(Debug)]
struct Part {
    /// The places of their events.
    hits: Vec<usize>,
    packed: HashMap<Shape, Option<Parcel>>,
}

impl<'a> Packing<'a> {
    /// What a cursor is told; `None` if that is nothing.
    fn part(&mut self, cursor: &'a Cursor) -> Option<Parcel> {
        let events = self.events;
        let start = events.partition_point(|event| event.revision() < cursor.from);
        let Part { hits, packed } = self.packed.entry((&cursor.keys, start)).or_insert_with(|| {
            let hits = (start..events.len()).filter(|&place| cursor.keys.contains(events[place].key())).collect();
            Part { hits, packed: HashMap::new() }
        });
        let parcel = packed.entry(cursor.shape);
        parcel.or_insert_with(|| Parcels::new(events, Some(hits)).get(cursor.shape).cloned()).clone()
    }
}
