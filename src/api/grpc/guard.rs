//! What every call has to pass before it is looked at, and what ends a stream from outside.
//!
//! Source: etcd, `server/etcdserver/api/v3rpc/interceptor.go`.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tonic::{Code, Status};

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

/// Looks in a row without a leader that end a stream which needs one; there is one in each election timeout. Source: etcd,
/// `maxNoLeaderCnt`.
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

/// What the client says its version is.
pub(super) fn client_version(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(CLIENT_API_VERSION)
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

/// Counts a client's stream that cannot be read any more. That the client has gone is no fault of the stream.
pub(super) fn count_broken(node: &Node, api: &str, error: &Status) {
    if error.code() != Code::Cancelled {
        node.metrics().network.stream_failed("receive", api);
    }
}

async fn leader_loss(node: &Node) {
    let mut leaderless_looks = 0;
    while leaderless_looks < LEADERLESS_LOOKS_MAX {
        tokio::time::sleep(node.election_timeout()).await;
        leaderless_looks = if node.has_leader() { 0 } else { leaderless_looks + 1 };
    }
}

/// How long the client waits, if it says so. A value that is no timeout counts as none.
///
/// Source: gRPC over HTTP/2, `grpc-timeout`: at most eight digits and a unit.
pub(crate) fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

fn needs_leader(headers: &HeaderMap) -> bool {
    headers.get(HAS_LEADER).is_some_and(|value| value == "true")
}

#[cfg(test)]
mod tests {
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

    fn deadline_of(value: &'static str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", http::HeaderValue::from_static(value));
        deadline(&headers)
    }

    #[test]
    fn timeouts_have_digits_and_a_unit() {
        assert_eq!(deadline_of("5S"), Some(Duration::from_secs(5)));
        assert_eq!(deadline_of("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(deadline_of("250m"), Some(Duration::from_millis(250)));
        for odd in ["", "S", "5", "123456789S", "-1S", "5x", "five S"] {
            assert_eq!(deadline_of(odd), None, "{odd:?}");
        }
        assert_eq!(deadline(&HeaderMap::new()), None);
    }
}
