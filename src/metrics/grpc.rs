//! Calls of clients, by service and method.

use std::collections::BTreeSet;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::{HistogramVec, IntCounterVec};

use super::Detail;
use super::families::{Counter, Families, Histogram};

/// What calls end with, in order of their numbers.
pub const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];
const UNKNOWN: usize = 2;

/// Versions of clients that are told apart; they choose the text.
const VERSIONS_MAX: usize = 64;
/// Bytes that such a text may have.
const VERSION_BYTES_MAX: usize = 64;
/// All the others.
const OTHER_VERSION: &str = "other";

/// What goes on between clients and this member.
#[derive(Debug)]
pub struct GrpcMetrics {
    /// Bytes of messages of clients.
    pub received_bytes: Counter,
    /// Bytes of messages to clients.
    pub sent_bytes: Counter,
    started: IntCounterVec,
    handled: IntCounterVec,
    received: IntCounterVec,
    sent: IntCounterVec,
    handling: Option<HistogramVec>,
    clients: IntCounterVec,
    versions: Mutex<BTreeSet<Box<str>>>,
}

/// What a method is called, and what travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallShape {
    /// With its package.
    pub service: String,
    /// Its name.
    pub method: String,
    /// Many messages may come from the client.
    pub client_streams: bool,
    /// Many messages may go to the client.
    pub server_streams: bool,
}

impl CallShape {
    fn kind(&self) -> &'static str {
        match (self.client_streams, self.server_streams) {
            (false, false) => "unary",
            (false, true) => "server_stream",
            (true, false) => "client_stream",
            (true, true) => "bidi_stream",
        }
    }
}

/// Calls of one method.
#[derive(Debug)]
pub struct CallMetrics {
    /// Calls that were begun.
    pub started: Counter,
    /// Messages of clients.
    pub received: Counter,
    /// Messages to clients.
    pub sent: Counter,
    handled: [Counter; CODES.len()],
    handling: Option<Histogram>,
    /// What travels.
    pub shape: CallShape,
}

/// Calls of clients of one version.
#[derive(Debug, Clone)]
pub struct ClientMetrics {
    /// With one message each way.
    pub unary: Counter,
    /// All others.
    pub stream: Counter,
}

impl GrpcMetrics {
    pub(super) fn new(families: &Families, detail: Detail) -> GrpcMetrics {
        let labels = ["grpc_type", "grpc_service", "grpc_method"];
        let counters = |name, help| families.counters(name, help, &labels);
        let handled = ["grpc_type", "grpc_service", "grpc_method", "grpc_code"];
        GrpcMetrics {
            received_bytes: families
                .counter("etcd_network_client_grpc_received_bytes_total", "Bytes of messages of clients."),
            sent_bytes: families.counter("etcd_network_client_grpc_sent_bytes_total", "Bytes of messages to clients."),
            started: counters("grpc_server_started_total", "Calls that were begun."),
            handled: families.counters("grpc_server_handled_total", "Calls that have ended, by code.", &handled),
            received: counters("grpc_server_msg_received_total", "Messages of clients."),
            sent: counters("grpc_server_msg_sent_total", "Messages to clients."),
            handling: (detail == Detail::Extensive).then(|| {
                families.plain_histograms("grpc_server_handling_seconds", "Time from a call to its end.", &labels)
            }),
            clients: families.counters(
                "etcd_server_client_requests_total",
                "Calls, by the version that clients say they have.",
                &["type", "client_api_version"],
            ),
            versions: Mutex::default(),
        }
    }

    /// The counters of a method; there from then on.
    #[must_use]
    pub fn method(&self, shape: CallShape) -> CallMetrics {
        let labels = [shape.kind(), &shape.service, &shape.method];
        let [kind, service, method] = labels;
        CallMetrics {
            started: self.started.with_label_values(&labels),
            received: self.received.with_label_values(&labels),
            sent: self.sent.with_label_values(&labels),
            handled: CODES.map(|code| self.handled.with_label_values(&[kind, service, method, code])),
            handling: self.handling.as_ref().map(|handling| handling.with_label_values(&labels)),
            shape,
        }
    }

    /// The counters of clients that say they have this version.
    #[must_use]
    pub fn client(&self, version: &str) -> ClientMetrics {
        let version = self.told_apart(version);
        ClientMetrics {
            unary: self.clients.with_label_values(&["unary", version]),
            stream: self.clients.with_label_values(&["stream", version]),
        }
    }

    /// Clients choose the text: only so many are told apart.
    fn told_apart<'v>(&self, version: &'v str) -> &'v str {
        let mut versions = self.versions.lock();
        if versions.contains(version) {
            return version;
        }
        if versions.len() >= VERSIONS_MAX || version.len() > VERSION_BYTES_MAX {
            return OTHER_VERSION;
        }
        versions.insert(version.into());
        version
    }
}

impl CallMetrics {
    /// A call has ended with a code of that number, so long after it began.
    pub fn ended(&self, code: usize, after: impl FnOnce() -> Duration) {
        self.handled.get(code).unwrap_or(&self.handled[UNKNOWN]).inc();
        if let Some(handling) = &self.handling {
            handling.observe(after().as_secs_f64());
        }
    }

    /// So many calls have ended well.
    pub fn ended_well(&self, count: u64) {
        self.handled[0].inc_by(count);
    }

    /// Where each call's time is wanted, if it is.
    #[must_use]
    pub fn handling(&self) -> Option<&Histogram> {
        self.handling.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_cannot_make_as_many_series_as_they_like() {
        let metrics = GrpcMetrics::new(&Families::default(), Detail::Basic);
        for n in 0..1000 {
            metrics.client(&format!("3.{n}")).unary.inc();
        }
        metrics.client("3.5").unary.inc();
        metrics.client(&"x".repeat(VERSION_BYTES_MAX + 1)).stream.inc();
        assert_eq!(metrics.versions.lock().len(), VERSIONS_MAX);
        assert_eq!(metrics.client("3.5").unary.get(), 2);
        let other = metrics.client(OTHER_VERSION);
        assert_eq!((other.unary.get(), other.stream.get()), (1000 - VERSIONS_MAX as u64, 1));
    }
}
