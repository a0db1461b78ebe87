//! The line that tells with what a member starts, by etcd's names: frameworks read it.

use std::path::{Path, PathBuf};

use super::url_list;
use crate::api::ETCD_VERSION;
use crate::config::{ClusterState, Config};
use crate::env::go_duration;
use crate::model::Retention;
use crate::telemetry::json;

pub(super) fn log_start(config: &Config, member_dir: &Path, is_initialized: bool) {
    let discovery = &config.discovery_service;
    let shown = |path: &Option<PathBuf>| path.as_deref().unwrap_or(Path::new("")).display().to_string();
    tracing::info!(
        "etcd-version" = ETCD_VERSION,
        version = env!("CARGO_PKG_VERSION"),
        "member-initialized" = is_initialized,
        name = config.name,
        "data-dir" = %config.data_dir.display(),
        "wal-dir" = %config.wal_dir.as_deref().unwrap_or(Path::new("")).display(),
        "wal-dir-dedicated" = %config.wal_dir.as_deref().unwrap_or(Path::new("")).display(),
        "member-dir" = %member_dir.display(),
        "force-new-cluster" = config.force_new_cluster,
        "heartbeat-interval" = go_duration(config.heartbeat),
        "election-timeout" = go_duration(config.election_timeout),
        "snapshot-count" = config.snapshot_entries,
        "snapshot-catchup-entries" = config.catchup_entries,
        "initial-advertise-peer-urls.json" = url_list(&config.advertise_peer_urls),
        "listen-peer-urls.json" = url_list(&config.listen_peer_urls),
        "advertise-client-urls.json" = url_list(&config.advertise_client_urls),
        "listen-client-urls.json" = url_list(&config.listen_client_urls),
        "listen-client-http-urls.json" = url_list(&config.listen_client_http_urls),
        "listen-metrics-urls.json" = url_list(&config.listen_metrics_urls),
        "initial-cluster" = config.initial_cluster,
        "initial-cluster-state" = match config.initial_cluster_state {
            ClusterState::New => "new",
            ClusterState::Existing => "existing",
        },
        "initial-cluster-token" = config.initial_cluster_token,
        "pre-vote" = config.pre_vote,
        "strict-reconfig-check" = config.strict_reconfig,
        "max-learners" = config.learners_max,
        "agreement-check" = config.agreement_check,
        "feature-gates" = config.feature_gates,
        "initial-corrupt-check" = config.initial_corrupt_check,
        "corrupt-check-time-interval" = go_duration(config.corrupt_check_interval.unwrap_or_default()),
        "compact-check-time-interval" = go_duration(config.compact_hash_check_interval.unwrap_or_default()),
        "auto-defrag-threshold-megabytes" = config.reclaim_bytes_min.unwrap_or(0) >> 20,
        "quota-backend-bytes" = config.quota_bytes,
        "auto-compaction-mode" = match config.compaction.retention {
            Some(Retention::Revisions(_)) => "revision",
            Some(Retention::Time(_)) | None => "periodic",
        },
        "auto-compaction-retention" = config.compaction.retention.map(|kept| kept.to_string()),
        "cors.json" = json(&config.cors),
        "host-whitelist.json" = json(&config.host_whitelist),
        "max-request-bytes" = config.request_bytes_max,
        "max-concurrent-streams" = config.streams_max,
        "discovery-token" = discovery.token,
        "discovery-endpoints" = discovery.endpoints.join(","),
        "discovery-dial-timeout" = go_duration(discovery.dial_timeout),
        "discovery-request-timeout" = go_duration(discovery.request_timeout),
        "discovery-keepalive-time" = go_duration(discovery.keepalive_time),
        "discovery-keepalive-timeout" = go_duration(discovery.keepalive_timeout),
        "discovery-insecure-transport" = discovery.insecure_transport,
        "discovery-insecure-skip-tls-verify" = discovery.insecure_skip_tls_verify,
        "discovery-cert" = %shown(&discovery.cert),
        "discovery-key" = %shown(&discovery.key),
        "discovery-cacert" = %shown(&discovery.cacert),
        "discovery-user" = discovery.user,
        // Taken as they are whatever is said.
        "downgrade-check-interval" = "5s",
        "v2-deprecation" = "write-only",
        "starting an etcd server"
    );
}
