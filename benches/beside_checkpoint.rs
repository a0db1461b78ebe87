//! What does a checkpoint do to the puts beside it?
//!
//! A server with many keys takes a steady load; each put has its time, kept or not, and its latency counts from there.
//! Meanwhile the state of the server's `checkpoint` thread is looked at each millisecond: while it runs or waits for the
//! disk, a checkpoint is under way. Puts whose time came then are compared with all others. Linux only.
//!
//! `cargo bench --bench beside_checkpoint`; KEYS (100000), RATE (2000 a second), SECONDS (20).

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use etcd_client::Client;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

const CONNECTIONS: u64 = 16;
const VALUE: [u8; 256] = [b'v'; 256];
/// The thread is looked at this often.
const LOOK: Duration = Duration::from_millis(1);
/// Shorter rests do not end a checkpoint: it takes some on purpose, and a core may be late to take it up again.
const REST_MAX: Duration = Duration::from_millis(10);
/// How long the server may take to serve.
const PATIENCE: Duration = Duration::from_secs(30);

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing can be done about a failure.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let (keys, rate, seconds) = (number("KEYS", 100_000), number("RATE", 2000), number("SECONDS", 20));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ports = [free_port(), free_port()];
    let [endpoint, peer] = ports.map(|port| format!("http://127.0.0.1:{port}"));
    let server = Command::new(env!("CARGO_BIN_EXE_lodemark"))
        .arg("--data-dir")
        .arg(folder.path().join("data"))
        .args(["--listen-client-urls", &endpoint, "--advertise-client-urls", &endpoint])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the server starts");
    let server = Server(server);
    let clients = connect(&endpoint).await;
    fill(&clients, keys).await;
    // What filling has left to write down.
    sleep(Duration::from_secs(3)).await;

    let began = Instant::now();
    let is_over = Arc::new(AtomicBool::new(false));
    let watching = watch_checkpoints(server.0.id(), began, Arc::clone(&is_over));
    let puts = steady_load(&clients, keys, rate, seconds, began).await;
    is_over.store(true, Ordering::SeqCst);
    let checkpoints = watching.join().expect("the watching thread lives");
    report(&puts, &checkpoints, seconds);
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it has an address").port()
}

async fn connect(endpoint: &str) -> Vec<Client> {
    let mut clients = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while clients.len() < CONNECTIONS as usize {
        let mut client = Client::connect([endpoint], None).await.expect("etcd-client connects lazily");
        match client.get("any", None).await {
            Ok(_) => clients.push(client),
            Err(error) => assert!(Instant::now() < deadline, "the server does not serve: {error}"),
        }
    }
    clients
}

async fn fill(clients: &[Client], keys: u64) {
    let mut fillers = JoinSet::new();
    for filler in 0..CONNECTIONS * 8 {
        let mut client = clients[(filler % CONNECTIONS) as usize].clone();
        fillers.spawn(async move {
            for key in (filler..keys).step_by(CONNECTIONS as usize * 8) {
                client.put(name(key), VALUE, None).await.expect("the server takes a put");
            }
        });
    }
    while let Some(ended) = fillers.join_next().await {
        ended.expect("a filler does not panic");
    }
}

fn name(key: u64) -> String {
    format!("/services/{key:022}")
}

/// Puts at fixed times: when each was due, and how long after that it was answered.
async fn steady_load(
    clients: &[Client],
    keys: u64,
    rate: u64,
    seconds: u64,
    began: Instant,
) -> Vec<(Duration, Duration)> {
    let mut puts = JoinSet::new();
    for put in 0..rate * seconds {
        let due = Duration::from_micros(put * 1_000_000 / rate);
        sleep_until(began + due).await;
        let mut client = clients[(put % CONNECTIONS) as usize].clone();
        puts.spawn(async move {
            // A prime apart, so that all over the tables records change.
            client.put(name(put * 7919 % keys), VALUE, None).await.expect("the server takes a put");
            (due, began.elapsed().saturating_sub(due))
        });
    }
    puts.join_all().await
}

/// From when to when the thread was busy.
fn watch_checkpoints(server: u32, began: Instant, is_over: Arc<AtomicBool>) -> JoinHandle<Vec<(Duration, Duration)>> {
    let stat = thread_named("checkpoint", server).join("stat");
    std::thread::spawn(move || {
        let mut found: Vec<(Duration, Duration)> = Vec::new();
        while !is_over.load(Ordering::SeqCst) {
            let text = fs::read_to_string(&stat).expect("the thread lives");
            let state = text.rsplit(") ").next().and_then(|rest| rest.chars().next());
            let now = began.elapsed();
            if matches!(state, Some('R' | 'D')) {
                match found.last_mut() {
                    Some((_, end)) if now - *end <= REST_MAX => *end = now,
                    _ => found.push((now, now)),
                }
            }
            std::thread::sleep(LOOK);
        }
        found
    })
}

fn thread_named(name: &str, process: u32) -> PathBuf {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("Linux, and the server lives");
    let mut paths = threads.map(|thread| thread.expect("it can be listed").path());
    let is_named = |path: &PathBuf| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name);
    paths.find(is_named).expect("the server has such a thread")
}

fn report(puts: &[(Duration, Duration)], checkpoints: &[(Duration, Duration)], seconds: u64) {
    let is_beside = |due: Duration| {
        let after = checkpoints.partition_point(|(_, end)| *end < due);
        checkpoints.get(after).is_some_and(|(begin, _)| *begin <= due)
    };
    let (beside, alone): (Vec<_>, Vec<_>) = puts.iter().partition(|(due, _)| is_beside(*due));
    let busy: Duration = checkpoints.iter().map(|(begin, end)| *end - *begin).sum();
    let longest = checkpoints.iter().map(|(begin, end)| *end - *begin).max().unwrap_or_default();
    println!(
        "{} checkpoints, {:.1} % of the time, longest {longest:?}",
        checkpoints.len(),
        busy.as_secs_f64() * 100.0 / seconds as f64
    );
    println!("{:28} {:>8} {:>10} {:>10} {:>10}", "", "puts", "p50", "p99", "longest");
    let [one, other] = [("beside a checkpoint", beside), ("without", alone)].map(|(what, puts)| {
        let mut latencies: Vec<Duration> = puts.iter().map(|(_, latency)| *latency).collect();
        latencies.sort_unstable();
        let at = |part: f64| latencies.get((latencies.len() as f64 * part) as usize).copied().unwrap_or_default();
        let longest = latencies.last().copied().unwrap_or_default();
        println!("{what:28} {:>8} {:>10.1?} {:>10.1?} {longest:>10.1?}", puts.len(), at(0.5), at(0.99));
        at(0.99)
    });
    println!("p99 beside a checkpoint is {:.2} times that without", one.as_secs_f64() / other.as_secs_f64());
}
