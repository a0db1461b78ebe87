//! Requests that took long, in etcd's words, and all of them for those who debug.
//!
//! | line | which |
//! | --- | --- |
//! | `request stats` | unary calls that took longer than `--warning-unary-request-duration`; at level debug all others as well |
//! | `apply request took too long` | reads that took longer than `--warning-apply-duration`; writes are told of where they are applied |
//!
//! A call is timed from the moment when the bytes were read that it came with, which the connection knows anyway. Only for a
//! call that is told of its message is read again.
//!
//! Source: etcd, `server/etcdserver/api/v3rpc/interceptor.go` and `server/etcdserver/txn/util.go`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::time::Instant;
use tonic::Status;

use super::hot::{Framed, Hot};
use super::meter::HotCall;
use super::{PREFIX_BYTES, decode};
use crate::api::SlowRequests;
use crate::env::{go_duration, timestamp, unix_time};
use crate::model::{DeleteRange, Put, Txn};
use crate::proto::etcdserverpb as pb;

/// Says that nobody knows.
const UNKNOWN: i64 = -1;

/// Calls whose requests or answers are many messages.
const STREAMING: [&str; 5] = [
    "/etcdserverpb.KV/RangeStream",
    "/etcdserverpb.Watch/Watch",
    "/etcdserverpb.Lease/LeaseKeepAlive",
    "/etcdserverpb.Maintenance/Snapshot",
    "/v3electionpb.Election/Observe",
];

/// What is told of the requests of one connection. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct RequestLog {
    slow: SlowRequests,
    /// Somebody debugs.
    tells_all: bool,
    /// Who asks.
    remote: Arc<str>,
}

/// A hot call that is under way.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) call: HotCall,
    /// Shared with what was proposed.
    pub(crate) message: Bytes,
}

/// What `request stats` counts.
struct Counts {
    requests: i64,
    request_bytes: i64,
    answers: i64,
    answer_bytes: i64,
    content: String,
}

impl RequestLog {
    pub(crate) fn new(slow: SlowRequests) -> RequestLog {
        RequestLog { slow, tells_all: tracing::enabled!(tracing::Level::DEBUG), remote: Arc::from("") }
    }

    /// The same for a connection of its own.
    pub(crate) fn of(&self, remote: String) -> RequestLog {
        RequestLog { remote: remote.into(), ..self.clone() }
    }

    /// Tells of a hot call, if it took long until `now` or all are told of.
    pub(crate) fn tell(&self, asked: &Asked, now: Instant, answer: &Result<Framed, Status>) {
        let spent = asked.call.took(now);
        if spent > self.slow.read && asked.is_read() {
            tell_slow_read(asked, spent, self.slow.read, answer);
        }
        if spent > self.slow.unary || self.tells_all {
            self.write(asked.path(), spent, asked.counts(answer));
        }
    }

    /// Tells of any other call.
    pub(crate) fn tell_other(&self, path: &str, spent: Duration) {
        if (spent > self.slow.unary || self.tells_all) && !STREAMING.contains(&path) {
            let (requests, request_bytes, answers, answer_bytes) = (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN);
            self.write(path, spent, Counts { requests, request_bytes, answers, answer_bytes, content: String::new() });
        }
    }

    fn write(&self, path: &str, spent: Duration, counts: Counts) {
        let start = timestamp(unix_time().saturating_sub(spent));
        let start = start.trim_end_matches('Z');
        let spent_text = go_duration(spent);
        let Counts { requests, request_bytes, answers, answer_bytes, content } = counts;
        macro_rules! stats {
            ($level:ident) => {
                tracing::$level!(
                    "start time" = start,
                    "time spent" = spent_text,
                    remote = &*self.remote,
                    "response type" = path,
                    "request count" = requests,
                    "request size" = request_bytes,
                    "response count" = answers,
                    "response size" = answer_bytes,
                    "request content" = content,
                    "request stats"
                )
            };
        }
        if spent > self.slow.unary { stats!(warn) } else { stats!(debug) }
    }
}

/// Tells of a read that took long.
fn tell_slow_read(asked: &Asked, took: Duration, expected: Duration, answer: &Result<Framed, Status>) {
    let counts = asked.counts(answer);
    let response = match (answer, asked.call.hot) {
        (Err(_), _) => String::new(),
        (Ok(_), Hot::Range) => format!("range_response_count:{} size:{}", counts.answers, counts.answer_bytes),
        (Ok(_), _) => format!("size:{}", counts.answer_bytes),
    };
    let prefix = if asked.call.hot == Hot::Range { "read-only range " } else { "read-only txn " };
    tracing::warn!(
        took = go_duration(took),
        "expected-duration" = go_duration(expected),
        prefix,
        request = counts.content,
        response,
        error = answer.as_ref().err().map(Status::message),
        "apply request took too long"
    );
}

impl Asked {
    fn path(&self) -> &'static str {
        match self.call.hot {
            Hot::Range => "/etcdserverpb.KV/Range",
            Hot::Put => "/etcdserverpb.KV/Put",
            Hot::DeleteRange => "/etcdserverpb.KV/DeleteRange",
            Hot::Txn => "/etcdserverpb.KV/Txn",
        }
    }

    /// Whether it changes nothing.
    fn is_read(&self) -> bool {
        match self.call.hot {
            Hot::Range => true,
            Hot::Put | Hot::DeleteRange => false,
            Hot::Txn => {
                matches!(decode::txn(self.message.clone(), usize::MAX), Ok(decode::TxnCall::Read(..)))
            }
        }
    }

    fn counts(&self, answer: &Result<Framed, Status>) -> Counts {
        let message = self.message.clone();
        let mut counts = Counts {
            requests: 0,
            request_bytes: signed(message.len()),
            answers: 0,
            answer_bytes: 0,
            // What cannot be read was refused, and is not told of.
            content: String::new(),
        };
        let body = match answer {
            Ok(Framed::Whole(frame)) => Some(frame.slice(PREFIX_BYTES.min(frame.len())..)),
            Ok(Framed::Parts(_)) => {
                (counts.answers, counts.answer_bytes) = (UNKNOWN, UNKNOWN);
                None
            }
            Err(_) => None,
        };
        if let Some(body) = &body {
            counts.answer_bytes = signed(body.len());
        }
        match self.call.hot {
            Hot::Range => {
                counts.content = decode::range(message).map(|range| range.summary()).unwrap_or_default();
                let answer = body.and_then(|body| pb::RangeResponse::decode(body).ok());
                counts.answers = answer.map_or(counts.answers, |answer| answer.count);
            }
            Hot::Put => {
                counts.requests = 1;
                let put = pb::PutRequest::decode(message).map(|put| Put::from(put).summary());
                counts.content = put.unwrap_or_default();
            }
            Hot::DeleteRange => {
                let delete = pb::DeleteRangeRequest::decode(message);
                counts.content = delete.map(|delete| DeleteRange::from(delete).summary()).unwrap_or_default();
                let answer = body.and_then(|body| pb::DeleteRangeResponse::decode(body).ok());
                counts.answers = answer.map_or(counts.answers, |answer| answer.deleted);
            }
            Hot::Txn => count_txn(&mut counts, message, body),
        }
        counts
    }
}

/// Of a txn the branch counts that was taken.
fn count_txn(counts: &mut Counts, message: Bytes, body: Option<Bytes>) {
    let Ok(request) = pb::TxnRequest::decode(message) else { return };
    let answer = body.and_then(|body| pb::TxnResponse::decode(body).ok());
    let answer_is_known = answer.is_some();
    let branch = match answer {
        Some(pb::TxnResponse { succeeded: true, .. }) => &request.success[..],
        Some(_) => &request.failure[..],
        None => &[],
    };
    if answer_is_known {
        counts.requests = signed(branch.len());
        counts.request_bytes = branch.iter().map(|op| signed(op.encoded_len())).sum();
    }
    counts.content = Txn::from(request).summary();
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
