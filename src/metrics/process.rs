//! The process, as the system sees it when somebody asks.

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};

use super::families::Families;
use crate::env::ProcessFigures;

/// Name, help, kind, and which figure.
type Row = (&'static str, &'static str, MetricType, fn(&ProcessFigures) -> Option<f64>);

const ROWS: &[Row] = &[
    ("os_fd_limit", "Files and sockets that may be open.", MetricType::GAUGE, |it| whole(it.open_files_max)),
    ("os_fd_used", "Files and sockets that are open.", MetricType::GAUGE, |it| whole(it.open_files)),
    ("process_cpu_seconds_total", "Time of processors used.", MetricType::COUNTER, |it| it.cpu_seconds),
    ("process_max_fds", "Files and sockets that may be open.", MetricType::GAUGE, |it| whole(it.open_files_max)),
    ("process_network_receive_bytes_total", "Bytes that came over the network.", MetricType::COUNTER, |it| {
        whole(it.received_bytes)
    }),
    ("process_network_transmit_bytes_total", "Bytes that went over the network.", MetricType::COUNTER, |it| {
        whole(it.sent_bytes)
    }),
    ("process_open_fds", "Files and sockets that are open.", MetricType::GAUGE, |it| whole(it.open_files)),
    ("process_resident_memory_bytes", "Memory in use.", MetricType::GAUGE, |it| whole(it.resident_bytes)),
    ("process_start_time_seconds", "When it began, since 1970.", MetricType::GAUGE, |it| it.started_at_seconds),
    ("process_virtual_memory_bytes", "Address space.", MetricType::GAUGE, |it| whole(it.virtual_bytes)),
    ("process_virtual_memory_max_bytes", "Address space that there may be.", MetricType::GAUGE, |it| {
        whole(it.virtual_bytes_max)
    }),
];

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn whole(figure: Option<u64>) -> Option<f64> {
    figure.map(|figure| figure as f64)
}

/// Has the figures of the process gathered.
pub(super) fn describe(families: &Families) {
    let desc = |(name, help, _, _): &Row| Desc::new((*name).to_owned(), (*help).to_owned(), Vec::new(), [].into());
    let descs = ROWS.iter().map(|row| desc(row).expect("the names are written down above"));
    families.collector(Process { descs: descs.collect() });
}

struct Process {
    descs: Vec<Desc>,
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    /// What the system does not tell is left out.
    fn collect(&self) -> Vec<MetricFamily> {
        let figures = ProcessFigures::now();
        let family = |&(name, help, kind, figure): &Row| Some(family((name, help), kind, figure(&figures)?));
        ROWS.iter().filter_map(family).collect()
    }
}

fn family((name, help): (&str, &str), kind: MetricType, value: f64) -> MetricFamily {
    let mut metric = Metric::default();
    if kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(vec![metric]);
    family
}
