//! `/health`: whether this member can serve.
//!
//! No alarm may be raised, but for those that `exclude=<alarm>` leaves out; a leader must be known, and a read must succeed.
//! With `serializable=true` nobody need lead, and the read is local.

use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;

use super::{Parameters, answer, error, reason, try_read};
use crate::node::Node;

/// Answers 200 with `"health":"true"`, or 503 with the first reason against it.
pub(super) async fn health(State(node): State<Node>, Query(parameters): Parameters) -> Response {
    let first = parameters.iter().find(|(name, _)| name == "serializable");
    let serializable = first.is_some_and(|(_, value)| value == "true");
    let is_excluded = |alarm: &str| parameters.iter().any(|(name, value)| name == "exclude" && value == alarm);
    match why_not(&node, is_excluded, serializable).await {
        None => {
            node.metrics().health.success.inc();
            answer(StatusCode::OK, "text/plain; charset=utf-8", body("true", ""))
        }
        Some(why) => {
            node.metrics().health.failures.inc();
            tracing::warn!(reason = why, "serving /health false");
            error(StatusCode::SERVICE_UNAVAILABLE, &body("false", &why))
        }
    }
}

async fn why_not(node: &Node, is_excluded: impl Fn(&str) -> bool, serializable: bool) -> Option<String> {
    let mut alarms = node.alarms_now().into_iter().map(|alarm| alarm.kind.to_string());
    if let Some(alarm) = alarms.find(|alarm| !is_excluded(alarm)) {
        return Some(format!("ALARM {alarm}"));
    }
    if !serializable && !node.has_leader() {
        return Some("RAFT NO LEADER".to_owned());
    }
    let error = try_read(node, serializable).await.err()?;
    Some(format!("RANGE ERROR:{}", reason(&error)))
}

fn body(health: &str, reason: &str) -> String {
    /// In the order of etcd's text.
    #[derive(serde::Serialize)]
    struct Health<'a> {
        health: &'a str,
        reason: &'a str,
    }
    serde_json::to_string(&Health { health, reason }).expect("two texts have a JSON form")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_those_of_etcd() {
        assert_eq!(body("true", ""), r#"{"health":"true","reason":""}"#);
        assert_eq!(body("false", "a \"b\""), r#"{"health":"false","reason":"a \"b\""}"#);
    }
}
