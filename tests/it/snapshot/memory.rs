//! A snapshot is a stream: it takes little memory however large the store is, and writers hardly notice.
//!
//! `LODEMARK_SNAPSHOT_MIB` makes the store larger; the long run is in `docs/testing.md`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use etcd_client::{Client, Txn, TxnOp};
use tokio::time::Instant;

use super::By;
use crate::harness::{Member, Program, Site, number};
use crate::memory;

const MIB: u64 = 1024 * 1024;
const VALUE_BYTES: u64 = 4096;
const TXN_PUTS: u64 = 100;
/// What a snapshot may take.
const GROWTH_BYTES_MAX: u64 = 64 * MIB;
/// Puts in a second meanwhile.
const PUTS_PER_SECOND: u64 = 400;
const LOOK_AGAIN: Duration = Duration::from_millis(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_takes_little_memory() {
    let (mib, folder) = (number("LODEMARK_SNAPSHOT_MIB", 128), tempfile::tempdir().expect("a folder"));
    // The long run has as much data as the quota would allow.
    let site = Site::new(folder.path()).with_flags(["--quota-backend-bytes=-1".to_owned()]);
    let member = Member::start(&Program::lodemark(), site).await;
    let mut client = member.client().await;
    for from in (0..mib * MIB / VALUE_BYTES).step_by(TXN_PUTS as usize) {
        let put = |n: u64| TxnOp::put(format!("k/{n:08}"), n.to_be_bytes().repeat(VALUE_BYTES as usize / 8), None);
        client.txn(Txn::new().and_then((from..from + TXN_PUTS).map(put).collect::<Vec<_>>())).await.expect("written");
    }
    memory::settled(member.pid()).await;
    let before = memory::resident(member.pid());

    let (saving, peak) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let (endpoint, file, is_saving) = (member.endpoint(), folder.path().join("saved.db"), saving.clone());
    let saved = std::thread::spawn(move || {
        By::Lodemark.save(&endpoint, &file);
        is_saving.store(false, Ordering::Relaxed);
        std::fs::metadata(file).expect("it was saved").len()
    });
    let (pid, is_saving, highest) = (member.pid(), saving.clone(), peak.clone());
    let looking = std::thread::spawn(move || {
        while is_saving.load(Ordering::Relaxed) {
            highest.fetch_max(memory::resident(pid), Ordering::Relaxed);
            std::thread::sleep(LOOK_AGAIN);
        }
    });
    let began = Instant::now();
    let beside = puts(&client, || saving.load(Ordering::Relaxed)).await;
    let bytes = tokio::task::spawn_blocking(|| saved.join()).await.expect("it ends").expect("it is saved");
    looking.join().expect("looking does not fail");
    let growth = peak.load(Ordering::Relaxed).saturating_sub(before);
    println!(
        "{} MiB saved in {:?}; memory {} MiB and {} MiB more",
        bytes / MIB,
        began.elapsed(),
        before / MIB,
        growth / MIB
    );
    println!("puts beside it: {}", quantiles(beside));
    // For as long: there are as many checkpoints in it.
    let (took, began) = (began.elapsed(), Instant::now());
    println!("puts alone: {}", quantiles(puts(&client, || began.elapsed() < took).await));
    assert!(bytes > mib * MIB);
    assert!(growth < GROWTH_BYTES_MAX, "memory grew by {growth} bytes");
}

/// Puts at a steady rate, for two seconds at least and as long as `goes_on`; gives how long each took.
async fn puts(client: &Client, goes_on: impl Fn() -> bool) -> Vec<Duration> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / PUTS_PER_SECOND as u32);
    let (began, mut running, mut times) = (Instant::now(), tokio::task::JoinSet::new(), Vec::new());
    let mut n = 0u64;
    while began.elapsed() < Duration::from_secs(2) || goes_on() {
        let due = ticks.tick().await;
        let (mut client, key) = (client.clone(), format!("beside/{}", n % 1000));
        n += 1;
        running.spawn(async move {
            client.put(key, "value", None).await.expect("it is written");
            due.elapsed()
        });
        while let Some(time) = running.try_join_next() {
            times.push(time.expect("a put does not fail"));
        }
    }
    times.extend(running.join_all().await);
    times
}

fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    format!("{} in all, p50 {:?}, p99 {:?}, longest {:?}", times.len(), at(0.5), at(0.99), at(1.0))
}
