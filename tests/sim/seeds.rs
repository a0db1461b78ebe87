//! Which seeds are run, and how a failure is told.

use std::num::NonZero;
use std::ops::Range;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::run::{Plan, Report, run};

/// Seeds that are run if nobody asks for others.
const SEEDS: Range<u64> = 0..300;
/// The seed that is run twice.
const SEED_RUN_TWICE: u64 = 3;
/// Members of a cluster.
const SIZES: [u64; 3] = [3, 5, 1];
/// After so long in real time a run hangs: some task wants to run for ever without letting time pass.
const HANG: Duration = Duration::from_secs(300);
/// Set in the second process of the test of determinism.
const PRINT_TRACE: &str = "SIM_PRINT_TRACE";
const TRACE_LINE: &str = "trace of the run: ";

pub fn number(name: &str) -> Option<u64> {
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

pub fn plan(seed: u64) -> Plan {
    let size = number("SIM_MEMBERS").unwrap_or(SIZES[(seed % SIZES.len() as u64) as usize]);
    Plan { seed, size, mistake: None }
}

/// Runs the seeds on all cores, each in one thread; gives what came of them in their order.
fn run_all(seeds: Range<u64>) -> Vec<(Plan, Report)> {
    // What is written or printed of several runs at once nobody can read.
    let is_watched = ["SIM_TRACE", "SIM_LOG"].iter().any(|name| std::env::var_os(name).is_some());
    let cores = if is_watched { 1 } else { std::thread::available_parallelism().map_or(1, NonZero::get) };
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut done = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return done;
            }
            let plan = plan(seed);
            let report = run_guarded(&plan);
            done.push((plan, report));
        }
    };
    let mut all: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no run panics")).collect()
    });
    all.sort_by_key(|(plan, _)| plan.seed);
    all
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
    let Plan { seed, size, .. } = plan;
    format!(
        "run it again: SIM_SEED={seed} SIM_MEMBERS={size} cargo test --test sim seeds::clusters_keep_their_promises"
    )
}

#[test]
fn clusters_keep_their_promises() {
    let is_told = std::env::var_os("SIM_TOLD").is_some();
    let mut failures = Vec::new();
    let mut simulated = Duration::ZERO;
    let runs = run_all(seeds());
    for (plan, report) in &runs {
        let Report { trace, faults, operations, revision, lasted, violations } = report;
        simulated += *lasted;
        if is_told {
            println!(
                "{plan:?}: {operations:?} requests and answers, revision {revision}, {lasted:?}, trace {trace:x?}"
            );
            faults.iter().for_each(|fault| println!("    {fault}"));
        }
        if !violations.is_empty() {
            let lines = [&faults[..], &violations[..]].concat();
            failures.push(format!("{plan:?} fails; {}\n    {}", replay(plan), lines.join("\n    ")));
        }
    }
    let hours = simulated.as_secs_f64() / 3600.0;
    println!("{} seeds, {hours:.1} simulated hours, {} seeds fail", runs.len(), failures.len());
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
