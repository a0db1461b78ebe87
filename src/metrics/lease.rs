//! Leases.

use super::families::{Counter, Doubling, Families, Histogram};

/// What becomes of leases.
#[derive(Debug, Clone)]
pub struct LeaseMetrics {
    /// Granted.
    pub granted: Counter,
    /// Ended, by whoever asked for it or by their time.
    pub revoked: Counter,
    /// Given their time again, by this member as the leader.
    pub renewed: Counter,
    /// Found to be over their time, by this member as the leader.
    pub expired: Counter,
    /// Seconds that they were granted for.
    pub ttl: Histogram,
}

impl LeaseMetrics {
    pub(super) fn new(families: &Families) -> LeaseMetrics {
        LeaseMetrics {
            granted: families.counter("etcd_debugging_lease_granted_total", "Leases that were granted."),
            revoked: families.counter("etcd_debugging_lease_revoked_total", "Leases that have ended."),
            renewed: families.counter("etcd_debugging_lease_renewed_total", "Renewals by this member as the leader."),
            expired: families.counter(
                "etcd_debugging_server_lease_expired_total",
                "Leases that this member found to be over their time, as the leader.",
            ),
            ttl: families.histogram(
                "etcd_debugging_lease_ttl_total",
                "Seconds that leases were granted for.",
                Doubling::from(1.0, 24),
            ),
        }
    }

    /// A lease of `ttl` seconds was granted.
    #[expect(clippy::cast_precision_loss, reason = "a time to live has far less than 2^53 seconds")]
    pub fn grant(&self, ttl: i64) {
        self.granted.inc();
        self.ttl.observe(ttl as f64);
    }
}
