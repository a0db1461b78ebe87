//! The JSON gateway: every call of etcd's API as a POST of JSON to a path below `/v3/`.
//!
//! ```text
//!   path    ── routes ───> the call
//!   headers ── metadata ─> its metadata                                 ┌> unary: one value
//!   body    ── values ───> JSON values ── read ──> messages ── call ────┤
//!                          (scan finds where one ends)       the server └> stream: lines
//!   answer  <── messages ── write ── JSON          failed: refusal         websocket: frames
//! ```
//!
//! It is a front of the gRPC server and knows none of its calls: names come from the descriptors of the contract, the call
//! itself is made over a connection in memory (`call`), and what goes wrong is told in the server's words. Nothing is
//! ever held whole that has no bound: a request's value has one, and an answer becomes text piece by piece ([`write`]).
//!
//! What it takes and says, to the blanks, is what `grpc-gateway` does with the options that etcd gives it; where it differs
//! is in `docs/compatibility.md`.

#[doc(hidden)]
pub mod any_bytes;
mod call;
mod messages;
mod metadata;
mod number;
mod read;
mod refusal;
#[cfg(test)]
mod roundtrip;
mod routes;
mod scan;
mod stream;
mod token;
mod unary;
mod values;
mod websocket;
mod write;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use percent_encoding::percent_decode_str;
use prost_reflect::MethodDescriptor;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use self::call::Caller;
use self::values::Values;
use crate::api::grpc::status::deadline_exceeded;
use crate::net::Io;

/// What every path of the gateway begins with.
pub(super) const PREFIX: &str = "/v3/";
const JSON: &str = "application/json";
/// How much longer a value may be than the message that it is: base64 takes a third more, names of fields the rest.
const VALUE_BYTES_PER_MESSAGE_BYTE: usize = 2;
/// What is put before the names of headers that an answer has as a call.
const OF_CALL: &str = "grpc-metadata-";

/// Answers requests below [`PREFIX`]; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    caller: Caller,
    /// The bytes that one JSON value may take.
    value_bytes_max: usize,
}

/// A call that a request asks for.
struct Asked {
    method: &'static MethodDescriptor,
    metadata: HeaderMap,
    /// When the client does not wait any longer.
    deadline: Option<Instant>,
    values: Values,
}

impl Gateway {
    /// Makes calls over `io`, of messages that may have so many bytes; the future keeps the connection going.
    ///
    /// # Errors
    /// If nobody is at the other end.
    pub(crate) async fn over(
        io: impl Io,
        message_bytes_max: usize,
        leave: CancellationToken,
    ) -> Result<(Gateway, impl Future<Output = ()>), hyper::Error> {
        let (caller, connection) = Caller::over(io, leave).await?;
        let value_bytes_max = message_bytes_max.saturating_mul(VALUE_BYTES_PER_MESSAGE_BYTE);
        Ok((Gateway { caller, value_bytes_max }, connection))
    }

    /// Answers a request whose path begins with [`PREFIX`].
    pub(super) async fn answer(&self, request: Request) -> Response {
        if websocket::is_asked_for(&request) {
            return websocket::upgrade(self.clone(), request).await;
        }
        self.post(request).await
    }

    /// Answers a request that asks for no other protocol.
    async fn post(&self, request: Request) -> Response {
        match self.asked(request) {
            Ok(asked) if asked.method.is_server_streaming() => self.stream(asked).await,
            Ok(asked) => self.unary(asked).await,
            Err(status) => refusal::of(&status),
        }
    }

    /// Finds out what is asked for, but for the messages.
    fn asked(&self, request: Request) -> Result<Asked, Status> {
        let (head, body) = request.into_parts();
        let path = percent_decode_str(head.uri.path()).decode_utf8().ok();
        let found = path.as_deref().and_then(|path| path.strip_prefix(PREFIX)).and_then(routes::find);
        let method = found.ok_or_else(|| Status::not_found("Not Found"))?;
        if head.method != Method::POST {
            return Err(Status::unimplemented("Method Not Allowed"));
        }
        let timeout = metadata::timeout(&head.headers)?;
        let metadata = metadata::of(&head.headers)?;
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(deadline_exceeded());
        }
        Ok(Asked {
            method,
            metadata,
            deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            values: Values::new(body, self.value_bytes_max),
        })
    }
}

/// An answer of JSON to a call that went well, with what its head has to say.
fn response(of_call: &HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    for (name, value) in of_call {
        if let Ok(name) = HeaderName::from_bytes(format!("{OF_CALL}{name}").as_bytes()) {
            headers.append(name, value.clone());
        }
    }
    response
}

/// The message of a JSON value, as it travels; an empty one if there is no value.
fn request_message(value: Option<&Bytes>, method: &MethodDescriptor) -> Result<Bytes, Status> {
    let Some(value) = value else { return call::framed(&[]) };
    let message = read::message(value, &method.input());
    call::framed(&message.map_err(|error| Status::invalid_argument(error.to_string()))?)
}

/// Waits for something no longer than the client waits.
async fn by<T>(deadline: Option<Instant>, future: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let Some(deadline) = deadline else { return future.await };
    // What is over before it begins is not begun: a future is polled before its time is looked at.
    if deadline <= Instant::now() {
        return Err(deadline_exceeded());
    }
    let answer = tokio::time::timeout_at(deadline, future).await;
    answer.unwrap_or_else(|_| Err(deadline_exceeded()))
}
