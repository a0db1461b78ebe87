//! Which synced watchers hear of a key.
//!
//! Watchers of the same keys are one **group**: they hear of the same events, up to their filters. A group of a single key
//! is found by hash, all others by an interval tree, so a change costs as much as the groups that it concerns.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;

use super::arena::{Arena, Key};
use super::interval::IntervalTree;
use super::watchers::Watcher;
use crate::model::{Event, KeyRange, RangeEnd};

/// Places for hits that a group keeps: most revisions have few events, and there may be very many groups.
const HITS_KEPT_MAX: usize = 16;

/// The groups.
#[derive(Debug, Default)]
pub(super) struct Index {
    groups: Arena<Group>,
    /// Only looked up, never walked: hash order shows nowhere.
    single: HashMap<Bytes, Key<Group>>,
    ranges: IntervalTree<Key<Group>>,
}

/// The watchers of the same keys.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) members: BTreeSet<Key<Watcher>>,
    /// The places of the events that concern it, while a revision is dealt out.
    pub(super) hits: Vec<usize>,
}

impl Index {
    pub(super) fn insert(&mut self, keys: &KeyRange, watcher: Key<Watcher>) {
        let groups = &mut self.groups;
        let group = match keys.end {
            RangeEnd::Single => {
                *self.single.entry(keys.start.clone()).or_insert_with(|| groups.insert(Group::default()))
            }
            RangeEnd::Before(_) | RangeEnd::Unbounded => {
                *self.ranges.get_or_insert_with(keys, || groups.insert(Group::default()))
            }
        };
        self.groups[group].members.insert(watcher);
    }

    pub(super) fn remove(&mut self, keys: &KeyRange, watcher: Key<Watcher>) {
        let group = match keys.end {
            RangeEnd::Single => self.single.get(&keys.start).copied(),
            RangeEnd::Before(_) | RangeEnd::Unbounded => self.ranges.get(keys).copied(),
        };
        let Some(group) = group else { return };
        self.groups[group].members.remove(&watcher);
        if self.groups[group].members.is_empty() {
            self.groups.remove(group);
            match keys.end {
                RangeEnd::Single => drop(self.single.remove(&keys.start)),
                RangeEnd::Before(_) | RangeEnd::Unbounded => self.ranges.remove(keys),
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Takes down in each group which of `events` concern it, and adds the groups that any concerns to `found`.
    pub(super) fn find(&mut self, events: &[Event], found: &mut Vec<Key<Group>>) {
        let groups = &mut self.groups;
        for (place, event) in events.iter().enumerate() {
            let key = event.key();
            let mut hit = |group: Key<Group>| {
                let hits = &mut groups[group].hits;
                if hits.is_empty() {
                    found.push(group);
                }
                hits.push(place);
            };
            if let Some(group) = self.single.get(key) {
                hit(*group);
            }
            self.ranges.each_holding(key, &mut |group| hit(*group));
        }
    }

    pub(super) fn group(&self, group: Key<Group>) -> &Group {
        &self.groups[group]
    }

    /// Forgets which events concerned the group.
    pub(super) fn clear_hits(&mut self, group: Key<Group>) {
        if let Some(group) = self.groups.get_mut(group) {
            group.hits.clear();
            group.hits.shrink_to(HITS_KEPT_MAX);
        }
    }
}
