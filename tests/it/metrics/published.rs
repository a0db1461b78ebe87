//! The series and labels that the alert rules and the board use which etcd publishes: names are facts, the rest is not ours.

/// A series, and the labels that are asked of it.
pub type Used = (&'static str, &'static [&'static str]);

const GRPC: &[&str] = &["grpc_type", "grpc_service", "grpc_method"];
const GRPC_CODE: &[&str] = &["grpc_type", "grpc_service", "grpc_method", "grpc_code"];

/// Of a member that is alone, with `--metrics=extensive`.
pub const OF_EACH: &[Used] = &[
    ("etcd_server_has_leader", &[]),
    ("etcd_server_leader_changes_seen_total", &[]),
    ("etcd_server_proposals_committed_total", &[]),
    ("etcd_server_proposals_applied_total", &[]),
    ("etcd_server_proposals_pending", &[]),
    ("etcd_server_proposals_failed_total", &[]),
    ("etcd_server_quota_backend_bytes", &[]),
    ("etcd_mvcc_db_total_size_in_bytes", &[]),
    ("etcd_mvcc_db_total_size_in_use_in_bytes", &[]),
    ("etcd_disk_wal_fsync_duration_seconds_bucket", &["le"]),
    ("etcd_disk_backend_commit_duration_seconds_bucket", &["le"]),
    ("etcd_network_client_grpc_sent_bytes_total", &[]),
    ("etcd_network_client_grpc_received_bytes_total", &[]),
    ("grpc_server_started_total", GRPC),
    ("grpc_server_handled_total", GRPC_CODE),
    ("grpc_server_handling_seconds_bucket", GRPC),
    ("process_resident_memory_bytes", &[]),
];

/// Of a member among others.
pub const AMONG_OTHERS: &[Used] = &[
    ("etcd_network_peer_round_trip_time_seconds_bucket", &["To", "le"]),
    ("etcd_network_peer_sent_failures_total", &["To"]),
    ("etcd_network_peer_sent_bytes_total", &["To"]),
    ("etcd_network_peer_received_bytes_total", &["From"]),
];
