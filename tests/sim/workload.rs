//! What a client asks for next: a few keys, so that requests meet; values that are never used twice.

use std::collections::BTreeMap;

use bytes::Bytes;
use lodemark::model::{
    Command, Compact, Compare, CompareResult, CompareTarget, DeleteRange, KeyRange, LeaseGrant, LeaseId, LeaseRevoke,
    OpReply, Put, Range, Record, Reply, Revision, SortOrder, SortTarget, Txn, TxnOp, TxnReply,
};
use rand::RngExt;
use rand::rngs::StdRng;

use super::checks::history::{Outcome, Request};

const KEYS: u32 = 24;
/// Seconds: from the shortest that is granted.
const TTLS: std::ops::Range<i64> = 2..6;
/// Leases that a client keeps at a time.
const LEASES_MAX: usize = 3;
/// How far back reads and compactions look, in revisions.
const PAST: i64 = 40;

/// What a client remembers.
#[derive(Debug, Default)]
pub struct Memory {
    client: u64,
    values: u64,
    /// The last mod revision that it was told of each key.
    modified: BTreeMap<Bytes, Revision>,
    newest: Revision,
    leases: Vec<LeaseId>,
    /// Leases that nobody will renew any more.
    pub abandoned: Vec<LeaseId>,
}

impl Memory {
    /// Of a client that was told nothing yet.
    pub fn new(client: u64) -> Memory {
        Memory { client, newest: Revision::FRESH, ..Memory::default() }
    }

    /// A value that nobody has written.
    pub fn new_value(&mut self) -> Bytes {
        self.values += 1;
        format!("c{}-{}", self.client, self.values).into()
    }

    /// Hears what became of a request.
    pub fn hear(&mut self, request: &Request, outcome: &Outcome) {
        match outcome {
            Outcome::Changed(reply) => {
                self.newest = self.newest.max(reply.revision());
                match (reply, request) {
                    (Reply::LeaseGrant(reply), _) => self.leases.push(reply.id),
                    (Reply::Put(reply), Request::Command(Command::Put(put))) => {
                        self.modified.insert(put.key.clone(), reply.revision);
                    }
                    (Reply::Txn(reply), _) => self.hear_txn(reply),
                    _ => {}
                }
            }
            Outcome::Read(reply) => {
                self.newest = self.newest.max(reply.revision);
                self.hear_pairs(&reply.kvs);
            }
            Outcome::KeptAlive(0) | Outcome::Granted(None) => self.forget(request),
            _ => {}
        }
        if let Request::Command(Command::LeaseRevoke(LeaseRevoke { id })) = request {
            self.leases.retain(|lease| lease != id);
        }
    }

    fn forget(&mut self, request: &Request) {
        if let Request::KeepAlive(id) | Request::TimeToLive(id) = request {
            self.leases.retain(|lease| lease != id);
        }
    }

    fn hear_txn(&mut self, reply: &TxnReply) {
        for response in &reply.responses {
            if let OpReply::Range(reply) = response {
                self.hear_pairs(&reply.kvs);
            }
        }
    }

    fn hear_pairs(&mut self, pairs: &[Record]) {
        for record in pairs {
            self.modified.insert(Bytes::copy_from_slice(record.key()), record.mod_revision());
        }
    }

    /// What it asks for next.
    pub fn next(&mut self, random: &mut StdRng) -> Request {
        match random.random_range(0..100) {
            0..32 => Request::Command(Command::Put(self.put(random))),
            32..40 => {
                let keys = if random.random_bool(0.7) { KeyRange::single(key(random)) } else { few_keys(random) };
                Request::Command(Command::DeleteRange(DeleteRange { keys, prev_kv: random.random() }))
            }
            40..55 => Request::Command(Command::Txn(self.txn(random))),
            55..82 => Request::Range(self.range(random)),
            82..86 if self.leases.len() < LEASES_MAX => {
                let grant = LeaseGrant { id: LeaseId::NONE, ttl: random.random_range(TTLS) };
                Request::Command(Command::LeaseGrant(grant))
            }
            86..94 => match self.lease(random) {
                Some(lease) => Request::KeepAlive(lease),
                None => Request::Range(self.range(random)),
            },
            94..96 => match self.lease(random) {
                Some(lease) => Request::TimeToLive(lease),
                None => Request::Range(self.range(random)),
            },
            96..98 => match self.lease(random) {
                Some(id) if random.random_bool(0.6) => Request::Command(Command::LeaseRevoke(LeaseRevoke { id })),
                Some(id) => {
                    self.leases.retain(|lease| *lease != id);
                    self.abandoned.push(id);
                    Request::TimeToLive(id)
                }
                None => Request::Range(self.range(random)),
            },
            98 => {
                let revision = Revision((self.newest.0 - random.random_range(0..PAST)).max(1));
                Request::Command(Command::Compact(Compact { revision, physical: random.random_bool(0.3) }))
            }
            _ => match self.abandoned.last() {
                Some(&lease) => Request::TimeToLive(lease),
                None => Request::Range(self.range(random)),
            },
        }
    }

    fn lease(&self, random: &mut StdRng) -> Option<LeaseId> {
        if self.leases.is_empty() { None } else { Some(self.leases[random.random_range(0..self.leases.len())]) }
    }

    fn put(&mut self, random: &mut StdRng) -> Put {
        let lease = if random.random_bool(0.25) { self.lease(random) } else { None };
        let ignore_value = random.random_bool(0.06);
        let ignore_lease = lease.is_none() && random.random_bool(0.06);
        let value = if ignore_value { Bytes::new() } else { self.new_value() };
        let lease = lease.unwrap_or(LeaseId::NONE);
        Put { key: key(random), value, lease, prev_kv: random.random_bool(0.4), ignore_value, ignore_lease }
    }

    /// A compare-and-swap, or a change of several keys.
    fn txn(&mut self, random: &mut StdRng) -> Txn {
        let first = random.random_range(0..KEYS);
        let keys: Vec<Bytes> = (0..4).map(|i| nth_key((first + 5 * i) % KEYS)).collect();
        let known = self.modified.get(&keys[0]).copied().unwrap_or(Revision(0));
        let compare = Compare {
            keys: KeyRange::single(keys[0].clone()),
            result: if random.random_bool(0.8) { CompareResult::Equal } else { CompareResult::Greater },
            target: CompareTarget::Mod(known.0),
        };
        let mut write = |key: &Bytes| {
            let value = self.new_value();
            TxnOp::Put(Put { key: key.clone(), value, prev_kv: true, ..Put::default() })
        };
        let mut success = vec![write(&keys[0])];
        if random.random_bool(0.5) {
            success.push(write(&keys[1]));
            let keys = KeyRange::single(keys[2].clone());
            success.push(TxnOp::DeleteRange(DeleteRange { keys, prev_kv: random.random() }));
        }
        if random.random_bool(0.2) {
            success.push(TxnOp::Txn(Txn { success: vec![write(&keys[3])], ..Txn::default() }));
        }
        let read = TxnOp::Range(Range::of(KeyRange::single(keys[0].clone())));
        success.push(read.clone());
        let compare = if random.random_bool(0.7) { vec![compare] } else { Vec::new() };
        Txn { compare, success, failure: vec![read] }
    }

    fn range(&mut self, random: &mut StdRng) -> Range {
        let keys = if random.random_bool(0.5) { KeyRange::single(key(random)) } else { few_keys(random) };
        let past = random.random_bool(0.15);
        let revision = if past { (self.newest.0 - random.random_range(0..PAST)).max(1) } else { 0 };
        let mut range = Range { revision, serializable: random.random_bool(0.3), ..Range::of(keys) };
        match random.random_range(0..10) {
            0 => range.limit = random.random_range(1..5),
            1 => range.count_only = true,
            2 => range.keys_only = true,
            3 => {
                range.sort_order = if random.random() { SortOrder::Ascend } else { SortOrder::Descend };
                range.sort_target = if random.random() { SortTarget::Mod } else { SortTarget::Version };
            }
            _ => {}
        }
        range
    }
}

fn nth_key(number: u32) -> Bytes {
    format!("k/{number:02}").into()
}

fn key(random: &mut StdRng) -> Bytes {
    nth_key(random.random_range(0..KEYS))
}

/// All keys of the workload, or a third of them.
fn few_keys(random: &mut StdRng) -> KeyRange {
    match random.random_range(0..4) {
        0 => KeyRange::prefix(Bytes::from_static(b"k/")),
        tens => KeyRange::prefix(format!("k/{}", tens - 1).into()),
    }
}
