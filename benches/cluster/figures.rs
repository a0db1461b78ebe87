//! Figures of rounds, and what they come to.

use std::fmt::Write;
use std::time::Duration;

/// One thing that was measured. The unit is part of the name.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    pub what: &'static str,
    pub value: f64,
}

impl Figure {
    /// A time in milliseconds.
    pub fn ms(what: &'static str, time: Duration) -> Figure {
        Figure { what, value: time.as_secs_f64() * 1000.0 }
    }
}

/// The same thing in all rounds: etcd's figure and Lodemark's.
#[derive(Debug)]
struct Row {
    what: &'static str,
    rounds: Vec<(f64, f64)>,
}

/// All that was measured.
#[derive(Debug, Default)]
pub struct Figures {
    rows: Vec<Row>,
}

impl Figures {
    /// Keeps the figures of a round, which are of the same things in the same order, and gives them as text.
    pub fn add_round(&mut self, etcd: Vec<Figure>, lodemark: Vec<Figure>) -> String {
        let mut text = format!("{:44} {:>12} {:>12} {:>8}\n", "", "etcd", "lodemark", "ratio");
        assert_eq!(etcd.len(), lodemark.len());
        for (etcd, lodemark) in etcd.into_iter().zip(lodemark) {
            assert_eq!(etcd.what, lodemark.what);
            let (theirs, ours) = (etcd.value, lodemark.value);
            // Writing to a string does not fail.
            let _ = writeln!(text, "{:44} {theirs:>12.2} {ours:>12.2} {:>8.2}", etcd.what, ours / theirs);
            match self.rows.iter_mut().find(|row| row.what == etcd.what) {
                Some(row) => row.rounds.push((theirs, ours)),
                None => self.rows.push(Row { what: etcd.what, rounds: vec![(theirs, ours)] }),
            }
        }
        text
    }

    /// Medians and extremes of all rounds.
    pub fn summary(&self) -> String {
        let mut text = format!(
            "{:44} {:>12} {:>12} {:>8} {:>15} {:>12} {:>12}\n",
            "median", "etcd", "lodemark", "ratio", "ratios", "etcd max", "lodemark max"
        );
        for Row { what, rounds } in &self.rows {
            let etcd = sorted(rounds.iter().map(|(etcd, _)| *etcd));
            let lodemark = sorted(rounds.iter().map(|(_, lodemark)| *lodemark));
            let ratios = sorted(rounds.iter().map(|(etcd, lodemark)| lodemark / etcd));
            let range = format!("{:.2} .. {:.2}", quantile(&ratios, 0.0), quantile(&ratios, 1.0));
            let _ = writeln!(
                text,
                "{what:44} {:>12.2} {:>12.2} {:>8.2} {range:>15} {:>12.2} {:>12.2}",
                median(&etcd),
                median(&lodemark),
                median(&ratios),
                quantile(&etcd, 1.0),
                quantile(&lodemark, 1.0),
            );
        }
        text
    }
}

/// The values in order.
pub fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The smallest of the sorted values that so large a part of them does not exceed; not a number if there is none.
pub fn quantile(sorted: &[f64], part: f64) -> f64 {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// The middle of the sorted values, or the mean of the two that are there.
fn median(sorted: &[f64]) -> f64 {
    let (below, above) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    match (sorted.get(below), sorted.get(above)) {
        (Some(below), Some(above)) => (below + above) / 2.0,
        _ => f64::NAN,
    }
}
