//! Other members: what goes to them and comes from them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};

use super::families::{Counter, Doubling, Families, Gauge, Histogram};

/// Traffic between members.
#[derive(Debug)]
pub struct NetworkMetrics {
    known: IntGaugeVec,
    active: IntGaugeVec,
    disconnected: IntCounterVec,
    round_trip: HistogramVec,
    sent_bytes: IntCounterVec,
    received_bytes: IntCounterVec,
    send_failures: IntCounterVec,
    receive_failures: IntCounterVec,
    stream_failures: IntCounterVec,
    sent: SnapshotFamilies,
    received: SnapshotFamilies,
}

/// Snapshots in one direction.
#[derive(Debug)]
struct SnapshotFamilies {
    under_way: IntGaugeVec,
    succeeded: IntCounterVec,
    failed: IntCounterVec,
    seconds: HistogramVec,
}

/// Snapshots in one direction and of one member.
#[derive(Debug, Clone)]
struct Snapshots {
    under_way: Gauge,
    succeeded: Counter,
    failed: Counter,
    seconds: Histogram,
}

/// Traffic with one other member.
#[derive(Debug, Clone)]
pub struct PeerMetrics {
    sent_bytes: Counter,
    received_bytes: Counter,
    send_failures: Counter,
    receive_failures: Counter,
    round_trip: Histogram,
    active: Gauge,
    disconnected: Counter,
    is_active: Arc<AtomicBool>,
    sent: Snapshots,
    received: Snapshots,
}

impl NetworkMetrics {
    pub(super) fn new(families: &Families) -> NetworkMetrics {
        let counters = |name, help, labels: &[&str]| families.counters(name, help, labels);
        let pair = ["Local", "Remote"];
        NetworkMetrics {
            known: families.gauges("etcd_network_known_peers", "Members that this one knows.", &pair),
            active: families.gauges("etcd_network_active_peers", "Whether the other member answers.", &pair),
            disconnected: counters(
                "etcd_network_disconnected_peers_total",
                "Times that a member ceased to answer.",
                &pair,
            ),
            round_trip: families.histograms(
                "etcd_network_peer_round_trip_time_seconds",
                "Time from a ping to its answer.",
                &["To"],
                Doubling::from(0.0001, 16),
            ),
            sent_bytes: counters("etcd_network_peer_sent_bytes_total", "Bytes of messages to a member.", &["To"]),
            received_bytes: counters(
                "etcd_network_peer_received_bytes_total",
                "Bytes of messages of a member.",
                &["From"],
            ),
            send_failures: counters(
                "etcd_network_peer_sent_failures_total",
                "Messages that were not answered.",
                &["To"],
            ),
            receive_failures: counters(
                "etcd_network_peer_received_failures_total",
                "Messages of a member that could not be taken.",
                &["From"],
            ),
            stream_failures: counters(
                "etcd_network_server_stream_failures_total",
                "Streams of clients that broke.",
                &["Type", "API"],
            ),
            sent: SnapshotFamilies::new(families, "send", "To"),
            received: SnapshotFamilies::new(families, "receive", "From"),
        }
    }

    /// What is counted of `other`.
    #[must_use]
    pub fn peer(&self, own: &str, other: &str) -> PeerMetrics {
        PeerMetrics {
            sent_bytes: self.sent_bytes.with_label_values(&[other]),
            received_bytes: self.received_bytes.with_label_values(&[other]),
            send_failures: self.send_failures.with_label_values(&[other]),
            receive_failures: self.receive_failures.with_label_values(&[other]),
            round_trip: self.round_trip.with_label_values(&[other]),
            active: self.active.with_label_values(&[own, other]),
            disconnected: self.disconnected.with_label_values(&[own, other]),
            is_active: Arc::default(),
            sent: self.sent.of(other),
            received: self.received.of(other),
        }
    }

    /// Nothing is counted of `other` any more: it is no member.
    pub fn forget(&self, own: &str, other: &str) {
        for family in [&self.sent_bytes, &self.received_bytes, &self.send_failures, &self.receive_failures] {
            // An error: there is no such thing, which is what is wanted.
            let _ = family.remove_label_values(&[other]);
        }
        let _ = self.round_trip.remove_label_values(&[other]);
        let _ = self.active.remove_label_values(&[own, other]);
        let _ = self.disconnected.remove_label_values(&[own, other]);
        self.sent.forget(other);
        self.received.forget(other);
    }

    /// These are the members that `own` knows.
    pub fn set_known(&self, own: &str, members: impl Iterator<Item = String>) {
        self.known.reset();
        for member in members {
            self.known.with_label_values(&[own, &member]).set(1);
        }
    }

    /// A client's stream broke while this member received or sent (`kind`) on it.
    pub fn stream_failed(&self, kind: &str, api: &str) {
        self.stream_failures.with_label_values(&[kind, api]).inc();
    }
}

impl SnapshotFamilies {
    fn new(families: &Families, verb: &str, label: &str) -> SnapshotFamilies {
        let name = |rest: &str| format!("etcd_network_snapshot_{verb}_{rest}");
        let (labels, help) = ([label], format!("Snapshots between members, {verb}: "));
        SnapshotFamilies {
            under_way: families.gauges(&name("inflights_total"), &format!("{help}under way."), &labels),
            succeeded: families.counters(&name("success"), &format!("{help}those that arrived."), &labels),
            failed: families.counters(&name("failures"), &format!("{help}those that did not."), &labels),
            seconds: families.histograms(
                &name("total_duration_seconds"),
                &format!("{help}time of those that arrived."),
                &labels,
                Doubling::from(0.1, 10),
            ),
        }
    }

    fn of(&self, member: &str) -> Snapshots {
        Snapshots {
            under_way: self.under_way.with_label_values(&[member]),
            succeeded: self.succeeded.with_label_values(&[member]),
            failed: self.failed.with_label_values(&[member]),
            seconds: self.seconds.with_label_values(&[member]),
        }
    }

    fn forget(&self, member: &str) {
        let _ = self.under_way.remove_label_values(&[member]);
        let _ = self.succeeded.remove_label_values(&[member]);
        let _ = self.failed.remove_label_values(&[member]);
        let _ = self.seconds.remove_label_values(&[member]);
    }
}

impl PeerMetrics {
    /// So many bytes went to it.
    pub fn sent(&self, bytes: usize) {
        self.sent_bytes.inc_by(bytes as u64);
    }

    /// So many bytes came from it.
    pub fn received(&self, bytes: usize) {
        self.received_bytes.inc_by(bytes as u64);
    }

    /// What came from it could not be taken.
    pub fn receive_failed(&self) {
        self.receive_failures.inc();
    }

    /// It has answered something.
    pub fn answered(&self) {
        // Relaxed: it orders nothing but itself. Looked at first, for it is nearly always so.
        if !self.is_active.load(Ordering::Relaxed) && !self.is_active.swap(true, Ordering::Relaxed) {
            self.active.set(1);
        }
    }

    /// It has not answered something, or not in time.
    pub fn send_failed(&self) {
        self.send_failures.inc();
        // Relaxed: as above.
        if self.is_active.swap(false, Ordering::Relaxed) {
            self.active.set(0);
            self.disconnected.inc();
        }
    }

    /// It has answered a ping after so long.
    pub fn ponged(&self, after: Duration) {
        self.round_trip.observe(after.as_secs_f64());
    }

    /// A snapshot is on its way to it.
    #[must_use]
    pub fn sending_snapshot(&self) -> SnapshotUnderWay {
        SnapshotUnderWay::new(&self.sent)
    }

    /// A snapshot is on its way from it.
    #[must_use]
    pub fn receiving_snapshot(&self) -> SnapshotUnderWay {
        SnapshotUnderWay::new(&self.received)
    }
}

/// A snapshot on its way; has failed if it is dropped before it has arrived.
#[derive(Debug)]
pub struct SnapshotUnderWay {
    of: Snapshots,
    has_arrived: bool,
}

impl SnapshotUnderWay {
    fn new(of: &Snapshots) -> SnapshotUnderWay {
        of.under_way.inc();
        SnapshotUnderWay { of: of.clone(), has_arrived: false }
    }

    /// It has arrived after so long.
    pub fn arrived(mut self, after: Duration) {
        self.of.seconds.observe(after.as_secs_f64());
        self.has_arrived = true;
    }
}

impl Drop for SnapshotUnderWay {
    fn drop(&mut self) {
        self.of.under_way.dec();
        if self.has_arrived { self.of.succeeded.inc() } else { self.of.failed.inc() }
    }
}
