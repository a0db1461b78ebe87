//! Keys and revisions.

use std::time::Duration;

use super::families::{Counter, Doubling, Families, Gauge, Histogram};

/// What is done to keys, and what there is of them.
#[derive(Debug, Clone)]
pub struct MvccMetrics {
    /// Puts applied, those in txns too.
    pub puts: Counter,
    /// Deletions applied, each of a range, however many keys were in it.
    pub deletes: Counter,
    /// Ranges read: by clients, by conditions of txns, and for pairs as they were before a change.
    pub ranges: Counter,
    /// Requests that were several of these.
    pub txns: Counter,
    /// Bytes of keys and values that were put.
    pub put_bytes: Gauge,
    /// Keys that live.
    pub keys: Gauge,
    /// The newest revision.
    pub revision: Gauge,
    /// The compacted revision; -1 if there is none.
    pub compacted: Gauge,
    /// Bytes of the data with what is free.
    pub bytes: Gauge,
    /// The same without it.
    pub bytes_in_use: Gauge,
    /// Reads that hold a revision.
    pub open_reads: Gauge,
    /// Milliseconds of each step of a compaction.
    compaction_step: Histogram,
    /// Milliseconds of whole compactions.
    compaction: Histogram,
    /// Milliseconds that the longest step of a compaction held everybody up.
    compaction_longest_step: Histogram,
    /// Revisions that compactions removed.
    pub compacted_keys: Counter,
    /// When the last compaction ended, in seconds since 1970.
    pub compacted_at: Gauge,
    /// Seconds of hashing the whole state.
    pub hash: Histogram,
    /// Seconds of hashing the keys at a revision.
    pub hash_kv: Histogram,
}

impl MvccMetrics {
    pub(super) fn new(families: &Families) -> MvccMetrics {
        let counter = |name, help| families.counter(name, help);
        let gauge = |name, help| families.gauge(name, help);
        let hashing = Doubling::from(0.01, 15);
        MvccMetrics {
            puts: counter("etcd_mvcc_put_total", "Puts that were applied."),
            deletes: counter("etcd_mvcc_delete_total", "Deletions that were applied."),
            ranges: counter("etcd_mvcc_range_total", "Ranges that were read."),
            txns: counter("etcd_mvcc_txn_total", "Requests that were several puts, deletions and ranges."),
            put_bytes: gauge("etcd_debugging_mvcc_total_put_size_in_bytes", "Bytes of keys and values that were put."),
            keys: gauge("etcd_debugging_mvcc_keys_total", "Keys that there are."),
            revision: gauge("etcd_debugging_mvcc_current_revision", "The newest revision."),
            compacted: gauge("etcd_debugging_mvcc_compact_revision", "The compacted revision."),
            bytes: gauge("etcd_mvcc_db_total_size_in_bytes", "How large the data is, with what is free."),
            bytes_in_use: gauge(
                "etcd_mvcc_db_total_size_in_use_in_bytes",
                "How large the data is, without what is free.",
            ),
            open_reads: gauge("etcd_mvcc_db_open_read_transactions", "Long reads that hold a revision."),
            compaction_step: families.histogram(
                "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
                "Time that each step of a compaction held readers and writers up.",
                Doubling::from(1.0, 13),
            ),
            compaction: families.histogram(
                "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
                "Time of each compaction, with its rests.",
                Doubling::from(100.0, 14),
            ),
            compaction_longest_step: families.histogram(
                "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds",
                "Time of the longest step of each compaction.",
                Doubling::from(0.5, 14),
            ),
            compacted_keys: counter(
                "etcd_debugging_mvcc_db_compaction_keys_total",
                "Revisions that compactions removed.",
            ),
            compacted_at: gauge(
                "etcd_debugging_mvcc_db_compaction_last",
                "When the last compaction ended, in seconds since 1970.",
            ),
            hash: families.histogram("etcd_mvcc_hash_duration_seconds", "Time of hashing the whole state.", hashing),
            hash_kv: families.histogram(
                "etcd_mvcc_hash_rev_duration_seconds",
                "Time of hashing the keys at a revision.",
                hashing,
            ),
        }
    }

    /// A step of a compaction is over.
    pub fn compaction_stepped(&self, took: Duration) {
        self.compaction_step.observe(milliseconds(took));
    }

    /// A compaction is over.
    pub fn compaction_ended(&self, took: Duration, longest_step: Duration) {
        self.compaction.observe(milliseconds(took));
        self.compaction_longest_step.observe(milliseconds(longest_step));
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
