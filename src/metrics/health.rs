//! Probes: `/health`, `/livez`, `/readyz`, and whoever asks for metrics.

use prometheus::{IntCounterVec, IntGaugeVec};

use super::families::{Counter, Families, Gauge};

/// What probes were told.
#[derive(Debug)]
pub struct HealthMetrics {
    /// `/health` said yes.
    pub success: Counter,
    /// `/health` said no.
    pub failures: Counter,
    last: IntGaugeVec,
    checks: IntCounterVec,
    /// Answers to `/metrics` that are being made.
    pub scrapes_under_way: Gauge,
    /// Answers to `/metrics`.
    pub scrapes: Counter,
}

impl HealthMetrics {
    pub(super) fn new(families: &Families) -> HealthMetrics {
        let scrapes = families.counters(
            "promhttp_metric_handler_requests_total",
            "Answers to those who asked for metrics, by HTTP status.",
            &["code"],
        );
        let [ok, _, _] = ["200", "500", "503"].map(|code| scrapes.with_label_values(&[code]));
        HealthMetrics {
            success: families.counter("etcd_server_health_success", "Probes of /health that were told yes."),
            failures: families.counter("etcd_server_health_failures", "Probes of /health that were told no."),
            last: families.gauges("etcd_server_healthcheck", "The last result of each check.", &["type", "name"]),
            checks: families.counters(
                "etcd_server_healthchecks_total",
                "Results of checks.",
                &["type", "name", "status"],
            ),
            scrapes_under_way: families
                .gauge("promhttp_metric_handler_requests_in_flight", "Answers with metrics that are being made."),
            scrapes: ok,
        }
    }

    /// A check of `/livez` or `/readyz` (`kind`) was made.
    pub fn checked(&self, kind: &str, name: &str, is_well: bool) {
        self.last.with_label_values(&[kind, name]).set(i64::from(is_well));
        let status = if is_well { "success" } else { "error" };
        self.checks.with_label_values(&[kind, name, status]).inc();
    }
}
