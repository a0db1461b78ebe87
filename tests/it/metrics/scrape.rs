//! What `/metrics` says, read back. Source: Prometheus, text format 0.0.4.

use std::collections::{BTreeMap, BTreeSet};

use crate::gateway::http::ask;

/// The labels of a sample, by name.
pub type Labels = BTreeMap<String, String>;

/// All families, by name.
#[derive(Debug, Default)]
pub struct Scrape(pub BTreeMap<String, Family>);

/// A family.
#[derive(Debug, Default)]
pub struct Family {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    pub samples: Vec<Sample>,
}

/// A line.
#[derive(Debug)]
pub struct Sample {
    /// The family's name, or that with `_bucket`, `_sum` or `_count`.
    pub name: String,
    pub labels: Labels,
    pub value: f64,
}

impl Scrape {
    /// Asks a server.
    pub fn of(address: &str) -> Scrape {
        let answer = ask(address, "GET", "/metrics", &[], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        Scrape::parse(&answer.body)
    }

    pub fn parse(text: &str) -> Scrape {
        let mut scrape = Scrape::default();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a kind");
                family = name.to_owned();
                let known = scrape.0.insert(family.clone(), Family { kind: kind.to_owned(), samples: Vec::new() });
                assert!(known.is_none(), "{name} comes twice");
            } else if !line.starts_with('#') {
                let sample = Sample::parse(line);
                assert!(sample.name.starts_with(&family), "{line} does not belong to {family}");
                scrape.0.get_mut(&family).expect("a kind comes first").samples.push(sample);
            }
        }
        scrape
    }

    /// The value of a sample; those without such labels are zero.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.samples(name).filter(|sample| sample.has(labels)).map(|sample| sample.value).sum()
    }

    /// All samples of that name.
    pub fn samples<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Sample> {
        let families = self.0.range(..=name.to_owned()).rev().take_while(|(family, _)| name.starts_with(&family[..1]));
        families.flat_map(|(_, family)| &family.samples).filter(move |sample| sample.name == name)
    }
}

impl Family {
    /// The names of its labels, but for that of buckets.
    pub fn label_names(&self) -> BTreeSet<&str> {
        let names = self.samples.iter().flat_map(|sample| sample.labels.keys());
        names.map(String::as_str).filter(|&name| name != "le").collect()
    }

    /// The upper bounds of its buckets, as numbers.
    pub fn bounds(&self) -> Vec<f64> {
        let bounds = self.samples.iter().filter_map(|sample| sample.labels.get("le"));
        let mut bounds: Vec<f64> = bounds.map(|bound| bound.parse().expect("a bound is a number")).collect();
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        bounds
    }
}

impl Sample {
    fn parse(line: &str) -> Sample {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in {line:?}"));
        let value = value.parse().unwrap_or_else(|_| panic!("no number in {line:?}"));
        let (name, mut rest) = series.split_once('{').map_or((series, ""), |(name, rest)| (name, rest));
        let mut labels = Labels::new();
        while let Some((label, after)) = rest.split_once("=\"") {
            let (text, after) = after.split_once('"').unwrap_or_else(|| panic!("an open label in {line:?}"));
            labels.insert(label.trim_start_matches(',').to_owned(), text.to_owned());
            rest = after;
        }
        Sample { name: name.to_owned(), labels, value }
    }

    pub fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.labels.get(*name).is_some_and(|found| found == value))
    }
}

#[test]
fn samples_are_read_back() {
    let text = "# HELP a_total An a.\n# TYPE a_total counter\na_total 3\n\
                # TYPE h histogram\nh_bucket{x=\"y\",le=\"0.5\"} 1\nh_bucket{x=\"y\",le=\"+Inf\"} 2\nh_sum{x=\"y\"} 1.5\n\
                h_count{x=\"y\"} 2\n";
    let scrape = Scrape::parse(text);
    assert_eq!((scrape.value("a_total", &[]), scrape.value("h_count", &[("x", "y")])), (3.0, 2.0));
    assert_eq!(scrape.0["h"].bounds(), [0.5, f64::INFINITY]);
    assert_eq!(scrape.0["h"].label_names(), BTreeSet::from(["x"]));
    assert_eq!(scrape.value("h_count", &[("x", "z")]), 0.0);
}
