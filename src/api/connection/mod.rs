//! Connections: from a socket's bytes to calls, and back.
//!
//! ```text
//! accept -> a handshake, if TLS is spoken -> the first bytes tell HTTP/2 (gRPC) from HTTP/1.1 (version, health, the gateway);
//!           what the listener is not for is closed
//!   HTTP/2    one task owns the connection (`http2`). It accepts streams and splits them by path:
//!               hot calls (Put, Range, DeleteRange, Txn) are handled in this task, without a task, channel or boxed
//!               future each; their outcomes come back through one queue that wakes the task once per apply run
//!               all others go to the ordinary services, each in a task of its own (`call`)
//!             frames are gathered and written once per turn of the task (`coalesced`)
//!   HTTP/1.1  hyper and a router
//! the gateway -> HTTP/2 over a pipe in memory, one for each listener
//! ```
//!
//! Everything that a client can make grow has a bound: streams, header lists, messages, frames on their way out, the time
//! until the first bytes come, pings (`ping_strikes`), calls that are taken back (`reset_budget`). A client that says nothing
//! is pinged itself (`keepalive`). Connections have places, as many as the system has file descriptors for; those that have
//! not said anything yet wait in a lobby, from which they go when it is full.

mod body;
mod call;
mod coalesced;
mod http1;
mod http2;
mod keepalive;
mod ping_strikes;
mod reset_budget;
#[cfg(test)]
mod tests;
mod traffic;

use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::http2::OtherEnd;
use super::grpc::request_log::RequestLog;
use super::grpc::{self, Api};
use super::http::gateway::Gateway;
use super::{Front, MESSAGE_BYTES_SPARE, Traffic, http};
use crate::net::{Admitted, Io, Listener, Lobby, LobbyPlace, Protocol, SecurePeer, Security, Socket, first_bytes};

/// How long a connection may take to show what it speaks.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(10);
/// The same once the server stops.
const LAST_FIRST_BYTES_TIMEOUT: Duration = Duration::from_millis(100);
/// Connections that are let in after the server was told to stop: those that the system held ready.
const LAST_ACCEPTED_MAX: usize = 1024;
/// How long accepting pauses when the system is out of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What of the gateway's calls and their answers is in the pipe that they take.
const PIPE_BYTES: usize = 64 * 1024;

/// What all connections of a listener share.
#[derive(Clone)]
struct Shared {
    /// What the listener is for.
    traffic: Traffic,
    lobby: Lobby,
    api: Api,
    services: grpc::Services,
    router: axum::Router,
    /// Connections end, each when its calls have.
    leave: CancellationToken,
    /// What is told of requests; of one connection with who asks.
    log: RequestLog,
    /// Of one connection: what TLS tells of its other side; `None` without TLS.
    peer: Option<SecurePeer>,
}

/// Serves clients until `stop`, and then until their calls have ended. Dropping the future cuts off who is left.
pub(super) async fn serve(
    (listener, security, traffic): (Listener, Security, Traffic),
    api: Api,
    front: Front,
    stop: CancellationToken,
) {
    let mut connections = JoinSet::new();
    let shared = share(traffic, api, &front, &mut connections).await;
    let places = front.places;
    let serve = |socket, place| {
        let connected = connect(socket, security.clone(), shared.clone());
        async move {
            connected.await;
            drop(place);
        }
    };
    // Accepted before it has a place: a listener that nobody comes to takes none from the others.
    let mut next = None;
    loop {
        tokio::select! {
            accepted = listener.accept(), if next.is_none() => match accepted {
                Ok(socket) => next = Some(socket),
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            place = Semaphore::acquire_owned(places.clone()), if next.is_some() => {
                let socket = next.take().expect("it was looked at");
                connections.spawn(serve(socket, place.expect("it is never closed")));
            }
            // Ended connections are let go of as they end.
            Some(_) = connections.join_next() => {}
            () = stop.cancelled() => break,
        }
    }
    // A client that the system has let in already is answered too.
    for _ in 0..LAST_ACCEPTED_MAX {
        let Ok(place) = places.clone().try_acquire_owned() else { break };
        let accepted = next.take().map_or_else(|| listener.accept().now_or_never()?.ok(), Some);
        let Some(socket) = accepted else { break };
        connections.spawn(serve(socket, place));
    }
    // Before anybody is told to go: who comes back at once is to be refused, not to be let in and then cut off.
    drop(listener);
    shared.leave.cancel();
    while connections.join_next().await.is_some() {}
}

/// Makes what connections share. The gateway has a connection too, which is served as any other.
async fn share(traffic: Traffic, api: Api, front: &Front, connections: &mut JoinSet<()>) -> Shared {
    let access = &front.access;
    let (services, leave) = (grpc::routes(&api), CancellationToken::new());
    let log = RequestLog::new(api.limits.slow);
    let share = |gateway| {
        let router = match traffic {
            Traffic::Metrics => http::metrics_router(api.node.clone()),
            Traffic::GrpcAndHttp | Traffic::Grpc | Traffic::Http => {
                http::router(api.node.clone(), access.clone(), gateway)
            }
        };
        let (lobby, api, leave, log) = (front.lobby.clone(), api.clone(), leave.clone(), log.clone());
        Shared { traffic, lobby, api, services, router, leave, log, peer: None }
    };
    let has_gateway = match traffic {
        Traffic::GrpcAndHttp | Traffic::Http => access.gateway,
        Traffic::Grpc | Traffic::Metrics => false,
    };
    if !has_gateway {
        return share(None);
    }
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let message_bytes_max = api.limits.request_bytes_max + MESSAGE_BYTES_SPARE;
    let over = Gateway::over(near, message_bytes_max, leave.clone()).await;
    let (gateway, calls) = over.expect("the other end of the pipe is open");
    let shared = share(Some(gateway));
    let served = Shared { traffic: Traffic::Grpc, ..shared.clone() };
    connections.spawn(calls);
    connections.spawn(async { tell(http2::serve(far, served, OtherEnd::Gateway).await) });
    shared
}

/// Serves one connection to its end, once it is let in.
async fn connect(socket: Socket, security: Security, shared: Shared) {
    let shared = Shared { log: shared.log.of(socket.remote()), ..shared };
    let lobby = shared.lobby.enter();
    let admitted = tokio::select! {
        admitted = security.admit(socket) => admitted,
        () = no_longer_waited_for(&shared, &lobby) => return,
    };
    match admitted {
        Ok(Admitted::Plain(socket)) => converse(socket, shared, lobby).await,
        Ok(Admitted::Tls(stream, peer)) => converse(stream, Shared { peer: Some(peer), ..shared }, lobby).await,
        Err(rejected) => {
            if let Some(rejected) = rejected {
                rejected.log("rejected connection on client endpoint");
            }
        }
    }
}

/// Waits until a connection that shows nothing has to go: the server stops, or others need its place in the lobby.
async fn no_longer_waited_for(shared: &Shared, lobby: &LobbyPlace) {
    let stopping = async {
        shared.leave.cancelled().await;
        tokio::time::sleep(LAST_FIRST_BYTES_TIMEOUT).await;
    };
    tokio::select! {
        () = stopping => {}
        () = lobby.shown_out() => tracing::debug!("a connection that said nothing made room for another"),
    }
}

/// Serves what speaks HTTP. How it ends is the client's business: nothing is logged above debug.
async fn converse(socket: impl Io, shared: Shared, lobby: LobbyPlace) {
    let first = tokio::select! {
        first = tokio::time::timeout(FIRST_BYTES_TIMEOUT, first_bytes(socket)) => first,
        () = no_longer_waited_for(&shared, &lobby) => return,
    };
    drop(lobby);
    let Ok(first) = first else { return };
    let traffic = shared.traffic;
    let ended = match first {
        Ok((Protocol::Http1, _)) if !traffic.has_http() => Err("it speaks plain HTTP where only gRPC is served".into()),
        // With TLS the handshake may have led to it.
        Ok((Protocol::Http2, _)) if !traffic.has_grpc() && shared.peer.is_none() => {
            Err("it speaks HTTP/2 where only plain HTTP is served".into())
        }
        Ok((Protocol::Http2, io)) => {
            // Source: etcd, whose gRPC over TLS comes through Go's HTTP server, which lets clients ping.
            let ping_gap_min = shared.peer.is_none().then_some(shared.api.limits.keepalive.ping_gap_min);
            http2::serve(io, shared, OtherEnd::Client { ping_gap_min }).await
        }
        Ok((Protocol::Http1, io)) => http1::serve(io, shared).await,
        Err(error) => Err(error.into()),
    };
    tell(ended);
}

fn tell(ended: Ended) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended badly");
    }
}

/// Why a connection ended, if not in order.
type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;
