//! What was different.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Write};

/// Longest text of one request or answer in a report.
const TEXT_LEN_MAX: usize = 6_000;

/// Two servers that parted.
#[derive(Debug, Clone)]
pub struct Difference {
    /// What was asked, and where the answers part: alike differences are told once and counted.
    pub kind: String,
    pub text: String,
}

impl Difference {
    pub fn new(kind: String, request: &impl Debug, left: &impl Debug, right: &impl Debug) -> Difference {
        let text = format!(
            "request:   {}\nreference: {}\nsubject:   {}",
            shortened(request),
            shortened(left),
            shortened(right)
        );
        Difference { kind, text }
    }
}

/// All differences of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// By kind: how many, and the first one.
    differences: BTreeMap<String, (u64, String)>,
}

impl Report {
    /// `replay` is the command that leads there again.
    pub fn add(&mut self, difference: Difference, replay: &str) {
        let first = || (0, format!("{}\nreplay:    {replay}", difference.text));
        self.differences.entry(difference.kind).or_insert_with(first).0 += 1;
    }

    pub fn merge(&mut self, other: Report) {
        for (kind, (count, text)) in other.differences {
            self.differences.entry(kind).or_insert((0, text)).0 += count;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.differences.is_empty()
    }

    /// Whether there is a difference whose kind begins so.
    pub fn has(&self, kind: &str) -> bool {
        self.differences.keys().any(|known| known.starts_with(kind))
    }

    /// How many differences there are, alike ones too.
    pub fn len(&self) -> u64 {
        self.differences.values().map(|(count, _)| count).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, (count, text)) in &self.differences {
            writeln!(f, "== {kind} ({count} times), for the first time at\n{text}\n")?;
        }
        Ok(())
    }
}

fn shortened(value: &impl Debug) -> String {
    let mut text = format!("{value:?}");
    if text.len() > TEXT_LEN_MAX {
        let all = text.len();
        let cut = text.floor_char_boundary(TEXT_LEN_MAX);
        text.truncate(cut);
        let _ = write!(text, "... ({all} bytes)");
    }
    text
}
