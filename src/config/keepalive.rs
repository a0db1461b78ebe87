//! Pings between clients and this member.

use std::time::Duration;

use super::value::SignedDuration;

/// What no time means. Source: grpc-go, `defaultKeepalivePolicyMinTime`.
const MIN_TIME_UNSAID: Duration = Duration::from_secs(5 * 60);
/// The same. Source: grpc-go, `defaultServerKeepaliveTime`.
const INTERVAL_UNSAID: Duration = Duration::from_secs(2 * 60 * 60);
/// The same. Source: grpc-go, `defaultServerKeepaliveTimeout`.
const TIMEOUT_UNSAID: Duration = Duration::from_secs(20);

/// What was said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct KeepaliveSettings {
    pub(super) min_time: SignedDuration,
    pub(super) interval: SignedDuration,
    pub(super) timeout: SignedDuration,
}

/// Pings between clients and this member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepaliveConfig {
    /// What must lie between two pings of a client.
    pub min_time: Duration,
    /// How long a client may say nothing before it is pinged.
    pub interval: Duration,
    /// How long it may leave that without an answer.
    pub timeout: Duration,
}

/// Fills in what was not said. Source: etcd, `startEtcd`, which tells grpc-go of positive times alone.
pub(super) fn validate(settings: KeepaliveSettings) -> KeepaliveConfig {
    let min_time = settings.min_time.positive().unwrap_or(MIN_TIME_UNSAID);
    // They count together or not at all.
    let pings = settings.interval.positive().zip(settings.timeout.positive());
    let (interval, timeout) = pings.unwrap_or((INTERVAL_UNSAID, TIMEOUT_UNSAID));
    KeepaliveConfig { min_time, interval, timeout }
}
