//! Metrics: what a member counts and measures about itself, for Prometheus.
//!
//! Names, labels, kinds and buckets are etcd's, so that its dashboards and alerts go on working; what is ours begins with
//! `lodemark_`. One [`Metrics`] belongs to one member: there is no registry of the process, for several members may live
//! in one.
//!
//! ```text
//!   wal, raft, peer, node, api ── count and measure ──> handles (one file a theme) ──┐
//!                                                                                    ├──> text, when somebody asks
//!   node ── what is known anyway, set when somebody asks ──> gauges ─────────────────┘
//! ```
//!
//! A handle is an atomic number or a few of them. Whoever counts often keeps the handle: labels are looked up once, and
//! never for a request.
//!
//! Source: etcd, `server/etcdserver/metrics.go` and its neighbours; Prometheus, text format 0.0.4.

mod apply;
mod disk;
mod families;
mod grpc;
mod health;
mod lease;
mod mvcc;
mod network;
mod own;
mod process;
mod server;
mod stopwatch;
mod unused;
mod watch;

use parking_lot::{Mutex, MutexGuard};
use prometheus::TextEncoder;

pub use self::apply::{ApplyTimes, Op};
pub use self::disk::{CheckpointMetrics, WalMetrics};
use self::families::Families;
pub use self::families::{Counter, Gauge, Histogram};
pub use self::grpc::{CODES, CallMetrics, CallShape, ClientMetrics, GrpcMetrics};
pub use self::health::HealthMetrics;
pub use self::lease::LeaseMetrics;
pub use self::mvcc::MvccMetrics;
pub use self::network::{NetworkMetrics, PeerMetrics};
pub use self::own::OwnMetrics;
pub use self::server::{Feature, ServerMetrics};
pub use self::stopwatch::Stopwatch;
pub use self::watch::WatchMetrics;

/// How much is measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Detail {
    /// What costs next to nothing.
    #[default]
    Basic,
    /// How long each call takes as well, by method.
    Extensive,
}

/// All that one member counts and measures.
#[derive(Debug)]
pub struct Metrics {
    families: Families,
    /// The write-ahead log.
    pub wal: WalMetrics,
    /// The checkpoint, and snapshots of the state.
    pub checkpoint: CheckpointMetrics,
    /// Keys, revisions and compactions.
    pub mvcc: MvccMetrics,
    /// Leases.
    pub lease: LeaseMetrics,
    /// Watchers and their streams.
    pub watch: WatchMetrics,
    /// Raft, apply, requests, versions.
    pub server: ServerMetrics,
    /// Other members.
    pub network: NetworkMetrics,
    /// Calls of clients.
    pub grpc: GrpcMetrics,
    /// Probes.
    pub health: HealthMetrics,
    /// What etcd has no name for.
    pub own: OwnMetrics,
    asking: Mutex<()>,
}

/// Somebody asks: nobody else sets gauges meanwhile.
#[derive(Debug)]
pub struct Asking<'a> {
    metrics: &'a Metrics,
    _turn: MutexGuard<'a, ()>,
}

impl Metrics {
    /// Everything at zero.
    #[must_use]
    pub fn new(detail: Detail) -> Metrics {
        let families = Families::default();
        process::describe(&families);
        unused::describe(&families);
        Metrics {
            wal: WalMetrics::new(&families),
            checkpoint: CheckpointMetrics::new(&families),
            mvcc: MvccMetrics::new(&families),
            lease: LeaseMetrics::new(&families),
            watch: WatchMetrics::new(&families),
            server: ServerMetrics::new(&families),
            network: NetworkMetrics::new(&families),
            grpc: GrpcMetrics::new(&families, detail),
            health: HealthMetrics::new(&families),
            own: OwnMetrics::new(&families),
            families,
            asking: Mutex::default(),
        }
    }

    /// Begins an answer: the gauges that are known anyway are to be set, and then [`Asking::text`] is taken.
    pub fn ask(&self) -> Asking<'_> {
        Asking { metrics: self, _turn: self.asking.lock() }
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new(Detail::default())
    }
}

impl Asking<'_> {
    /// Everything in Prometheus' text format, in order of name.
    #[must_use]
    pub fn text(&self) -> String {
        let families = self.metrics.families.gather();
        TextEncoder::new().encode_to_string(&families).expect("every family that is gathered has a sample")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_labels_is_there_from_the_start() {
        let metrics = Metrics::default();
        let text = metrics.ask().text();
        for line in [
            "etcd_mvcc_put_total 0\n",
            "etcd_server_proposals_failed_total 0\n",
            "# TYPE etcd_server_proposals_applied_total gauge\n",
            "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"8.192\"} 0\n",
            "etcd_disk_wal_fsync_duration_seconds_count 0\n",
            "# TYPE process_cpu_seconds_total counter\n",
        ] {
            assert!(text.contains(line), "{line} is missing:\n{text}");
        }
        assert!(!text.contains("grpc_server_handling_seconds"), "{text}");
    }

    #[test]
    fn members_of_one_process_count_for_themselves() {
        let (one, other) = (Metrics::default(), Metrics::default());
        one.mvcc.puts.inc();
        assert_eq!((one.mvcc.puts.get(), other.mvcc.puts.get()), (1, 0));
    }
}
