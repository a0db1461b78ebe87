//! What every call has to pass before it is looked at, and what ends a stream from outside.
//!
//! Source: etcd, `server/etcdserver/api/v3rpc/interceptor.go`.

use std::time::Duration;

use http::HeaderMap;
use tonic::Status;

use super::status;
use crate::model::Range;
use crate::node::Node;

/// Tells the version of the client's library.
const CLIENT_API_VERSION: &str = "client-api-version";
/// `true`: answer only while a leader is known.
const HAS_LEADER: &str = "hasleader";

const RANGE: &str = "/etcdserverpb.KV/Range";
/// What a member without a vote answers; ranges too, if [`admit_range`] agrees.
const ANSWERED_BY_LEARNERS: [&str; 3] =
    [RANGE, "/etcdserverpb.Maintenance/Status", "/etcdserverpb.Maintenance/Snapshot"];

/// How often a stream that needs a leader looks for one; etcd's default election timeout.
const LEADER_LOOK_PERIOD: Duration = Duration::from_secs(1);
/// Looks in a row without a leader that end such a stream. Source: etcd, `maxNoLeaderCnt`.
const LEADERLESS_LOOKS_MAX: u32 = 3;

/// Lets a call in, or refuses it: first what a member without a vote does not answer, then metadata that is no text, then
/// a call that needs a leader while none is known.
///
/// # Errors
/// The refusal.
pub(crate) fn admit(node: &Node, path: &str, headers: &HeaderMap) -> Result<(), Status> {
    if !ANSWERED_BY_LEARNERS.contains(&path) && node.is_learner() {
        return Err(status::NOT_SUPPORTED_FOR_LEARNER.into());
    }
    // A header value may hold any byte above 0x7f.
    if headers.get(CLIENT_API_VERSION).is_some_and(|version| std::str::from_utf8(version.as_bytes()).is_err()) {
        return Err(status::INVALID_CLIENT_API_VERSION.into());
    }
    if needs_leader(headers) && !node.has_leader() {
        return Err(status::NO_LEADER.into());
    }
    Ok(())
}

/// Lets a range in, or refuses it: a member without a vote answers only serializable ones. [`admit`] comes before.
///
/// # Errors
/// The refusal.
pub(crate) fn admit_range(node: &Node, range: &Range) -> Result<(), Status> {
    if !range.serializable && node.is_learner() {
        return Err(status::NOT_SUPPORTED_FOR_LEARNER.into());
    }
    Ok(())
}

/// Waits for what ends an open stream that was called with `headers`: the node has stopped, or the leader that the client
/// asked for has been unknown for three looks in a row.
pub(crate) async fn stream_end(node: Node, headers: &HeaderMap) -> Status {
    let needs_leader = needs_leader(headers);
    let leader_lost = async { if needs_leader { leader_loss(&node).await } else { std::future::pending().await } };
    tokio::select! {
        _ = node.stopped() => status::STOPPED.into(),
        () = leader_lost => status::NO_LEADER.into(),
    }
}

async fn leader_loss(node: &Node) {
    let mut leaderless_looks = 0;
    while leaderless_looks < LEADERLESS_LOOKS_MAX {
        tokio::time::sleep(LEADER_LOOK_PERIOD).await;
        leaderless_looks = if node.has_leader() { 0 } else { leaderless_looks + 1 };
    }
}

fn needs_leader(headers: &HeaderMap) -> bool {
    headers.get(HAS_LEADER).is_some_and(|value| value == "true")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use tonic::Code;

    use super::*;
    use crate::api::grpc::testing::started;

    #[tokio::test]
    async fn metadata_must_be_text_and_a_leader_is_asked_for_by_name() {
        let node = started().await.node;
        let mut headers = HeaderMap::new();
        headers.insert(HAS_LEADER, HeaderValue::from_static("true"));
        headers.insert(CLIENT_API_VERSION, HeaderValue::from_static("3.7"));
        admit(&node, RANGE, &headers).unwrap();
        headers.insert(CLIENT_API_VERSION, HeaderValue::from_bytes(b"\xff").unwrap());
        let refused = admit(&node, RANGE, &headers).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(refused.message(), "etcdserver: invalid client api version");
        node.stop().await;
    }

    #[tokio::test]
    async fn a_stream_ends_with_the_node() {
        let node = started().await.node;
        let end = tokio::spawn({
            let node = node.clone();
            async move { stream_end(node, &HeaderMap::new()).await }
        });
        node.stop().await;
        let end = end.await.unwrap();
        assert_eq!((end.code(), end.message()), (Code::Unavailable, "etcdserver: server stopped"));
    }
}
