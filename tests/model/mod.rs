//! The reference model: what etcd promises of KV, txn, compaction, leases and alarms on one member, in plain lines.
//!
//! It keeps the whole history as a list of changes and answers everything by looking through that list. It never forgets,
//! and knows no tail and no disk. It shares the value types of [`lodemark::model`] and the names of refusals with what it
//! judges, and no code.
//!
//! It judges the machine in property tests, fuzz input, and, fed with what a cluster acknowledged, the history of a
//! cluster (`tests/checks`). For the last it can be taken back to an earlier state.
//!
//! Source: the API reference and proto comments of etcd 3.7, and its `server/etcdserver/txn` for the order of checks.

pub mod auth;
mod range;
mod txn;

use std::collections::{BTreeMap, BTreeSet};

use lodemark::machine::Rejection;
use lodemark::model::{
    Alarm, AlarmChange, AlarmKind, Command, DeleteRange, DeleteReply, Event, EventKind, GrantReply, KeyRange, KeyValue,
    LeaseId, Put, PutReply, RangeEnd, Record, Reply, Revision,
};

const LEASE_TTL_MAX: i64 = 9_000_000_000;
/// The revision of what is newest, changes of a request under way included.
const NEWEST: i64 = i64::MAX;

/// One member's state.
#[derive(Debug, Clone)]
pub struct Model {
    /// Every change that ever was, in order of execution. Those of a request that is under way have the next revision.
    history: Vec<Change>,
    /// Which of them are of each key, in order.
    of_key: BTreeMap<Vec<u8>, Vec<usize>>,
    /// The newest revision of a request that is finished.
    revision: i64,
    compacted: i64,
    /// The leases that live, with their time to live in seconds.
    leases: BTreeMap<i64, i64>,
    /// The alarms that are raised.
    alarms: BTreeSet<Alarm>,
    /// The term of the log entry that is being applied.
    pub term: u64,
}

#[derive(Debug, Clone)]
struct Change {
    revision: i64,
    key: Vec<u8>,
    /// What the key became; `None` if it was deleted.
    to: Option<Pair>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pair {
    value: Vec<u8>,
    created: i64,
    modified: i64,
    version: i64,
    lease: i64,
}

/// A state that the model can be taken back to.
#[derive(Debug, Clone)]
pub struct Mark {
    changes: usize,
    revision: i64,
    compacted: i64,
    leases: BTreeMap<i64, i64>,
    alarms: BTreeSet<Alarm>,
    term: u64,
}

impl Model {
    /// A store that was never written.
    pub fn new() -> Model {
        let (history, of_key, leases, alarms) = (Vec::new(), BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Model { history, of_key, revision: 1, compacted: -1, leases, alarms, term: 1 }
    }

    /// The newest revision.
    pub fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    /// The lowest revision that can be read.
    pub fn compacted(&self) -> Revision {
        Revision(self.compacted)
    }

    /// The leases, in order of id, with their time to live and their keys in order.
    pub fn leases(&self) -> Vec<(LeaseId, i64, Vec<Vec<u8>>)> {
        self.leases.iter().map(|(&id, &ttl)| (LeaseId(id), ttl, self.keys_of(id))).collect()
    }

    /// Does what the command asks for, or refuses and changes nothing.
    pub fn apply(&mut self, command: &Command) -> Result<Reply, Rejection> {
        self.check_alarms(command)?;
        let reply = match command {
            Command::Put(put) => {
                self.check_put(put)?;
                Reply::Put(self.put(put))
            }
            Command::DeleteRange(delete) => Reply::DeleteRange(self.delete(delete)),
            Command::Txn(txn) => Reply::Txn(self.txn(txn)?),
            Command::Compact(compact) => {
                self.compact(compact.revision.0)?;
                Reply::Compact { revision: self.revision() }
            }
            Command::LeaseGrant(grant) => {
                self.grant(grant.id.0, grant.ttl)?;
                Reply::LeaseGrant(GrantReply { revision: self.revision(), id: grant.id, ttl: grant.ttl })
            }
            Command::LeaseRevoke(revoke) => {
                if !self.end_lease(revoke.id.0) {
                    return Err(Rejection::LeaseNotFound);
                }
                Reply::LeaseRevoke { revision: self.now() }
            }
            Command::LeaseExpire(expire) => {
                if expire.term == self.term {
                    for id in &expire.ids {
                        self.end_lease(id.0);
                        // Each is a change of its own.
                        self.revision = self.now().0;
                    }
                }
                Reply::Done { revision: self.revision() }
            }
            Command::Alarm(AlarmChange::Raise(alarm)) => {
                self.alarms.insert(*alarm);
                Reply::Alarm { revision: self.revision(), alarm: Some(*alarm) }
            }
            Command::Alarm(AlarmChange::Lower(alarm)) => {
                let alarm = self.alarms.take(alarm);
                Reply::Alarm { revision: self.revision(), alarm }
            }
            // Nothing of these shows in the key space, and what is left of a lease shows nowhere.
            Command::LeaseCheckpoint(_) | Command::MemberSet(_) | Command::MembersFound(_) => {
                Reply::Done { revision: self.revision() }
            }
            Command::Auth(_) | Command::Authenticate(_) => unreachable!("users and roles have a model of their own"),
            Command::Downgrade(_)
            | Command::MemberAdd(_)
            | Command::MemberRemove(_)
            | Command::MemberUpdate(_)
            | Command::MemberPromote(_)
            | Command::MembersReduce(_)
            | Command::MemberAttributes(_) => unreachable!("members and downgrades have tests of their own"),
        };
        self.revision = self.now().0;
        Ok(reply)
    }

    /// The present state.
    pub fn mark(&self) -> Mark {
        let (changes, leases, alarms) = (self.history.len(), self.leases.clone(), self.alarms.clone());
        Mark { changes, revision: self.revision, compacted: self.compacted, leases, alarms, term: self.term }
    }

    /// Tells whether a key lived at a revision.
    pub fn has_key(&self, key: &[u8], at: Revision) -> bool {
        self.pair_at(key, at.0).is_some()
    }

    /// Goes back to an earlier state.
    pub fn rewind(&mut self, mark: &Mark) {
        for change in self.history.drain(mark.changes..) {
            self.of_key.get_mut(&change.key).unwrap().pop();
        }
        let Mark { changes: _, revision, compacted, leases, alarms, term } = mark.clone();
        (self.revision, self.compacted, self.leases, self.term) = (revision, compacted, leases, term);
        self.alarms = alarms;
    }

    /// Every change at `from` and after, in order; or the compacted revision, if `from` is below it.
    pub fn events_from(&self, from: Revision) -> Result<Vec<Event>, Revision> {
        if from < self.compacted() {
            return Err(self.compacted());
        }
        Ok(self.changes_from(from))
    }

    /// Every change at `from` and after, in order, compacted or not.
    pub fn changes_from(&self, from: Revision) -> Vec<Event> {
        let mut events = Vec::new();
        let first = self.history.partition_point(|change| change.revision < from.0);
        for change in &self.history[first..] {
            let before = self.pair_at(&change.key, change.revision - 1);
            let prev = before.map(|pair| record(&change.key, pair));
            let (kind, record, prev) = match &change.to {
                // A put that makes the key shows none, also if the same revision deleted one first.
                Some(pair) if pair.created == change.revision => (EventKind::Put, record(&change.key, pair), None),
                Some(pair) => (EventKind::Put, record(&change.key, pair), prev),
                None => (EventKind::Delete, Record::tombstone(&change.key, Revision(change.revision)), prev),
            };
            events.push(Event { kind, record, prev });
        }
        events
    }

    /// An alarm of anybody counts for all. One of corruption stops every change of data, one for want of space what may add
    /// to it; both: the first.
    fn check_alarms(&self, command: &Command) -> Result<(), Rejection> {
        let is_raised = |kind| self.alarms.iter().any(|alarm| alarm.kind == kind);
        let (changes, adds) = match command {
            Command::Put(_) | Command::LeaseGrant(_) => (true, true),
            Command::Txn(txn) => (!txn::is_of_ranges(txn), txn::has_put(txn)),
            Command::DeleteRange(_) | Command::Compact(_) | Command::LeaseRevoke(_) | Command::LeaseExpire(_) => {
                (true, false)
            }
            _ => (false, false),
        };
        if changes && is_raised(AlarmKind::Corrupt) {
            return Err(Rejection::Corrupt);
        }
        if adds && is_raised(AlarmKind::NoSpace) {
            return Err(Rejection::NoSpace);
        }
        Ok(())
    }

    fn check_put(&self, put: &Put) -> Result<(), Rejection> {
        if put.lease.0 != 0 && !self.leases.contains_key(&put.lease.0) {
            return Err(Rejection::LeaseNotFound);
        }
        if (put.ignore_value || put.ignore_lease) && self.pair_at(&put.key, NEWEST).is_none() {
            return Err(Rejection::KeyNotFound);
        }
        Ok(())
    }

    /// A put that was checked. A txn may have deleted the key that it wants to keep since then: there is nothing to
    /// keep, and it is as if it had not asked.
    fn put(&mut self, put: &Put) -> PutReply {
        let before = self.pair_at(&put.key, NEWEST).cloned();
        let next = self.revision + 1;
        let mut pair =
            Pair { value: put.value.to_vec(), created: next, modified: next, version: 1, lease: put.lease.0 };
        if let Some(before) = &before {
            pair.created = before.created;
            pair.version = before.version + 1;
            if put.ignore_value {
                pair.value = before.value.clone();
            }
            if put.ignore_lease {
                pair.lease = before.lease;
            }
        }
        self.change(&put.key, Some(pair));
        let prev = before.map(|before| record(&put.key, &before)).filter(|_| put.prev_kv);
        PutReply { revision: Revision(next), prev }
    }

    fn delete(&mut self, delete: &DeleteRange) -> DeleteReply {
        let gone = self.pairs_at(&delete.keys, NEWEST);
        for (key, _) in &gone {
            self.change(key, None);
        }
        let deleted = i64::try_from(gone.len()).unwrap();
        let prev = gone.iter().map(|(key, pair)| record(key, pair)).filter(|_| delete.prev_kv).collect();
        DeleteReply { revision: self.now(), deleted, prev }
    }

    fn compact(&mut self, at: i64) -> Result<(), Rejection> {
        if at <= self.compacted {
            return Err(Rejection::Compacted { requested: Revision(at), compacted: self.compacted() });
        }
        if at > self.revision {
            return Err(Rejection::FutureRevision { requested: Revision(at), current: self.revision() });
        }
        self.compacted = at;
        Ok(())
    }

    fn grant(&mut self, id: i64, ttl: i64) -> Result<(), Rejection> {
        if ttl > LEASE_TTL_MAX {
            return Err(Rejection::LeaseTtlTooLarge);
        }
        if self.leases.contains_key(&id) {
            return Err(Rejection::LeaseExists);
        }
        self.leases.insert(id, ttl);
        Ok(())
    }

    /// Whether there was such a lease.
    fn end_lease(&mut self, id: i64) -> bool {
        if !self.leases.contains_key(&id) {
            return false;
        }
        for key in self.keys_of(id) {
            self.change(&key, None);
        }
        self.leases.remove(&id);
        true
    }

    fn change(&mut self, key: &[u8], to: Option<Pair>) {
        self.of_key.entry(key.to_vec()).or_default().push(self.history.len());
        self.history.push(Change { revision: self.revision + 1, key: key.to_vec(), to });
    }

    fn keys_of(&self, lease: i64) -> Vec<Vec<u8>> {
        let all = self.of_key.keys().cloned();
        all.filter(|key| self.pair_at(key, NEWEST).is_some_and(|pair| pair.lease == lease)).collect()
    }

    /// The revision that a request sees: the next one as soon as it has changed something.
    fn now(&self) -> Revision {
        Revision(self.history.last().map_or(self.revision, |last| last.revision.max(self.revision)))
    }

    /// What a key was at a revision; `None` if it did not live.
    fn pair_at(&self, key: &[u8], at: i64) -> Option<&Pair> {
        let changes = self.of_key.get(key)?.iter().rev().map(|&index| &self.history[index]);
        changes.skip_while(|change| change.revision > at).map(|change| change.to.as_ref()).next()?
    }

    /// Everything of a range that lived at a revision, in order of key.
    fn pairs_at(&self, keys: &KeyRange, at: i64) -> Vec<(Vec<u8>, Pair)> {
        let inside = self.of_key.keys().filter(|key| is_in(key, keys));
        inside.filter_map(|key| Some((key.clone(), self.pair_at(key, at)?.clone()))).collect()
    }
}

fn record(key: &[u8], pair: &Pair) -> Record {
    Record::new(&KeyValue {
        key,
        value: &pair.value,
        create_revision: Revision(pair.created),
        mod_revision: Revision(pair.modified),
        version: pair.version,
        lease: LeaseId(pair.lease),
    })
}

fn is_in(key: &[u8], keys: &KeyRange) -> bool {
    match &keys.end {
        RangeEnd::Single => key == keys.start,
        RangeEnd::Before(end) => key >= &keys.start[..] && key < &end[..],
        RangeEnd::Unbounded => key >= &keys.start[..],
    }
}
