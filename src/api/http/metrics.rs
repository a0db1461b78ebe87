//! `/metrics`: what the member is doing, as Prometheus reads it.
//!
//! All of it is known when somebody asks; nothing is counted for it on the way. What has to be counted is still to come.
//!
//! Source: etcd, `server/etcdserver/metrics.go` and its neighbours; Prometheus, text format 0.0.4.

use std::fmt::{Display, Write};

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::{ETCD_VERSION, answer};
use crate::env::ProcessFigures;
use crate::model::Alarm;
use crate::node::Node;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn metrics(State(node): State<Node>) -> Response {
    answer(StatusCode::OK, CONTENT_TYPE, exposition(&node))
}

fn exposition(node: &Node) -> String {
    let (status, header, space) = (node.status(), node.header(), node.key_space());
    let mut out = Exposition::default();
    out.gauge("etcd_server_has_leader", "Whether a leader is known.", u8::from(status.leader.is_some()));
    let leads = status.leader == Some(header.member);
    out.gauge("etcd_server_is_leader", "Whether this member leads.", u8::from(leads));
    out.gauge("etcd_server_is_learner", "Whether this member has no vote.", u8::from(status.is_learner));
    out.labelled("etcd_server_id", "The member, by its id.", &[("server_id", &header.member)], 1);
    out.labelled("etcd_server_version", "The etcd that this is like.", &[("server_version", &ETCD_VERSION)], 1);
    let cluster = status.cluster_version.major_minor();
    out.labelled("etcd_cluster_version", "What the cluster has agreed on.", &[("cluster_version", &cluster)], 1);
    out.gauge("etcd_server_proposals_committed_total", "The last committed log index.", status.raft_index);
    out.gauge("etcd_server_proposals_applied_total", "The last applied log index.", status.applied_index);
    out.gauge("etcd_server_quota_backend_bytes", "How large the data may become.", status.quota_bytes.unwrap_or(0));
    out.gauge("etcd_mvcc_db_total_size_in_bytes", "How large the data is, with what is free.", status.db_bytes);
    out.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "The same, without it.", status.db_bytes_in_use);
    out.gauge("etcd_debugging_mvcc_keys_total", "Keys that there are.", space.keys);
    out.gauge("etcd_debugging_mvcc_current_revision", "The newest revision.", space.revision.0);
    out.gauge("etcd_debugging_mvcc_compact_revision", "The compacted revision.", space.compacted.0);
    let alarms = "An alarm that is raised for a member.";
    for Alarm { member, kind } in &status.alarms {
        out.labelled("etcd_debugging_server_alarms", alarms, &[("server_id", member), ("alarm_type", kind)], 1);
    }
    out.process(&ProcessFigures::now());
    out.text
}

/// Metrics as text, one family after the other.
#[derive(Debug, Default)]
struct Exposition {
    text: String,
    family: &'static str,
}

impl Exposition {
    fn gauge(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.sample((name, help, "gauge"), &[], value);
    }

    /// The values of labels need no escapes: they are numbers and words of our own.
    fn labelled(&mut self, name: &'static str, help: &str, labels: &[(&str, &dyn Display)], value: impl Display) {
        self.sample((name, help, "gauge"), labels, value);
    }

    fn sample(
        &mut self,
        (name, help, kind): (&'static str, &str, &str),
        labels: &[(&str, &dyn Display)],
        value: impl Display,
    ) {
        let out = &mut self.text;
        if std::mem::replace(&mut self.family, name) != name {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        }
        out.push_str(name);
        for (n, (label, value)) in labels.iter().enumerate() {
            let _ = write!(out, "{}{label}=\"{value}\"", if n == 0 { '{' } else { ',' });
        }
        let _ = writeln!(out, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn process(&mut self, figures: &ProcessFigures) {
        let &ProcessFigures {
            resident_bytes,
            virtual_bytes,
            open_files,
            open_files_max,
            cpu_seconds,
            started_at_seconds,
        } = figures;
        if let Some(seconds) = cpu_seconds {
            let help = "Time of processors that was used, in seconds.";
            self.sample(("process_cpu_seconds_total", help, "counter"), &[], seconds);
        }
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Memory in use.", resident_bytes),
            ("process_virtual_memory_bytes", "Address space.", virtual_bytes),
            ("process_open_fds", "Files and sockets that are open.", open_files),
            ("process_max_fds", "As many as may be.", open_files_max),
        ] {
            if let Some(value) = value {
                self.gauge(name, help, value);
            }
        }
        if let Some(seconds) = started_at_seconds {
            self.gauge("process_start_time_seconds", "When it began, in seconds since 1970.", seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_one_head_and_samples_a_line_each() {
        let mut out = Exposition::default();
        out.gauge("a", "An a.", 1);
        out.labelled("b", "A b.", &[("x", &1), ("y", &"z")], 2.5);
        out.labelled("b", "A b.", &[("x", &2)], 3);
        let expected = "# HELP a An a.\n# TYPE a gauge\na 1\n# HELP b A b.\n# TYPE b gauge\n\
                        b{x=\"1\",y=\"z\"} 2.5\nb{x=\"2\"} 3\n";
        assert_eq!(out.text, expected);
        let mut out = Exposition::default();
        out.process(&ProcessFigures { cpu_seconds: Some(0.25), ..ProcessFigures::default() });
        assert!(out.text.ends_with("# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 0.25\n"));
    }
}
