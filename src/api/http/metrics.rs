//! `/metrics`: what the member counts and measures, as Prometheus reads it.
//!
//! Most of it is counted where it happens (`crate::metrics`); what is known anyway is looked up for whoever asks.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::{ETCD_VERSION, answer};
use crate::node::Node;

/// As etcd says it to whoever asks for nothing else.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

pub(super) async fn metrics(State(node): State<Node>) -> Response {
    answer(StatusCode::OK, CONTENT_TYPE, exposition(&node))
}

fn exposition(node: &Node) -> String {
    let metrics = node.metrics();
    metrics.health.scrapes_under_way.inc();
    let text = {
        let asking = metrics.ask();
        metrics.server.set_identity(&node.header().member.to_string(), ETCD_VERSION);
        metrics.own.set_version(env!("CARGO_PKG_VERSION"));
        node.tell_figures();
        asking.text()
    };
    metrics.health.scrapes_under_way.dec();
    metrics.health.scrapes.inc();
    text
}
