//! Plain HTTP: what probes, load balancers and people with curl ask.
//!
//! | path | answer |
//! | --- | --- |
//! | `/version` | the version, as JSON |
//! | `/health` | whether this member can serve, as JSON |
//! | `/livez`, `/readyz` | the same for Kubernetes: lists of checks as text |
//! | `/metrics` | what the member is doing, for Prometheus; by any method |
//! | `/debug/vars`, `/debug/pprof/` | how the process was started; where to look instead of a Go profile |
//! | `/v3/...` | every gRPC call as JSON: [`gateway`] |
//!
//! Everything but the last is a GET; anything else is 405 with `Allow`, an unknown path 404. Before that comes what holds
//! for all paths, in this order: whether the server goes by that name, which origins may read the answer (`access`),
//! OPTIONS.
//!
//! Other members have a small set of paths of their own: [`peer_router`]; so have listeners for metrics alone.
//!
//! Source: etcd, `server/etcdserver/api/etcdhttp`.

mod access;
mod checks;
mod debug;
pub mod gateway;
mod health;
mod member_list;
mod metrics;
mod peer;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::handler::Handler;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, any, get};
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};

pub use self::access::{Access, Listed, Profiling};
use self::gateway::Gateway;
pub use self::member_list::{MemberList, MemberListError};
pub use self::peer::peer_router;
use super::{ETCD_VERSION, STORAGE_VERSION};
use crate::model::{KeyRange, Range};
use crate::net::SecurePeer;
use crate::node::{Node, NodeError};

/// The parameters after `?`, in order; the same one may come several times.
type Parameters = Query<Vec<(String, String)>>;

/// The former name of [`gateway::PREFIX`].
const BETA_PREFIX: &str = "/v3beta/";

/// How much of a refused request is read, and for how long.
const DRAINED_BYTES_MAX: usize = 64 * 1024;
const DRAINING_TIME_MAX: Duration = Duration::from_secs(1);
/// Said to whoever shows a certificate with a name to the gateway, where it would not tell who asks. Source: etcd,
/// `server/embed/serve.go`.
const NAME_IS_IGNORED: &str =
    "CommonName of client sending a request against gateway will be ignored and not used as expected";

/// What every request passes before its path counts.
#[derive(Debug, Clone)]
struct Door {
    node: Node,
    access: Arc<Access>,
    gateway: Option<Gateway>,
}

/// What clients get that speak plain HTTP.
pub(crate) fn router(node: Node, access: Arc<Access>, gateway: Option<Gateway>) -> Router {
    let profiling = access.profiling;
    // Around the routes, not in them: those would tell OPTIONS which methods they have.
    let door = middleware::from_fn_with_state(Door { node: node.clone(), access, gateway }, pass);
    Router::new().fallback_service(routes(node, profiling)).layer(door)
}

/// Lets a request in, and leads it to the gateway or to the other paths.
async fn pass(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    // Whoever comes over TLS has found the name in the certificate.
    let peer = request.extensions().get::<SecurePeer>().cloned();
    if peer.is_none()
        && let Err(refused) = door.access.admit(&request)
    {
        drain(request).await;
        return *refused;
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    leave_beta(request.uri_mut());
    let mut response = match &door.gateway {
        _ if request.method() == Method::OPTIONS => Response::new(Body::empty()),
        Some(gateway) if request.uri().path().starts_with(gateway::PREFIX) => {
            let has_name = peer.and_then(|peer| peer.common_name).is_some_and(|name| !name.is_empty());
            if has_name && door.node.is_auth_enabled() {
                drain(request).await;
                error(StatusCode::BAD_REQUEST, NAME_IS_IGNORED)
            } else {
                gateway.answer(request).await
            }
        }
        Some(_) | None => next.run(request).await,
    };
    door.access.allow_origin(origin.as_ref(), response.headers_mut());
    response
}

/// Reads what a refused request still sends, within bounds: some clients take an answer for a fault of the connection that
/// comes before they have sent everything.
async fn drain(request: Request) {
    let read = axum::body::to_bytes(request.into_body(), DRAINED_BYTES_MAX);
    let _ = tokio::time::timeout(DRAINING_TIME_MAX, read).await;
}

/// Makes a path of the gateway's former name one of today's.
fn leave_beta(uri: &mut Uri) {
    let Some(rest) = uri.path_and_query().and_then(|path| path.as_str().strip_prefix(BETA_PREFIX)) else { return };
    let Ok(path) = PathAndQuery::try_from(format!("{}{rest}", gateway::PREFIX)) else { return };
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(path);
    *uri = Uri::from_parts(parts).expect("another path fits the same authority");
}

fn routes(node: Node, profiling: Profiling) -> Router {
    let routes = probes().route("/version", get_only(version)).route("/debug/vars", get_only(debug::vars));
    let routes = match profiling {
        Profiling::Off => routes,
        Profiling::On => {
            routes.route("/debug/pprof/", any(debug::profiles)).route("/debug/pprof/{profile}", any(debug::profiles))
        }
    };
    routes.fallback(not_found).with_state(node)
}

/// What those get that watch over this member, where it listens for them alone (`--listen-metrics-urls`). No name of the
/// server is wrong there, and no origin is told anything.
pub(crate) fn metrics_router(node: Node) -> Router {
    probes().fallback(not_found).with_state(node)
}

/// How this member is.
fn probes() -> Router<Node> {
    Router::new()
        .route("/health", get_only(health::health))
        .route("/metrics", any(metrics::metrics))
        .route("/livez", get_only(checks::livez))
        .route("/livez/{check}", any(checks::livez_check))
        .route("/readyz", get_only(checks::readyz))
        .route("/readyz/{check}", any(checks::readyz_check))
}

/// Answers GET; not HEAD either.
fn get_only<T: 'static>(handler: impl Handler<T, Node>) -> MethodRouter<Node> {
    get(handler).head(method_not_allowed).fallback(method_not_allowed)
}

async fn version(State(node): State<Node>) -> Response {
    let cluster = node.cluster_version();
    let body = format!(r#"{{"etcdserver":"{ETCD_VERSION}","etcdcluster":"{cluster}","storage":"{STORAGE_VERSION}"}}"#);
    answer(StatusCode::OK, "application/json", body)
}

async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "404 page not found")
}

async fn method_not_allowed() -> Response {
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
    response
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Answers with a text and a newline, as Go's `http.Error` does.
fn error(status: StatusCode, text: &str) -> Response {
    plain(status, format!("{text}\n"))
}

fn plain(status: StatusCode, body: String) -> Response {
    let mut response = answer(status, "text/plain; charset=utf-8", body);
    forbid_sniffing(response.headers_mut());
    response
}

fn forbid_sniffing(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// Tries a read of one key, which need not be there.
async fn try_read(node: &Node, serializable: bool) -> Result<(), NodeError> {
    let key = KeyRange::single(Bytes::new());
    let query = Range { limit: 1, serializable, keys_only: true, ..Range::of(key) };
    node.range(&query).await.map(|_| ())
}

/// The error of a read as etcd would word it.
fn reason(error: &NodeError) -> String {
    match error {
        NodeError::NoLeader
        | NodeError::LeaderChanged
        | NodeError::Timeout
        | NodeError::TimeoutLeaderFailed
        | NodeError::TimeoutConnectionLost
        | NodeError::TooManyRequests
        | NodeError::Stopped => format!("etcdserver: {error}"),
        NodeError::Rejected(_)
        | NodeError::Compacted { .. }
        | NodeError::FutureRevision { .. }
        | NodeError::NotEnoughStarted
        | NodeError::Unhealthy
        | NodeError::LearnerNotReady
        | NodeError::NotLeader
        | NodeError::BadDowngradeTarget
        | NodeError::Downgrading
        | NodeError::NoDowngrade
        | NodeError::BadTransferee
        | NodeError::NotProposed
        | NodeError::RequestTooLarge
        | NodeError::NoSpace
        | NodeError::Fault(_) => error.to_string(),
    }
}
