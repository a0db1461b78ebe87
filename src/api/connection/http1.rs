//! HTTP/1.1: version, health, the JSON gateway.

use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;

use super::{Ended, Shared};
use crate::net::Io;

/// How long a request's head may take to come.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves one connection to its end, or until the server stops and the request at hand is answered.
pub(super) async fn serve(io: impl Io, shared: Shared) -> Ended {
    let router = match shared.peer {
        Some(peer) => shared.router.layer(axum::Extension(peer)),
        None => shared.router,
    };
    let service = TowerToHyperService::new(router);
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return Ok(ended?),
        () = shared.leave.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}
