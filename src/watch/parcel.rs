//! What a watcher is told of a piece of history: filtered, with or without the pairs before, and shared.

use std::sync::Arc;

use super::WatchSpec;
use crate::model::{Event, EventKind};

/// What an event is counted as beside the bytes of its records.
const EVENT_OVERHEAD_BYTES: usize = 64;

/// What a watcher wants to know of the events of its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    no_put: bool,
    no_delete: bool,
    pub(super) prev_kv: bool,
}

/// There are this many shapes.
const SHAPES: usize = 8;

impl Shape {
    pub(super) fn of(spec: &WatchSpec) -> Shape {
        Shape { no_put: spec.no_put, no_delete: spec.no_delete, prev_kv: spec.prev_kv }
    }

    pub(super) fn has(self, kind: EventKind) -> bool {
        match kind {
            EventKind::Put => !self.no_put,
            EventKind::Delete => !self.no_delete,
        }
    }

    fn number(self) -> usize {
        usize::from(self.no_put) | usize::from(self.no_delete) << 1 | usize::from(self.prev_kv) << 2
    }
}

/// Events as one watcher is told of them. All watchers that are told the same share one list.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    pub(super) events: Arc<[Event]>,
    /// What they count as in a queue.
    pub(super) bytes: usize,
}

/// Some events, packed once for each shape that is asked for.
#[derive(Debug)]
pub(super) struct Parcels<'a> {
    events: &'a [Event],
    /// The places of those that are meant; `None` means all.
    hits: Option<&'a [usize]>,
    /// What makes a difference here: a filter of puts makes none if there are no puts.
    matters: Shape,
    made: [Option<Option<Parcel>>; SHAPES],
}

impl<'a> Parcels<'a> {
    pub(super) fn new(events: &'a [Event], hits: Option<&'a [usize]>) -> Parcels<'a> {
        let matters = Shape { no_put: false, no_delete: false, prev_kv: false };
        let mut parcels = Parcels { events, hits, matters, made: [const { None }; SHAPES] };
        for event in parcels.selected() {
            match event.kind {
                EventKind::Put => parcels.matters.no_put = true,
                EventKind::Delete => parcels.matters.no_delete = true,
            }
            parcels.matters.prev_kv |= event.prev.is_some();
        }
        parcels
    }

    /// What a watcher of this shape is told; `None` if that is nothing.
    pub(super) fn get(&mut self, shape: Shape) -> Option<&Parcel> {
        let shape = Shape {
            no_put: shape.no_put && self.matters.no_put,
            no_delete: shape.no_delete && self.matters.no_delete,
            prev_kv: shape.prev_kv && self.matters.prev_kv,
        };
        let number = shape.number();
        if self.made[number].is_none() {
            self.made[number] = Some(self.pack(shape));
        }
        self.made[number].as_ref()?.as_ref()
    }

    fn pack(&self, shape: Shape) -> Option<Parcel> {
        let told = self.selected().filter(|event| shape.has(event.kind)).map(|event| Event {
            kind: event.kind,
            record: event.record.clone(),
            prev: event.prev.clone().filter(|_| shape.prev_kv),
        });
        let events: Arc<[Event]> = told.collect();
        let bytes = events.iter().map(bytes_of).sum();
        (!events.is_empty()).then_some(Parcel { events, bytes })
    }

    fn selected(&self) -> impl Iterator<Item = &'a Event> + use<'a> {
        let (events, hits) = (self.events, self.hits);
        (0..hits.map_or(events.len(), <[usize]>::len)).map(move |i| &events[hits.map_or(i, |hits| hits[i])])
    }
}

fn bytes_of(event: &Event) -> usize {
    let prev = event.prev.as_ref().map_or(0, |prev| prev.as_bytes().len());
    EVENT_OVERHEAD_BYTES + event.record.as_bytes().len() + prev
}
