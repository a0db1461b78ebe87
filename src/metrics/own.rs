//! What etcd has no name for, and an operator of this server wants to know.

use prometheus::IntGaugeVec;

use super::families::{Counter, Doubling, Families, Gauge, Histogram};

/// What begins with `lodemark_`, but for what belongs to another theme.
#[derive(Debug)]
pub struct OwnMetrics {
    build: IntGaugeVec,
    /// Whether writes are refused for want of space on the disk, which is no alarm.
    pub lacks_disk_space: Gauge,
    /// Bytes of newest pairs that are in memory.
    pub value_bytes: Gauge,
    /// As many as may be; zero is any number.
    pub value_bytes_max: Gauge,
    /// Bytes of history in memory that the checkpoint does not have yet.
    pub tail_bytes: Gauge,
    /// Commands in one log entry.
    pub batch: Histogram,
    /// Rounds of the read barrier.
    pub rounds: Counter,
    /// Reads that shared one.
    pub round_reads: Histogram,
}

impl OwnMetrics {
    pub(super) fn new(families: &Families) -> OwnMetrics {
        let crowd = Doubling::from(1.0, 12);
        OwnMetrics {
            build: families.gauges("lodemark_build_info", "The version of this program.", &["version"]),
            lacks_disk_space: families
                .gauge("lodemark_disk_space_short", "Whether writes are refused because the disk has no space left."),
            value_bytes: families.gauge("lodemark_memory_pairs_bytes", "Bytes of newest pairs in memory."),
            value_bytes_max: families.gauge(
                "lodemark_memory_pairs_bytes_max",
                "Bytes of newest pairs that may stay in memory; 0 is any number.",
            ),
            tail_bytes: families
                .gauge("lodemark_memory_history_bytes", "Bytes of history in memory that no checkpoint holds yet."),
            batch: families.histogram("lodemark_proposal_batch_commands", "Commands that share one log entry.", crowd),
            rounds: families
                .counter("lodemark_read_barrier_rounds_total", "Rounds that confirmed who leads, for reads."),
            round_reads: families.histogram("lodemark_read_barrier_reads", "Reads that share one round.", crowd),
        }
    }

    /// Which version this is.
    pub fn set_version(&self, version: &str) {
        self.build.with_label_values(&[version]).set(1);
    }
}
