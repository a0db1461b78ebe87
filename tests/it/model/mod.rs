//! The reference model: what etcd promises of KV, txn, compaction and leases on one member, in plain lines.
//!
//! It keeps the whole history as a list of changes and answers everything by walking that list. It is slow, never
//! forgets, and knows no index, no tail and no disk. It shares the value types of [`lodemark::model`] and the names of
//! refusals with what it judges, and no code.
//!
//! Besides the property tests of the machine it can judge fuzz input and, fed with what a cluster acknowledged, the
//! history of a cluster.
//!
//! Source: the API reference and proto comments of etcd 3.7, and its `server/etcdserver/txn` for the order of checks.

mod range;
mod txn;

use std::collections::BTreeMap;

use lodemark::machine::Rejection;
use lodemark::model::{
    Command, DeleteRange, DeleteReply, Event, EventKind, GrantReply, KeyRange, KeyValue, LeaseId, Put, PutReply,
    RangeEnd, Record, Reply, Revision,
};

const LEASE_TTL_MAX: i64 = 9_000_000_000;

/// One member's state.
#[derive(Debug, Clone)]
pub struct Model {
    /// Every change that ever was, in order of execution. Those of a request that is under way have the next revision.
    history: Vec<Change>,
    /// The newest revision of a request that is finished.
    revision: i64,
    compacted: i64,
    /// The leases that live, with their time to live in seconds.
    leases: BTreeMap<i64, i64>,
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

/// The keys that live, with their pairs.
type State = BTreeMap<Vec<u8>, Pair>;

impl Model {
    /// A store that was never written.
    pub fn new() -> Model {
        Model { history: Vec::new(), revision: 1, compacted: -1, leases: BTreeMap::new(), term: 1 }
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
            Command::MemberSet(_) => Reply::Done { revision: self.revision() },
        };
        self.revision = self.now().0;
        Ok(reply)
    }

    /// Every change at `from` and after, in order; or the compacted revision, if `from` is below it.
    pub fn events_from(&self, from: Revision) -> Result<Vec<Event>, Revision> {
        if from < self.compacted() {
            return Err(self.compacted());
        }
        let mut events = Vec::new();
        for change in &self.history {
            if change.revision < from.0 {
                continue;
            }
            let before = self.state_at(change.revision - 1);
            let prev = before.get(&change.key).map(|pair| record(&change.key, pair));
            let (kind, record, prev) = match &change.to {
                // A put that makes the key shows none, also if the same revision deleted one first.
                Some(pair) if pair.created == change.revision => (EventKind::Put, record(&change.key, pair), None),
                Some(pair) => (EventKind::Put, record(&change.key, pair), prev),
                None => (EventKind::Delete, Record::tombstone(&change.key, Revision(change.revision)), prev),
            };
            events.push(Event { kind, record, prev });
        }
        Ok(events)
    }

    fn check_put(&self, put: &Put) -> Result<(), Rejection> {
        if put.lease.0 != 0 && !self.leases.contains_key(&put.lease.0) {
            return Err(Rejection::LeaseNotFound);
        }
        if (put.ignore_value || put.ignore_lease) && !self.newest().contains_key(put.key.as_ref()) {
            return Err(Rejection::KeyNotFound);
        }
        Ok(())
    }

    /// A put that was checked. A txn may have deleted the key that it wants to keep since then: there is nothing to
    /// keep, and it is as if it had not asked.
    fn put(&mut self, put: &Put) -> PutReply {
        let before = self.newest().remove(put.key.as_ref());
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
        self.history.push(Change { revision: next, key: put.key.to_vec(), to: Some(pair) });
        let prev = before.map(|before| record(&put.key, &before)).filter(|_| put.prev_kv);
        PutReply { revision: Revision(next), prev }
    }

    fn delete(&mut self, delete: &DeleteRange) -> DeleteReply {
        let gone: Vec<(Vec<u8>, Pair)> =
            self.newest().into_iter().filter(|(key, _)| is_in(key, &delete.keys)).collect();
        for (key, _) in &gone {
            self.history.push(Change { revision: self.revision + 1, key: key.clone(), to: None });
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
            self.history.push(Change { revision: self.revision + 1, key, to: None });
        }
        self.leases.remove(&id);
        true
    }

    fn keys_of(&self, lease: i64) -> Vec<Vec<u8>> {
        self.newest().into_iter().filter(|(_, pair)| pair.lease == lease).map(|(key, _)| key).collect()
    }

    /// The revision that a request sees: the next one as soon as it has changed something.
    fn now(&self) -> Revision {
        Revision(self.history.last().map_or(self.revision, |last| last.revision.max(self.revision)))
    }

    /// Everything that lives, changes of a request under way included.
    fn newest(&self) -> State {
        self.state_at(i64::MAX)
    }

    /// Everything that lived at a revision.
    fn state_at(&self, at: i64) -> State {
        let mut state = State::new();
        for change in self.history.iter().filter(|change| change.revision <= at) {
            match &change.to {
                Some(pair) => state.insert(change.key.clone(), pair.clone()),
                None => state.remove(&change.key),
            };
        }
        state
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
