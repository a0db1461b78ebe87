//! What a run has to say.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use super::checks::history::{History, Outcome, Request};
use super::plan::Fault;
use super::run::Report;
use super::stalls::Stall;

/// All rounds together.
#[derive(Debug, Default)]
pub struct Summary {
    rounds: u64,
    counts: BTreeMap<Fault, u64>,
    operations: BTreeMap<&'static str, [u64; 3]>,
    lines: BTreeMap<String, u64>,
    lasted: Duration,
}

impl Summary {
    /// Adds one round.
    pub fn add(&mut self, report: &Report) {
        self.rounds += 1;
        self.lasted += report.lasted.0;
        for (fault, count) in &report.counts {
            *self.counts.entry(*fault).or_default() += count;
        }
        for (kind, counts) in operations(&report.history) {
            let sums = self.operations.entry(kind).or_default();
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        for (level, count) in &report.lines {
            *self.lines.entry(level.clone()).or_default() += count;
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} rounds, {:.0?} of chaos in all", self.rounds, self.lasted)?;
        writeln!(f, "operations: {}", in_words(&self.operations))?;
        writeln!(f, "lines of the log: {}", lines_in_words(&self.lines))?;
        write!(f, "faults: {}", faults_in_words(&self.counts))
    }
}

/// What was done and what came of it, in a few lines.
pub fn describe(report: &Report) -> String {
    let mut text = String::new();
    let (lasted, judged) = report.lasted;
    // Writing to a string does not fail.
    let _ = writeln!(text, "  {lasted:.0?} and {judged:.1?} of judgement, up to revision {}", report.revision);
    let _ = writeln!(text, "  operations: {}", in_words(&operations(&report.history)));
    let _ = writeln!(text, "  faults: {}", faults_in_words(&report.counts));
    let _ = writeln!(text, "  lines of the log: {}", lines_in_words(&report.lines));
    let _ = writeln!(text, "  longest time without an acknowledged change: {:.1?}", report.silence);
    if !report.stalls.is_empty() {
        let lengths = report.stalls.iter().map(|stall| format!("{:.1?}", stall.to - stall.from));
        let _ = writeln!(text, "  the machine's own disk stood still for {}", lengths.collect::<Vec<_>>().join(", "));
    }
    for (fault, times) in &report.replaced {
        let _ = writeln!(text, "  leader hit by {fault}: another after {times:.1?}");
    }
    let heard: usize = report.history.watchings.iter().flat_map(|watching| &watching.sessions).count();
    let (holds, defragmented) = (report.history.holds.len(), report.defragmented);
    let _ =
        write!(text, "  connections of watchers: {heard}, holds of locks: {holds}, defragmentations: {defragmented}");
    text
}

/// Fails if there was any violation, and leaves everything there is to know of the run in a file.
pub fn insist_on_none(report: &Report, seed: u64) {
    if report.violations.is_empty() {
        return;
    }
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{seed}.txt"));
    std::fs::write(&file, everything(report)).expect("cargo's folder for tests can be written to");
    let violations = report.violations.join("\n");
    panic!(
        "LODEMARK_SEED={seed}: {} violations:\n{violations}\nall of it: {}",
        report.violations.len(),
        file.display()
    );
}

fn everything(report: &Report) -> String {
    let mut text = report.violations.join("\n");
    let _ = writeln!(text, "\n\n{}\n", report.told.join("\n"));
    for Stall { from, to } in &report.stalls {
        let _ = writeln!(text, "the machine's own disk stood still from {from:?} to {to:?}");
    }
    for operation in &report.history.operations {
        let _ = writeln!(text, "{operation:?}");
    }
    for watching in &report.history.watchings {
        let _ = writeln!(text, "\nwatch {:?} prev_kv={}", watching.keys, watching.prev_kv);
        for session in &watching.sessions {
            let _ = writeln!(text, "session on {:?} from {}", session.server, session.from);
            for (at, heard) in &session.heard {
                let _ = writeln!(text, "  {at:?} {heard:?}");
            }
        }
    }
    for hold in &report.history.holds {
        let _ = writeln!(text, "{hold:?}");
    }
    for (who, lines) in &report.logs {
        let _ = writeln!(text, "\n{who}\n{}", lines.join("\n"));
    }
    text
}

fn lines_in_words(lines: &BTreeMap<String, u64>) -> String {
    lines.iter().map(|(level, count)| format!("{count} {level}")).collect::<Vec<_>>().join(", ")
}

/// Of each kind of request: answered, refused, and those of which nobody knows.
fn operations(history: &History) -> BTreeMap<&'static str, [u64; 3]> {
    use lodemark::model::Command;

    let mut counts: BTreeMap<&'static str, [u64; 3]> = BTreeMap::new();
    for operation in &history.operations {
        let kind = match &operation.request {
            Request::Command(Command::Put(_)) => "puts",
            Request::Command(Command::DeleteRange(_)) => "deletes",
            Request::Command(Command::Txn(_)) => "txns",
            Request::Command(Command::Compact(_)) => "compactions",
            Request::Command(Command::LeaseGrant(_)) => "grants",
            Request::Command(_) => "revokes",
            Request::Range(range) if range.serializable => "serializable ranges",
            Request::Range(_) => "ranges",
            Request::KeepAlive(_) => "keepalives",
            Request::TimeToLive(_) => "times to live",
        };
        let place = match &operation.outcome {
            Outcome::Rejected(_) | Outcome::NotDone => 1,
            Outcome::Unknown => 2,
            _ => 0,
        };
        counts.entry(kind).or_default()[place] += 1;
    }
    counts
}

fn in_words(counts: &BTreeMap<&'static str, [u64; 3]>) -> String {
    let total: u64 = counts.values().flatten().sum();
    let words =
        counts.iter().map(|(kind, [answered, refused, unknown])| format!("{kind} {answered}/{refused}/{unknown}"));
    format!("{total} (answered/refused/unknown): {}", words.collect::<Vec<_>>().join(", "))
}

fn faults_in_words(counts: &BTreeMap<Fault, u64>) -> String {
    counts.iter().map(|(fault, count)| format!("{count} x {fault}")).collect::<Vec<_>>().join(", ")
}
