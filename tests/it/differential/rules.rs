//! Counts how often requests reached each rule that is easily missed, so that a run shows what it has tested.
//!
//! The rules are those that one member without auth can show. A rule counts as reached when the reference answered as
//! the rule says; the comparison then makes sure that the other server did too.

use std::collections::BTreeMap;

use tonic::Code;

use super::compare::Outcome;
use super::generate::{NEVER_WRITTEN, UNKNOWN_LEASE};
use super::request::{Answer, Request};
use super::wire::*;

/// A rule. Random sequences reach those in [`ALL`], the script those in [`SCRIPTED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule(pub &'static str);

macro_rules! rules {
    ($(#[$doc:meta])* $all:ident: $($name:ident: $text:literal,)*) => {
        $(pub const $name: Rule = Rule($text);)*
        $(#[$doc])*
        pub const $all: &[Rule] = &[$($name),*];
    };
}

rules! {
    /// All that a random run must reach.
    ALL:
    COUNT_IGNORES_LIMIT: "count ignores limit and filters",
    MORE_RESPECTS_FILTERS: "more is false although filters left pairs out",
    HEADER_IS_CURRENT: "header.revision is the current one at an old revision",
    HEADER_OF_NO_OP: "a write that changes nothing keeps the revision",
    FIRST_WRITE: "the first write is revision 2",
    KEYS_ONLY: "keys_only answers from the index",
    KEYS_ONLY_BY_VALUE: "keys_only sorted by value has the lease",
    SORT_THEN_LIMIT: "sorting comes before the limit",
    NO_ORDER_ASCENDS: "no order with a target ascends",
    INVALID_SORT: "an unknown order or target is refused",
    VALUE_OF_MISSING: "a value comparison on a missing key is false",
    ZERO_OF_MISSING: "other comparisons on a missing key see 0",
    NESTED_SEES_BEFORE: "nested comparisons see the state before the txn",
    UNTAKEN_LEASE: "an unknown lease in the branch not taken is no error",
    TAKEN_LEASE: "an unknown lease in the branch taken is an error",
    EMPTY_TXN: "a txn without operations",
    NESTED_BUDGET: "a nested txn has what the outer one left",
    TOO_MANY_OPS: "more than 128 operations",
    DELETE_OVERLAP: "two deletes of one key in a txn",
    DUPLICATE_KEY: "two puts of one key in a txn, or a put and a delete",
    EMPTY_OP: "an operation without a request",
    DETACH: "a put without a lease detaches",
    LEASE_MOVES: "a put with another lease moves the key",
    IGNORE_MISSING: "ignore_value or ignore_lease on a missing key",
    COMPACT_AGAIN: "a physical compaction of what is compacted waits and errs",
    COMPACT_FUTURE: "a compaction of the future",
    COMPACT_ZERO: "a compaction to 0 or below",
    READ_COMPACTED: "a read of the compacted",
    READ_FUTURE: "a read of the future",
    REQUEST_TOO_LARGE: "a request above 1.5 MiB",
    MESSAGE_TOO_LARGE: "a message above 2 MiB",
    STREAM_IN_CHUNKS: "RangeStream in more than one chunk",
    STREAM_UNSUPPORTED: "RangeStream with order or filters",
    WATCH_EMPTY_RANGE: "a watch of an empty range is refused on the stream",
    WATCH_DUPLICATE: "a duplicate watch id is refused on the stream",
    WATCH_NEGATIVE: "a watch from a negative revision is refused without compact_revision",
    WATCH_COMPACTED: "a watch from the compacted is created, then canceled with header 0",
    CANCEL_UNKNOWN: "a cancel of an unknown id has no answer",
    CANCEL_DEAD: "a cancel after the compaction's has an answer",
    HALF_CLOSE: "a half-closed watch stream delivers",
    PROGRESS: "progress is answered once, with id -1",
    NO_PROGRESS: "progress is not answered while a watcher is dead or in the future",
    LONG_CATCH_UP: "a catch-up of more than 1000 revisions comes in parts",
    DELETE_EVENT: "a delete event has key and mod_revision only",
    PREV_KV: "an event with the pair before",
    START_AT_COMPACTED: "a watch from exactly the compacted revision gets its delete",
    TTL_RAISED: "a small TTL is raised",
    TTL_TOO_LARGE: "a TTL above 9000000000 is refused",
    LEASE_EXISTS: "a lease is granted twice",
    MISSING_KEEP_ALIVE: "keepalive of a missing lease is 0",
    MISSING_TIME_TO_LIVE: "time to live of a missing lease is -1",
    MISSING_REVOKE: "revoke of a missing lease errs",
    REVOKE_DELETES: "a revoke deletes several keys in one revision",
    LEASES_IN_ORDER: "leases are listed by expiry",
}

rules! {
    /// All that the script must reach.
    SCRIPTED:
    OBSERVE_ENDS: "Observe ends with OK when a compaction overtakes it",
    TOO_MANY_REQUESTS: "too many requests travels as code Unknown",
}

/// How often each was reached.
#[derive(Debug, Default, Clone)]
pub struct Reached(BTreeMap<Rule, u64>);

impl Reached {
    pub fn hit(&mut self, rule: Rule) {
        *self.0.entry(rule).or_default() += 1;
    }

    fn hit_if(&mut self, rule: Rule, holds: bool) {
        if holds {
            self.hit(rule);
        }
    }

    pub fn add(&mut self, other: &Reached) {
        for (rule, count) in &other.0 {
            *self.0.entry(*rule).or_default() += count;
        }
    }

    /// Those of `rules` that were not reached.
    pub fn missed(&self, rules: &[Rule]) -> Vec<Rule> {
        rules.iter().copied().filter(|rule| !self.0.contains_key(rule)).collect()
    }

    /// How often each of `rules` was reached, a line each.
    pub fn of(&self, rules: &[Rule]) -> String {
        let line = |rule: &Rule| format!("{:>8}  {}\n", self.0.get(rule).unwrap_or(&0), rule.0);
        rules.iter().map(line).collect()
    }

    /// Looks at one exchange. `revision` is that before the request.
    pub fn note(&mut self, request: &Request, outcome: &Outcome, revision: i64) {
        match outcome {
            Ok(answer) => self.note_answer(request, answer, revision),
            Err(failure) => self.note_failure(request, failure.code, &failure.message),
        }
    }

    fn note_answer(&mut self, request: &Request, answer: &Answer, revision: i64) {
        let now = answer.header().map_or(0, |header| header.revision);
        match (request, answer) {
            (Request::Range(request), Answer::Range(answer)) => self.note_range(request, answer, now),
            (Request::Put(request), Answer::Put(answer)) => {
                self.hit_if(FIRST_WRITE, revision == 1 && now == 2);
                self.note_put(request, answer);
            }
            (Request::DeleteRange(_), Answer::DeleteRange(answer)) => {
                self.hit_if(HEADER_OF_NO_OP, answer.deleted == 0 && now == revision);
            }
            (Request::Txn(request), Answer::Txn(answer)) => self.note_txn(request, answer),
            (Request::Compact(request), _) => self.hit_if(COMPACT_ZERO, request.revision <= 0),
            (Request::Grant(request), Answer::Grant(answer)) => self.hit_if(TTL_RAISED, request.ttl < answer.ttl),
            (Request::TimeToLive(_), Answer::TimeToLive(answer)) => self.hit_if(MISSING_TIME_TO_LIVE, answer.ttl == -1),
            (Request::KeepAlive(_), Answer::KeepAlive(answer)) => self.hit_if(MISSING_KEEP_ALIVE, answer.ttl == 0),
            (Request::Leases(_), Answer::Leases(answer)) => self.hit_if(LEASES_IN_ORDER, answer.leases.len() > 2),
            (Request::WatchCreate(..), Answer::Watch(Some(answer))) if answer.canceled => {
                let reason = answer.cancel_reason.as_str();
                self.hit_if(WATCH_EMPTY_RANGE, reason == "mvcc: watcher range is empty");
                self.hit_if(WATCH_DUPLICATE, reason == "mvcc: duplicate watch ID provided on the WatchStream");
                let is_compacted = reason == "etcdserver: mvcc: required revision has been compacted";
                self.hit_if(WATCH_NEGATIVE, is_compacted && answer.compact_revision == 0);
            }
            (Request::WatchProgress(_), Answer::Watch(answer)) => match answer {
                Some(_) => self.hit(PROGRESS),
                None => self.hit(NO_PROGRESS),
            },
            (Request::WatchCancel(..), Answer::Watch(None)) => self.hit(CANCEL_UNKNOWN),
            _ => {}
        }
    }

    fn note_range(&mut self, request: &RangeRequest, answer: &RangeResponse, now: i64) {
        let len = i64::try_from(answer.kvs.len()).unwrap_or(i64::MAX);
        let has_filters = request.min_mod_revision != 0
            || request.max_mod_revision != 0
            || request.min_create_revision != 0
            || request.max_create_revision != 0;
        let is_sorted = request.sort_order != NO_ORDER && request.sort_target != BY_KEY;
        let has_lease = answer.kvs.iter().any(|kv| kv.lease != 0);
        self.hit_if(COUNT_IGNORES_LIMIT, request.limit > 0 && len == request.limit && answer.count > len);
        self.hit_if(MORE_RESPECTS_FILTERS, has_filters && request.limit > 0 && !answer.more && answer.count > len);
        self.hit_if(HEADER_IS_CURRENT, request.revision > 0 && now > request.revision);
        self.hit_if(KEYS_ONLY, request.keys_only && request.sort_target != BY_VALUE && len > 0);
        self.hit_if(KEYS_ONLY_BY_VALUE, request.keys_only && request.sort_target == BY_VALUE && has_lease);
        self.hit_if(SORT_THEN_LIMIT, is_sorted && answer.more);
        let has_no_order = request.sort_order == NO_ORDER && request.sort_target != BY_KEY;
        self.hit_if(NO_ORDER_ASCENDS, has_no_order && len > 1);
    }

    fn note_put(&mut self, request: &PutRequest, answer: &PutResponse) {
        let lease_before = answer.prev_kv.as_ref().map_or(0, |kv| kv.lease);
        let sets_lease = lease_before != 0 && !request.ignore_lease;
        self.hit_if(DETACH, sets_lease && request.lease == 0);
        self.hit_if(LEASE_MOVES, sets_lease && request.lease != 0 && request.lease != lease_before);
    }

    fn note_txn(&mut self, request: &TxnRequest, answer: &TxnResponse) {
        let (taken, untaken) = match answer.succeeded {
            true => (&request.success, &request.failure),
            false => (&request.failure, &request.success),
        };
        if let [compare] = request.compare.as_slice() {
            let never = Some(Operand::Value(NEVER_WRITTEN.into()));
            let differs = compare.result == NOT_EQUAL && compare.operand == never;
            self.hit_if(VALUE_OF_MISSING, differs && !answer.succeeded);
            let is_missing = compare.operand == Some(Operand::CreateRevision(0));
            let is_missing = is_missing && compare.target == COMPARE_CREATE && compare.result == EQUAL;
            self.hit_if(ZERO_OF_MISSING, is_missing && answer.succeeded);
        }
        self.hit_if(EMPTY_TXN, request.success.is_empty() && request.failure.is_empty());
        let unknown_lease = |op: &RequestOp| matches!(&op.request, Some(Op::Put(put)) if put.lease == UNKNOWN_LEASE);
        self.hit_if(UNTAKEN_LEASE, untaken.iter().any(unknown_lease));
        for (i, op) in taken.iter().enumerate() {
            match &op.request {
                Some(Op::Txn(nested)) => {
                    let compares = |key| nested.compare.iter().any(|compare| compare.key == key);
                    let wrote = |op: &RequestOp| matches!(&op.request, Some(Op::Put(put)) if compares(put.key.clone()));
                    self.hit_if(NESTED_SEES_BEFORE, taken[..i].iter().any(wrote));
                }
                Some(Op::DeleteRange(delete)) => {
                    let same = |op: &RequestOp| matches!(&op.request, Some(Op::DeleteRange(d)) if d.key == delete.key);
                    self.hit_if(DELETE_OVERLAP, taken[..i].iter().any(same));
                }
                Some(Op::Range(_) | Op::Put(_)) | None => {}
            }
        }
    }

    fn note_failure(&mut self, request: &Request, code: Code, message: &str) {
        let is_compacted = message == "etcdserver: mvcc: required revision has been compacted";
        let is_future = message == "etcdserver: mvcc: required revision is a future revision";
        match request {
            Request::Range(_) => {
                self.hit_if(INVALID_SORT, message == "etcdserver: invalid sort option");
                self.hit_if(READ_COMPACTED, is_compacted);
                self.hit_if(READ_FUTURE, is_future);
            }
            Request::RangeStream(_) => self.hit_if(STREAM_UNSUPPORTED, code == Code::Unimplemented),
            Request::Put(_) => {
                self.hit_if(IGNORE_MISSING, message == "etcdserver: key not found");
                self.hit_if(REQUEST_TOO_LARGE, message == "etcdserver: request is too large");
                self.hit_if(MESSAGE_TOO_LARGE, message.starts_with("grpc: received message larger than max"));
            }
            Request::Txn(request) => {
                let has_too_many_ops = message == "etcdserver: too many operations in txn request";
                self.hit_if(TOO_MANY_OPS, has_too_many_ops && request.success.len() > 128);
                self.hit_if(NESTED_BUDGET, has_too_many_ops && request.success.len() <= 128);
                self.hit_if(DUPLICATE_KEY, message == "etcdserver: duplicate key given in txn request");
                self.hit_if(TAKEN_LEASE, message == "etcdserver: requested lease not found");
                let has_empty_op = request.success.iter().chain(&request.failure).any(|op| op.request.is_none());
                self.hit_if(EMPTY_OP, has_empty_op && message == "etcdserver: key not found");
            }
            Request::Compact(request) => {
                self.hit_if(COMPACT_AGAIN, request.physical && is_compacted);
                self.hit_if(COMPACT_FUTURE, is_future);
            }
            Request::Grant(_) => {
                self.hit_if(TTL_TOO_LARGE, message == "etcdserver: too large lease TTL");
                self.hit_if(LEASE_EXISTS, message == "etcdserver: lease already exists");
            }
            Request::Revoke(_) => self.hit_if(MISSING_REVOKE, message == "etcdserver: requested lease not found"),
            _ => {}
        }
    }
}
