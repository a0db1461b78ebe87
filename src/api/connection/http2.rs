//! HTTP/2: one task owns the connection and answers hot calls itself.
//!
//! One turn of the task: take outcomes that apply has handed over, read bodies, accept streams, until nothing moves; then
//! write everything that gathered in one system call. `h2` makes progress only within the turn, so what a turn sends is
//! complete when it is written.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::server::{Connection, SendResponse};
use http::{Method, Request, Response, StatusCode};
use tokio::time::Instant;
use tonic::{Code, Status};

use super::body::ok_trailers;
use super::coalesced::Coalesced;
use super::keepalive::Keepalive;
use super::ping_strikes::{Calls, PingStrikes, TOO_MANY_PINGS};
use super::reset_budget::{ResetBudget, TOO_MANY_RESETS};
use super::{Ended, Shared, call};
use crate::api::MESSAGE_BYTES_SPARE;
use crate::api::grpc::access::Credentials;
use crate::api::grpc::hot::{self, Answer, Framed, Hot};
use crate::api::grpc::meter::{HotCall, HotTally};
use crate::api::grpc::request_log::Asked;
use crate::api::grpc::{PREFIX_BYTES, guard, status};
use crate::model::Range;
use crate::net::Io;
use crate::node::{Completed, Completions};

/// Streams of one connection at a time, whatever the flag says.
const STREAMS_MAX: u32 = 64 * 1024;
/// What a client may send on one stream before we have read it.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// The same for the whole connection of a client.
const CLIENT_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// Calls that were begun and taken back before they were looked at. Beyond it `h2` ends the connection, and with it all
/// other calls of a client that may have met a slow moment of the server.
const TAKEN_BACK_UNSEEN_MAX: usize = 1024;
/// The headers of one request.
const HEADERS_BYTES_MAX: u32 = 64 * 1024;
/// How long the rest of the preface may take.
pub(super) const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer of this size is sent by a task of its own, no faster than the client takes it.
const INLINE_BYTES_MAX: usize = 64 * 1024;
/// Says that messages may be compressed: then the ordinary service answers, and refuses those that are.
const GRPC_ENCODING: &str = "grpc-encoding";
/// Says that they are not.
const NOT_COMPRESSED: &[u8] = b"identity";

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub(super) enum OtherEnd {
    /// A client.
    Client {
        /// What must lie between two of its pings; `None` if it may ping as it likes.
        ping_gap_min: Option<Duration>,
    },
    /// The gateway, for clients of its own: only the window of a stream may hold up one of them, and what some do ends the
    /// calls of no other.
    Gateway,
}

impl OtherEnd {
    /// What may have been sent on all streams together and not been read.
    fn window_bytes(self) -> u32 {
        match self {
            OtherEnd::Client { .. } => CLIENT_WINDOW_BYTES,
            OtherEnd::Gateway => i32::MAX.unsigned_abs(),
        }
    }

    fn taken_back_unseen_max(self) -> usize {
        match self {
            OtherEnd::Client { .. } => TAKEN_BACK_UNSEEN_MAX,
            OtherEnd::Gateway => usize::MAX,
        }
    }

    fn ping_strikes(self) -> Option<PingStrikes> {
        match self {
            OtherEnd::Client { ping_gap_min } => ping_gap_min.map(PingStrikes::new),
            OtherEnd::Gateway => None,
        }
    }

    fn reset_budget(self, streams_max: u32) -> Option<ResetBudget> {
        match self {
            OtherEnd::Client { .. } => Some(ResetBudget::new(streams_max)),
            OtherEnd::Gateway => None,
        }
    }
}

/// How a conversation came to its end.
enum End {
    Over(Ended),
    /// The client asks too much, of what this says.
    TooMuch(&'static str),
}

/// Serves one connection to its end, or until the server stops and the calls at hand are answered.
pub(super) async fn serve(io: impl Io, shared: Shared, other_end: OtherEnd) -> Ended {
    let out = Coalesced::new(io);
    let streams_max = shared.api.limits.streams_max.min(STREAMS_MAX);
    let handshake = h2::server::Builder::new()
        .max_concurrent_streams(streams_max)
        .max_pending_accept_reset_streams(other_end.taken_back_unseen_max())
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(other_end.window_bytes())
        .max_header_list_size(HEADERS_BYTES_MAX)
        .handshake(out.clone());
    let mut h2 = tokio::time::timeout(PREFACE_TIMEOUT, handshake).await??;
    let keepalive = h2.ping_pong().map(|pings| Keepalive::new(pings, &shared.api.limits.keepalive));
    let (leave, tally) = (shared.leave.clone(), HotTally::new(shared.services.meters().clone()));
    let mut streams = Streams {
        h2,
        out,
        keepalive,
        strikes: other_end.ping_strikes(),
        resets: other_end.reset_budget(streams_max),
        shared,
        reading: VecDeque::new(),
        waiting: Waiting::default(),
        completions: Completions::new(),
        completed: Vec::new(),
        tally,
    };
    let end = tokio::select! {
        end = std::future::poll_fn(|cx| streams.poll(cx)) => Some(end),
        () = leave.cancelled() => None,
    };
    let end = match end {
        Some(end) => end,
        None => {
            streams.h2.graceful_shutdown();
            std::future::poll_fn(|cx| streams.poll(cx)).await
        }
    };
    match end {
        End::Over(ended) => ended,
        End::TooMuch(what) => {
            let out = streams.out.clone();
            // The calls at hand end here.
            drop(streams);
            out.farewell(h2::Reason::ENHANCE_YOUR_CALM, what).await;
            Ok(())
        }
    }
}

/// A connection and its hot calls.
struct Streams<T> {
    h2: Connection<Coalesced<T>, Bytes>,
    out: Coalesced<T>,
    keepalive: Option<Keepalive>,
    strikes: Option<PingStrikes>,
    resets: Option<ResetBudget>,
    shared: Shared,
    /// Hot calls whose message has not come whole.
    reading: VecDeque<Reading>,
    /// Hot calls whose command is on its way.
    waiting: Waiting,
    completions: Arc<Completions>,
    /// Taken from `completions`; kept for its memory.
    completed: Vec<(u64, Completed)>,
    /// Counts hot calls, and tells once a turn.
    tally: HotTally,
}

impl<T> Drop for Streams<T> {
    /// Nobody hears of what still waits.
    fn drop(&mut self) {
        for call in self.waiting.calls.drain(..).flatten() {
            self.tally.end(call.asked.call, Err(Code::Cancelled), Instant::now());
        }
    }
}

/// A hot call whose message is coming in.
struct Reading {
    hot: Hot,
    head: http::request::Parts,
    body: RecvStream,
    respond: SendResponse<Bytes>,
    read: Read,
    /// When the bytes came that it began with, or others since.
    begun: Instant,
}

/// What came of a message. Most come in one piece, which is then not copied.
enum Read {
    Nothing,
    Piece(Bytes),
    Pieces(BytesMut),
}

impl<T: Io> Streams<T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let turn = self.poll_turn(cx);
        self.tally.flush();
        turn
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let has_answered = self.take_outcomes(cx);
            let has_read = self.read_bodies(cx);
            // Polling for streams is also what reads and writes frames.
            match self.h2.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.begin(request, respond),
                Poll::Ready(Some(Err(error))) => return self.end(cx, Err(error.into())),
                Poll::Ready(None) => return self.end(cx, Ok(())),
                Poll::Pending if !has_answered && !has_read => break,
                Poll::Pending => {}
            }
        }
        if let Err(too_much) = self.count_nuisances() {
            return Poll::Ready(End::TooMuch(too_much));
        }
        if let Some(keepalive) = &mut self.keepalive
            && keepalive.poll_dead(cx, self.out.heard_at()).is_ready()
        {
            return Poll::Ready(End::Over(Ok(())));
        }
        // If the socket is full the task is woken when it is not.
        match self.out.poll_write_out(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(End::Over(Err(error.into()))),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }

    /// Counts pings and resets of this turn; tells of what there were too many.
    fn count_nuisances(&mut self) -> Result<(), &'static str> {
        if let Some(resets) = &mut self.resets {
            resets.spend(self.out.take_resets()).map_err(|_| TOO_MANY_RESETS)?;
        }
        if let Some(strikes) = &mut self.strikes
            && let Some(pings) = self.out.take_pings()
        {
            let calls = if self.h2.has_streams() { Calls::Open } else { Calls::None };
            strikes.count(pings, calls).map_err(|_| TOO_MANY_PINGS)?;
        }
        Ok(())
    }

    /// What was to be said last (why the connection ends) goes out if the socket takes it now.
    fn end(&self, cx: &mut Context<'_>, ended: Ended) -> Poll<End> {
        // The reason for the end counts, not this.
        let _ = self.out.poll_write_out(cx);
        Poll::Ready(End::Over(ended))
    }

    fn begin(&mut self, mut request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        if let Some(peer) = &self.shared.peer {
            request.extensions_mut().insert(peer.clone());
        }
        let traffic = self.shared.traffic;
        let odd = not_grpc(&request);
        // Whoever speaks TLS and HTTP/2 may have been led to it by the handshake alone.
        let may_be_plain = odd.is_some() && traffic.has_http() && self.shared.peer.is_some();
        if may_be_plain || !traffic.has_grpc() {
            tokio::spawn(call::serve_plain(request, respond, self.shared.clone()));
            return;
        }
        if let Some(odd) = odd {
            // An error here and below: the client has gone, and nobody misses the answer.
            let _ = respond.send_response(odd, true);
            return;
        }
        let path = request.uri().path();
        let mut encodings = request.headers().get_all(GRPC_ENCODING).iter();
        let may_be_compressed = encodings.any(|encoding| encoding.as_bytes() != NOT_COMPRESSED);
        let Some(hot) = Hot::of(path).filter(|_| !may_be_compressed) else {
            tokio::spawn(call::serve(request, respond, self.shared.clone()));
            return;
        };
        if let Err(status) = guard::admit(&self.shared.api.node, path, request.headers()) {
            let _ = call::refuse(&mut respond, status);
            return;
        }
        let (head, body) = request.into_parts();
        let begun = self.out.heard_at();
        self.reading.push_back(Reading { hot, head, body, respond, read: Read::Nothing, begun });
    }

    /// Reads what has come of messages; runs calls whose message is whole. Tells whether any went on.
    fn read_bodies(&mut self, cx: &mut Context<'_>) -> bool {
        let mut has_run = false;
        for _ in 0..self.reading.len() {
            let Some(mut reading) = self.reading.pop_front() else { break };
            match reading.poll(cx, self.shared.api.limits.request_bytes_max + MESSAGE_BYTES_SPARE) {
                Poll::Pending => self.reading.push_back(reading),
                Poll::Ready(message) => {
                    has_run = true;
                    match message {
                        Ok(message) => {
                            let Reading { hot, begun, .. } = reading;
                            let call = self.tally.begin((hot, begun), message.len(), &reading.head.headers);
                            let asked = Asked { call, message: message.clone() };
                            let answer = hot::start_by(hot, message, || reading.credentials(), &self.shared.api);
                            self.settle(answer, reading.respond, asked, None);
                        }
                        Err(Some(status)) => drop(call::refuse(&mut reading.respond, status)),
                        // The client took the call back.
                        Err(None) => {}
                    }
                }
            }
        }
        has_run
    }

    /// Goes on with a call as far as it can. It is `now`, if that is known.
    fn settle(&mut self, answer: Answer, respond: SendResponse<Bytes>, mut asked: Asked, now: Option<Instant>) {
        let (node, log, call) = (&self.shared.api.node, &self.shared.log, asked.call);
        let refused = match answer {
            Answer::Now(answer) => {
                let now = now.unwrap_or_else(Instant::now);
                log.tell(&asked, now, &answer);
                return answer_now(answer, respond, (&mut self.tally, call), now);
            }
            Answer::Later(answer) => {
                let log = log.clone();
                let answer = async move {
                    let answer = answer.await;
                    log.tell(&asked, Instant::now(), &answer);
                    answer
                };
                return call::answer_later(answer, respond, self.tally.leave(call));
            }
            Answer::Propose(proposal) => {
                asked.call = call.ordered();
                let token = self.waiting.insert(Call { respond, read: None, asked });
                token.map(|token| node.propose_into(proposal, &self.completions, token))
            }
            Answer::Read(query) => {
                let token = self.waiting.insert(Call { respond, read: Some(query), asked });
                token.map(|token| node.pass_barrier_into(&self.completions, token))
            }
        };
        if let Err(Call { mut respond, .. }) = refused {
            self.tally.end(call, Err(Code::ResourceExhausted), Instant::now());
            let _ = call::refuse(&mut respond, status::TOO_MANY_REQUESTS.into());
        }
    }

    /// Answers calls whose command was applied, and those that have passed the barrier. Tells whether there was any.
    fn take_outcomes(&mut self, cx: &mut Context<'_>) -> bool {
        if self.completions.poll_take(cx, &mut self.completed).is_pending() {
            return false;
        }
        let mut all = std::mem::take(&mut self.completed);
        let now = Some(Instant::now());
        for (token, completed) in all.drain(..) {
            let Some(Call { respond, read, asked }) = self.waiting.remove(token) else { continue };
            let answer = match (completed, read) {
                (Completed::Command(outcome), _) => Answer::Now(hot::finish(outcome, &self.shared.api)),
                (Completed::Barrier(Ok(())), Some(query)) => hot::read_for_nobody(*query, &self.shared.api),
                (Completed::Barrier(Err(error)), _) => Answer::Now(Err(status::of(&error))),
                (Completed::Barrier(Ok(())), None) => {
                    Answer::Now(Err(Status::internal("a write was taken for a read")))
                }
            };
            self.settle(answer, respond, asked, now);
        }
        self.completed = all;
        true
    }
}

impl Reading {
    /// What it shows of who makes the call.
    fn credentials(&self) -> Credentials {
        Credentials::of(&self.head.headers, &self.head.extensions)
    }

    /// The message when it is whole; `Err(None)` if the client took the call back.
    fn poll(&mut self, cx: &mut Context<'_>, bytes_max: usize) -> Poll<Result<Bytes, Option<Status>>> {
        loop {
            match self.body.poll_data(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(None)),
                Poll::Ready(None) => break,
                Poll::Ready(Some(Ok(piece))) => {
                    // It may be sent again: what we keep is bounded by the message's limit.
                    if self.body.flow_control().release_capacity(piece.len()).is_err() {
                        return Poll::Ready(Err(None));
                    }
                    self.read.push(piece);
                    if let Err(status) = check_length(self.read.bytes(), bytes_max) {
                        return Poll::Ready(Err(Some(status)));
                    }
                    if self.body.is_end_stream() {
                        break;
                    }
                }
            }
        }
        Poll::Ready(unframe(std::mem::replace(&mut self.read, Read::Nothing).whole()).map_err(Some))
    }
}

impl Read {
    fn push(&mut self, piece: Bytes) {
        *self = match std::mem::replace(self, Read::Nothing) {
            Read::Nothing => Read::Piece(piece),
            Read::Piece(first) => {
                let mut pieces = BytesMut::from(first);
                pieces.extend_from_slice(&piece);
                Read::Pieces(pieces)
            }
            Read::Pieces(mut pieces) => {
                pieces.extend_from_slice(&piece);
                Read::Pieces(pieces)
            }
        };
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Read::Nothing => &[],
            Read::Piece(piece) => piece,
            Read::Pieces(pieces) => pieces,
        }
    }

    fn whole(self) -> Bytes {
        match self {
            Read::Nothing => Bytes::new(),
            Read::Piece(piece) => piece,
            Read::Pieces(pieces) => pieces.freeze(),
        }
    }
}

/// Refuses a message that says that it is too long as soon as it says so.
fn check_length(read: &[u8], bytes_max: usize) -> Result<(), Status> {
    let Some(prefix) = read.first_chunk::<PREFIX_BYTES>() else { return Ok(()) };
    let [_, length @ ..] = *prefix;
    let length = u32::from_be_bytes(length) as usize;
    if length > bytes_max {
        return Err(status::message_too_large(length, bytes_max));
    }
    if read.len() > PREFIX_BYTES + bytes_max {
        return Err(status::message_too_large(read.len() - PREFIX_BYTES, bytes_max));
    }
    Ok(())
}

/// Takes the one message out of a unary request's body.
fn unframe(mut body: Bytes) -> Result<Bytes, Status> {
    let Some(&[flag, ref length @ ..]) = body.first_chunk::<PREFIX_BYTES>() else {
        return Err(Status::internal("grpc: the request ends before its message"));
    };
    let length = u32::from_be_bytes(*length) as usize;
    if flag != 0 {
        return Err(Status::unimplemented("grpc: compressed messages are not supported"));
    }
    if body.len() != PREFIX_BYTES + length {
        return Err(Status::internal("grpc: the request does not hold exactly one message"));
    }
    Ok(body.split_off(PREFIX_BYTES))
}

fn answer_now(
    answer: Result<Framed, Status>,
    mut respond: SendResponse<Bytes>,
    (tally, call): (&mut HotTally, HotCall),
    now: Instant,
) {
    match answer {
        Ok(Framed::Whole(message)) if message.len() <= INLINE_BYTES_MAX => {
            tally.end(call, Ok(message.len()), now);
            // Errors: the client has gone, and nobody misses the answer.
            if let Ok(mut stream) = respond.send_response(call::head(), false)
                && stream.send_data(message, false).is_ok()
            {
                let _ = stream.send_trailers(ok_trailers());
            }
        }
        Ok(message) => call::answer_later(std::future::ready(Ok(message)), respond, tally.leave(call)),
        Err(status) => {
            tally.end(call, Err(status.code()), now);
            drop(call::refuse(&mut respond, status));
        }
    }
}

/// The answer to a request that is no gRPC call. Source: gRPC over HTTP/2, "Content-Type".
fn not_grpc(request: &Request<RecvStream>) -> Option<Response<()>> {
    let content_type = request.headers().get(http::header::CONTENT_TYPE);
    let is_grpc = content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    let code = match (request.method() == Method::POST, is_grpc) {
        (true, true) => return None,
        (true, false) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        (false, _) => StatusCode::METHOD_NOT_ALLOWED,
    };
    let mut response = Response::new(());
    *response.status_mut() = code;
    Some(response)
}

/// A call that waits.
struct Call {
    respond: SendResponse<Bytes>,
    /// What it reads, once it has passed the barrier; `None` if it waits for a command.
    read: Option<Box<Range>>,
    /// For the log and the metrics, once it has its answer.
    asked: Asked,
}

/// Calls that wait for their outcome, by token.
#[derive(Default)]
struct Waiting {
    calls: Vec<Option<Call>>,
    free: Vec<u32>,
}

impl Waiting {
    /// Gives the call back if too many wait: those that a client took back wait too, until their outcome comes.
    fn insert(&mut self, call: Call) -> Result<u64, Call> {
        if let Some(free) = self.free.pop() {
            self.calls[free as usize] = Some(call);
            return Ok(u64::from(free));
        }
        match u32::try_from(self.calls.len()) {
            Ok(token) if token < STREAMS_MAX => {
                self.calls.push(Some(call));
                Ok(u64::from(token))
            }
            _ => Err(call),
        }
    }

    fn remove(&mut self, token: u64) -> Option<Call> {
        let token = u32::try_from(token).ok()?;
        let call = self.calls.get_mut(token as usize)?.take()?;
        self.free.push(token);
        Some(call)
    }
}
