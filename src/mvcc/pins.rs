//! Revisions that long reads hold readable.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::model::Revision;

/// How many readers hold which revision.
#[derive(Debug, Default)]
pub(super) struct Pins(Mutex<BTreeMap<Revision, usize>>);

/// Keeps a revision readable while a long read runs; dropping it lets physical compaction go on.
#[derive(Debug)]
pub struct Pin {
    pins: Arc<Pins>,
    at: Revision,
}

impl Pins {
    pub(super) fn pin(self: &Arc<Pins>, at: Revision) -> Pin {
        *self.0.lock().entry(at).or_default() += 1;
        Pin { pins: self.clone(), at }
    }

    /// How many readers hold one.
    pub(super) fn count(&self) -> usize {
        self.0.lock().values().sum()
    }

    /// The lowest revision that is held.
    pub(super) fn lowest(&self) -> Option<Revision> {
        self.0.lock().first_key_value().map(|(at, _)| *at)
    }
}

impl Pin {
    pub(super) fn is_of(&self, pins: &Arc<Pins>) -> bool {
        Arc::ptr_eq(&self.pins, pins)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut held = self.pins.0.lock();
        if let Some(count) = held.get_mut(&self.at) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.at);
            }
        }
    }
}
