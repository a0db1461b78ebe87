//! The server: Raft, requests, versions.

use std::time::Duration;

use parking_lot::Mutex;
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};

use super::apply::ApplyTimes;
use super::families::{Counter, Doubling, Families, Gauge, Histogram};

/// What a member does in its cluster.
#[derive(Debug)]
pub struct ServerMetrics {
    /// Whether a leader is known.
    pub has_leader: Gauge,
    /// Whether this member leads.
    pub is_leader: Gauge,
    /// Whether it has no vote.
    pub is_learner: Gauge,
    /// Leaders that followed another, as this member saw it.
    pub leader_changes: Counter,
    /// Heartbeats of this leader that got no answer.
    pub heartbeat_failures: Counter,
    /// The last committed log index.
    pub committed: Gauge,
    /// The last applied log index.
    pub applied: Gauge,
    /// Proposals that wait for their answer.
    pub proposals_pending: Gauge,
    /// Proposals that were not applied in time, as far as is known.
    pub proposals_failed: Counter,
    /// Rounds of the read barrier that take long.
    pub slow_reads: Counter,
    /// Rounds of the read barrier that came to nothing.
    pub failed_reads: Counter,
    /// How large the data may become.
    pub quota_bytes: Gauge,
    /// Changes of users and roles.
    pub auth_revision: Gauge,
    /// Learners that this member made voters.
    pub promotions: Counter,
    promotion_failures: IntCounterVec,
    alarms: IntGaugeVec,
    id: IntGaugeVec,
    version: IntGaugeVec,
    toolchain: IntGaugeVec,
    cluster_version: IntGaugeVec,
    /// What it was when it was last set.
    former_version: Mutex<Option<String>>,
    features: IntGaugeVec,
    slow_applies: Counter,
    apply: HistogramVec,
    range: [Histogram; 2],
    requests: HistogramVec,
}

/// A feature gate, as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// How far etcd has come with it.
    pub stage: &'static str,
    /// Whether it is on.
    pub is_on: bool,
}

impl ServerMetrics {
    pub(super) fn new(families: &Families) -> ServerMetrics {
        let counter = |name, help| families.counter(name, help);
        let gauge = |name, help| families.gauge(name, help);
        let range = families.histograms(
            "etcd_server_range_duration_seconds",
            "Time to read a range.",
            &["success"],
            Doubling::from(0.0001, 20),
        );
        ServerMetrics {
            has_leader: gauge("etcd_server_has_leader", "Whether a leader is known."),
            is_leader: gauge("etcd_server_is_leader", "Whether this member leads."),
            is_learner: gauge("etcd_server_is_learner", "Whether this member has no vote."),
            leader_changes: counter("etcd_server_leader_changes_seen_total", "Leaders that this member has seen come."),
            heartbeat_failures: counter(
                "etcd_server_heartbeat_send_failures_total",
                "Heartbeats of this member as the leader that were not answered.",
            ),
            committed: gauge("etcd_server_proposals_committed_total", "The last committed log index."),
            applied: gauge("etcd_server_proposals_applied_total", "The last applied log index."),
            proposals_pending: gauge("etcd_server_proposals_pending", "Proposals that wait for their answer."),
            proposals_failed: counter("etcd_server_proposals_failed_total", "Proposals that failed."),
            slow_reads: counter("etcd_server_slow_read_indexes_total", "Rounds of the read barrier that took long."),
            failed_reads: counter("etcd_server_read_indexes_failed_total", "Rounds of the read barrier that failed."),
            quota_bytes: gauge("etcd_server_quota_backend_bytes", "How large the data may become."),
            auth_revision: gauge("etcd_debugging_auth_revision", "Counts the changes of users and roles."),
            promotions: counter("etcd_server_learner_promote_successes", "Learners that this leader made voters."),
            promotion_failures: families.counters(
                "etcd_server_learner_promote_failures",
                "Learners that this leader was asked to make voters and did not.",
                &["Reason"],
            ),
            alarms: families.gauges(
                "etcd_debugging_server_alarms",
                "Alarms that are raised.",
                &["server_id", "alarm_type"],
            ),
            id: families.gauges("etcd_server_id", "The member, by its id.", &["server_id"]),
            version: families.gauges("etcd_server_version", "The etcd that this is like.", &["server_version"]),
            toolchain: families.gauges(
                "etcd_server_go_version",
                "The compiler that made this; it is not Go.",
                &["server_go_version"],
            ),
            cluster_version: families.gauges(
                "etcd_cluster_version",
                "The version that the cluster has agreed on.",
                &["cluster_version"],
            ),
            former_version: Mutex::default(),
            features: families.gauges("etcd_server_feature_enabled", "Feature gates.", &["name", "stage"]),
            slow_applies: counter("etcd_server_slow_apply_total", "Commands that took more than 0.1 s to be applied."),
            apply: ApplyTimes::family(families),
            range: ["false", "true"].map(|success| range.with_label_values(&[success])),
            requests: families.histograms(
                "etcd_server_request_duration_seconds",
                "Time from a request to its answer.",
                &["type", "success"],
                Doubling::from(0.001, 14),
            ),
        }
    }

    /// For the thread that applies; what takes longer than `slow` is counted as slow.
    #[must_use]
    pub fn apply_times(&self, slow: Duration) -> ApplyTimes {
        ApplyTimes::new(self.apply.clone(), (self.slow_applies.clone(), slow))
    }

    /// A range was read, or could not be.
    pub fn ranged(&self, succeeded: bool, took: Duration) {
        self.range[usize::from(succeeded)].observe(took.as_secs_f64());
    }

    /// Requests of one type: those that failed, and those that were answered.
    #[must_use]
    pub fn requests(&self, kind: &str) -> [Histogram; 2] {
        ["false", "true"].map(|success| self.requests.with_label_values(&[kind, success]))
    }

    /// A learner was not made a voter.
    pub fn promotion_failed(&self, reason: &str) {
        self.promotion_failures.with_label_values(&[reason]).inc();
    }

    /// These alarms are raised: who raised it, and which.
    pub fn set_alarms(&self, raised: impl Iterator<Item = (String, String)>) {
        self.alarms.reset();
        for (member, kind) in raised {
            self.alarms.with_label_values(&[&member, &kind]).set(1);
        }
    }

    /// Who this member is.
    pub fn set_identity(&self, member: &str, version: &str) {
        self.id.with_label_values(&[member]).set(1);
        self.version.with_label_values(&[version]).set(1);
        self.toolchain.with_label_values(&[env!("LODEMARK_RUSTC")]).set(1);
    }

    /// What the cluster has agreed on. A version that it has left stays, at zero.
    pub fn set_cluster_version(&self, version: &str) {
        let before = self.former_version.lock().replace(version.to_owned());
        if let Some(before) = before.filter(|before| before != version) {
            self.cluster_version.with_label_values(&[&before]).set(0);
        }
        self.cluster_version.with_label_values(&[version]).set(1);
    }

    /// How feature gates are turned.
    pub fn set_features(&self, features: &[Feature]) {
        for Feature { name, stage, is_on } in features {
            self.features.with_label_values(&[*name, *stage]).set(i64::from(*is_on));
        }
    }
}
