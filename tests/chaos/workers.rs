//! Clients that read and write, and those that take turns at a lock: each one thing after another, on members that
//! chance picks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lodemark::model::{Command, Put};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::checks::history::Request;
use super::connections::Connections;
use super::locks::Locker;
use super::workload::Memory;

/// Pauses between two requests of a client, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 0..120;
/// Pauses between two defragmentations, in milliseconds.
const DEFRAGMENT_PAUSE_MS: std::ops::Range<u64> = 500..3000;
/// How long a client waits for an answer, in milliseconds.
pub const PATIENCE_MS: std::ops::Range<u64> = 1000..9000;
/// Of each value that is written to a full disk.
const FLOOD_BYTES: usize = 64 * 1024;
const FLOOD_PATIENCE: Duration = Duration::from_secs(1);
const FLOOD_PAUSE: Duration = Duration::from_millis(5);
/// How long the pulse waits for an answer, and between two.
const PULSE_PATIENCE: Duration = Duration::from_millis(500);
const PULSE_PAUSE: Duration = Duration::from_millis(100);

/// Reads and writes until it is over.
pub async fn work(mut connections: Connections, seed: u64, over: CancellationToken) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut memory = Memory::new(connections.client);
    while !over.is_cancelled() {
        let request = memory.next(&mut random);
        let (member, patience) = draw(&mut random, connections.members());
        let outcome = connections.ask(member, &request, patience).await;
        memory.hear(&request, &outcome);
        pause(&mut random).await;
    }
}

/// Takes turns at the lock that clients make of keys and leases, until it is over.
pub async fn lock(mut connections: Connections, seed: u64, over: CancellationToken) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut locker = Locker::new(connections.client);
    let journal = connections.journal().clone();
    while !over.is_cancelled() {
        if let Some(request) = locker.next(journal.now(), &mut random) {
            let (member, patience) = draw(&mut random, connections.members());
            let outcome = connections.ask(member, &request, patience).await;
            if let Some(hold) = locker.hear(&request, &outcome) {
                journal.hold(hold);
            }
        }
        pause(&mut random).await;
    }
}

/// Writes to one member after another, with little patience, until it is over: shows whether the cluster takes writes.
pub async fn pulse(mut connections: Connections, over: CancellationToken) {
    for number in 0.. {
        if over.is_cancelled() {
            return;
        }
        let value = Bytes::from(format!("pulse-{number}"));
        let put = Put { key: Bytes::from_static(b"pulse"), value, ..Put::default() };
        let member = number % connections.members();
        connections.ask(member, &Request::Command(Command::Put(put)), PULSE_PATIENCE).await;
        sleep(PULSE_PAUSE).await;
    }
}

/// Lets one member after another write its file anew, as chance picks them, until it is over; counts those that did.
/// Nothing that anybody sees may depend on it.
pub async fn defragment(mut connections: Connections, seed: u64, done: Arc<AtomicU64>, over: CancellationToken) {
    let mut random = StdRng::seed_from_u64(seed);
    while !over.is_cancelled() {
        let (member, patience) = draw(&mut random, connections.members());
        match timeout(patience, connections.client(member).await.defragment()).await {
            Ok(Ok(_)) => drop(done.fetch_add(1, Ordering::Relaxed)),
            Ok(Err(_)) | Err(_) => connections.give_up(member),
        }
        sleep(Duration::from_millis(random.random_range(DEFRAGMENT_PAUSE_MS))).await;
    }
}

/// Writes large values to one member until it is dropped.
pub async fn flood(mut connections: Connections, member: usize) {
    let client = connections.client;
    let key = Bytes::from(format!("flood/{client}"));
    for number in 0.. {
        let mut value = format!("{client}-{number}-{}", connections.journal().now().as_nanos()).into_bytes();
        value.resize(FLOOD_BYTES, b' ');
        let request = Request::Command(Command::Put(Put { key: key.clone(), value: value.into(), ..Put::default() }));
        connections.ask(member, &request, FLOOD_PATIENCE).await;
        // The member may have ended.
        sleep(FLOOD_PAUSE).await;
    }
}

/// A member, and how long to wait for it.
pub fn draw(random: &mut StdRng, members: usize) -> (usize, Duration) {
    (random.random_range(0..members), Duration::from_millis(random.random_range(PATIENCE_MS)))
}

/// Waits a little.
pub async fn pause(random: &mut StdRng) {
    sleep(Duration::from_millis(random.random_range(PAUSE_MS))).await;
}
