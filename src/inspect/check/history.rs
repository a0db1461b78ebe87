//! Whether the changes of the store follow each other.
//!
//! Checksums and sums tell that what is there was written. This tells that it makes sense: above the compacted revision
//! every revision is there, with its changes numbered from 0, and each write of a key follows the one before it. Below it
//! a compaction may have taken anything but the newest write of each key.

use std::collections::{BTreeMap, HashMap};

use crate::model::{KeyValue, LeaseId, Record, Revision, SubRevision};
use crate::storage::{Collect, Meta};

/// More faults than these say nothing new.
const FAULTS_MAX: usize = 10;

/// A walk over all changes, oldest first.
#[derive(Debug)]
pub(super) struct History {
    revision: Revision,
    /// Above it nothing may be missing.
    whole_above: Revision,
    last: Option<SubRevision>,
    newest: HashMap<Box<[u8]>, Newest>,
    records: u64,
    faults: Vec<(SubRevision, String)>,
}

/// The newest write of a key so far.
#[derive(Debug, Clone, Copy)]
struct Newest {
    created: Revision,
    /// Zero for a deletion.
    version: i64,
    lease: LeaseId,
}

/// What the walk found.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) records: u64,
    pub(super) keys: u64,
    /// How many keys name each lease.
    pub(super) leased: BTreeMap<LeaseId, u64>,
    /// Where something is wrong, and what.
    pub(super) faults: Vec<(SubRevision, String)>,
}

impl History {
    pub(super) fn of(meta: &Meta) -> History {
        History {
            revision: meta.revision,
            whole_above: meta.compacted.max(Revision::FRESH),
            last: None,
            newest: HashMap::new(),
            records: 0,
            faults: Vec::new(),
        }
    }

    /// Ends the walk.
    pub(super) fn end(mut self) -> Walked {
        let last = self.last.map_or(Revision(0), |last| last.main);
        if last > self.revision {
            self.fault(SubRevision::first(last), format!("it is newer than the store's revision {}", self.revision));
        } else if self.revision > self.whole_above && last < self.revision {
            self.fault(SubRevision::first(last.max(self.whole_above).next()), "it is not there".to_owned());
        }
        let living = || self.newest.values().filter(|newest| newest.version > 0);
        let mut leased = BTreeMap::new();
        for newest in living().filter(|newest| !newest.lease.is_none()) {
            *leased.entry(newest.lease).or_default() += 1;
        }
        Walked { records: self.records, keys: living().count() as u64, leased, faults: self.faults }
    }

    fn fault(&mut self, at: SubRevision, why: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push((at, why));
        }
    }

    /// What has to be the next change, if nothing may be missing before `at`.
    fn expected(&self, at: SubRevision) -> Option<SubRevision> {
        if at.main <= self.whole_above {
            return None;
        }
        Some(match self.last {
            Some(last) if last.main == at.main => SubRevision { main: last.main, sub: last.sub.saturating_add(1) },
            Some(last) if last.main > self.whole_above => SubRevision::first(last.main.next()),
            _ => SubRevision::first(self.whole_above.next()),
        })
    }

    /// Why the write of a key does not follow the one before it.
    fn mismatch(&self, at: SubRevision, pair: &KeyValue<'_>) -> Option<&'static str> {
        let before = self.newest.get(pair.key).filter(|before| before.version > 0);
        match (before, pair.version) {
            _ if at.main <= self.whole_above => None,
            (None, 0) => Some("it deletes a key that is not there"),
            (Some(_), 0) => None,
            (None, 1) if pair.create_revision == at.main => None,
            (None, _) => Some("the write before it is not there"),
            (Some(before), version) if version == before.version + 1 && pair.create_revision == before.created => None,
            (Some(_), _) => Some("it does not follow the write before it"),
        }
    }
}

impl Collect for History {
    fn add(&mut self, at: SubRevision, record: Record) {
        let pair = record.pair();
        self.records += 1;
        if pair.mod_revision != at.main {
            self.fault(at, format!("the pair in it is of revision {}", pair.mod_revision));
        }
        if let Some(expected) = self.expected(at).filter(|expected| *expected != at) {
            self.fault(expected, format!("it is not there; {at} comes next"));
        }
        if let Some(why) = self.mismatch(at, &pair) {
            self.fault(at, why.to_owned());
        }
        let newest = Newest { created: pair.create_revision, version: pair.version, lease: pair.lease };
        self.newest.insert(pair.key.into(), newest);
        self.last = Some(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(main: i64, sub: u32, key: &str, created: i64, version: i64) -> (SubRevision, Record) {
        let pair = KeyValue {
            key: key.as_bytes(),
            create_revision: Revision(created),
            mod_revision: Revision(main),
            version,
            ..KeyValue::default()
        };
        (SubRevision { main: Revision(main), sub }, Record::new(&pair))
    }

    fn delete(main: i64, sub: u32, key: &str) -> (SubRevision, Record) {
        (SubRevision { main: Revision(main), sub }, Record::tombstone(key.as_bytes(), Revision(main)))
    }

    fn faults(compacted: i64, revision: i64, changes: Vec<(SubRevision, Record)>) -> Vec<String> {
        let meta = Meta { revision: Revision(revision), compacted: Revision(compacted), ..Meta::default() };
        let mut history = History::of(&meta);
        changes.into_iter().for_each(|(at, record)| history.add(at, record));
        history.end().faults.into_iter().map(|(at, why)| format!("{at}: {why}")).collect()
    }

    #[test]
    fn what_follows_is_right() {
        assert_eq!(faults(-1, 1, vec![]), Vec::<String>::new());
        let changes = vec![
            put(2, 0, "a", 2, 1),
            put(3, 0, "a", 2, 2),
            put(3, 1, "b", 3, 1),
            delete(4, 0, "a"),
            put(4, 1, "a", 4, 1),
            put(5, 0, "b", 3, 2),
        ];
        assert_eq!(faults(-1, 5, changes.clone()), Vec::<String>::new());
        // A compaction is half done: what it has freed is not always the oldest.
        let half = [0, 2, 4, 5].map(|n| changes[n].clone()).to_vec();
        assert_eq!(faults(4, 5, half), Vec::<String>::new());
        assert_eq!(faults(9, 9, vec![put(2, 0, "a", 2, 1)]), Vec::<String>::new());
    }

    #[test]
    fn what_does_not_follow_is_found() {
        for (compacted, revision, changes, found) in [
            (-1, 3, vec![put(3, 0, "a", 3, 1)], "2_0: it is not there"),
            (-1, 3, vec![put(2, 0, "a", 2, 1)], "3_0: it is not there"),
            (-1, 2, vec![put(2, 1, "a", 2, 1)], "2_0: it is not there"),
            (-1, 2, vec![put(2, 0, "a", 2, 1), put(3, 0, "a", 2, 2)], "newer than the store's revision 2"),
            (-1, 2, vec![put(2, 0, "a", 2, 2)], "the write before it is not there"),
            (-1, 2, vec![delete(2, 0, "a")], "it deletes a key that is not there"),
            (-1, 3, vec![put(2, 0, "a", 2, 1), put(3, 0, "a", 2, 3)], "it does not follow"),
            (-1, 3, vec![put(2, 0, "a", 2, 1), put(3, 0, "a", 3, 2)], "it does not follow"),
            (4, 6, vec![put(2, 0, "a", 2, 1), put(6, 0, "a", 2, 2)], "5_0: it is not there"),
        ] {
            let faults = faults(compacted, revision, changes);
            assert!(faults.iter().any(|fault| fault.contains(found)), "{found}: {faults:?}");
        }
    }
}
