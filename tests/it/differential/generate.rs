//! Makes the requests of a sequence from its seed and from what the reference answered so far.
//!
//! Keys are few and nested, so that requests meet. Every field takes its odd values now and then: the point is not what
//! clients do, but what they may do. Left out is only what makes etcd itself depend on time: leases that expire.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::compare::Outcome;
use super::request::{Answer, LEASE_NAME_FIRST, Request};
use super::wire::*;

/// Watch streams that a sequence has open.
pub const STREAMS_LEN: usize = 3;
/// Accepted watchers on one stream.
const WATCHERS_LEN_MAX: usize = 8;
const LEASES_LEN_MAX: usize = 12;
/// No lease ever has this id.
pub const UNKNOWN_LEASE: i64 = 404_404;
/// No key ever has this value.
pub const NEVER_WRITTEN: &[u8] = b"never written";
/// A sequence compacts in every other stretch of so many requests, so that the others grow a long history.
const STRETCH_LEN: u64 = 5_000;
/// A lease shorter than this is revoked at once, so that it does not expire within a sequence.
const SHORT_TTL_SECONDS: i64 = 1_000;
/// Far apart, so that the order of expiry depends on the order of grants and renewals alone.
const LONG_TTLS_SECONDS: [i64; 5] = [3_600, 36_000, 360_000, 3_600_000, 9_000_000_000];

const KEYS: [&[u8]; 26] = [
    b"a",
    b"a/",
    b"a/1",
    b"a/1/x",
    b"a/1/y",
    b"a/2",
    b"a/3",
    b"ab",
    b"b",
    b"b/1",
    b"b/2",
    b"c",
    b"a\0",
    b"\0",
    b"\0\0",
    b"\x01",
    b"d",
    b"d/1",
    b"e",
    b"f",
    b"z",
    b"a\xff",
    b"a\xffb",
    b"\xff",
    b"\xff\xff",
    b"\xff\xff\x01",
];
const VALUES: [&[u8]; 8] = [b"", b"1", b"2", b"10", b"\0", b"\xff", b"a longer value than the others", b"2"];

/// The largest value that surely fits into a request, and sizes above etcd's two limits.
const LARGE_VALUE_BYTES: usize = 1_400_000;
const TOO_LARGE_VALUE_BYTES: usize = 1_600_000;
const TOO_LARGE_MESSAGE_BYTES: usize = 2_200_000;

/// The seeded maker of requests.
pub struct Generator {
    random: StdRng,
    made: u64,
    /// What must come next.
    queued: VecDeque<Request>,
    revision: i64,
    compacted: i64,
    /// Long leases by name.
    leases: Vec<i64>,
    /// Revisions that deleted something, newest last.
    deletes: VecDeque<i64>,
    /// Revisions of txns that deleted and put: etcd 3.7.1 loses what such a txn put over its own delete when it compacts
    /// to exactly that revision, and stops at the next read ("range failed to find revision pair"). See
    /// `what_stops_etcd_is_answered`.
    fragile: HashSet<i64>,
    /// Watch ids in use on each stream.
    watch_ids: Vec<Vec<i64>>,
}

impl Generator {
    pub fn new(seed: u64) -> Generator {
        Generator {
            random: StdRng::seed_from_u64(seed),
            made: 0,
            queued: VecDeque::new(),
            revision: 1,
            compacted: -1,
            leases: Vec::new(),
            deletes: VecDeque::new(),
            fragile: HashSet::new(),
            watch_ids: vec![Vec::new(); STREAMS_LEN],
        }
    }

    /// The next request: it depends on the seed and on the answers so far, and on nothing else.
    pub fn next(&mut self) -> Request {
        self.made += 1;
        if let Some(request) = self.queued.pop_front() {
            return request;
        }
        match self.below(1_000) {
            0..300 => Request::Range(self.range()),
            300..320 => Request::RangeStream(self.range_stream()),
            320..580 => Request::Put(self.put()),
            580..640 => Request::DeleteRange(self.delete_range()),
            640..830 => self.txn_request(),
            830..840 => self.compact(),
            840..865 => Request::Grant(self.grant()),
            865..880 => Request::Revoke(LeaseRequest { id: self.lease() }),
            880..905 => Request::TimeToLive(LeaseTimeToLiveRequest { id: self.lease(), keys: self.one_in(2) }),
            905..915 => Request::Leases(Nothing {}),
            915..940 => Request::KeepAlive(LeaseRequest { id: self.lease() }),
            940..970 => self.watch_create(),
            970..985 => self.watch_cancel(),
            985..994 => Request::WatchProgress(self.stream()),
            994..997 => Request::WatchNothing(self.stream()),
            _ => Request::WatchReopen(self.stream()),
        }
    }

    /// Takes in how the reference answered.
    pub fn learn(&mut self, request: &Request, outcome: &Outcome) {
        let Ok(answer) = outcome else { return };
        let revision_before = self.revision;
        self.revision = self.revision.max(answer.header().map_or(0, |header| header.revision));
        match (request, answer) {
            (Request::DeleteRange(_), _) if self.revision > revision_before => {
                self.deletes.push_back(self.revision);
                if self.deletes.len() > 50 {
                    self.deletes.pop_front();
                }
            }
            (Request::Txn(txn), _) if self.revision > revision_before && txn.deletes() => {
                self.fragile.insert(self.revision);
            }
            (Request::Compact(compact), _) => {
                self.compacted = compact.revision;
                let follow = self.after_compaction();
                self.queued.extend(follow);
            }
            (Request::Grant(_), Answer::Grant(granted)) if granted.ttl < SHORT_TTL_SECONDS => {
                let id = granted.id;
                self.queued.push_back(Request::TimeToLive(LeaseTimeToLiveRequest { id, keys: true }));
                self.queued.push_back(Request::KeepAlive(LeaseRequest { id }));
                self.queued.push_back(Request::Revoke(LeaseRequest { id }));
            }
            (Request::Grant(_), Answer::Grant(granted)) => self.leases.push(granted.id),
            (Request::Revoke(revoked), _) => self.leases.retain(|id| *id != revoked.id),
            (Request::WatchCreate(stream, _), Answer::Watch(Some(created))) if !created.canceled => {
                self.watch_ids[*stream].push(created.watch_id);
            }
            (Request::WatchCancel(stream, canceled), _) => {
                self.watch_ids[*stream].retain(|id| *id != canceled.watch_id);
            }
            (Request::WatchReopen(stream), _) => self.watch_ids[*stream].clear(),
            _ => {}
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random.random_range(0..end)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.random_range(0..from.len())]
    }

    fn bytes(&mut self, from: &[&'static [u8]]) -> Bytes {
        Bytes::from_static(self.pick(from))
    }

    fn key(&mut self) -> Bytes {
        match self.below(100) {
            0 => Bytes::new(),
            1..60 => self.bytes(&KEYS[..12]),
            _ => self.bytes(&KEYS),
        }
    }

    fn range_end(&mut self, key: &Bytes) -> Bytes {
        match self.below(10) {
            0..2 => Bytes::new(),
            2..5 => Bytes::from_static(b"\0"),
            5..8 => prefix_end(key),
            8 => key.clone(),
            _ => self.bytes(&KEYS),
        }
    }

    fn value(&mut self) -> Bytes {
        match self.below(8_000) {
            0 => vec![b'v'; LARGE_VALUE_BYTES].into(),
            1..3 => vec![b'v'; TOO_LARGE_VALUE_BYTES].into(),
            3..5 => vec![b'v'; TOO_LARGE_MESSAGE_BYTES].into(),
            5..40 => vec![b'v'; 20_000].into(),
            _ => self.bytes(&VALUES),
        }
    }

    /// A revision to read at or to compact to; mostly one that can be read.
    fn some_revision(&mut self) -> i64 {
        let (first, last) = (self.compacted.max(1), self.revision.max(1));
        match self.below(24) {
            0 => self.compacted - 1,
            1..3 => self.compacted,
            3 => self.compacted + 1,
            4..7 => last,
            7 => last + 1,
            8 => last + 1_000,
            9 => self.pick(&[-1, -2, i64::MIN, i64::MAX, 1]),
            _ => self.random.random_range(first.min(last)..=last),
        }
    }

    /// The name of a lease; now and then of none.
    fn lease(&mut self) -> i64 {
        if self.leases.is_empty() || self.one_in(8) {
            return self.pick(&[UNKNOWN_LEASE, 0, 1, 2, 3, -7]);
        }
        let leases = std::mem::take(&mut self.leases);
        let lease = self.pick(&leases);
        self.leases = leases;
        lease
    }

    fn range(&mut self) -> RangeRequest {
        let key = self.key();
        let range_end = if self.one_in(4) { Bytes::new() } else { self.range_end(&key) };
        let mut range = RangeRequest { key, range_end, serializable: self.one_in(3), ..RangeRequest::default() };
        if self.one_in(3) {
            range.revision = self.some_revision();
        }
        if self.one_in(3) {
            range.limit = self.pick(&[1, 2, 3, 5, 10, 13, -1, i64::MAX, i64::MIN]);
        }
        if self.one_in(2) {
            range.sort_order = self.pick(&[0, 0, 1, 1, 2, 2]);
            range.sort_target = self.pick(&[0, 1, 2, 3, 4]);
        }
        if self.one_in(60) {
            range.sort_order = self.pick(&[0, 3, -1, i32::MAX]);
            range.sort_target = self.pick(&[0, 5, -1, i32::MIN]);
        }
        range.keys_only = self.one_in(5);
        range.count_only = self.one_in(12);
        if self.one_in(6) {
            let bound = self.some_revision();
            match self.below(4) {
                0 => range.min_mod_revision = bound,
                1 => range.max_mod_revision = bound,
                2 => range.min_create_revision = bound,
                _ => range.max_create_revision = bound,
            }
        }
        if self.one_in(30) {
            range.min_mod_revision = self.some_revision();
            range.max_create_revision = self.some_revision();
        }
        range
    }

    fn range_stream(&mut self) -> RangeRequest {
        let mut range = self.range();
        if !self.one_in(5) {
            (range.sort_order, range.sort_target) = (self.pick(&[0, 1]), BY_KEY);
            (range.min_mod_revision, range.max_mod_revision) = (0, 0);
            (range.min_create_revision, range.max_create_revision) = (0, 0);
        } else if range.sort_order == NO_ORDER {
            // Each chunk would be sorted by itself, and the sizes of chunks are not fixed.
            range.sort_target = BY_KEY;
        }
        range
    }

    fn put(&mut self) -> PutRequest {
        let mut put =
            PutRequest { key: self.key(), value: self.value(), prev_kv: self.one_in(3), ..Default::default() };
        if self.one_in(4) {
            put.lease = self.lease();
        }
        if self.one_in(10) {
            put.ignore_value = true;
            if !self.one_in(5) {
                put.value = Bytes::new();
            }
        }
        if self.one_in(10) {
            put.ignore_lease = true;
            if !self.one_in(5) {
                put.lease = 0;
            }
        }
        put
    }

    fn delete_range(&mut self) -> DeleteRangeRequest {
        let key = self.key();
        let range_end = if self.one_in(4) { self.range_end(&key) } else { Bytes::new() };
        DeleteRangeRequest { key, range_end, prev_kv: self.one_in(2) }
    }

    fn txn_request(&mut self) -> Request {
        Request::Txn(match self.below(40) {
            0 => self.txn_near_the_limit(),
            1 => self.txn_that_looks_back(),
            2 => self.txn_on_a_value(),
            3 => self.txn_of_two_deletes(),
            _ => self.txn(3),
        })
    }

    fn txn(&mut self, depth: u64) -> TxnRequest {
        let compares = self.pick(&[0, 0, 1, 1, 1, 2, 3]);
        let (successes, failures) = (self.pick(&[0, 1, 1, 2, 3, 5]), self.pick(&[0, 0, 1, 2]));
        // A txn that only reads takes another path.
        let only_reads = self.one_in(6);
        TxnRequest {
            compare: (0..compares).map(|_| self.compare()).collect(),
            success: (0..successes).map(|_| self.op(depth, only_reads)).collect(),
            failure: (0..failures).map(|_| self.op(depth, only_reads)).collect(),
        }
    }

    fn op(&mut self, depth: u64, only_reads: bool) -> RequestOp {
        let choice = if only_reads { self.below(30) } else { self.below(100) };
        let op = match choice {
            0..30 => Op::Range(self.range()),
            30..70 => Op::Put(self.put()),
            70..85 => Op::DeleteRange(self.delete_range()),
            85..99 if depth > 1 => Op::Txn(self.txn(depth - 1)),
            85..99 => Op::Put(self.put()),
            _ => return RequestOp { request: None },
        };
        RequestOp { request: Some(op) }
    }

    fn compare(&mut self) -> Compare {
        let key = self.key();
        let range_end = if self.one_in(4) { self.range_end(&key) } else { Bytes::new() };
        let target = if self.one_in(40) { self.pick(&[5, -1, i32::MAX]) } else { self.pick(&[0, 1, 2, 3, 4]) };
        let result = if self.one_in(40) { self.pick(&[4, -1, i32::MAX]) } else { self.pick(&[0, 1, 2, 3]) };
        let operand = match self.below(20) {
            0 => None,
            1 => Some(self.pick(&[0, 1, 2, 3, 4])),
            _ => Some(target),
        };
        let operand = operand.map(|kind| match kind {
            0 => Operand::Version(self.pick(&[0, 1, 1, 2, 3, -1])),
            1 => Operand::CreateRevision(self.revision_operand()),
            2 => Operand::ModRevision(self.revision_operand()),
            3 => Operand::Value(self.bytes(&VALUES)),
            _ => Operand::Lease(self.lease_operand(result)),
        });
        Compare { result, target, key, operand, range_end }
    }

    fn revision_operand(&mut self) -> i64 {
        if self.one_in(2) { 0 } else { self.some_revision() }
    }

    /// Ids that servers choose have no order that could be compared.
    fn lease_operand(&mut self, result: i32) -> i64 {
        let lease = self.lease();
        let is_chosen_by_server = lease >= LEASE_NAME_FIRST && lease != i64::MAX;
        if is_chosen_by_server && result != EQUAL && result != NOT_EQUAL { 0 } else { lease }
    }

    /// As many operations as are allowed or one more, with a nested txn that has what is left or one more.
    fn txn_near_the_limit(&mut self) -> TxnRequest {
        let outer = self.pick(&[100, 126, 127, 128, 129]);
        // Nothing else may be wrong with these.
        let filler = RangeRequest { key: self.bytes(&KEYS), count_only: true, ..RangeRequest::default() };
        let mut success = vec![RequestOp { request: Some(Op::Range(filler)) }; outer - 1];
        let inner =
            TxnRequest { success: (0..self.below(3)).map(|_| self.op(1, true)).collect(), ..Default::default() };
        success.push(RequestOp { request: Some(Op::Txn(inner)) });
        TxnRequest { success, ..Default::default() }
    }

    /// A nested comparison of a key that the txn wrote before.
    fn txn_that_looks_back(&mut self) -> TxnRequest {
        let put = PutRequest { lease: 0, ..self.put() };
        let is_missing = Compare {
            target: COMPARE_CREATE,
            key: put.key.clone(),
            operand: Some(Operand::CreateRevision(0)),
            ..Default::default()
        };
        let inner = TxnRequest {
            compare: vec![is_missing],
            success: vec![self.op(1, true)],
            failure: vec![self.op(1, true), self.op(1, true)],
        };
        let success = [Op::Put(put), Op::Txn(inner)].map(|op| RequestOp { request: Some(op) }).into();
        TxnRequest { success, ..Default::default() }
    }

    /// One comparison with a value that no key has.
    fn txn_on_a_value(&mut self) -> TxnRequest {
        let differs = Compare {
            result: NOT_EQUAL,
            target: COMPARE_VALUE,
            key: self.bytes(&KEYS),
            operand: Some(Operand::Value(Bytes::from_static(NEVER_WRITTEN))),
            ..Default::default()
        };
        TxnRequest { compare: vec![differs], success: vec![self.op(1, true)], failure: vec![self.op(1, true)] }
    }

    fn txn_of_two_deletes(&mut self) -> TxnRequest {
        let first = self.delete_range();
        let second = DeleteRangeRequest { range_end: self.range_end(&first.key), ..first.clone() };
        let success = [first, second].map(|delete| RequestOp { request: Some(Op::DeleteRange(delete)) }).into();
        TxnRequest { success, ..Default::default() }
    }

    fn compact(&mut self) -> Request {
        if self.made / STRETCH_LEN % 2 == 1 {
            return Request::Range(self.range());
        }
        let revision = match self.below(10) {
            _ if self.compacted < 0 => 0,
            0..3 if !self.deletes.is_empty() => self.deletes[self.random.random_range(0..self.deletes.len())],
            0..2 => self.pick(&[0, -1, i64::MIN, i64::MAX]),
            _ => self.some_revision(),
        };
        if self.fragile.contains(&revision) {
            return Request::Range(self.range());
        }
        Request::Compact(CompactionRequest { revision, physical: self.one_in(4) })
    }

    /// Compacts again, reads and watches where the history now begins.
    fn after_compaction(&mut self) -> Vec<Request> {
        let (revision, all) = (self.compacted, Bytes::from_static(b"\0"));
        let mut follow = Vec::new();
        if self.one_in(3) {
            follow.push(Request::Compact(CompactionRequest { revision, physical: self.one_in(2) }));
        }
        let watch = WatchCreate {
            key: all.clone(),
            range_end: all.clone(),
            start_revision: revision - i64::from(self.one_in(3)),
            prev_kv: self.one_in(2),
            ..WatchCreate::default()
        };
        if revision > 0 && !self.one_in(4) {
            follow.push(Request::WatchCreate(self.stream(), watch));
        }
        follow.push(Request::Range(RangeRequest { key: all.clone(), range_end: all, revision, ..Default::default() }));
        follow
    }

    fn grant(&mut self) -> LeaseGrantRequest {
        let ttl = match self.below(12) {
            0 => self.pick(&[0, -1, 1, 2, 60, i64::MIN]),
            1 => self.pick(&[9_000_000_001, i64::MAX]),
            _ => self.pick(&LONG_TTLS_SECONDS),
        };
        let id = if self.one_in(2) { 0 } else { self.pick(&[1, 2, 3, 4, 5, 6, -7, i64::MIN, i64::MAX]) };
        if self.leases.len() > LEASES_LEN_MAX {
            let oldest = self.leases[0];
            self.queued.push_back(Request::Revoke(LeaseRequest { id: oldest }));
        }
        LeaseGrantRequest { ttl, id }
    }

    fn stream(&mut self) -> usize {
        self.random.random_range(0..STREAMS_LEN)
    }

    fn watch_create(&mut self) -> Request {
        let stream = self.stream();
        if self.watch_ids[stream].len() >= WATCHERS_LEN_MAX {
            return Request::WatchCancel(stream, WatchCancel { watch_id: self.watch_ids[stream][0] });
        }
        if self.one_in(10) {
            // The longest way to catch up.
            let all = Bytes::from_static(b"\0");
            let start_revision = self.compacted.max(1);
            let create = WatchCreate { key: all.clone(), range_end: all, start_revision, ..WatchCreate::default() };
            return Request::WatchCreate(stream, create);
        }
        let key = self.key();
        let range_end = if self.one_in(5) { Bytes::new() } else { self.range_end(&key) };
        let start_revision = match self.below(10) {
            0..4 => 0,
            4 => self.revision + 1 + i64::from(self.one_in(2)) * 20,
            _ => self.some_revision(),
        };
        let filters: &[&[i32]] = &[&[NO_PUT], &[NO_DELETE], &[NO_PUT, NO_DELETE], &[7], &[NO_DELETE, NO_DELETE]];
        let filters = if self.one_in(4) { self.pick(filters).to_vec() } else { Vec::new() };
        let watch_id = match self.below(10) {
            0..6 => 0,
            6 => *self.watch_ids[stream].first().unwrap_or(&3),
            _ => self.pick(&[1, 2, 3, 7, 100, -3, i64::MAX, i64::MIN]),
        };
        let create = WatchCreate {
            key,
            range_end,
            start_revision,
            // The first would come after ten minutes.
            progress_notify: self.one_in(4),
            filters,
            prev_kv: self.one_in(2),
            watch_id,
            fragment: self.one_in(4),
        };
        Request::WatchCreate(stream, create)
    }

    fn watch_cancel(&mut self) -> Request {
        let stream = self.stream();
        let watch_id = if self.watch_ids[stream].is_empty() || self.one_in(4) {
            self.pick(&[5, -1, 1_000])
        } else {
            let ids = &self.watch_ids[stream];
            ids[self.random.random_range(0..ids.len())]
        };
        Request::WatchCancel(stream, WatchCancel { watch_id })
    }
}

/// The end of the range of keys that begin with `prefix`, as clients compute it.
fn prefix_end(prefix: &Bytes) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end.into();
        }
    }
    Bytes::from_static(b"\0")
}
