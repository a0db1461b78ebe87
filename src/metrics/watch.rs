//! Watchers and their streams.

use super::families::{Counter, Doubling, Families, Gauge, Histogram};

/// What is told to watchers.
#[derive(Debug, Clone)]
pub struct WatchMetrics {
    /// Events that were sent.
    pub events: Counter,
    /// Streams that are open.
    pub streams: Gauge,
    /// Watchers on them.
    pub watchers: Gauge,
    /// Those that are behind.
    pub behind: Gauge,
    /// Events that wait for their client.
    pub pending_events: Gauge,
    /// Seconds from a message with events to when the next may come.
    pub events_sent: Histogram,
    /// The same for each of its events.
    pub event_sent: Histogram,
    /// The same for answers.
    pub answer_sent: Histogram,
    /// The same for notes of progress.
    pub progress_sent: Histogram,
}

impl WatchMetrics {
    pub(super) fn new(families: &Families) -> WatchMetrics {
        let seconds = |name, help| families.histogram(name, help, Doubling::from(0.001, 14));
        WatchMetrics {
            events: families.counter("etcd_debugging_mvcc_events_total", "Events that were sent to watchers."),
            streams: families.gauge("etcd_debugging_mvcc_watch_stream_total", "Watch streams that are open."),
            watchers: families.gauge("etcd_debugging_mvcc_watcher_total", "Watchers."),
            behind: families.gauge("etcd_debugging_mvcc_slow_watcher_total", "Watchers that are behind."),
            pending_events: families
                .gauge("etcd_debugging_mvcc_pending_events_total", "Events that wait for their client to take them."),
            events_sent: seconds(
                "etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds",
                "Time to send a message of events.",
            ),
            event_sent: seconds(
                "etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds",
                "Time to send a message of events, for each event in it.",
            ),
            answer_sent: seconds(
                "etcd_debugging_server_watch_send_loop_control_stream_duration_seconds",
                "Time to send an answer to a watcher that is made or ended.",
            ),
            progress_sent: seconds(
                "etcd_debugging_server_watch_send_loop_progress_duration_seconds",
                "Time to send a note of progress.",
            ),
        }
    }
}
