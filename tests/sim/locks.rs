//! A client that takes turns at a lock, as etcd's lock does it: a key of its own with a lease; the oldest key holds.

use std::time::Duration;

use bytes::Bytes;
use lodemark::model::{
    Command, Compare, CompareResult, CompareTarget, KeyRange, LeaseGrant, LeaseId, LeaseRevoke, Put, Range, Reply,
    SortOrder, SortTarget, Txn, TxnOp,
};
use rand::RngExt;
use rand::rngs::StdRng;

use super::checks::history::{Hold, Moment, Outcome, Request};

/// Seconds: short, so that it changes hands when its holder is cut off.
const TTL: i64 = 2;
/// How long it is held, in milliseconds.
const HOLD_MS: std::ops::Range<u64> = 100..2000;
const LOCK: &[u8] = b"l/";

/// Where a client stands.
#[derive(Debug)]
pub struct Locker {
    client: u64,
    turn: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Nothing,
    /// It has a lease, and wants to write its key.
    Granted(LeaseId),
    /// Its key may be there; it waits until that is the oldest.
    Queued(LeaseId),
    /// It was told that it holds.
    Holds {
        lease: LeaseId,
        until: Option<Moment>,
    },
}

impl Locker {
    /// A client that wants the lock.
    pub fn new(client: u64) -> Locker {
        Locker { client, turn: 0, stage: Stage::Nothing }
    }

    fn key(&self) -> Bytes {
        [LOCK, format!("{}-{}", self.client, self.turn).as_bytes()].concat().into()
    }

    /// What it asks for next.
    pub fn next(&mut self, now: Moment, random: &mut StdRng) -> Option<Request> {
        let request = match &mut self.stage {
            Stage::Nothing => Request::Command(Command::LeaseGrant(LeaseGrant { id: LeaseId::NONE, ttl: TTL })),
            Stage::Granted(lease) => {
                let lease = *lease;
                self.turn += 1;
                self.stage = Stage::Queued(lease);
                let key = self.key();
                let keys = KeyRange::single(key.clone());
                let absent = Compare { keys, result: CompareResult::Equal, target: CompareTarget::Create(0) };
                let put = Put { value: key.clone(), key, lease, ..Put::default() };
                let txn = Txn { compare: vec![absent], success: vec![TxnOp::Put(put)], failure: Vec::new() };
                Request::Command(Command::Txn(txn))
            }
            Stage::Queued(lease) if random.random_bool(0.3) => Request::KeepAlive(*lease),
            Stage::Queued(_) => {
                let (limit, sort_order, sort_target) = (1, SortOrder::Ascend, SortTarget::Create);
                let keys = KeyRange::prefix(Bytes::from_static(LOCK));
                Request::Range(Range { limit, sort_order, sort_target, ..Range::of(keys) })
            }
            Stage::Holds { lease, until } => {
                let until = *until.get_or_insert_with(|| now + Duration::from_millis(random.random_range(HOLD_MS)));
                if now < until {
                    Request::KeepAlive(*lease)
                } else {
                    let id = *lease;
                    self.stage = Stage::Nothing;
                    // Now and then it just goes away, and the lock is free when the lease ends.
                    if random.random_bool(0.2) {
                        return None;
                    }
                    Request::Command(Command::LeaseRevoke(LeaseRevoke { id }))
                }
            }
        };
        Some(request)
    }

    /// Hears what became of a request; gives the hold that it learns of.
    pub fn hear(&mut self, request: &Request, outcome: &Outcome) -> Option<Hold> {
        match (&self.stage, request, outcome) {
            (Stage::Nothing, _, Outcome::Changed(Reply::LeaseGrant(reply))) => self.stage = Stage::Granted(reply.id),
            // Its lease is gone, or it does not know whether its key is there: it begins anew.
            (Stage::Queued(_), Request::Command(_), Outcome::Changed(_)) => {}
            (_, Request::Command(Command::Txn(_)), _) | (_, Request::KeepAlive(_), Outcome::KeptAlive(0)) => {
                self.stage = Stage::Nothing;
            }
            (&Stage::Queued(lease), Request::Range(_), Outcome::Read(reply)) => match reply.kvs.first() {
                Some(record) if record.key() == self.key() => {
                    self.stage = Stage::Holds { lease, until: None };
                    let (lock, key) = (LOCK.to_vec(), self.key().to_vec());
                    return Some(Hold { client: self.client, lock, key, acquired: reply.revision });
                }
                Some(_) => {}
                None => self.stage = Stage::Nothing,
            },
            _ => {}
        }
        None
    }
}
