//! Flags of etcd that are not there yet: they are told apart from those that nobody knows.

/// What names that etcd has given up began with; the rest is the name of today.
const FORMER_PREFIX: &str = "experimental-";

/// Takes a name that etcd 3.5 gave to a flag, and gives that of today.
pub(in crate::config) fn present_name(former: &str) -> Option<&str> {
    former.strip_prefix(FORMER_PREFIX)
}

/// Tells whether etcd has a flag that this version does not, under its name of today or the former one.
pub(in crate::config) fn is_of_etcd(name: &str) -> bool {
    ALL.contains(&present_name(name).unwrap_or(name))
}

/// The flags of etcd 3.7 that are not in the table.
pub(super) const ALL: &[&str] = &[
    "backend-batch-interval",
    "backend-batch-limit",
    "backend-bbolt-freelist-type",
    "bootstrap-defrag-threshold-megabytes",
    "cipher-suites",
    "config-file",
    "discovery-cacert",
    "discovery-cert",
    "discovery-dial-timeout",
    "discovery-endpoints",
    "discovery-fallback",
    "discovery-insecure-skip-tls-verify",
    "discovery-insecure-transport",
    "discovery-keepalive-time",
    "discovery-keepalive-timeout",
    "discovery-key",
    "discovery-password",
    "discovery-request-timeout",
    "discovery-srv",
    "discovery-srv-name",
    "discovery-token",
    "discovery-user",
    "distributed-tracing-address",
    "distributed-tracing-instance-id",
    "distributed-tracing-sampling-rate",
    "distributed-tracing-service-name",
    "enable-distributed-tracing",
    "enable-log-rotation",
    "initial-election-tick-advance",
    "listen-client-http-urls",
    "listen-metrics-urls",
    "log-format",
    "log-outputs",
    "log-rotation-config-json",
    "logger",
    "max-snapshots",
    "max-wals",
    "memory-mlock",
    "raft-read-timeout",
    "raft-write-timeout",
    "socket-reuse-address",
    "socket-reuse-port",
    "tls-max-version",
    "tls-min-version",
    "unsafe-no-fsync",
    "v2-deprecation",
    "wal-dir",
    "warning-apply-duration",
    "warning-unary-request-duration",
];
