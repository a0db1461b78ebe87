//! The requests of a sequence, their answers, and what of an answer is not compared.

use std::collections::HashMap;

use bytes::Bytes;

use super::wire::*;

/// A request of a sequence. Watch requests go to one of the open streams.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    Range(RangeRequest),
    RangeStream(RangeRequest),
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
    Grant(LeaseGrantRequest),
    Revoke(LeaseRequest),
    TimeToLive(LeaseTimeToLiveRequest),
    Leases(Nothing),
    KeepAlive(LeaseRequest),
    WatchCreate(usize, WatchCreate),
    WatchCancel(usize, WatchCancel),
    WatchProgress(usize),
    /// A request whose union is empty.
    WatchNothing(usize),
    /// Half-closes the stream, shows that it still delivers, and opens a new one in its place.
    WatchReopen(usize),
}

impl Request {
    /// The name that differences are counted under.
    pub fn kind(&self) -> &'static str {
        match self {
            Request::Range(_) => "Range",
            Request::RangeStream(_) => "RangeStream",
            Request::Put(_) => "Put",
            Request::DeleteRange(_) => "DeleteRange",
            Request::Txn(_) => "Txn",
            Request::Compact(_) => "Compact",
            Request::Grant(_) => "LeaseGrant",
            Request::Revoke(_) => "LeaseRevoke",
            Request::TimeToLive(_) => "LeaseTimeToLive",
            Request::Leases(_) => "LeaseLeases",
            Request::KeepAlive(_) => "LeaseKeepAlive",
            Request::WatchCreate(..) => "Watch create",
            Request::WatchCancel(..) => "Watch cancel",
            Request::WatchProgress(_) => "Watch progress",
            Request::WatchNothing(_) => "Watch without a request",
            Request::WatchReopen(_) => "Watch half-close",
        }
    }

    /// It may change what is stored, or the watchers.
    pub fn is_write(&self) -> bool {
        let is_read = matches!(
            self,
            Request::Range(_)
                | Request::RangeStream(_)
                | Request::TimeToLive(_)
                | Request::Leases(_)
                | Request::KeepAlive(_)
                | Request::WatchProgress(_)
        );
        !is_read
    }

    /// Replaces each lease id.
    pub fn map_leases(&mut self, map: &dyn Fn(i64) -> i64) {
        match self {
            Request::Put(put) => put.lease = map(put.lease),
            Request::Txn(txn) => map_txn_leases(txn, map),
            Request::Grant(grant) => grant.id = map(grant.id),
            Request::Revoke(lease) | Request::KeepAlive(lease) => lease.id = map(lease.id),
            Request::TimeToLive(lease) => lease.id = map(lease.id),
            _ => {}
        }
    }
}

fn map_txn_leases(txn: &mut TxnRequest, map: &dyn Fn(i64) -> i64) {
    for compare in &mut txn.compare {
        if let Some(Operand::Lease(lease)) = &mut compare.operand {
            *lease = map(*lease);
        }
    }
    for op in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut op.request {
            Some(Op::Put(put)) => put.lease = map(put.lease),
            Some(Op::Txn(txn)) => map_txn_leases(txn, map),
            Some(Op::Range(_) | Op::DeleteRange(_)) | None => {}
        }
    }
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Range(RangeResponse),
    Put(PutResponse),
    DeleteRange(DeleteRangeResponse),
    Txn(TxnResponse),
    OnlyHeader(OnlyHeader),
    Grant(LeaseGrantResponse),
    TimeToLive(LeaseTimeToLiveResponse),
    Leases(LeaseLeasesResponse),
    KeepAlive(LeaseKeepAliveResponse),
    /// `None`: the request has no answer.
    Watch(Option<WatchResponse>),
}

impl Answer {
    pub fn header(&self) -> Option<&Header> {
        match self {
            Answer::Range(answer) => answer.header.as_ref(),
            Answer::Put(answer) => answer.header.as_ref(),
            Answer::DeleteRange(answer) => answer.header.as_ref(),
            Answer::Txn(answer) => answer.header.as_ref(),
            Answer::OnlyHeader(answer) => answer.header.as_ref(),
            Answer::Grant(answer) => answer.header.as_ref(),
            Answer::TimeToLive(answer) => answer.header.as_ref(),
            Answer::Leases(answer) => answer.header.as_ref(),
            Answer::KeepAlive(answer) => answer.header.as_ref(),
            Answer::Watch(answer) => answer.as_ref().and_then(|answer| answer.header.as_ref()),
        }
    }
}

/// The lease ids which a server chose, and the names that the sequence has for them.
#[derive(Debug, Default, Clone)]
pub struct LeaseNames {
    name_of: HashMap<i64, i64>,
    id_of: HashMap<i64, i64>,
}

/// The first name of a lease whose id the server chooses.
pub const LEASE_NAME_FIRST: i64 = 0x4c00_0000_0000_0000;

impl LeaseNames {
    pub fn insert(&mut self, name: i64, id: i64) {
        self.name_of.insert(id, name);
        self.id_of.insert(name, id);
    }

    pub fn name_of(&self, id: i64) -> i64 {
        self.name_of.get(&id).copied().unwrap_or(id)
    }

    pub fn id_of(&self, name: i64) -> i64 {
        self.id_of.get(&name).copied().unwrap_or(name)
    }
}

/// Takes out what two servers need not share: ids of cluster and member, and terms, become 1 (0 stays), and lease ids
/// become names.
pub trait Blur {
    fn blur(&mut self, names: &LeaseNames);
}

impl<T: Blur> Blur for Option<T> {
    fn blur(&mut self, names: &LeaseNames) {
        if let Some(inner) = self {
            inner.blur(names);
        }
    }
}

impl<T: Blur> Blur for Vec<T> {
    fn blur(&mut self, names: &LeaseNames) {
        self.iter_mut().for_each(|inner| inner.blur(names));
    }
}

impl Blur for Header {
    fn blur(&mut self, _: &LeaseNames) {
        for id in [&mut self.cluster_id, &mut self.member_id, &mut self.raft_term] {
            *id = (*id).min(1);
        }
    }
}

impl Blur for KeyValue {
    fn blur(&mut self, names: &LeaseNames) {
        self.lease = names.name_of(self.lease);
    }
}

impl Blur for Event {
    fn blur(&mut self, names: &LeaseNames) {
        self.kv.blur(names);
        self.prev_kv.blur(names);
    }
}

impl Blur for RangeResponse {
    fn blur(&mut self, names: &LeaseNames) {
        self.header.blur(names);
        self.kvs.blur(names);
    }
}

impl Blur for PutResponse {
    fn blur(&mut self, names: &LeaseNames) {
        self.header.blur(names);
        self.prev_kv.blur(names);
    }
}

impl Blur for DeleteRangeResponse {
    fn blur(&mut self, names: &LeaseNames) {
        self.header.blur(names);
        self.prev_kvs.blur(names);
    }
}

impl Blur for TxnResponse {
    fn blur(&mut self, names: &LeaseNames) {
        self.header.blur(names);
        for op in &mut self.responses {
            match &mut op.response {
                Some(OpAnswer::Range(answer)) => answer.blur(names),
                Some(OpAnswer::Put(answer)) => answer.blur(names),
                Some(OpAnswer::DeleteRange(answer)) => answer.blur(names),
                Some(OpAnswer::Txn(answer)) => answer.blur(names),
                None => {}
            }
        }
    }
}

impl Blur for OnlyHeader {
    fn blur(&mut self, names: &LeaseNames) {
        self.header.blur(names);
    }
}

impl Blur for WatchResponse {
    fn blur(&mut self, names: &LeaseNames) {
        self.header.blur(names);
        self.events.blur(names);
    }
}

impl Blur for LeaderResponse {
    fn blur(&mut self, names: &LeaseNames) {
        self.header.blur(names);
        self.kv.blur(names);
    }
}

impl Blur for Answer {
    fn blur(&mut self, names: &LeaseNames) {
        match self {
            Answer::Range(answer) => answer.blur(names),
            Answer::Put(answer) => answer.blur(names),
            Answer::DeleteRange(answer) => answer.blur(names),
            Answer::Txn(answer) => answer.blur(names),
            Answer::OnlyHeader(answer) => answer.blur(names),
            Answer::Watch(answer) => answer.blur(names),
            Answer::Grant(answer) => {
                answer.header.blur(names);
                answer.id = names.name_of(answer.id);
            }
            Answer::TimeToLive(answer) => {
                answer.header.blur(names);
                answer.id = names.name_of(answer.id);
            }
            Answer::Leases(answer) => {
                answer.header.blur(names);
                answer.leases.iter_mut().for_each(|lease| lease.id = names.name_of(lease.id));
            }
            Answer::KeepAlive(answer) => {
                answer.header.blur(names);
                answer.id = names.name_of(answer.id);
            }
        }
    }
}

/// A range as requests write it.
pub fn covers(key: &Bytes, range_end: &Bytes, candidate: &Bytes) -> bool {
    match range_end.as_ref() {
        [] => candidate == key,
        [0] => candidate >= key,
        _ => candidate >= key && candidate < range_end,
    }
}
