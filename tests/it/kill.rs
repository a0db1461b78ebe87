//! SIGKILL under load, many times: nothing acknowledged is lost, no revision is used twice.
//!
//! `LODEMARK_KILLS=200` for the long run. A kill leaves the page cache, so it shows what is written before it is
//! answered; `powercut` shows what is synced.

use std::time::Duration;

use lodemark::env::{Random, SeededRandom};
use tokio::time::Instant;

use crate::harness::{Member, Program, Site, number, seed};
use crate::ledger::Load;

/// By default.
const KILLS: u64 = 8;
/// A kill comes after at least this many writes were acknowledged since the start, and at most so many more.
const WRITES_MIN: u64 = 200;
const WRITES_SPREAD: u64 = 1800;
/// The history is read from its beginning after every so many kills, and at the end.
const KILLS_PER_CHECK: u64 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_under_load_lose_nothing_acknowledged() {
    kills(&Program::lodemark(), number("LODEMARK_KILLS", KILLS)).await;
}

/// Checks the test: it takes long, since etcd starts slowly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "checks the test itself on a real etcd"]
async fn kills_of_a_real_etcd_pass_the_same_check() {
    if let Some(etcd) = Program::etcd() {
        kills(&etcd, number("LODEMARK_KILLS", KILLS)).await;
    }
}

async fn kills(program: &Program, kills: u64) {
    let seed = seed();
    let random = SeededRandom::new(seed);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut site = Site::new(folder.path());
    let mut load = Load::start();
    let mut slowest = Duration::ZERO;
    for kill in 1..=kills {
        let asked = Instant::now();
        let server = Member::start(program, site).await;
        slowest = slowest.max(asked.elapsed());
        let context = format!("LODEMARK_SEED={seed}, before kill {kill} of {kills}");
        if kill % KILLS_PER_CHECK == 0 {
            load.check(&server.endpoint(), &context).await;
        }
        load.up(server.endpoint());
        load.acknowledges(WRITES_MIN + random.next_u64() % WRITES_SPREAD).await;
        load.doom();
        site = server.kill();
        load.down().await;
    }
    load.end().await;
    let server = Member::start(program, site).await;
    let context = format!("LODEMARK_SEED={seed}, after {kills} kills");
    load.check(&server.endpoint(), &context).await;
    println!("{kills} kills, {} writes acknowledged, slowest start {slowest:?}, seed {seed}", load.count());
}
