//! Calls that the gateway makes, and the connection on which it makes them.
//!
//! It is a client of its own server: a pipe in memory leads to the same code that serves a connection of the network, so
//! there is one way in for all calls, with one set of checks, limits and errors. Nothing about the pipe says who calls;
//! only the metadata of a call does.
//!
//! All calls of a listener share one connection, and with it the bound on calls at a time, as in etcd: one too many waits
//! until another ends. What one client does not take waits in the window of its own call, and holds up nobody else.

use axum::body::Body;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost_reflect::MethodDescriptor;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::messages::broken_off;
use crate::api::grpc::{PREFIX_BYTES, status};
use crate::net::Io;

/// What of one answer may wait here until the client takes it.
const CALL_WINDOW_BYTES: u32 = 128 * 1024;
/// The same for all calls together: as much as HTTP/2 can say, so that only a call's own window holds it up.
const CONNECTION_WINDOW_BYTES: u32 = i32::MAX as u32;

/// Makes calls; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    requests: http2::SendRequest<Body>,
    /// The server stops.
    leave: CancellationToken,
}

impl Caller {
    /// Makes calls over `io`; the future keeps the connection going until it ends.
    pub(super) async fn over(
        io: impl Io,
        leave: CancellationToken,
    ) -> Result<(Caller, impl Future<Output = ()>), hyper::Error> {
        let (requests, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(CALL_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .handshake(TokioIo::new(Box::pin(io)))
            .await?;
        let connection = async {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the gateway's connection ended badly");
            }
        };
        Ok((Caller { requests, leave }, connection))
    }

    /// Makes a call; gives the answer when its head has come. Dropping the answer takes the call back.
    ///
    /// # Errors
    /// If the connection has ended.
    pub(super) async fn call(
        &self,
        method: &MethodDescriptor,
        metadata: HeaderMap,
        messages: Body,
    ) -> Result<Response<Incoming>, Status> {
        let (service, name) = (method.parent_service().full_name(), method.name());
        let mut request = Request::post(format!("http://gateway/{service}/{name}"))
            .body(messages)
            .map_err(|error| Status::internal(error.to_string()))?;
        *request.headers_mut() = metadata;
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        self.requests
            .clone()
            .send_request(request)
            .await
            .map_err(|error| if self.leave.is_cancelled() { status::STOPPED.into() } else { broken_off(&error) })
    }
}

/// A message as it travels.
///
/// # Errors
/// If it is longer than gRPC can say.
pub(super) fn framed(message: &[u8]) -> Result<Bytes, Status> {
    let length = u32::try_from(message.len()).map_err(|_| Status::resource_exhausted("the message is too large"))?;
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    out.put_u8(0);
    out.put_u32(length);
    out.put_slice(message);
    Ok(out.freeze())
}
