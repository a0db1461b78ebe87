//! What the listeners for other members answer over plain HTTP.
//!
//! etcd's own peer protocol is not spoken here. `/version` and `/members` are for operators and tools.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{answer, get_only, not_found, reason, version};
use crate::api::Listener;
use crate::node::{Consistency, Node};

/// Connections at a time; more wait in the system's queue. They are few and short.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may take to say what it wants: nobody may hold a place for nothing.
const HEADERS_TIME_MAX: Duration = Duration::from_secs(10);
/// After an accept that failed, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves other members until `stop`.
pub async fn serve_peers(listener: Listener, node: Node, stop: CancellationToken) {
    let router = router(node);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        // Ended connections are forgotten in passing, so that the set stays as small as the number of places.
        while connections.try_join_next().is_some() {}
        let accepted = async {
            let place = places.clone().acquire_owned().await.expect("it is never closed");
            (accept(&listener).await, place)
        };
        let (stream, place) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepted => accepted,
        };
        match stream {
            Ok(stream) => {
                let router = router.clone();
                connections.spawn(async move {
                    let _place = place;
                    // Errors are those of the other side: it went away, or spoke something else.
                    match stream {
                        Stream::Tcp(stream) => drop(serve_one(stream, router).await),
                        Stream::Unix(stream) => drop(serve_one(stream, router).await),
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of another member");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // What is under way is cut: every answer is short.
    connections.shutdown().await;
}

enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

async fn accept(listener: &Listener) -> std::io::Result<Stream> {
    match listener {
        Listener::Tcp(listener) => Ok(Stream::Tcp(listener.accept().await?.0)),
        Listener::Unix(listener) => Ok(Stream::Unix(listener.accept().await?.0)),
    }
}

async fn serve_one<S>(stream: S, router: Router) -> Result<(), hyper::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIME_MAX)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await
}

fn router(node: Node) -> Router {
    Router::new()
        .route("/version", get_only(version))
        .route("/members", get_only(members))
        .fallback(not_found)
        .with_state(node)
}

/// A member as etcd's peers write it.
#[derive(Serialize)]
struct JsonMember {
    id: u64,
    #[serde(rename = "peerURLs")]
    peer_urls: Vec<String>,
    #[serde(rename = "isLearner", skip_serializing_if = "std::ops::Not::not")]
    is_learner: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(rename = "clientURLs", skip_serializing_if = "Vec::is_empty")]
    client_urls: Vec<String>,
}

async fn members(State(node): State<Node>) -> Response {
    let members = match node.members(Consistency::Serializable).await {
        Ok(members) => members,
        Err(error) => return super::error(StatusCode::INTERNAL_SERVER_ERROR, &reason(&error)),
    };
    let mut members: Vec<JsonMember> = members
        .into_iter()
        .map(|member| JsonMember {
            id: member.id.0,
            peer_urls: member.peer_urls,
            is_learner: member.is_learner,
            name: member.name,
            client_urls: member.client_urls,
        })
        .collect();
    members.sort_by(|a, b| a.peer_urls.cmp(&b.peer_urls));
    let mut body = serde_json::to_string(&members).expect("texts and numbers have a JSON form");
    body.push('\n');
    let mut response = answer(StatusCode::OK, "application/json", body);
    let cluster = HeaderValue::from_str(&node.header().cluster.to_string()).expect("hexadecimal digits are legal");
    response.headers_mut().insert(HeaderName::from_static("x-etcd-cluster-id"), cluster);
    response
}
