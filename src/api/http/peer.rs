//! What the listeners for other members answer over plain HTTP.
//!
//! etcd's own peer protocol is not spoken here. `/version` and `/members` are for operators and tools, and for members
//! that join; the connections they come on are the peer transport's.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::member_list::{MemberList, put_cluster_id};
use super::{answer, get_only, not_found, reason, version};
use crate::node::{Consistency, Node};

/// What other members, operators and tools get that speak plain HTTP to peer URLs.
pub fn peer_router(node: Node) -> Router {
    Router::new()
        .route("/version", get_only(version))
        .route("/members", get_only(members))
        .route("/downgrade/enabled", get_only(downgrade_enabled))
        .fallback(not_found)
        .with_state(node)
}

/// Whether a downgrade is under way.
async fn downgrade_enabled(State(node): State<Node>) -> Response {
    let mut response = match node.is_downgrading().await {
        Ok(enabled) => answer(StatusCode::OK, "text/plain", enabled.to_string()),
        Err(error) => {
            let why = format!("failed linearized read: {}", reason(&error));
            super::error(StatusCode::INTERNAL_SERVER_ERROR, &why)
        }
    };
    put_cluster_id(&mut response, node.header().cluster);
    response
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
