//! The keys of a checkpoint, in their order, a window at a time.
//!
//! The checkpoint has changes in the order of revisions; which keys live, and in which order, shows only when all of them
//! were seen. To hold all keys for that would take as much memory as the member does. So the changes are walked several
//! times, and each walk looks for the first so many keys behind those that were printed, living or not.

use std::collections::BTreeMap;

use crate::model::{LeaseId, Record, Revision, SubRevision};
use crate::storage::{Collect, Error, Storage};

/// Keys that one walk looks for.
const WINDOW_KEYS: usize = 1 << 16;
/// So many bytes of them at most; one more key than that is taken.
const WINDOW_BYTES: usize = 16 << 20;

/// A key as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) at: SubRevision,
    pub(super) created: Revision,
    pub(super) version: i64,
    pub(super) lease: LeaseId,
    pub(super) value_bytes: usize,
}

/// Gives the keys that begin with `prefix` and live, in order, until `each` says that it has enough.
///
/// # Errors
/// As [`Storage::load_records`]; what `each` says.
pub(super) fn each<E: From<Error>>(
    storage: &Storage,
    prefix: &[u8],
    mut each: impl FnMut(&[u8], Found) -> Result<bool, E>,
) -> Result<(), E> {
    let mut after: Option<Box<[u8]>> = None;
    loop {
        let begin = |_| Window::new(prefix, after.as_deref(), WINDOW_KEYS, WINDOW_BYTES);
        let window = storage.load_records(1, begin)?.pop().expect("one part was asked for");
        let Window { keys, has_more, .. } = window;
        for (key, found) in &keys {
            if found.version > 0 && !each(key, *found)? {
                return Ok(());
            }
        }
        match keys.into_iter().next_back() {
            Some((last, _)) if has_more => after = Some(last),
            _ => return Ok(()),
        }
    }
}

/// The first keys behind one.
#[derive(Debug)]
struct Window<'a> {
    prefix: &'a [u8],
    after: Option<&'a [u8]>,
    keys_max: usize,
    bytes_max: usize,
    keys: BTreeMap<Box<[u8]>, Found>,
    bytes: usize,
    /// There are keys behind the last of them.
    has_more: bool,
}

impl<'a> Window<'a> {
    fn new(prefix: &'a [u8], after: Option<&'a [u8]>, keys_max: usize, bytes_max: usize) -> Window<'a> {
        Window { prefix, after, keys_max, bytes_max, keys: BTreeMap::new(), bytes: 0, has_more: false }
    }
}

impl Collect for Window<'_> {
    fn add(&mut self, at: SubRevision, record: Record) {
        let pair = record.pair();
        if !pair.key.starts_with(self.prefix) || self.after.is_some_and(|after| pair.key <= after) {
            return;
        }
        // Once keys were left out those behind the last one do not belong to this window.
        if self.has_more && self.keys.last_key_value().is_some_and(|(last, _)| pair.key > &last[..]) {
            return;
        }
        let found = Found {
            at,
            created: pair.create_revision,
            version: pair.version,
            lease: pair.lease,
            value_bytes: pair.value.len(),
        };
        if self.keys.insert(pair.key.into(), found).is_none() {
            self.bytes += pair.key.len();
        }
        while self.keys.len() > 1
            && (self.keys.len() > self.keys_max || self.bytes > self.bytes_max)
            && let Some((left_out, _)) = self.keys.pop_last()
        {
            self.bytes -= left_out.len();
            self.has_more = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{Random, SeededRandom};
    use crate::model::KeyValue;

    /// However small a window is, all windows together are what one walk with all keys in memory would find.
    #[test]
    fn windows_give_each_key_once_as_it_is_now() {
        let random = SeededRandom::new(3);
        let mut newest: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        let changes: Vec<(SubRevision, Record)> = (2..900)
            .map(|revision| {
                let key = format!("k{:02}", random.next_u64() % 60).into_bytes();
                let version = if random.next_u64().is_multiple_of(4) { 0 } else { revision };
                newest.insert(key.clone(), version);
                let (main, create_revision) = (Revision(revision), Revision(i64::from(version > 0)));
                let pair = KeyValue { key: &key, create_revision, mod_revision: main, version, ..KeyValue::default() };
                (SubRevision::first(main), Record::new(&pair))
            })
            .collect();
        let living: Vec<(Vec<u8>, i64)> = newest.into_iter().filter(|(_, version)| *version > 0).collect();
        for (keys_max, bytes_max) in [(1, 1000), (7, 1000), (1000, 1000), (1000, 1), (1000, 10)] {
            let mut found: Vec<(Vec<u8>, i64)> = Vec::new();
            let mut after: Option<Box<[u8]>> = None;
            loop {
                let mut window = Window::new(b"k", after.as_deref(), keys_max, bytes_max);
                changes.iter().for_each(|(at, record)| window.add(*at, record.clone()));
                let has_more = window.has_more;
                found.extend(
                    window.keys.iter().filter(|(_, key)| key.version > 0).map(|(key, now)| (key.to_vec(), now.version)),
                );
                let last = window.keys.pop_last().map(|(key, _)| key);
                if !has_more {
                    break;
                }
                after = last;
            }
            assert_eq!(found, living, "{keys_max} keys, {bytes_max} bytes");
        }
    }
}
