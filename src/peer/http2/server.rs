//! The listeners for other members.
//!
//! A port may be reached by anybody: every connection has a place among [`CONNECTIONS_MAX`] and a deadline until it has
//! shown what it wants; after that it must answer pings (HTTP/2) or ask something (HTTP/1.1). Those that have not shown it
//! wait in a lobby that takes a part of the places: strangers who say nothing keep no member out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection;
use super::refusal_log::RefusalLog;
use crate::net::{Io, Listener, Lobby, Protocol, Rewound, Socket, Tls, first_bytes};
use crate::peer::Handler;

/// Connections at a time; more wait in the system's queue. Members have two each, the rest is for people and tools.
const CONNECTIONS_MAX: usize = 256;
/// Connections at a time that have not shown yet what they want.
const LOBBY_PLACES: usize = 128;
/// How long a connection may take to say what it wants: nobody may hold a place for nothing.
pub(super) const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(10);
/// After an accept that failed, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all connections of a listener share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) plain: Router,
    pub(super) refusals: Arc<RefusalLog>,
    /// What is under way in the handler.
    pub(super) answers: TaskTracker,
    tls: Option<Tls>,
    lobby: Lobby,
}

/// Serves other members until `stop`: their requests go to `handler`, everything else that is HTTP goes to `plain`. With
/// `tls` nothing else is spoken. When it returns, no future of the handler is left.
pub async fn serve(
    listener: Listener,
    handler: Arc<dyn Handler>,
    plain: Router,
    tls: Option<Tls>,
    stop: CancellationToken,
) {
    let (answers, lobby) = (TaskTracker::new(), Lobby::new(LOBBY_PLACES));
    let shared = Shared { handler, plain, refusals: Arc::default(), answers, tls, lobby };
    let answers = shared.answers.clone();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        // Ended connections are forgotten in passing, so that the set stays as small as the number of places.
        while connections.try_join_next().is_some() {}
        let accepted = async {
            let place = places.clone().acquire_owned().await.expect("it is never closed");
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok(socket) => {
                let shared = shared.clone();
                connections.spawn(async move {
                    let _place = place;
                    connect(socket, shared).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of another member");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    // What is under way is cut: members know what to make of a connection that broke.
    connections.shutdown().await;
    answers.close();
    answers.wait().await;
}

/// Serves one connection to its end. How it ends is the other side's business: nothing is logged above debug but
/// rejections.
async fn connect(socket: Socket, shared: Shared) {
    let remote = socket.remote();
    let lobby = shared.lobby.enter();
    let first = tokio::select! {
        first = show(socket, shared.tls.as_ref()) => first,
        () = lobby.shown_out() => return,
    };
    drop(lobby);
    let Some(first) = first else { return };
    let ended = match first {
        Ok((Protocol::Http2, io)) => connection::serve(io, remote.clone(), shared).await,
        Ok((Protocol::Http1, io)) => plain(io, shared.plain).await.map_err(Into::into),
        Err(error) => Err(error.into()),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "remote-addr" = remote, "a connection of another member ended badly");
    }
}

/// Does the handshake, if there is to be one, and waits for the first bytes; `None` if that took too long or was refused.
async fn show(socket: Socket, tls: Option<&Tls>) -> Option<io::Result<(Protocol, Rewound<Box<dyn Io>>)>> {
    let io: Box<dyn Io> = match tls {
        None => Box::new(socket),
        Some(tls) => match tls.accept(socket).await {
            Ok(stream) => Box::new(stream),
            Err(rejected) => {
                rejected.log("rejected connection on peer endpoint");
                return None;
            }
        },
    };
    timeout(FIRST_BYTES_TIMEOUT, first_bytes(io)).await.ok()
}

async fn plain(io: impl Io, router: Router) -> Result<(), hyper::Error> {
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(FIRST_BYTES_TIMEOUT)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(router))
        .await
}
