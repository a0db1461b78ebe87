//! Clients that write all the time, each of them to one member, and go to the next when a write fails.
//!
//! A write that was not answered within their patience counts as failed: the leader that had it may be gone, and then both
//! programs answer after seven seconds that they do not know. So a gap that a writer sees ends at most that much later
//! than the cluster could have answered. The time without any acknowledgement, to whomever, is free of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::Client;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// Writers of one load.
const WRITERS: usize = 12;
/// Before the next member is tried.
const RETRY_PAUSE: Duration = Duration::from_millis(5);
/// Each writer puts so many keys, over and over.
const KEYS: usize = 1000;
const VALUE: [u8; 256] = [b'v'; 256];
/// How long all writers together may take for some acknowledgements.
const PROGRESS_MAX: Duration = Duration::from_secs(60);
/// Between two looks at their progress.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How writers write.
#[derive(Debug, Clone, Copy)]
pub struct Habit {
    /// From when one write is due to when the next is; if zero, that is when the one before is answered.
    pub pace: Duration,
    /// How long an answer is waited for.
    pub patience: Duration,
}

/// A write that was acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct Ack {
    /// When it should have been sent.
    pub due: Instant,
    pub at: Instant,
}

/// Writers at work. They end with this value.
#[derive(Debug)]
pub struct Writers {
    tasks: JoinSet<Vec<Ack>>,
    /// Acknowledgements of each.
    progress: Arc<[AtomicUsize; WRITERS]>,
    stop: CancellationToken,
}

impl Writers {
    /// Lets writers begin, each at one of the endpoints.
    pub fn start(endpoints: &[String], habit: Habit) -> Writers {
        let (progress, stop) = (Arc::new([const { AtomicUsize::new(0) }; WRITERS]), CancellationToken::new());
        let mut tasks = JoinSet::new();
        for number in 0..WRITERS {
            let endpoints = endpoints.to_vec();
            tasks.spawn(write(number, endpoints, habit, Arc::clone(&progress), stop.clone()));
        }
        Writers { tasks, progress, stop }
    }

    /// Waits until each of them has so many more acknowledgements.
    pub async fn all_go_on(&self, more: usize) {
        let now = || self.progress.iter().map(|count| count.load(Ordering::Relaxed));
        let targets: Vec<usize> = now().map(|count| count + more).collect();
        let reached = async {
            while now().zip(&targets).any(|(count, target)| count < *target) {
                sleep(LOOK_AGAIN).await;
            }
        };
        timeout(PROGRESS_MAX, reached).await.expect("writes go on");
    }

    /// Lets the writers end; gives the acknowledged writes of each, in order.
    pub async fn end(self) -> Vec<Vec<Ack>> {
        self.stop.cancel();
        self.tasks.join_all().await
    }
}

async fn write(
    number: usize,
    endpoints: Vec<String>,
    Habit { pace, patience }: Habit,
    progress: Arc<[AtomicUsize; WRITERS]>,
    stop: CancellationToken,
) -> Vec<Ack> {
    let mut acks = Vec::new();
    let mut at_endpoint = number;
    let mut client = connect(&endpoints, at_endpoint).await;
    let mut due = Instant::now();
    while !stop.is_cancelled() {
        let key = format!("writers/{number}/{}", acks.len() % KEYS);
        while !matches!(timeout(patience, client.put(key.as_str(), VALUE, None)).await, Ok(Ok(_))) {
            if stop.is_cancelled() {
                return acks;
            }
            sleep(RETRY_PAUSE).await;
            at_endpoint += 1;
            client = connect(&endpoints, at_endpoint).await;
        }
        let at = Instant::now();
        acks.push(Ack { due, at });
        progress[number].fetch_add(1, Ordering::Relaxed);
        due = if pace.is_zero() { at } else { due + pace };
        sleep_until(due).await;
    }
    acks
}

/// A client of one of the endpoints, on a connection of its own.
async fn connect(endpoints: &[String], number: usize) -> Client {
    Client::connect([&endpoints[number % endpoints.len()]], None).await.expect("etcd-client connects lazily")
}
