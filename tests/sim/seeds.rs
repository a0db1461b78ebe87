//! Which seeds are run, and how a failure is told.

use std::ops::Range;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use super::run::{Plan, Report, run};

/// Seeds that are run if nobody asks for others.
const SEEDS: Range<u64> = 0..30;
/// The seed that is run twice.
const SEED_RUN_TWICE: u64 = 3;
/// Members of a cluster.
const SIZES: [u64; 3] = [3, 5, 1];
/// After so long in real time a run hangs: some task wants to run for ever without letting time pass.
const HANG: Duration = Duration::from_secs(300);
/// Set in the second process of the test of determinism.
const PRINT_TRACE: &str = "SIM_PRINT_TRACE";
const TRACE_LINE: &str = "trace of the run: ";

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

fn seeds() -> Range<u64> {
    if let Some(seed) = number("SIM_SEED") {
        return seed..seed + 1;
    }
    let Ok(text) = std::env::var("SIM_SEEDS") else { return SEEDS };
    let ends = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    ends.unwrap_or_else(|| panic!("SIM_SEEDS is not of the form a..b: {text}"))
}

fn plan(seed: u64) -> Plan {
    let size = number("SIM_MEMBERS").unwrap_or(SIZES[(seed % SIZES.len() as u64) as usize]);
    Plan { seed, size }
}

/// Runs a seed, and tells how to run it again if it panics or hangs.
fn run_guarded(plan: &Plan) -> Report {
    struct Tell(String);
    impl Drop for Tell {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("{}", self.0);
            }
        }
    }
    let again = replay(plan);
    let _tell = Tell(again.clone());
    if let Ok(filter) = std::env::var("SIM_LOG") {
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter).without_time().with_ansi(false);
        // Another test of this process may have done so.
        let _ = subscriber.try_init();
    }
    let (alive, watched) = mpsc::sync_channel::<()>(1);
    std::thread::spawn(move || {
        if watched.recv_timeout(HANG) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("a run hangs; {again}");
            std::process::abort();
        }
    });
    let report = run(plan);
    drop(alive);
    report
}

fn replay(plan: &Plan) -> String {
    let Plan { seed, size } = plan;
    format!(
        "run it again: SIM_SEED={seed} SIM_MEMBERS={size} cargo test --test sim seeds::clusters_keep_their_promises"
    )
}

#[test]
fn clusters_keep_their_promises() {
    let is_told = std::env::var_os("SIM_TOLD").is_some();
    let mut failures = Vec::new();
    for seed in seeds() {
        let plan = plan(seed);
        let report = run_guarded(&plan);
        if is_told {
            let Report { trace, faults, operations, revision, lasted, .. } = &report;
            println!(
                "{plan:?}: {operations:?} requests and answers, revision {revision}, {lasted:?}, trace {trace:x?}"
            );
            faults.iter().for_each(|fault| println!("    {fault}"));
        }
        if !report.violations.is_empty() {
            let lines = [&report.faults[..], &report.violations[..]].concat();
            failures.push(format!("{plan:?} fails; {}\n    {}", replay(&plan), lines.join("\n    ")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_seed_runs_the_same_way_in_two_processes() {
    let plan = plan(number("SIM_SEED").unwrap_or(SEED_RUN_TWICE));
    let report = run_guarded(&plan);
    let trace = format!("{TRACE_LINE}{:x?}", report.trace);
    if std::env::var_os(PRINT_TRACE).is_some() {
        println!("{trace}");
        return;
    }
    let this = std::env::current_exe().unwrap();
    let test = ["seeds::a_seed_runs_the_same_way_in_two_processes", "--exact", "--nocapture"];
    let mut command = Command::new(this);
    command.args(test).env(PRINT_TRACE, "1").env_remove("SIM_TRACE").env("SIM_SEED", plan.seed.to_string());
    let output = command.env("SIM_MEMBERS", plan.size.to_string()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let other = told.lines().find(|line| line.contains(TRACE_LINE)).unwrap_or("it told none");
    assert_eq!(other.trim(), trace, "{}; with SIM_TRACE=file everything is written down", replay(&plan));
    assert!(report.trace.1 > 100, "there was something to compare");
}
