//! Compaction: at once for readers, step by step for memory and disk.

use std::ops::Bound;

use super::store::{ReadError, Store};
use crate::model::{Revision, SubRevision};

/// A step that has found so many revisions to forget ends, however few keys they were of.
const STEP_REVISIONS: usize = 4096;

/// Where physical compaction stands: it walks all keys once for each floor.
#[derive(Debug)]
pub(super) struct Sweep {
    /// The floor of the walk that is going on, and the last key it visited.
    walk: Option<(Revision, Option<Box<[u8]>>)>,
    /// The floor of the last walk that came to its end.
    done: Revision,
}

impl Default for Sweep {
    fn default() -> Sweep {
        Sweep { walk: None, done: Revision::NEVER_COMPACTED }
    }
}

impl Store {
    /// Makes revisions below `at` unreadable. What they alone needed is freed by [`Store::compact_step`].
    ///
    /// # Errors
    /// [`ReadError::Compacted`] if `at` is not above the compacted revision, [`ReadError::Future`] if it is above the
    /// newest, in this order.
    pub fn compact(&mut self, at: Revision) -> Result<(), ReadError> {
        if at <= self.compacted {
            return Err(ReadError::Compacted { requested: at, compacted: self.compacted });
        }
        if at > self.revision {
            return Err(ReadError::Future { requested: at, current: self.revision });
        }
        self.compaction_hashes.compacted(std::mem::replace(&mut self.compacted, at));
        Ok(())
    }

    /// Whether everything that is compacted is also freed.
    #[must_use]
    pub fn is_compaction_done(&self) -> bool {
        self.sweep.done >= self.compacted
    }

    /// Whether everything below `floor` is freed, and nothing above it yet.
    pub(super) fn has_swept(&self, floor: Revision) -> bool {
        self.sweep.done == floor && self.sweep.walk.is_none()
    }

    /// Whether a walk over the keys has begun and not come to its end.
    #[must_use]
    pub fn is_sweeping(&self) -> bool {
        self.sweep.walk.is_some()
    }

    /// Visits at most `keys_max` keys, forgets what no read can need, and gives what storage must delete. `None` if there
    /// is nothing to do now: everything is freed, or a reader holds the rest.
    pub fn compact_step(&mut self, keys_max: usize) -> Option<Vec<SubRevision>> {
        let lowest = self.pins.lowest().map_or(self.compacted, |pinned| pinned.min(self.compacted));
        let (floor, last) = match self.sweep.walk.take() {
            // A pin taken since then is at or above the compacted revision of its time, so not below the floor.
            Some(walk) => walk,
            None if self.sweep.done < lowest => (lowest, None),
            None => return None,
        };
        let start = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let (mut removed, mut dead, mut visited) = (Vec::new(), Vec::new(), 0);
        let mut stopped_at = None;
        for (key, history) in self.index.range_mut::<[u8], _>((start, Bound::Unbounded)) {
            if history.compact(floor, &mut removed) {
                dead.push(key.clone());
            }
            visited += 1;
            if visited == keys_max || removed.len() >= STEP_REVISIONS {
                stopped_at = Some(key.clone());
                break;
            }
        }
        for key in dead {
            self.index.remove(&key);
        }
        match stopped_at {
            Some(key) => self.sweep.walk = Some((floor, Some(key))),
            None => {
                self.sweep.done = floor;
                self.compaction_hashes.swept(floor);
            }
        }
        Some(removed)
    }
}
