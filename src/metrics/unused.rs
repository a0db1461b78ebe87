//! Families of etcd that are about what this server does not have. They stand there at zero, for whoever looks whether
//! they are there; their help says so.

use super::families::{Doubling, Families};

const COUNTERS: &[&str] = &[
    "etcd_debugging_store_expires_total",
    "etcd_debugging_store_watch_requests_total",
    "etcd_grpc_proxy_events_coalescing_total",
];

const GAUGES: &[&str] = &[
    "etcd_debugging_store_watchers",
    "etcd_grpc_proxy_cache_hits_total",
    "etcd_grpc_proxy_cache_keys_total",
    "etcd_grpc_proxy_cache_misses_total",
    "etcd_grpc_proxy_watchers_coalescing_total",
];

const HISTOGRAMS: &[&str] = &[
    "etcd_debugging_disk_backend_commit_rebalance_duration_seconds",
    "etcd_debugging_disk_backend_commit_spill_duration_seconds",
    "etcd_debugging_disk_backend_commit_write_duration_seconds",
    "etcd_debugging_snap_save_marshalling_duration_seconds",
    "etcd_debugging_snap_save_total_duration_seconds",
    // A snapshot that was received is synced as part of writing it, which is measured.
    "etcd_snap_db_fsync_duration_seconds",
    "etcd_snap_fsync_duration_seconds",
];

const HELP: &str = "Always 0: this server has no such thing.";

pub(super) fn describe(families: &Families) {
    for name in COUNTERS {
        families.counter(name, HELP);
    }
    for name in GAUGES {
        families.gauge(name, HELP);
    }
    for name in HISTOGRAMS {
        families.histogram(name, HELP, Doubling::from(0.001, 14));
    }
}
