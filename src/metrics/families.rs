//! Families of metrics: each has a name, a line of help, a kind and labels, and is registered as it is made.

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

/// A number that only grows.
pub type Counter = prometheus::IntCounter;
/// A number that is set, or goes up and down.
pub type Gauge = prometheus::IntGauge;
/// Numbers, by how large they are.
pub type Histogram = prometheus::Histogram;

/// What is gathered when somebody asks.
#[derive(Debug, Default)]
pub(super) struct Families(Registry);

/// The upper bounds of a histogram: each is twice the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doubling {
    first: f64,
    count: usize,
}

impl Doubling {
    pub(super) const fn from(first: f64, count: usize) -> Doubling {
        Doubling { first, count }
    }

    fn bounds(self) -> Vec<f64> {
        std::iter::successors(Some(self.first), |bound| Some(bound * 2.0)).take(self.count).collect()
    }
}

impl Families {
    pub(super) fn counter(&self, name: &str, help: &str) -> Counter {
        self.add(Counter::new(name, help))
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Gauge {
        self.add(Gauge::new(name, help))
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn histogram(&self, name: &str, help: &str, bounds: Doubling) -> Histogram {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(bounds.bounds())))
    }

    pub(super) fn histograms(&self, name: &str, help: &str, labels: &[&str], bounds: Doubling) -> HistogramVec {
        self.add(HistogramVec::new(HistogramOpts::new(name, help).buckets(bounds.bounds()), labels))
    }

    /// With the bounds that Prometheus' libraries have if nobody names any.
    pub(super) fn plain_histograms(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        self.add(HistogramVec::new(HistogramOpts::new(name, help), labels))
    }

    pub(super) fn collector(&self, collector: impl Collector + 'static) {
        self.0.register(Box::new(collector)).expect("each family is made once");
    }

    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.0.gather()
    }

    fn add<T: Collector + Clone + 'static>(&self, made: prometheus::Result<T>) -> T {
        let family = made.expect("names and labels are written down in this folder");
        self.collector(family.clone());
        family
    }
}
