//! Connections: from a socket's bytes to calls, and back.
//!
//! ```text
//! accept -> the first bytes tell HTTP/2 (gRPC) from HTTP/1.1 (version, health)
//!   HTTP/2    one task owns the connection (`http2`). It accepts streams and splits them by path:
//!               hot calls (Put, Range, DeleteRange, Txn) are handled in this task, without a task, channel or boxed
//!               future each; their outcomes come back through one queue that wakes the task once per apply run
//!               all others go to the ordinary services, each in a task of its own (`call`)
//!             frames are gathered and written once per turn of the task (`coalesced`)
//!   HTTP/1.1  hyper and a router
//! ```
//!
//! Everything that a client can make grow has a bound: streams, header lists, messages, frames on their way out, the time
//! until the first bytes come.

mod body;
mod call;
mod coalesced;
mod http1;
mod http2;
mod keepalive;

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::grpc::{self, Api};
use super::http;
use crate::net::{Io, Listener, Protocol, first_bytes};

/// How long a connection may take to show what it speaks.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(10);
/// How long accepting pauses when the system is out of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all connections of a listener share.
#[derive(Clone)]
struct Shared {
    api: Api,
    services: grpc::Services,
    router: axum::Router,
    stop: CancellationToken,
}

/// Serves clients until `stop`; then lets their calls end by themselves for at most `drain`, and cuts what is left.
pub(super) async fn serve(listener: Listener, api: Api, stop: CancellationToken, drain: Duration) {
    let services = grpc::routes(&api);
    let router = http::router(api.node.clone());
    let shared = Shared { api, services, router, stop: stop.clone() };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(socket) => drop(connections.spawn(connect(socket, shared.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            // Ended connections are let go of as they end.
            Some(_) = connections.join_next() => {}
            () = stop.cancelled() => break,
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(drain, drained).await.is_err() {
        connections.shutdown().await;
    }
}

/// Serves one connection to its end. How it ends is the client's business: nothing is logged above debug.
async fn connect(socket: impl Io, shared: Shared) {
    let Ok(first) = tokio::time::timeout(FIRST_BYTES_TIMEOUT, first_bytes(socket)).await else { return };
    let ended = match first {
        Ok((Protocol::Http2, io)) => http2::serve(io, shared).await,
        Ok((Protocol::Http1, io)) => http1::serve(io, shared).await,
        Err(error) => Err(error.into()),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended badly");
    }
}

/// Why a connection ended, if not in order.
type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;
