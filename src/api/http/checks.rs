//! `/livez` and `/readyz`: lists of checks, in the style of Kubernetes.
//!
//! `/livez` fails when a restart could help, `/readyz` when others should be asked instead. A path below them is one
//! check. `?verbose` lists the checks that passed as well; `?exclude=<check>` leaves one out.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::{Method, StatusCode};

use super::{Parameters, error, method_not_allowed, not_found, plain, reason, try_read};
use crate::model::AlarmKind;
use crate::node::Node;

/// A question that has one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    /// No alarm tells of members that differ.
    DataCorruption,
    /// The local state can be read.
    SerializableRead,
    /// A quorum agrees on what is newest.
    LinearizableRead,
    /// This member has a vote.
    NonLearner,
}

/// A list of checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Livez,
    Readyz,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Livez => "livez",
            Kind::Readyz => "readyz",
        }
    }

    fn checks(self) -> &'static [Check] {
        match self {
            Kind::Livez => &[Check::SerializableRead],
            Kind::Readyz => {
                &[Check::DataCorruption, Check::SerializableRead, Check::LinearizableRead, Check::NonLearner]
            }
        }
    }
}

pub(super) async fn livez(State(node): State<Node>, Query(parameters): Parameters) -> Response {
    run(&node, (Kind::Livez, &without_excluded(Kind::Livez, &parameters)), &parameters).await
}

pub(super) async fn readyz(State(node): State<Node>, Query(parameters): Parameters) -> Response {
    run(&node, (Kind::Readyz, &without_excluded(Kind::Readyz, &parameters)), &parameters).await
}

pub(super) async fn livez_check(
    State(node): State<Node>,
    Path(name): Path<String>,
    Query(parameters): Parameters,
    method: Method,
) -> Response {
    one(&node, Kind::Livez, &name, &parameters, &method).await
}

pub(super) async fn readyz_check(
    State(node): State<Node>,
    Path(name): Path<String>,
    Query(parameters): Parameters,
    method: Method,
) -> Response {
    one(&node, Kind::Readyz, &name, &parameters, &method).await
}

/// Runs one check. A name that is none is an unknown path, whatever the method.
async fn one(node: &Node, kind: Kind, name: &str, parameters: &[(String, String)], method: &Method) -> Response {
    let Some(check) = kind.checks().iter().find(|check| check.name() == name) else { return not_found().await };
    if method != Method::GET {
        return method_not_allowed().await;
    }
    run(node, (kind, &[*check]), parameters).await
}

fn without_excluded(kind: Kind, parameters: &[(String, String)]) -> Vec<Check> {
    let is_excluded = |check: &Check| parameters.iter().any(|(name, value)| name == "exclude" && value == check.name());
    kind.checks().iter().filter(|check| !is_excluded(check)).copied().collect()
}

async fn run(node: &Node, (kind, checks): (Kind, &[Check]), parameters: &[(String, String)]) -> Response {
    let (mut lines, mut has_failed) = (String::new(), false);
    for check in checks {
        let result = check.run(node).await;
        node.metrics().health.checked(kind.name(), check.name(), result.is_ok());
        match result {
            Ok(()) => lines.push_str(&format!("[+]{} ok\n", check.name())),
            Err(why) => {
                has_failed = true;
                lines.push_str(&format!("[-]{} failed: {why}\n", check.name()));
            }
        }
    }
    if has_failed {
        tracing::warn!(checks = lines, "a health check failed");
        return error(StatusCode::SERVICE_UNAVAILABLE, &lines);
    }
    if !parameters.iter().any(|(name, _)| name == "verbose") {
        lines.clear();
    }
    lines.push_str("ok\n");
    plain(StatusCode::OK, lines)
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Check::DataCorruption => "data_corruption",
            Check::SerializableRead => "serializable_read",
            Check::LinearizableRead => "linearizable_read",
            Check::NonLearner => "non_learner",
        }
    }

    async fn run(self, node: &Node) -> Result<(), String> {
        match self {
            Check::DataCorruption if node.alarms_now().iter().any(|alarm| alarm.kind == AlarmKind::Corrupt) => {
                Err(format!("alarm activated: {}", AlarmKind::Corrupt))
            }
            Check::DataCorruption => Ok(()),
            Check::SerializableRead => try_read(node, true).await.map_err(|error| reason(&error)),
            Check::LinearizableRead => try_read(node, false).await.map_err(|error| reason(&error)),
            Check::NonLearner if node.status().is_learner => Err("not supported for learner".to_owned()),
            Check::NonLearner => Ok(()),
        }
    }
}
