//! Flags of etcd that are not there yet: they are told apart from those that nobody knows.

/// Tells whether etcd has a flag that this version does not.
pub(super) fn is_of_etcd(name: &str) -> bool {
    ALL.contains(&name)
}

/// The flags of etcd 3.7 that are not in the table.
pub(super) const ALL: &[&str] = &[
    "discovery-cacert",
    "discovery-cert",
    "discovery-dial-timeout",
    "discovery-endpoints",
    "discovery-insecure-skip-tls-verify",
    "discovery-insecure-transport",
    "discovery-keepalive-time",
    "discovery-keepalive-timeout",
    "discovery-key",
    "discovery-password",
    "discovery-request-timeout",
    "discovery-token",
    "discovery-user",
];
