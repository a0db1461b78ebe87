//! What the listeners for other members answer over plain HTTP.
//!
//! etcd's own peer protocol is not spoken here. `/version` and `/members` are for operators and tools, and for members
//! that join; the connections they come on are the peer transport's.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::member_list::MemberList;
use super::{get_only, not_found, reason, version};
use crate::node::{Consistency, Node};

/// What other members, operators and tools get that speak plain HTTP to peer URLs.
pub fn peer_router(node: Node) -> Router {
    Router::new()
        .route("/version", get_only(version))
        .route("/members", get_only(members))
        .fallback(not_found)
        .with_state(node)
}

async fn members(State(node): State<Node>) -> Response {
    match node.members(Consistency::Serializable).await {
        Ok(members) => MemberList {
            cluster: node.header().cluster,
            members,
            lodemark_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        }
        .into_response(),
        Err(error) => super::error(StatusCode::INTERNAL_SERVER_ERROR, &reason(&error)),
    }
}
