//! Counting calls: how many of which method, what they end with, what they carry.
//!
//! Calls that have a task of their own are counted as they go ([`Metered`]). Hot calls are many: a connection counts its
//! own in plain numbers ([`HotTally`]) and tells once a turn.
//!
//! What counts, and what does not, is etcd's: a call counts once it has passed `guard`, and that a client sends no more
//! counts as one message.
//!
//! Source: etcd, `server/etcdserver/api/v3rpc/grpc.go`, and the library of metrics that it uses.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};

use super::PREFIX_BYTES;
use super::access::Rpc;
use super::guard;
use super::hot::Hot;
use crate::metrics::{CallMetrics, CallShape, ClientMetrics, Counter, Histogram, Metrics, Stopwatch};

/// What a client is called that does not tell its version.
const UNKNOWN_VERSION: &str = "unknown";

/// Counts all calls of a member. All methods are there from the start.
#[derive(Debug)]
pub(crate) struct Meters {
    metrics: Arc<Metrics>,
    /// By the number of the call.
    meters: Vec<Arc<Meter>>,
    /// Txns that only read.
    read_txns: [Histogram; 2],
}

/// Counts the calls of one method.
#[derive(Debug)]
pub(crate) struct Meter {
    calls: CallMetrics,
    received_bytes: Counter,
    sent_bytes: Counter,
    /// Those that failed, and those that were answered; `None` if etcd does not measure them.
    requests: Option<[Histogram; 2]>,
}

impl Meters {
    pub(super) fn new(metrics: Arc<Metrics>) -> Meters {
        let meters = Rpc::ALL.iter().map(|&(service, method, (client_streams, server_streams))| {
            let (service, method) = (service.to_owned(), method.to_owned());
            let requests = request_kind(&service, &method).map(|kind| kind.to_owned());
            let shape = CallShape { service, method, client_streams, server_streams };
            Arc::new(Meter {
                calls: metrics.grpc.method(shape),
                received_bytes: metrics.grpc.received_bytes.clone(),
                sent_bytes: metrics.grpc.sent_bytes.clone(),
                requests: requests.map(|kind| metrics.server.requests(&kind)),
            })
        });
        Meters { meters: meters.collect(), read_txns: metrics.server.requests("ReadonlyTxn"), metrics }
    }

    /// A call begins.
    pub(super) fn begin(&self, rpc: Rpc, headers: &HeaderMap) -> Metered {
        let meter = self.of(rpc).clone();
        let client = self.client(guard::client_version(headers));
        if meter.is_unary() {
            client.unary.inc()
        } else {
            client.stream.inc()
        }
        meter.calls.started.inc();
        Metered {
            meter,
            watch: Stopwatch::start(),
            deadline: guard::deadline(headers),
            has_sent: false,
            has_ended: false,
        }
    }

    fn of(&self, rpc: Rpc) -> &Arc<Meter> {
        &self.meters[rpc as usize]
    }

    fn of_hot(&self, hot: Hot) -> &Arc<Meter> {
        self.of(match hot {
            Hot::Range => Rpc::KvRange,
            Hot::Put => Rpc::KvPut,
            Hot::DeleteRange => Rpc::KvDeleteRange,
            Hot::Txn => Rpc::KvTxn,
        })
    }

    fn client(&self, version: Option<&HeaderValue>) -> ClientMetrics {
        // What is no text was refused before.
        let text = version.and_then(|version| std::str::from_utf8(version.as_bytes()).ok());
        self.metrics.grpc.client(text.unwrap_or(UNKNOWN_VERSION))
    }
}

/// What etcd calls the requests of a method when it measures them.
fn request_kind(service: &str, method: &str) -> Option<String> {
    let name = match (service, method) {
        ("etcdserverpb.KV", "Compact") => "Compaction",
        ("etcdserverpb.KV", "Range" | "Put" | "DeleteRange" | "Txn")
        | ("etcdserverpb.Lease", "LeaseGrant" | "LeaseRevoke")
        | ("etcdserverpb.Maintenance", "Alarm")
        | ("etcdserverpb.Auth", "Authenticate" | "AuthEnable" | "AuthDisable" | "AuthStatus") => method,
        ("etcdserverpb.Auth", method) => return Some(format!("Auth{method}")),
        _ => return None,
    };
    Some(name.to_owned())
}

impl Meter {
    fn is_unary(&self) -> bool {
        !self.calls.shape.client_streams && !self.calls.shape.server_streams
    }

    /// A message of so many bytes came.
    pub(super) fn received(&self, bytes: usize) {
        self.calls.received.inc();
        self.received_bytes.inc_by(bytes as u64);
    }

    fn sent(&self, bytes: usize) {
        self.calls.sent.inc();
        self.sent_bytes.inc_by(bytes as u64);
    }

    /// Measures a request that has ended with `code`. One that was ordered has been looked at, whatever came of it.
    fn measure(&self, code: Code, was_ordered: bool, took: impl FnOnce() -> Duration) {
        if let Some(requests) = &self.requests
            && let Some(succeeded) = was_processed(code, was_ordered)
        {
            let succeeded = succeeded && (code == Code::Ok || self.calls.shape.method != "Range");
            requests[usize::from(succeeded)].observe(took().as_secs_f64());
        }
    }
}

/// Whether a request came as far as to be ordered or read; `None` if it was refused before that.
fn was_processed(code: Code, was_ordered: bool) -> Option<bool> {
    match code {
        Code::InvalidArgument if was_ordered => Some(true),
        Code::InvalidArgument | Code::Unauthenticated | Code::Internal | Code::Unimplemented => None,
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Aborted => Some(false),
        Code::ResourceExhausted | Code::DataLoss => Some(false),
        Code::Ok
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange => Some(true),
    }
}

/// A call under way. Dropped before its end it was taken back, or has taken too long.
#[derive(Debug)]
pub(crate) struct Metered {
    meter: Arc<Meter>,
    watch: Stopwatch,
    deadline: Option<Duration>,
    has_sent: bool,
    has_ended: bool,
}

impl Metered {
    pub(super) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    fn sent(&mut self, bytes: usize) {
        self.has_sent = true;
        self.meter.sent(bytes);
    }

    fn end(&mut self, code: Code) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let Meter { calls, .. } = &*self.meter;
        if calls.shape.client_streams {
            calls.received.inc();
        }
        if !calls.shape.server_streams && !self.has_sent {
            calls.sent.inc();
        }
        calls.ended(number(code), || self.watch.elapsed());
        self.meter.measure(code, false, || self.watch.elapsed());
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        let is_late = self.deadline.is_some_and(|deadline| self.watch.elapsed() >= deadline);
        self.end(if is_late { Code::DeadlineExceeded } else { Code::Cancelled });
    }
}

fn number(code: Code) -> usize {
    usize::try_from(code as i32).unwrap_or(usize::MAX)
}

/// An answer whose messages, and whose end, are counted.
pub(super) fn metered(answer: Response<Body>, metered: Option<Metered>) -> Response<Body> {
    let Some(mut metered) = metered else { return answer };
    if let Some(code) = code_in(answer.headers()) {
        metered.end(code);
        return answer;
    }
    answer.map(|body| Body::new(MeteredBody { body, metered, frames: Frames::default() }))
}

fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

/// The body of an answer.
struct MeteredBody {
    body: Body,
    metered: Metered,
    frames: Frames,
}

impl http_body::Body for MeteredBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.frames.pass(data, |bytes| this.metered.sent(bytes));
                }
                if let Some(trailers) = frame.trailers_ref() {
                    this.metered.end(code_in(trailers).unwrap_or(Code::Ok));
                }
            }
            Some(Err(status)) => this.metered.end(status.code()),
            None => this.metered.end(Code::Ok),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Messages in bytes that are cut anyhow.
#[derive(Debug, Default)]
struct Frames {
    /// The part of a prefix that has come.
    prefix: [u8; PREFIX_BYTES],
    prefix_bytes: usize,
    /// What is still to come of the present message.
    rest: usize,
}

impl Frames {
    /// Calls `each` with the length of every message that begins in `data`.
    fn pass(&mut self, mut data: &[u8], mut each: impl FnMut(usize)) {
        while !data.is_empty() {
            let of_message = self.rest.min(data.len());
            data.advance(of_message);
            self.rest -= of_message;
            let of_prefix = (PREFIX_BYTES - self.prefix_bytes).min(data.len());
            self.prefix[self.prefix_bytes..self.prefix_bytes + of_prefix].copy_from_slice(&data[..of_prefix]);
            self.prefix_bytes += of_prefix;
            data.advance(of_prefix);
            if self.prefix_bytes == PREFIX_BYTES {
                let [_, length @ ..] = self.prefix;
                // A u32 fits the address space of all we run on.
                self.rest = u32::from_be_bytes(length) as usize;
                self.prefix_bytes = 0;
                each(self.rest);
            }
        }
    }
}

/// A hot call under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HotCall {
    pub(super) hot: Hot,
    /// When the bytes were read that it came with, which the connection knows anyway.
    pub(super) begun: Instant,
    was_ordered: bool,
}

impl HotCall {
    /// How long it has taken until `now`.
    pub(super) fn took(self, now: Instant) -> Duration {
        now.saturating_duration_since(self.begun)
    }

    /// Its command is on its way into the log.
    pub(crate) fn ordered(self) -> HotCall {
        HotCall { was_ordered: true, ..self }
    }
}

/// What one connection counts of its hot calls.
#[derive(Debug)]
pub(crate) struct HotTally {
    meters: Arc<Meters>,
    /// Of the version that the last call named: of nearly all.
    client: Option<(Option<HeaderValue>, ClientMetrics)>,
    requests: u64,
    started: [u64; Hot::COUNT],
    ended_well: [u64; Hot::COUNT],
    received_bytes: u64,
    sent_bytes: u64,
}

impl HotTally {
    pub(crate) fn new(meters: Arc<Meters>) -> HotTally {
        HotTally {
            meters,
            client: None,
            requests: 0,
            started: Default::default(),
            ended_well: Default::default(),
            received_bytes: 0,
            sent_bytes: 0,
        }
    }

    /// A call with a message of so many bytes has come.
    pub(crate) fn begin(&mut self, (hot, begun): (Hot, Instant), bytes: usize, headers: &HeaderMap) -> HotCall {
        let version = guard::client_version(headers);
        if self.client.as_ref().is_none_or(|(known, _)| known.as_ref() != version) {
            self.flush();
            self.client = Some((version.cloned(), self.meters.client(version)));
        }
        self.requests += 1;
        self.started[hot as usize] += 1;
        self.received_bytes += bytes as u64;
        HotCall { hot, begun, was_ordered: false }
    }

    /// A call ends with one message of so many bytes, its prefix among them, or with an error.
    pub(crate) fn end(&mut self, call: HotCall, answer: Result<usize, Code>, now: Instant) {
        let hot = call.hot;
        match answer {
            Ok(framed_bytes) => {
                self.ended_well[hot as usize] += 1;
                self.sent_bytes += framed_bytes.saturating_sub(PREFIX_BYTES) as u64;
                let meter = self.meters.of_hot(hot);
                let seconds = call.took(now).as_secs_f64();
                if let Some(requests) = &meter.requests {
                    requests[1].observe(seconds);
                }
                if let Some(handling) = meter.calls.handling() {
                    handling.observe(seconds);
                }
            }
            Err(code) => end(&self.meters, call, code, now),
        }
    }

    /// A call goes on in a task of its own.
    pub(crate) fn leave(&self, call: HotCall) -> LateCall {
        LateCall { meters: self.meters.clone(), call, has_ended: false }
    }

    /// Tells what was counted since.
    pub(crate) fn flush(&mut self) {
        if self.requests > 0 {
            if let Some((_, client)) = &self.client {
                client.unary.inc_by(std::mem::take(&mut self.requests));
            }
            self.meters.metrics.grpc.received_bytes.inc_by(std::mem::take(&mut self.received_bytes));
        }
        if self.sent_bytes > 0 {
            self.meters.metrics.grpc.sent_bytes.inc_by(std::mem::take(&mut self.sent_bytes));
        }
        for hot in Hot::ALL {
            let (started, ended_well) = (&mut self.started[hot as usize], &mut self.ended_well[hot as usize]);
            let (started, ended_well) = (std::mem::take(started), std::mem::take(ended_well));
            if started > 0 {
                let calls = &self.meters.of_hot(hot).calls;
                calls.started.inc_by(started);
                calls.received.inc_by(started);
            }
            if ended_well > 0 {
                let calls = &self.meters.of_hot(hot).calls;
                calls.ended_well(ended_well);
                calls.sent.inc_by(ended_well);
            }
        }
    }
}

impl Drop for HotTally {
    fn drop(&mut self) {
        self.flush();
    }
}

/// A call ends otherwise than well.
fn end(meters: &Meters, call: HotCall, code: Code, now: Instant) {
    let meter = meters.of_hot(call.hot);
    meter.calls.sent.inc();
    meter.calls.ended(number(code), || call.took(now));
    meter.measure(code, call.was_ordered, || call.took(now));
}

/// A hot call in a task of its own. Dropped before its end it was taken back.
#[derive(Debug)]
pub(crate) struct LateCall {
    meters: Arc<Meters>,
    call: HotCall,
    has_ended: bool,
}

impl LateCall {
    /// It ends with one message of so many bytes, its prefix among them, or with an error.
    pub(crate) fn end(mut self, answer: Result<usize, Code>) {
        self.has_ended = true;
        let (HotCall { hot, was_ordered, .. }, now) = (self.call, Instant::now());
        let (meter, took) = (self.meters.of_hot(hot), self.call.took(now));
        match answer {
            Ok(framed_bytes) => {
                meter.sent(framed_bytes.saturating_sub(PREFIX_BYTES));
                meter.calls.ended(number(Code::Ok), || took);
                let requests = if hot == Hot::Txn && !was_ordered {
                    Some(&self.meters.read_txns)
                } else {
                    meter.requests.as_ref()
                };
                if let Some(requests) = requests {
                    requests[1].observe(took.as_secs_f64());
                }
            }
            Err(code) => end(&self.meters, self.call, code, now),
        }
    }
}

impl Drop for LateCall {
    fn drop(&mut self) {
        if !self.has_ended {
            end(&self.meters, self.call, Code::Cancelled, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let bytes = [&[0, 0, 0, 0, 3][..], b"abc", &[0, 0, 0, 0, 0], &[1, 0, 0, 0, 1], b"x"].concat();
        for piece in 1..bytes.len() {
            let (mut frames, mut lengths) = (Frames::default(), Vec::new());
            bytes.chunks(piece).for_each(|data| frames.pass(data, |length| lengths.push(length)));
            assert_eq!(lengths, [3, 0, 1], "{piece}");
        }
    }

    #[test]
    fn every_method_is_there_from_the_start_and_calls_that_are_dropped_were_taken_back() {
        let metrics = Arc::new(Metrics::default());
        let meters = Meters::new(metrics.clone());
        let count = |line: &str| {
            let text = metrics.ask().text();
            assert!(text.lines().any(|found| found == line), "{line} is missing:\n{text}");
        };
        let labels = r#"grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream""#;
        count(&format!("grpc_server_started_total{{{labels}}} 0"));
        let mut headers = HeaderMap::new();
        headers.insert("client-api-version", HeaderValue::from_static("3.7"));
        drop(meters.begin(Rpc::WatchWatch, &headers));
        let labels =
            r#"grpc_code="Canceled",grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream""#;
        count(&format!("grpc_server_handled_total{{{labels}}} 1"));
        count(r#"etcd_server_client_requests_total{client_api_version="3.7",type="stream"} 1"#);
    }
}
