//! What the disk takes: the log and the checkpoint.

use super::families::{Counter, Doubling, Families, Gauge, Histogram};

const SECONDS: Doubling = Doubling::from(0.001, 14);

/// The write-ahead log.
#[derive(Debug, Clone)]
pub struct WalMetrics {
    /// Seconds of each sync.
    pub sync: Histogram,
    /// Seconds of each write.
    pub write: Histogram,
    /// Bytes written.
    pub written_bytes: Gauge,
    /// Appends that shared one sync.
    pub batch: Histogram,
}

impl WalMetrics {
    pub(super) fn new(families: &Families) -> WalMetrics {
        WalMetrics {
            sync: families.histogram("etcd_disk_wal_fsync_duration_seconds", "Time of each sync of the log.", SECONDS),
            write: families.histogram(
                "etcd_disk_wal_write_duration_seconds",
                "Time of each write to the log.",
                SECONDS,
            ),
            written_bytes: families.gauge("etcd_disk_wal_write_bytes_total", "Bytes written to the log."),
            batch: families.histogram(
                "lodemark_wal_batch_appends",
                "Appends that shared one sync of the log.",
                Doubling::from(1.0, 12),
            ),
        }
    }
}

impl Default for WalMetrics {
    /// Counts for nobody.
    fn default() -> WalMetrics {
        WalMetrics::new(&Families::default())
    }
}

/// The checkpoint, and snapshots that are made of the state or taken from another member.
#[derive(Debug, Clone)]
pub struct CheckpointMetrics {
    /// Seconds of each transaction.
    pub commit: Histogram,
    /// Seconds of writing the file anew.
    pub defragment: Histogram,
    /// Whether that is under way.
    pub is_defragmenting: Gauge,
    /// Seconds of sending a snapshot to a client.
    pub snapshot: Histogram,
    /// Seconds of taking a snapshot from another member, up to the file.
    pub received: Histogram,
    /// Snapshots of another member that are being put in the place of the state.
    pub installing: Gauge,
    /// Bytes that wait for a checkpoint.
    pub pending_bytes: Gauge,
    /// Applied entries that only the log holds.
    pub lag_entries: Gauge,
    /// Checkpoints written.
    pub written: Counter,
}

impl CheckpointMetrics {
    pub(super) fn new(families: &Families) -> CheckpointMetrics {
        CheckpointMetrics {
            commit: families.histogram(
                "etcd_disk_backend_commit_duration_seconds",
                "Time of each transaction of the checkpoint.",
                SECONDS,
            ),
            defragment: families.histogram(
                "etcd_disk_backend_defrag_duration_seconds",
                "Time that it took to write the checkpoint's file anew.",
                Doubling::from(0.1, 13),
            ),
            is_defragmenting: families
                .gauge("etcd_disk_defrag_inflight", "Whether the checkpoint's file is being written anew."),
            snapshot: families.histogram(
                "etcd_disk_backend_snapshot_duration_seconds",
                "Time that it took to send a snapshot to a client.",
                Doubling::from(0.01, 17),
            ),
            received: families.histogram(
                "etcd_snap_db_save_total_duration_seconds",
                "Time that it took to write a snapshot of another member, with its sync.",
                Doubling::from(0.1, 10),
            ),
            installing: families.gauge(
                "etcd_server_snapshot_apply_in_progress_total",
                "Whether the state is being replaced by a snapshot of another member.",
            ),
            pending_bytes: families
                .gauge("lodemark_checkpoint_pending_bytes", "Bytes of changes that wait for the next checkpoint."),
            lag_entries: families.gauge(
                "lodemark_checkpoint_lag_entries",
                "Applied log entries that the checkpoint does not hold: what a restart applies again.",
            ),
            written: families.counter("lodemark_checkpoints_total", "Checkpoints written."),
        }
    }
}

impl Default for CheckpointMetrics {
    /// Counts for nobody.
    fn default() -> CheckpointMetrics {
        CheckpointMetrics::new(&Families::default())
    }
}
