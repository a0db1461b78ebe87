//! Small histories for the tests of the checks, made by hand.

use bytes::Bytes;
use lodemark::machine::Rejection;
use lodemark::model::{
    Command, Compact, DeleteRange, DeleteReply, Event, EventKind, GrantReply, KeyRange, KeyValue, LeaseGrant, LeaseId,
    LeaseRevoke, Put, PutReply, Range, RangeReply, Record, Reply, Revision, Txn, TxnReply,
};

use super::history::{Heard, History, Moment, Operation, Outcome, Request, Server, Session, Watching};

/// Value, create revision, mod revision, version.
pub type Pair<'a> = (&'a str, i64, i64, i64);

pub fn ms(ms: u64) -> Moment {
    Moment::from_millis(ms)
}

pub fn history<const N: usize>(operations: [Operation; N]) -> History {
    history_of(operations.into())
}

pub fn history_of(operations: Vec<Operation>) -> History {
    History { operations, ..History::default() }
}

pub fn operation(request: Request, outcome: Outcome, (begin, end): (u64, u64)) -> Operation {
    let server = Server { member: 1, start: 1 };
    Operation { client: 1, server, begin: ms(begin), end: ms(end), request, outcome }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub fn record(key: &str, (value, created, modified, version): Pair<'_>, lease: i64) -> Record {
    Record::new(&KeyValue {
        key: key.as_bytes(),
        value: value.as_bytes(),
        create_revision: Revision(created),
        mod_revision: Revision(modified),
        version,
        lease: LeaseId(lease),
    })
}

pub fn put(key: &str, value: &str, revision: i64, time: (u64, u64)) -> Operation {
    put_with_lease(key, value, 0, revision, time)
}

pub fn put_with_lease(key: &str, value: &str, lease: i64, revision: i64, time: (u64, u64)) -> Operation {
    let put = Put { key: bytes(key), value: bytes(value), lease: LeaseId(lease), ..Put::default() };
    let reply = Reply::Put(PutReply { revision: Revision(revision), prev: None });
    operation(Request::Command(Command::Put(put)), Outcome::Changed(reply), time)
}

pub fn delete(key: &str, deleted: i64, revision: i64, time: (u64, u64)) -> Operation {
    let delete = DeleteRange { keys: KeyRange::single(bytes(key)), prev_kv: false };
    let reply = DeleteReply { revision: Revision(revision), deleted, prev: Vec::new() };
    operation(Request::Command(Command::DeleteRange(delete)), Outcome::Changed(Reply::DeleteRange(reply)), time)
}

pub fn txn(txn: Txn, reply: TxnReply, time: (u64, u64)) -> Operation {
    operation(Request::Command(Command::Txn(txn)), Outcome::Changed(Reply::Txn(reply)), time)
}

pub fn get(key: &str, found: Option<Pair<'_>>, revision: i64, time: (u64, u64)) -> Operation {
    let kvs: Vec<Record> = found.into_iter().map(|pair| record(key, pair, 0)).collect();
    let count = i64::try_from(kvs.len()).unwrap();
    let reply = RangeReply { revision: Revision(revision), kvs, more: false, count };
    operation(Request::Range(Range::of(KeyRange::single(bytes(key)))), Outcome::Read(reply), time)
}

pub fn serializable(mut operation: Operation) -> Operation {
    let Request::Range(range) = &mut operation.request else { panic!("not a read") };
    range.serializable = true;
    operation
}

pub fn at_revision(mut operation: Operation, revision: i64) -> Operation {
    let Request::Range(range) = &mut operation.request else { panic!("not a read") };
    range.revision = revision;
    operation
}

pub fn unknown(mut operation: Operation) -> Operation {
    operation.outcome = Outcome::Unknown;
    operation
}

pub fn rejected(mut operation: Operation, rejection: Rejection) -> Operation {
    operation.outcome = Outcome::Rejected(rejection);
    operation
}

pub fn compact(at: i64, revision: i64, time: (u64, u64)) -> Operation {
    let compact = Compact { revision: Revision(at), physical: false };
    let reply = Reply::Compact { revision: Revision(revision) };
    operation(Request::Command(Command::Compact(compact)), Outcome::Changed(reply), time)
}

pub fn grant(id: i64, ttl: i64, revision: i64, time: (u64, u64)) -> Operation {
    let grant = LeaseGrant { id: LeaseId(id), ttl };
    let reply = Reply::LeaseGrant(GrantReply { revision: Revision(revision), id: LeaseId(id), ttl });
    operation(Request::Command(Command::LeaseGrant(grant)), Outcome::Changed(reply), time)
}

pub fn revoke(id: i64, revision: i64, time: (u64, u64)) -> Operation {
    let reply = Reply::LeaseRevoke { revision: Revision(revision) };
    let revoke = LeaseRevoke { id: LeaseId(id) };
    operation(Request::Command(Command::LeaseRevoke(revoke)), Outcome::Changed(reply), time)
}

pub fn keep_alive(id: i64, ttl: i64, time: (u64, u64)) -> Operation {
    operation(Request::KeepAlive(LeaseId(id)), Outcome::KeptAlive(ttl), time)
}

pub fn time_to_live(id: i64, granted: Option<i64>, time: (u64, u64)) -> Operation {
    operation(Request::TimeToLive(LeaseId(id)), Outcome::Granted(granted), time)
}

pub fn put_event(key: &str, value: &str, created: i64, at: i64, version: i64, prev: Option<Pair<'_>>) -> Event {
    let record_of = |pair| record(key, pair, 0);
    Event { kind: EventKind::Put, record: record_of((value, created, at, version)), prev: prev.map(record_of) }
}

pub fn delete_event(key: &str, at: i64, prev: Option<Pair<'_>>) -> Event {
    let prev = prev.map(|pair| record(key, pair, 0));
    Event { kind: EventKind::Delete, record: Record::tombstone(key.as_bytes(), Revision(at)), prev }
}

pub fn created(revision: i64) -> Heard {
    Heard::Created(Revision(revision))
}

pub fn events(events: Vec<Event>) -> Heard {
    Heard::Events(events)
}

/// A watch of all keys "from now on", with the pairs before, over one connection.
pub fn watching(heard: Vec<(u64, Heard)>) -> Watching {
    let heard = heard.into_iter().map(|(at, heard)| (ms(at), heard)).collect();
    Watching {
        keys: KeyRange::prefix(Bytes::new()),
        prev_kv: true,
        no_put: false,
        no_delete: false,
        sessions: vec![Session { server: Server { member: 1, start: 1 }, from: 0, heard }],
        must_reach: None,
    }
}
