//! Real processes in chaos: members in network namespaces, faults by the system's own means, real clients, and the
//! checks that judge simulated clusters too.
//!
//! `plan` draws what goes wrong from a seed, `network` has the namespaces, `faults` does it; `workers`, `lock_service`
//! and `watchers` are the clients, which reach members over `connections`, speak `wire` and write a `journal`; `stalls`
//! knows when the machine itself was to blame; `run` is the course of one run.
//!
//! It is a target of its own, and not a part of `it`, because time matters here: leaders must be followed and leases end
//! in time. Cargo runs one target after another, so no other test takes the processor away.
//!
//! | variable | what it does |
//! | --- | --- |
//! | `LODEMARK_SEED=n` | the same faults again |
//! | `LODEMARK_CHAOS_ROUNDS=n` | the long form, of so many rounds: each a new cluster, with more and longer faults |
//! | `LODEMARK_CHAOS_MEMBERS=n` | clusters of that size |
//! | `LODEMARK_CHAOS_ONLY=name` | nothing else goes wrong; names are those that a run prints |
//!
//! It needs Linux, root, `ip` and `nft`; for disks that fill up `mkfs.ext4`, for syncs that fail `strace`.

#![allow(clippy::unwrap_used, reason = "what helps a test may fail as the test itself may")]

#[path = "../checks/mod.rs"]
mod checks;
#[path = "../harness/mod.rs"]
mod harness;
#[path = "../sim/locks.rs"]
mod locks;
#[path = "../model/mod.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod model;
#[path = "../sim/workload.rs"]
#[allow(dead_code, reason = "the simulation uses the rest")]
mod workload;

mod connections;
mod faults;
mod journal;
mod lock_service;
mod network;
mod plan;
mod report;
mod run;
mod stalls;
mod watchers;
mod wire;
mod workers;

use std::time::Duration;

use harness::{Program, number, seed, skip};
use plan::{Fault, Plan};

/// Members of a cluster by default.
const MEMBERS: u64 = 3;
/// The cluster's in every second round of the long form: faults are over sooner, and more of them fit.
const SHORT_ELECTION_TIMEOUT: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_keeps_its_promises_whatever_happens() {
    chaos(&Program::lodemark()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "checks the test itself on a real etcd"]
async fn a_real_etcd_keeps_the_same_promises() {
    if let Some(etcd) = Program::etcd() {
        chaos(&etcd).await;
    }
}

async fn chaos(program: &Program) {
    let seed = seed();
    let members = usize::try_from(number("LODEMARK_CHAOS_MEMBERS", MEMBERS)).expect("a few");
    let plans: Vec<Plan> = match number("LODEMARK_CHAOS_ROUNDS", 0) {
        0 => vec![short(seed, members)],
        rounds => (0..rounds).map(|round| long(seed, round, members)).collect(),
    };
    let mut summary = report::Summary::default();
    for (round, plan) in (1..).zip(&plans) {
        match run::run(program, plan).await {
            Ok(report) => {
                println!("round {round} of {}, LODEMARK_SEED={seed}\n{}", plans.len(), report::describe(&report));
                summary.add(&report);
                report::insist_on_none(&report, seed);
            }
            Err(missing) => return skip(&missing),
        }
    }
    println!("{summary}");
}

/// For the gate: a minute and a half.
fn short(seed: u64, members: usize) -> Plan {
    let counts = [
        (Fault::Kill, 3),
        (Fault::KillAll, 1),
        (Fault::Pause, 2),
        (Fault::Full, 1),
        (Fault::Deaf, 1),
        (Fault::Mute, 1),
        (Fault::Pair, 1),
        (Fault::Clients, 1),
        (Fault::DiskFull, 1),
        (Fault::SyncFails, 1),
        (Fault::SyncSlow, 1),
    ];
    Plan { seed, members, election_timeout: None, counts: wanted(&counts), pause_ms: 1000..3000 }
}

/// One round of the long form. Ten of them are 100 kills of leaders, 50 pauses and 50 partitions of each kind.
fn long(seed: u64, round: u64, members: usize) -> Plan {
    let counts = [
        (Fault::Kill, 10),
        (Fault::KillAll, 2),
        (Fault::Pause, 5),
        (Fault::Full, 5),
        (Fault::Deaf, 5),
        (Fault::Mute, 5),
        (Fault::Pair, 5),
        (Fault::Clients, 3),
        (Fault::DiskFull, 2),
        (Fault::SyncFails, 2),
        (Fault::SyncSlow, 2),
    ];
    let election_timeout = (round % 2 == 1).then_some(SHORT_ELECTION_TIMEOUT);
    let seed = seed.wrapping_add(round);
    Plan { seed, members, election_timeout, counts: wanted(&counts), pause_ms: 1000..15_000 }
}

/// All, or those of one kind.
fn wanted(counts: &[(Fault, u64)]) -> Vec<(Fault, u64)> {
    let only = std::env::var("LODEMARK_CHAOS_ONLY").ok();
    let is_wanted = |fault: &Fault| only.as_ref().is_none_or(|only| *only == fault.to_string());
    counts.iter().copied().filter(|(fault, _)| is_wanted(fault)).collect()
}
